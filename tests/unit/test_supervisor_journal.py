"""The journal under random histories: appends, losses, readers, a disk that fails, deaths of the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.profiles import examples
from homeport.core.journal import (
    KEPT,
    OUTPUTS,
    SEQS_AFTER_FAILURE,
    STREAMS,
    Append,
    Command,
    Delete,
    End,
    Journal,
    Lane,
    Limits,
    Lost,
    MakeRoom,
    Mark,
    Piece,
    Release,
    Retry,
    SegmentName,
    Write,
    WriteFailed,
    scan,
)
from homeport.protocol.supervisor import Channel, Ended, Entry, Truncated, decode_item


class Disk:
    """Does what supervisor/journal_files.py does, in a dict; writing can be made to fail after some bytes."""

    def __init__(self) -> None:
        self.files: dict[SegmentName, bytes] = {}
        self.mark = 0
        self.full = False

    def carry_out(self, journal: Journal, commands: Sequence[Command]) -> None:
        waiting = deque(commands)
        while waiting or (waiting := deque(journal.handle(MakeRoom()))):
            match waiting.popleft():
                case Write(name, offset, data):
                    assert len(self.files.get(name, b"")) == offset, "the file is as long as the journal believes"
                    if self.full:
                        waiting.extend(journal.handle(WriteFailed(name, offset)))
                    else:
                        self.files[name] = self.files.get(name, b"") + data
                case Delete(name):
                    self.files.pop(name, None)
                case Mark(reached):
                    self.mark = reached


def read_all(journal: Journal, disk: Disk, after: int, budget: int) -> list[Entry | Truncated | Ended]:
    """One read, decoded."""
    found: list[Entry | Truncated | Ended] = []
    for item in journal.read(after, budget):
        if isinstance(item, Piece):
            data = item.data if item.data is not None else disk.files[item.name][item.offset : item.offset + item.size]
            ends = scan(item.name, data).ends
            assert len(ends) == item.count
            assert not item.cuts or list(item.cuts) == list(ends)
            found += [decode_item(data[start:stop]) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
        else:
            found.append(item)
    return found


CHANNELS: dict[Lane, Channel] = {STREAMS: "iopub", OUTPUTS: "iopub", KEPT: "shell"}


class JournalHistories(RuleBasedStateMachine):
    """A journal with small limits, two readers, and a model: every message that was ever appended, by seq."""

    @initialize(memory=st.integers(200, 2000), disk_limit=st.integers(200, 4000), segment=st.integers(50, 500))
    def begin(self, memory: int, disk_limit: int, segment: int) -> None:
        self.limits = Limits(memory, disk_limit, segment)
        self.journal = Journal(self.limits)
        self.disk = Disk()
        self.said: dict[int, tuple[Lane, bytes]] = {}
        self.places = {"fast": 0, "slow": 0}
        self.ended_for: set[str] = set()

    def do(self, commands: Sequence[Command]) -> None:
        self.disk.carry_out(self.journal, commands)

    @precondition(lambda self: self.journal.ended is None)
    @rule(
        messages=st.lists(
            st.tuples(st.sampled_from([STREAMS, STREAMS, STREAMS, OUTPUTS, KEPT]), st.binary(max_size=120)), min_size=1, max_size=12
        )
    )
    def append(self, messages: list[tuple[Lane, bytes]]) -> None:
        first = self.journal.last + 1
        self.do(self.journal.handle(Append([(lane, CHANNELS[lane], [b"{}", b"{}", b"{}", content]) for lane, content in messages])))
        self.said.update(enumerate(messages, first))
        assert self.journal.last == first + len(messages) - 1, "seqs are dense"

    @precondition(lambda self: self.journal.ended is None)
    @rule(count=st.integers(1, 1000))
    def lose(self, count: int) -> None:
        self.do(self.journal.handle(Lost(count, "lost")))

    @rule(reader=st.sampled_from(["fast", "slow"]), budget=st.integers(1, 3000))
    def read(self, reader: str, budget: int) -> None:
        place = self.places[reader]
        for item in read_all(self.journal, self.disk, place, budget):
            match item:
                case Entry(seq, channel, parts):
                    assert seq == place + 1, "each entry once, in order, and every gap is named"
                    lane, content = self.said[seq]
                    assert (channel, parts[3]) == (CHANNELS[lane], content)
                    place = seq
                case Truncated(first, last, reason):
                    assert first == place + 1 <= last
                    assert reason
                    place = last
                case Ended():
                    assert place == self.journal.last
                    self.ended_for.add(reader)
        assert place > self.places[reader] or place == self.journal.last, "a read goes on unless everything was read"
        self.places[reader] = place

    @rule(full=st.booleans())
    def disk_fills_up(self, full: bool) -> None:
        self.disk.full = full

    @rule()
    def retry(self) -> None:
        self.do(self.journal.handle(Retry()))
        assert self.journal.failing <= self.disk.full

    @rule()
    def release(self) -> None:
        self.do(self.journal.handle(Release()))

    @rule(torn=st.integers(0, 30))
    def die(self, torn: int) -> None:
        """The supervisor is killed, perhaps in the middle of a write; the next one takes over."""
        last, failing = self.journal.last, self.journal.failing
        newest = max(self.disk.files, key=lambda name: name.first, default=None)
        if newest is not None and torn:
            self.disk.files[newest] += b"\x94\x00\xce\x00"[: torn % 5]
        found = [scan(name, data) for name, data in self.disk.files.items()]
        for each in found:
            self.disk.files[each.name] = self.disk.files[each.name][: each.ends[-1] if each.ends else 0]
        full, self.disk.full = self.disk.full, False
        self.journal, commands = Journal.recovered(self.limits, found, reached=self.disk.mark, ended=self.journal.ended)
        self.do(commands)
        self.disk.full = full
        if failing:
            assert self.journal.last >= last, "a seq that a reader may have had is not given again"
            assert self.journal.last <= last + SEQS_AFTER_FAILURE
        else:
            # What was dropped at the very end is not known any more; nobody is told a wrong thing by that.
            assert self.journal.last <= last
            self.places = {reader: min(place, self.journal.last) for reader, place in self.places.items()}

    @precondition(lambda self: self.journal.ended is None)
    @rule()
    def end(self) -> None:
        self.do(self.journal.handle(End(Ended(1, "exited with status 0"))))

    @invariant()
    def consistent(self) -> None:
        if hasattr(self, "journal"):
            self.journal.check()
            if not self.journal.failing:
                assert sum(map(len, self.disk.files.values())) <= self.limits.disk
            assert bool(self.disk.mark) == self.journal.failing


TestJournalHistories = JournalHistories.TestCase
TestJournalHistories.settings = settings(max_examples=examples(150), stateful_step_count=40)


def message(content: bytes) -> list[bytes]:
    return [b"{}", b"{}", b"{}", content]


def test_stream_chunks_go_before_what_must_outlive_them() -> None:
    journal, disk = Journal(Limits(memory=1000, disk=20_000, segment=500)), Disk()
    for number in range(400):
        disk.carry_out(
            journal, journal.handle(Append([(STREAMS, "iopub", message(b"x" * 100)), (OUTPUTS, "iopub", message(b"%d" % number))]))
        )
        if number % 10 == 0:
            disk.carry_out(journal, journal.handle(Append([(KEPT, "shell", message(b"reply"))])))
    items = read_all(journal, disk, 0, 1 << 20)
    replies = [item for item in items if isinstance(item, Entry) and item.parts[3] == b"reply"]
    streams = [item for item in items if isinstance(item, Entry) and item.parts[3].startswith(b"x")]
    gaps = [item for item in items if isinstance(item, Truncated)]
    assert len(replies) == 40, "not one reply was dropped"
    assert 0 < len(streams) < 400
    assert gaps
    assert "limit" in gaps[0].reason


def test_a_full_disk_costs_the_oldest_output_only_when_memory_is_full_too() -> None:
    journal, disk = Journal(Limits(memory=2000, disk=100_000, segment=300)), Disk()
    disk.full = True
    for _ in range(10):
        disk.carry_out(journal, journal.handle(Append([(STREAMS, "iopub", message(b"y" * 50))])))
    assert journal.failing
    assert [type(item) for item in read_all(journal, disk, 0, 1 << 20)] == [Entry] * 10
    disk.full = False
    disk.carry_out(journal, journal.handle(Retry()))
    assert not journal.failing
    recovered, _ = Journal.recovered(journal.limits, [scan(name, data) for name, data in disk.files.items()], reached=disk.mark)
    assert recovered.last == 10, "what waited in memory was written"


def test_seqs_are_not_given_again_when_the_disk_forgot_the_newest() -> None:
    limits = Limits(memory=200, disk=200, segment=74)
    journal, disk = Journal(limits), Disk()
    for _ in range(2):
        disk.full = True
        replies = [(KEPT, CHANNELS[KEPT], message(b"")) for _ in range(2)]
        disk.carry_out(journal, journal.handle(Append([(STREAMS, "iopub", message(b"")) for _ in range(9)] + replies)))
        last, disk.full = journal.last, False
        found = [scan(name, data) for name, data in disk.files.items()]
        journal, commands = Journal.recovered(limits, found, reached=disk.mark)
        disk.carry_out(journal, commands)
        assert journal.last >= last


@pytest.mark.parametrize("cut", [1, 2, 7, 30])
def test_an_item_that_was_cut_off_is_not_there(cut: int) -> None:
    journal, disk = Journal(), Disk()
    disk.carry_out(journal, journal.handle(Append([(STREAMS, "iopub", message(b"a" * 300)), (STREAMS, "iopub", message(b"b" * 70_000))])))
    (name,) = disk.files
    assert list(scan(name, disk.files[name]).seqs) == [1, 2]
    assert list(scan(name, disk.files[name][:-cut]).seqs) == [1]
