"""Files that come in several requests (``chunk`` 1, 2, … and -1 for the last), put together in the state folder.

The target is written once, whole, when the last piece is there; an upload that stops half-way leaves no half file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from homeport.errors import BadRequest
from homeport.folders import private
from homeport.stores.files import pieces_of


class Pieces:
    """The unfinished uploads of one server. A restart forgets them: the client is told to begin again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next: dict[str, int] = {}

    def _file(self, path: str) -> Path:
        return self._folder / f"pieces-{hashlib.sha256(path.encode()).hexdigest()}"

    async def add(self, path: str, chunk: int, data: bytes | Path) -> None:
        """Add a piece of the file ``path``; 1 begins anew.

        Raises:
            BadRequest: it is not the piece that comes next.
        """
        expected = self._next.get(path, 1)
        if chunk not in (1, -1) and chunk != expected:
            raise BadRequest(f"Piece {expected} of “{path}” comes next, not {chunk}; begin again with 1.", expected=expected)
        if chunk == -1 and expected == 1:
            raise BadRequest(f"The last piece of “{path}” came before its first.", expected=1)
        file = self._file(path)

        def append() -> None:
            private(self._folder)
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if chunk == 1 else os.O_APPEND), 0o600)
            with open(handle, "wb") as target:
                target.writelines((data,) if isinstance(data, bytes) else pieces_of(data))

        await asyncio.to_thread(append)
        self._next[path] = chunk + 1

    @contextmanager
    def whole(self, path: str) -> Generator[Path]:
        """The whole file; it is gone at the end."""
        self._next.pop(path, None)
        file = self._file(path)
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)
