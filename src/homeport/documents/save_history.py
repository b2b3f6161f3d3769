"""The states of the last saves of each file: kept compressed in the state folder, never beside the file.

A state is the pieces of the file as it was saved; its big outputs are the blobs that the document had, so that a state of a
notebook of 30 MB takes what its text takes. Which states are kept is ``core/retention.py``'s; Jupyter's checkpoints are
these states. Everything here reads and writes the disk: for threads.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from homeport.core.retention import State, surplus
from homeport.documents.blobs import Blobs
from homeport.documents.serial import BlobPiece, Piece
from homeport.errors import NotFound, StoreFailed
from homeport.folders import private

_FOLDER = ".history"
_NAME = re.compile(r"(\d{13})-([0-9a-f]{16})\.(\d+)")
_ID = re.compile(r"\d{13}-[0-9a-f]{16}")
# NUL stands in no JSON text, and text files that hold one hold no blob either.
_MARK = re.compile(rb"\0blob:([0-9a-f]{64})\0")
_FAST = 1
"""zlib's level: half of what the best one saves, for a tenth of the time."""
_STEP = 256 * 1024
"""Bytes that are packed, unpacked and searched at a time: what comes out of one such step is copied with the interpreter held, and 30 MB at
once would let the event loop stand still."""


class _Head(msgspec.Struct):
    """The first line of a state's file: the blobs that it refers to, with their sizes."""

    blobs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Version:
    """A saved state of a file."""

    id: str
    at: float
    """Seconds since the epoch."""
    size: int
    """Bytes of the file."""


class SaveHistory:
    """The kept states of all files.

    Args:
        folder: private to them; made when it is needed.
        blobs: has the big outputs.
        count: states kept of one file; 0 keeps none.
        size: bytes that the states of one file take at most, together with their blobs.
    """

    def __init__(self, folder: Path, blobs: Blobs, *, count: int, size: int) -> None:
        self._root = folder
        self._blobs = blobs
        self._count = count
        self._size = size

    def keep(self, file: Path, pieces: Sequence[Piece], digest: str, *, at: float | None = None) -> Version | None:
        """Keep a state of ``file``.

        Args:
            file: absolute; the same for all names of a file.
            pieces: its content.
            digest: sha256 of its content.
            at: when it was saved; now when not given.

        Returns:
            None when it is the newest one already, or none are kept.

        Raises:
            OSError: it cannot be written.
        """
        newest = max(self._names(file), default="")
        if self._count == 0 or _digest(newest) == digest[:16]:
            return None
        blobs = {piece.name: self._blobs.head(piece.name).raw for piece in pieces if isinstance(piece, BlobPiece)}
        total = sum(blobs[piece.name] if isinstance(piece, BlobPiece) else len(piece) for piece in pieces)
        # Never before the newest: names are in order also when the clock was put back.
        stamp = max(int((time.time() if at is None else at) * 1000), int(newest[:13] or 0) + 1)
        version = Version(f"{stamp:013d}-{digest[:16]}", stamp / 1000, total)
        folder = private(self._folder(file))
        temporary = folder / f".{secrets.token_hex(6)}.tmp"
        try:
            with open(temporary, "xb") as out:
                out.write(msgspec.json.encode(_Head(blobs)) + b"\n")
                out.writelines(_packed(pieces))
            os.rename(temporary, folder / f"{version.id}.{total}")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._thin(file)
        return version

    def holds(self, file: Path, digest: str) -> bool:
        """Whether the state with this sha256 is kept."""
        return any(_digest(name) == digest[:16] for name in self._names(file))

    def list(self, file: Path) -> list[Version]:
        """What is kept of ``file``, oldest first."""
        found = (_NAME.fullmatch(name) for name in sorted(self._names(file)))
        return [Version(f"{match[1]}-{match[2]}", int(match[1]) / 1000, int(match[3])) for match in found if match]

    def read(self, file: Path, version: str) -> list[bytes]:
        """The whole content of a state, in pieces.

        Raises:
            NotFound: it is not kept (any more).
            StoreFailed: it is damaged.
        """
        return [self._blobs.raw(piece.name) if isinstance(piece, BlobPiece) else piece for piece in self.pieces(file, version)]

    def pieces(self, file: Path, version: str) -> list[Piece]:
        """The pieces of a state.

        Raises:
            NotFound: it is not kept (any more).
            StoreFailed: it is damaged.
        """
        try:
            with open(self._find(file, version), "rb") as state:
                blobs = msgspec.json.decode(state.readline(), type=_Head).blobs
                return list(_parts(_unpacked(state), marked=bool(blobs)))
        except (msgspec.MsgspecError, UnicodeDecodeError, zlib.error) as error:
            raise StoreFailed(f"This state of “{file.name}” is damaged: {error}.", version=version) from error

    def remove(self, file: Path, version: str) -> None:
        """Forget a state.

        Raises:
            NotFound: it is not kept (any more).
        """
        self._find(file, version).unlink(missing_ok=True)

    def moved(self, old: Path, new: Path) -> None:
        """The file or folder at ``old`` is at ``new`` now: its states go with it, and those of what was there before go."""
        source, target = self._folder(old).parent, self._folder(new).parent
        if source.is_dir():
            if target.is_dir():
                shutil.rmtree(target)
            private(target.parent)
            source.rename(target)

    def blobs_referred_to(self) -> set[str]:
        """Names of all blobs that any state refers to."""
        found: set[str] = set()
        for entry in self._all():
            with contextlib.suppress(FileNotFoundError), open(entry, "rb") as file:
                found.update(msgspec.json.decode(file.readline(), type=_Head).blobs)
        return found

    def prune(self, *, unused_since: float) -> None:
        """Forget the states of files that are gone, when the last of them is older than that (seconds since the epoch)."""
        newest: dict[Path, float] = {}
        for entry in self._all():
            newest[entry.parent] = max(newest.get(entry.parent, 0.0), int(entry.name[:13]) / 1000)
        for folder, at in newest.items():
            if at < unused_since and not Path("/", folder.parent.relative_to(self._root)).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _all(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self._root):
            if os.path.basename(folder) == _FOLDER:
                yield from (Path(folder, name) for name in names if _NAME.fullmatch(name))

    def _folder(self, file: Path) -> Path:
        # A folder for each file, so that a folder's rename is one rename here.
        return self._root.joinpath(*file.parts[1:], _FOLDER)

    def _names(self, file: Path) -> list[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return [entry.name for entry in os.scandir(self._folder(file)) if _NAME.fullmatch(entry.name)]
        return []

    def _find(self, file: Path, version: str) -> Path:
        if _ID.fullmatch(version):
            for name in self._names(file):
                if name.startswith(f"{version}."):
                    return self._folder(file) / name
        raise NotFound(f"This state of “{file.name}” is not kept any more.", version=version)

    def _thin(self, file: Path) -> None:
        folder = self._folder(file)
        states: list[State] = []
        counted: set[str] = set()
        # From the newest: a blob that several states share is counted for the newest of them.
        for name in sorted(self._names(file), reverse=True):
            with contextlib.suppress(FileNotFoundError), open(folder / name, "rb") as opened:
                blobs = msgspec.json.decode(opened.readline(), type=_Head).blobs
                size = os.fstat(opened.fileno()).st_size + sum(size for blob, size in blobs.items() if blob not in counted)
                counted.update(blobs)
                states.append(State(name, int(name[:13]) / 1000, size))
        for name in surplus(states[::-1], now=time.time(), count=self._count, size=self._size):
            (folder / name).unlink(missing_ok=True)


def _packed(pieces: Iterable[Piece]) -> Iterator[bytes]:
    packer = zlib.compressobj(_FAST)
    for piece in pieces:
        content = memoryview(b"\0blob:" + piece.name.encode() + b"\0" if isinstance(piece, BlobPiece) else piece)
        for start in range(0, len(content), _STEP):
            yield packer.compress(content[start : start + _STEP])
    yield packer.flush()


def _unpacked(packed: BinaryIO) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    while data := packed.read(_STEP):
        while data and not unpacker.eof:
            yield unpacker.decompress(data, _STEP)
            data = unpacker.unconsumed_tail
    yield unpacker.flush()
    if not unpacker.eof:
        raise zlib.error("its end is missing")


def _parts(content: Iterable[bytes], *, marked: bool) -> Iterator[Piece]:
    """Take the blobs' marks out of a content that has some."""
    cut = b""
    for block in content:
        parts = _MARK.split(cut + block) if marked else [block]
        # The mark at its end may go on in the next block.
        end = parts[-1].find(b"\0") if marked else -1
        cut, parts[-1] = (parts[-1][end:], parts[-1][:end]) if end >= 0 else (b"", parts[-1])
        for number, part in enumerate(parts):
            if part:
                yield BlobPiece(part.decode()) if number % 2 else part
    if cut:
        yield cut


def _digest(name: str) -> str:
    return name[14:30]
