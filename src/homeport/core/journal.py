"""The journal of one kernel's life: what is kept, in which order, and what is dropped first (pure).

Every message gets the next seq and is encoded once. Messages lie in three *lanes*, each a row of segments: stream chunks,
other output, and what must outlive both (replies, input requests, errors, idle). A segment is a file of encoded items one behind
the other; young segments are in memory too. A reader needs nothing but the last seq it has had: :meth:`Journal.read` merges the
lanes by seq and names every gap, so any number of readers go at their own pace without the journal knowing them.

When memory is short, the oldest segments that are on disk are let go from memory. When the disk limit is reached, or memory
is short while the disk fails, the oldest segment of the lowest lane that has one is dropped, and readers see a ``Truncated``.

The journal says what to write and what to delete; supervisor/journal_files.py does it. What a command leads to (a failed write)
is handled behind the commands that are already waiting, and when none waits any more, :class:`MakeRoom` is.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from homeport.protocol.jupyter import Parts
from homeport.protocol.supervisor import Channel, Ended, Entry, Truncated, encode_item

Lane = Literal[0, 1, 2]
STREAMS: Final = 0
OUTPUTS: Final = 1
KEPT: Final = 2
LANES: Final[tuple[Lane, ...]] = (STREAMS, OUTPUTS, KEPT)

SEQS_AFTER_FAILURE: Final = 1 << 20
"""Seqs skipped by a journal that is recovered after its disk failed: readers may have had seqs that the disk does not know."""


class Limits(msgspec.Struct, frozen=True):
    """Bytes: in memory, on disk, and in one segment."""

    memory: int = 4 << 20
    disk: int = 256 << 20
    segment: int = 512 << 10


class SegmentName(msgspec.Struct, frozen=True):
    """A segment is known by its lane and its first seq."""

    lane: Lane
    first: int


# --- events ---------------------------------------------------------------------------------------------------------


class Append(msgspec.Struct, frozen=True):
    """Messages of the kernel in the order of their arrival, each with its lane."""

    messages: Sequence[tuple[Lane, Channel, Parts]]


class Lost(msgspec.Struct, frozen=True):
    """``count`` messages never reached us; they take seqs all the same, so that every reader learns of it in its place."""

    count: int
    reason: str


class End(msgspec.Struct, frozen=True):
    """The kernel's life is over."""

    ended: Ended


class WriteFailed(msgspec.Struct, frozen=True):
    """A :class:`Write` did not succeed; the file holds its first ``offset`` bytes, as before."""

    name: SegmentName
    offset: int


class Retry(msgspec.Struct, frozen=True):
    """It may be that the disk works again."""


class Release(msgspec.Struct, frozen=True):
    """Nothing happens with this kernel just now: keep in memory only what is not on disk."""


class MakeRoom(msgspec.Struct, frozen=True):
    """All commands so far have been carried out: keep within the limits. (Not before: only now it is known what is on disk.)"""


Event = Append | Lost | End | WriteFailed | Retry | Release | MakeRoom


# --- commands -------------------------------------------------------------------------------------------------------


class Write(msgspec.Struct, frozen=True):
    """Write ``data`` at ``offset`` of the segment's file, which is as long as that. Report :class:`WriteFailed` if it cannot be done."""

    name: SegmentName
    offset: int
    data: bytes


class Delete(msgspec.Struct, frozen=True):
    """Delete the segment's file, if there is one."""

    name: SegmentName


class Mark(msgspec.Struct, frozen=True):
    """Note durably whether readers may get what is not on disk, without needing room on it.

    ``reached``: the newest seq when the disk began to fail; 0 when it does not. It is noted apart because what is on disk may have to go.
    """

    reached: int


Command = Write | Delete | Mark


# --- what a reader gets ------------------------------------------------------------------------------------------------


class Piece(msgspec.Struct, frozen=True):
    """``count`` encoded items with consecutive seqs up to ``last``, lying together in a segment.

    ``data`` is ``None`` when they are on disk only, at ``offset`` with ``size`` bytes. ``cuts``: in the lane KEPT, where the
    replies to different sessions lie, where each of the items ends, counted from ``offset``.
    """

    name: SegmentName
    offset: int
    size: int
    count: int
    last: int
    data: bytes | None
    cuts: Sequence[int]


@dataclass(slots=True)
class Segment:
    """The index of one segment, and its bytes while they are in memory."""

    name: SegmentName
    seqs: array[int] = field(default_factory=lambda: array("Q"))
    ends: array[int] = field(default_factory=lambda: array("Q"))
    data: bytearray | None = field(default_factory=bytearray)
    saved: int = 0
    """Bytes of it that are on disk."""

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def start(self, index: int) -> int:
        """The offset at which the item ``index`` begins."""
        return self.ends[index - 1] if index else 0


class Scanned(msgspec.Struct, frozen=True):
    """A segment's file as it was found: the index, and the ranges that its ``Truncated`` items stand for (first to last)."""

    name: SegmentName
    seqs: array[int]
    ends: array[int]
    ranges: dict[int, int]


class Journal:
    """See the module. ``last`` is the newest seq, 0 when there is none yet."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.last = 0
        self.ended: Ended | None = None
        self.failing = False
        self._lanes: tuple[list[Segment], list[Segment], list[Segment]] = ([], [], [])
        self._ranges: dict[int, int] = {}
        self._memory = 0
        self._disk = 0
        self._dropped = "some messages are not in the journal any more"

    @classmethod
    def recovered(
        cls, limits: Limits, segments: Sequence[Scanned], *, reached: int, ended: Ended | None = None
    ) -> tuple[Journal, list[Command]]:
        """The journal that these files (in any order) are the rest of. ``reached``: of the last :class:`Mark`."""
        journal = cls(limits)
        for found in sorted(segments, key=lambda each: each.name.first):
            if not found.seqs:
                continue
            segment = Segment(found.name, found.seqs, found.ends, None, found.ends[-1])
            journal._lanes[found.name.lane].append(segment)
            journal._ranges.update(found.ranges)
            journal._disk += segment.size
            last = found.seqs[-1]
            journal.last = max(journal.last, found.ranges.get(last, last))
        commands: list[Command] = []
        if reached:
            journal.last = max(journal.last, reached)
            commands = journal.handle(Lost(SEQS_AFTER_FAILURE, "the disk failed, and the supervisor died before it worked again"))
            commands.append(Mark(0))
        journal.ended = ended
        return journal, commands

    # --- the mutator -----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """Take one event, return what to do about it, in order."""
        match event:
            case Append():
                return self._append(event)
            case Lost():
                return self._lost(event)
            case End():
                self.ended = event.ended
                return []
            case WriteFailed():
                return self._write_failed(event)
            case Retry():
                return self._retry()
            case Release():
                self._release(0)
                return []
            case MakeRoom():
                return self._make_room()

    def _append(self, event: Append) -> list[Command]:
        seq = self.last
        touched: list[Segment] = []
        open_segments: dict[Lane, Segment] = {}
        for lane, channel, parts in event.messages:
            seq += 1
            segment = open_segments.get(lane)
            if segment is None or len(segment.data or b"") >= self.limits.segment:
                segment = open_segments[lane] = self._open_segment(lane, seq)
                touched.append(segment)
            self._add(segment, seq, encode_item(Entry(seq, channel, parts)))
        self.last = seq
        return self._save_all(touched)

    def _lost(self, event: Lost) -> list[Command]:
        first, self.last = self.last + 1, self.last + event.count
        segment = self._open_segment(KEPT, first)
        self._add(segment, first, encode_item(Truncated(first, self.last, event.reason)))
        self._ranges[first] = self.last
        return self._save_all([segment])

    def _add(self, segment: Segment, seq: int, item: bytes) -> None:
        assert segment.data is not None
        segment.data += item
        segment.seqs.append(seq)
        segment.ends.append(len(segment.data))
        self._memory += len(item)

    def _open_segment(self, lane: Lane, seq: int) -> Segment:
        segments = self._lanes[lane]
        if not segments or segments[-1].data is None or segments[-1].size >= self.limits.segment:
            segments.append(Segment(SegmentName(lane, seq)))
        return segments[-1]

    def _save_all(self, segments: Sequence[Segment]) -> list[Command]:
        return [] if self.failing else [command for segment in segments for command in self._save(segment)]

    def _save(self, segment: Segment) -> list[Command]:
        if segment.data is None or segment.saved == segment.size:
            return []
        write = Write(segment.name, segment.saved, bytes(memoryview(segment.data)[segment.saved :]))
        self._disk += segment.size - segment.saved
        segment.saved = segment.size
        return [write]

    def _write_failed(self, event: WriteFailed) -> list[Command]:
        segment = self._find(event.name)
        if segment is not None and segment.saved > event.offset:
            self._disk -= segment.saved - event.offset
            segment.saved = event.offset
        if self.failing:
            return []
        self.failing = True
        return [Mark(self.last)]

    def _retry(self) -> list[Command]:
        if not self.failing:
            return []
        self.failing = False
        commands = self._save_all([segment for lane in self._lanes for segment in lane])
        # Commands that a failed write leads to come behind these, so this mark does not outlast a failure.
        return [*commands, Mark(0)]

    def _make_room(self) -> list[Command]:
        commands: list[Command] = []
        while self._disk > self.limits.disk and (segment := self._oldest(on_disk=True)) is not None:
            commands += self._drop(
                segment, f"the journal's limit of {self.limits.disk >> 20} MiB on disk was reached, and the oldest output went first"
            )
        if self._memory > self.limits.memory:
            self._release(self.limits.memory)
        while self._memory > self.limits.memory and (segment := self._oldest(on_disk=False)) is not None:
            commands += self._drop(segment, "the disk is full or failing, and the oldest output had to leave memory")
        return commands

    def _release(self, wanted: int) -> None:
        """Let segments that are on disk go from memory, oldest first, until ``wanted`` bytes or fewer are left."""
        held = [segment for lane in self._lanes for segment in lane if segment.data is not None and segment.saved == segment.size]
        for segment in sorted(held, key=lambda each: each.name.first):
            if self._memory <= wanted:
                return
            # The segment that is being written stays while others can go: it is the one that readers want next.
            self._memory -= segment.size
            segment.data = None

    def _oldest(self, *, on_disk: bool) -> Segment | None:
        """The segment to drop first: of the lowest lane that has one, and never a lane's only one while another lane can give."""
        for spare in (1, 0):
            for lane in self._lanes:
                for segment in lane[: len(lane) - spare]:
                    if segment.saved if on_disk else segment.data is not None:
                        return segment
        return None

    def _drop(self, segment: Segment, reason: str) -> list[Command]:
        self._dropped = reason
        self._lanes[segment.name.lane].remove(segment)
        self._disk -= segment.saved
        if segment.data is not None:
            self._memory -= segment.size
        if segment.name.lane == KEPT:
            for seq in segment.seqs:
                self._ranges.pop(seq, None)
        return [Delete(segment.name)]

    def _find(self, name: SegmentName) -> Segment | None:
        return next((segment for segment in reversed(self._lanes[name.lane]) if segment.name == name), None)

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, after: int, budget: int) -> list[Piece | Truncated | Ended]:
        """What follows the seq ``after``, in order: at least one item if there is any, and about ``budget`` bytes at most.

        Empty at the tail. Behind the last item of an ended journal comes its ``Ended``.
        """
        found: list[Piece | Truncated | Ended] = []
        while budget > 0 and after < self.last:
            heads = [head for lane in self._lanes if (head := self._next(lane, after)) is not None]
            if not heads:
                found.append(Truncated(after + 1, self.last, self._dropped))
                after = self.last
                break
            heads.sort(key=lambda head: head[0])
            seq, segment, index = heads[0]
            if seq > after + 1:
                found.append(Truncated(after + 1, seq - 1, self._dropped))
            piece = self._piece(segment, index, heads[1][0] if len(heads) > 1 else self.last + 1, budget)
            found.append(piece)
            after = piece.last
            budget -= piece.size
        if budget > 0 and after >= self.last and self.ended is not None:
            found.append(self.ended)
        return found

    @staticmethod
    def _next(lane: list[Segment], after: int) -> tuple[int, Segment, int] | None:
        """The first item of the lane behind ``after``: its seq, segment and index."""
        if not lane or lane[-1].seqs[-1] <= after:
            return None
        # Nearly always it is in the last segment.
        place = len(lane) - 1 if lane[-1].seqs[0] <= after + 1 else bisect_right(lane, after, key=lambda segment: segment.seqs[-1])
        segment = lane[place]
        index = bisect_right(segment.seqs, after)
        return segment.seqs[index], segment, index

    def _piece(self, segment: Segment, index: int, before: int, budget: int) -> Piece:
        """Items from ``index`` on with consecutive seqs below ``before``, of about ``budget`` bytes, at least one."""
        seqs, start = segment.seqs, segment.start(index)
        stop = max(index + 1, min(bisect_left(seqs, before), bisect_right(segment.ends, start + budget)))
        if seqs[stop - 1] - seqs[index] != stop - 1 - index:
            stop = next(place for place in range(index + 1, stop) if seqs[place] != seqs[place - 1] + 1)
        if segment.name.lane == KEPT and self._ranges:
            stop = next((place + 1 for place in range(index, stop) if seqs[place] in self._ranges), stop)
        end, last = segment.ends[stop - 1], seqs[stop - 1]
        return Piece(
            segment.name,
            start,
            end - start,
            stop - index,
            self._ranges.get(last, last),
            None if segment.data is None else bytes(memoryview(segment.data)[start:end]),
            [each - start for each in segment.ends[index:stop]] if segment.name.lane == KEPT else (),
        )

    # --- invariants --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise AssertionError if the journal contradicts itself. For tests: it looks at everything."""
        everything: list[int] = []
        memory = disk = 0
        for number, lane in enumerate(self._lanes):
            seqs = [seq for segment in lane for seq in segment.seqs]
            assert seqs == sorted(set(seqs)), "the seqs of a lane grow"
            everything += seqs
            for segment in lane:
                assert segment.name == (SegmentName(LANES[number], segment.seqs[0])), "a segment is named by its first seq"
                assert len(segment.seqs) == len(segment.ends) > 0
                assert list(segment.ends) == sorted(set(segment.ends)), "items are not empty"
                assert segment.data is None or len(segment.data) == segment.size
                assert segment.data is not None or segment.saved == segment.size, "what is not in memory is on disk"
                assert 0 <= segment.saved <= segment.size
                memory += 0 if segment.data is None else segment.size
                disk += segment.saved
        assert len(everything) == len(set(everything)), "every seq is in one lane"
        assert all(0 < seq <= self.last for seq in everything)
        assert set(self._ranges) <= set(everything)
        assert (memory, disk) == (self._memory, self._disk), "what is counted is what is there"
        assert self._memory <= self.limits.memory, "the bound in memory holds"
        assert self._disk <= self.limits.disk, "the bound on disk holds"
        assert self.failing or all(segment.saved == segment.size for lane in self._lanes for segment in lane), "what can be written is"


def scan(name: SegmentName, data: bytes | memoryview) -> Scanned:
    """Index a segment's bytes, as a process that was killed may have left them: an item that is cut off at the end is not counted."""
    seqs, ends, ranges = array("Q"), array("Q"), dict[int, int]()
    at, end = 0, len(data)
    while at < end:
        try:
            stop = _skip(data, at)
            if stop > end:
                break
            tag, seq = data[at + 1], _unsigned(data, at + 2)[0]
            if tag == 1:
                ranges[seq] = _unsigned(data, _unsigned(data, at + 2)[1])[0]
        except (IndexError, ValueError):
            break
        seqs.append(seq)
        ends.append(stop)
        at = stop
    return Scanned(name, seqs, ends, ranges)


def _unsigned(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A msgpack unsigned integer and where it ends."""
    kind = data[at]
    if kind < 0x80:
        return kind, at + 1
    size = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}[kind] if 0xCC <= kind <= 0xCF else 0
    if not size:
        raise ValueError(f"0x{kind:02x} is no unsigned integer")
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


# msgpack's kinds that have a length behind them: how many bytes the length has.
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def _skip(data: bytes | memoryview, at: int) -> int:
    """Where the msgpack value at ``at`` ends; only the kinds that items consist of. The end may lie behind the data's.

    Raises:
        IndexError: the data ends before it can be known.
        ValueError: it is of another kind.
    """
    kind = data[at]
    if 0x90 <= kind <= 0x9F or kind in (0xDC, 0xDD):
        wide = 0 if kind <= 0x9F else 2 if kind == 0xDC else 4
        count = kind & 0x0F if not wide else int.from_bytes(data[at + 1 : at + 1 + wide], "big")
        at += 1 + wide
        for _ in range(count):
            at = _skip(data, at)
        return at
    if 0xA0 <= kind <= 0xBF:
        return at + 1 + (kind & 0x1F)
    if kind in _SIZED:
        wide = _SIZED[kind]
        if at + 1 + wide > len(data):
            raise IndexError(at)
        return at + 1 + wide + int.from_bytes(data[at + 1 : at + 1 + wide], "big")
    return _unsigned(data, at)[1]
