"""Where files live, as the rest of the server sees it: one small interface.

Paths are API paths (``core/paths.py``). A store knows nothing of notebooks beyond their extension, nor of who asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["directory", "file", "notebook", "broken"]


@dataclass(frozen=True, slots=True)
class Stat:
    """One entry. ``broken`` is what cannot be opened; :attr:`why` says what it is."""

    path: str
    type: Kind
    size: int | None
    """Bytes; None for folders and broken entries."""
    modified: float
    """Seconds since the epoch, as ``created``."""
    created: float
    writable: bool
    hidden: bool
    why: str = ""
    """Of a broken entry, for people: a link that leads nowhere, or out of the root; a pipe, socket or device; a name that is no text."""


class Store(Protocol):
    """Files below one root.

    Every method raises ``BadRequest`` or ``Forbidden`` for a path that it may not touch, ``NotFound`` for what is not
    there, and ``StoreFailed`` (with ``errno``) for what the disk refuses.
    """

    async def stat(self, path: str) -> Stat:
        """One entry."""
        ...

    async def list(self, path: str) -> list[Stat]:
        """The entries of a folder, in no particular order; what cannot be opened is an entry, not an error."""
        ...

    async def read(self, path: str, *, limit: int | None = None) -> tuple[bytes, str]:
        """Content and its sha256 (hex). ``TooLarge`` above ``limit`` bytes: nothing is read then."""
        ...

    async def hash(self, path: str) -> str:
        """The sha256 (hex) of the content."""
        ...

    async def write(
        self, path: str, data: bytes | Iterable[bytes], *, size: int | None = None, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Replace or create a file, atomically and durably.

        Args:
            path: the file; a link inside the root is followed, mode and owner of a file that is there are kept.
            data: the content; an iterable is consumed in a thread.
            size: bytes of ``data`` when it is an iterable, so that room is checked before anything is written.
            if_match: the sha256 that the file must have now.
            create_only: the file must not be there.

        Returns:
            The sha256 (hex) of what was written.

        Raises:
            Conflict: the file is not what ``if_match`` or ``create_only`` wants; it was not touched.
            StoreFailed: it could not be written; the old file is as it was.
        """
        ...

    async def make_folder(self, path: str) -> None:
        """Create a folder. ``Conflict`` when something is there."""
        ...

    async def rename(self, old: str, new: str) -> None:
        """Move a file or folder. ``Conflict`` when something is at ``new``."""
        ...

    async def delete(self, path: str) -> str:
        """Put a file or folder into the trash; returns where it went, for people."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy a file. ``Conflict`` when something is at ``target``."""
        ...

    def absolute(self, path: str) -> Path:
        """The resolved path on this machine."""
        ...
