"""A document's cells as they will stand in the file, kept between saves: only what changed is serialised again.

Gives consistent snapshots of a document that goes on changing, in slices that never hold the loop for long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from homeport.core.cell_merge import CellPrint
from homeport.documents.blobs import Inline
from homeport.documents.mirror import Change, MirrorCell
from homeport.documents.room import Room
from homeport.documents.schema import Cell, read_map, whole_meta
from homeport.documents.serial import (
    EncodedCell,
    Piece,
    StreamText,
    assemble,
    encode_cell,
    kept_metadata,
    stream_rests,
    stream_text,
    value_digest,
)
from homeport.protocol.document import JSON

EXTRA = "homeport_extra"
"""Member of ``meta`` with what nbformat does not know of a notebook's own members."""
_SLICE = 0.005
"""Seconds of serialising at a time."""


class Base(msgspec.Struct):
    """What a file holds, as digests: the base of the next three-way merge."""

    cells: list[CellPrint]
    metadata: dict[str, str]
    minor: int

    def encode(self) -> bytes:
        """As the log keeps it."""
        return msgspec.json.encode(self)


def decode_base(data: bytes) -> Base | None:
    """A base from the log; None when there is none."""
    return msgspec.json.decode(data, type=Base) if data else None


@dataclass(frozen=True, slots=True)
class Head:
    """A notebook without its cells."""

    metadata: dict[str, JSON]
    minor: int
    extra: dict[str, JSON]

    def digests(self) -> dict[str, str]:
        """Digests of the metadata, by key."""
        return metadata_digests(self.metadata)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one moment, serialised."""

    cells: list[EncodedCell]
    head: Head
    version: int
    """:attr:`Encoder.version` at that moment."""

    def base(self) -> Base:
        """Its digests."""
        return Base([cell.print for cell in self.cells], self.head.digests(), self.head.minor)

    def pieces(self) -> list[Piece]:
        """The file."""
        head = self.head
        return assemble((cell.pieces for cell in self.cells), metadata=head.metadata, minor=head.minor, extra=head.extra)


def metadata_digests(metadata: Mapping[str, JSON]) -> dict[str, str]:
    """Digests of a notebook's metadata, by key."""
    return {key: value_digest(value) for key, value in kept_metadata(dict(metadata)).items()}


class Encoder:
    """Follows a room and serialises what changed.

    Args:
        room: the document.
        inline: the document's budget of inline values; counted anew with each snapshot.
    """

    def __init__(self, room: Room, inline: Inline) -> None:
        self._room = room
        self._inline = inline
        self.version = 0
        """Grows with every change that a file would show."""
        self._encoded: dict[MirrorCell, EncodedCell] = {}
        self._dirty: set[MirrorCell] = set(room.mirror)
        self._minor = self.head().minor
        self._turn = asyncio.Lock()
        self._unsubscribe = room.subscribe(self._on_change)

    def close(self) -> None:
        """Stop following."""
        self._unsubscribe()

    def head(self) -> Head:
        """The notebook without its cells, now."""
        meta = whole_meta(read_map(self._room.meta))
        metadata, minor, extra = meta.get("metadata"), meta.get("nbformat_minor"), meta.get(EXTRA)
        return Head(
            metadata if isinstance(metadata, dict) else {},
            minor if isinstance(minor, int) else 5,
            extra if isinstance(extra, dict) else {},
        )

    async def snapshot(self) -> Snapshot:
        """The document at one moment: all cells of one turn of the loop, the one in which the last of them was read."""
        async with self._turn:
            await self._settle()
            # From here to the first await below nothing else runs: this is the moment.
            head, version = self.head(), self.version
            cells = [cell for cell in self._room.mirror if cell.id]
            read = [(cell, read_map(cell.shared)) for cell in cells if cell in self._dirty]
            waiting = {cell: self._streams(members) for cell, members in read}
            self._dirty.clear()
            now = {cell: self._encoded[cell] for cell in cells if cell not in waiting}
            for cell, members in read:
                texts = {key: await asyncio.to_thread(stream_text, await pieces, rest) for key, (pieces, rest) in waiting[cell].items()}
                now[cell] = encode_cell(members, minor=head.minor, streams={key: stream for key, stream in texts.items() if _kept(stream)})
                if texts:
                    await asyncio.sleep(0)
            self._encoded = now
            self._inline.used = sum(encoded.inline for encoded in now.values())
            return Snapshot([now[cell] for cell in cells], head, version)

    async def settle(self) -> None:
        """Serialise what changed, in slices: right afterwards :meth:`prints` costs little."""
        async with self._turn:
            await self._settle()

    async def _settle(self) -> None:
        self._check_minor()
        streaming: set[MirrorCell] = set()
        while len(self._dirty - streaming) > 8:
            self._encode_some(streaming)
            await asyncio.sleep(0)
        self._check_minor()

    def prints(self) -> list[CellPrint]:
        """Digests of the cells now, without waiting: a long stream that changed since the last snapshot counts as changed."""
        minor = self.head().minor
        return [
            self._encoded[cell].print if cell not in self._dirty else encode_cell(read_map(cell.shared), minor=minor).print
            for cell in self._room.mirror
            if cell.id
        ]

    def _encode_some(self, streaming: set[MirrorCell]) -> None:
        end = time.perf_counter() + _SLICE
        for cell in list(self._dirty - streaming):
            members: Cell = read_map(cell.shared)
            if stream_rests(members):
                streaming.add(cell)
            else:
                self._dirty.discard(cell)
                self._encoded[cell] = encode_cell(members, minor=self._minor)
            if time.perf_counter() > end:
                return

    def _streams(self, members: Cell) -> dict[str, tuple[asyncio.Future[list[bytes]], str]]:
        return {key: (self._room.log.stream(key), rest) for key, rest in stream_rests(members).items()}

    def _check_minor(self) -> None:
        minor = self.head().minor
        if minor != self._minor:
            self._minor = minor
            self._dirty = set(self._room.mirror)

    def _on_change(self, change: Change, by_page: bool) -> None:
        for cell in change.removed:
            self._dirty.discard(cell)
            self._encoded.pop(cell, None)
        touched = [cell for cell, names in change.touched.items() if names != {"execution_state"}]
        self._dirty.update(cell for cell in (*change.inserted, *touched) if cell.id)
        if change.inserted or change.removed or change.meta or touched:
            self.version += 1


def _kept(stream: StreamText) -> bool:
    """Whether the log still had the text: it goes when the run that made it is replaced, and a copy of the output may be left."""
    return stream.raw != b"[]"
