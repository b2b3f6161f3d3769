"""Bodies that may be big: they go through files, not through memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from homeport.folders import private


class Upload:
    """One body on its way to a private temporary file. Made and written in threads: a disk may be busy.

    Args:
        content: what it holds at first.
    """

    def __init__(self, folder: Path, content: Iterable[bytes] = ()) -> None:
        self._handle, name = tempfile.mkstemp(dir=private(folder), prefix="body-")
        self.file = Path(name)
        self.size = 0
        # The client may leave while a piece is being written.
        self._writing = threading.Lock()
        try:
            for piece in content:
                self.take(piece)
        except BaseException:
            self._remove()
            raise

    def take(self, piece: bytes | bytearray) -> None:
        """Append ``piece``; nothing happens when it has been closed."""
        with self._writing:
            view = memoryview(piece)
            while view and self._handle >= 0:
                view = view[os.write(self._handle, view) :]
            self.size += len(piece)

    async def read(self) -> bytes:
        """Everything."""
        return await asyncio.to_thread(self.file.read_bytes)

    def close(self) -> None:
        """Remove the file, in a thread: it takes the system a while to give back what a big one holds."""
        asyncio.get_running_loop().run_in_executor(None, self._remove)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self.file.unlink()
        with self._writing:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1


def sweep(folder: Path, *, older_than: float, now: float) -> None:
    """Remove what a killed server left behind."""
    if folder.is_dir():
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < now - older_than:
                    file.unlink()
