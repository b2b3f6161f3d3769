"""Request bodies that may be big: they go to a file as they come, not to memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

from homeport.folders import private


class Upload:
    """One body on its way to a private temporary file."""

    def __init__(self, folder: Path) -> None:
        self._handle, name = tempfile.mkstemp(dir=private(folder), prefix="body-")
        self.file = Path(name)
        self.size = 0

    def take(self, piece: bytes) -> None:
        """Append ``piece`` (Tornado gives at most 64 KiB, which the page cache takes at once)."""
        view = memoryview(piece)
        while view:
            view = view[os.write(self._handle, view) :]
        self.size += len(piece)

    async def read(self) -> bytes:
        """Everything."""
        return await asyncio.to_thread(self.file.read_bytes)

    def close(self) -> None:
        """Remove the file, in a thread: it takes the system a while to give back what a big one holds."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            asyncio.get_running_loop().run_in_executor(None, _remove, self.file, handle)


def _remove(file: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
    os.close(handle)


def sweep(folder: Path, *, older_than: float, now: float) -> None:
    """Remove what a killed server left behind."""
    if folder.is_dir():
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < now - older_than:
                    file.unlink()
