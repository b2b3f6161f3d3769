"""Checkpoints as Jupyter's API has them: one kept copy of a file, in the state folder, never beside the file.

The history of saves is another thing; when it is kept, this API is served from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from homeport.core import paths
from homeport.errors import NotFound
from homeport.folders import private
from homeport.stores.base import Store

ID = "checkpoint"
"""The id of the one checkpoint of a file."""


@dataclass(frozen=True)
class Checkpoint:
    """A kept copy. ``modified``: seconds since the epoch."""

    id: str
    modified: float


class Checkpoints:
    """The kept copies of the files of one store.

    Args:
        folder: private to them; made when it is needed.
        store: where the files are.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store

    def _file(self, path: str) -> Path:
        # A folder for each path, so that a folder's rename is one rename here; no file that is served has such a name.
        return self._folder.joinpath(*paths.parse(path).split("/"), ".checkpoint")

    async def list(self, path: str) -> list[Checkpoint]:
        """The checkpoints of a file: one or none. Raises NotFound when there is no such file."""
        await self._store.stat(path)
        try:
            return [Checkpoint(ID, self._file(path).stat().st_mtime)]
        except FileNotFoundError:
            return []

    async def create(self, path: str, content: bytes) -> Checkpoint:
        """Keep ``content`` as the copy of ``path``; it replaces the one before."""
        file = self._file(path)

        def write() -> float:
            handle, temporary = tempfile.mkstemp(dir=private(file.parent), prefix=".new-")
            try:
                with open(handle, "wb") as target:
                    target.write(content)
                os.replace(temporary, file)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            return file.stat().st_mtime

        return Checkpoint(ID, await asyncio.to_thread(write))

    async def read(self, path: str, checkpoint: str) -> bytes:
        """The content of a checkpoint. Raises NotFound."""
        file = self._file(path)
        try:
            if checkpoint == ID:
                return await asyncio.to_thread(file.read_bytes)
        except FileNotFoundError:
            pass
        raise NotFound(f"“{path}” has no checkpoint {checkpoint}.", path=path)

    async def delete(self, path: str, checkpoint: str) -> None:
        """Remove a checkpoint. Raises NotFound."""
        await self.read(path, checkpoint)
        self._file(path).unlink(missing_ok=True)

    def renamed(self, old: str, new: str) -> None:
        """A file or folder has moved: its checkpoints move along."""
        source, target = self._file(old).parent, self._file(new).parent
        with contextlib.suppress(OSError):
            private(target.parent)
            if target.exists():  # of a file that is not there any more
                shutil.rmtree(target)
            source.rename(target)
