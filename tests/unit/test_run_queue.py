"""The queue of runs: at most one in the kernel, none twice, and a known end for each."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.profiles import examples
from homeport.core.run_queue import (
    Abort,
    Cancel,
    Enqueue,
    Event,
    Idle,
    Interrupt,
    Lost,
    Replied,
    Run,
    RunQueue,
    Skip,
    Start,
)

_ids = st.sampled_from([f"r{n}" for n in range(12)])


_afters = st.sampled_from([None, None, ("k", 1), ("k", 2)])


def left(waiting: list[Run], ended: tuple[str, int] | None) -> list[Run]:
    """Those that wait for that end."""
    return [run for run in waiting if ended is not None and (run.kernel_id, run.generation) == ended]


class Machine(RuleBasedStateMachine):
    """A document, its database and its kernel; it may crash between any two events."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = RunQueue()
        self.rows: dict[str, Run] = {}
        self.sent: list[str] = []
        self.count = 0
        self.now = 0.0

    def do(self, event: Event) -> list[Run]:
        self.now += 1
        changed = self.queue.handle(event)
        for run in changed:
            before = self.rows.get(run.run_id)
            order = ["queued", "submitted", "finished"]
            assert before is None or order.index(before.state) < order.index(run.state), "a run only goes forward"
            assert before is None or before.ordinal == run.ordinal
            self.rows[run.run_id] = run
            if run.state == "submitted":
                self.sent.append(run.run_id)
        assert len(set(self.sent)) == len(self.sent), "submitted once"
        return changed

    @rule(runs=st.lists(st.tuples(_ids, st.sampled_from("abc")), max_size=4), stop=st.booleans(), after=_afters)
    def enqueue(self, runs: list[tuple[str, str]], stop: bool, after: tuple[str, int] | None) -> None:
        known = set(self.rows)
        changed = self.do(Enqueue(runs, stop, self.now, after))
        assert {run.run_id for run in changed} == {run_id for run_id, _ in runs} - known

    @rule()
    def start(self) -> None:
        head = self.queue.head
        self.count += 1
        changed = self.do(Start(f"m{self.count}", "k", 1, self.now))
        assert bool(changed) == (head is not None)
        if head is not None:
            assert self.queue.running is not None
            assert self.queue.running.run_id == head.run_id

    @rule(result=st.sampled_from(["ok", "cancelled"]))
    def skip(self, result: Any) -> None:
        head = self.queue.head
        self.do(Skip(result, self.now))
        assert head is None or self.queue.result(head.run_id) == result

    @precondition(lambda self: self.queue.running is not None)
    @rule(status=st.sampled_from(["ok", "error", "aborted", "unknown"]), tolerated=st.booleans(), first=st.booleans())
    def reply_and_idle(self, status: str, tolerated: bool, first: bool) -> None:
        run, waiting = self.queue.running, self.queue.runs[1:]
        assert run is not None
        reply, idle = Replied(run.msg_id, status, tolerated, self.now), Idle(run.msg_id, self.now)
        for event in (reply, idle) if first else (idle, reply):
            assert self.queue.running is run, "both are needed"
            self.do(event)
        assert self.queue.result(run.run_id) == status
        if status == "ok" or not run.stop_on_error or tolerated:
            if not self.interrupted:
                assert self.queue.runs == waiting
        else:
            assert self.queue.runs == left(waiting, ("k", 1))
            assert all(self.queue.result(other.run_id) == "aborted" for other in waiting if other not in self.queue.runs)
        self.interrupted = False

    interrupted = False

    @rule()
    def interrupt(self) -> None:
        self.interrupted = self.queue.running is not None
        changed = self.do(Interrupt(self.now))
        assert not self.interrupted or changed == []
        assert self.interrupted or self.queue.runs == []

    @rule(msg=st.sampled_from(["other", "m0"]))
    def others(self, msg: str) -> None:
        assert self.do(Replied(msg, "error", False, self.now)) == self.do(Idle(msg, self.now)) == []

    @rule(run_id=st.one_of(st.none(), _ids))
    def cancel(self, run_id: str | None) -> None:
        running = self.queue.running
        self.do(Cancel(run_id, self.now))
        assert self.queue.running is running
        assert all(run is running or (run_id is not None and run.run_id != run_id) for run in self.queue.runs)

    @rule(generation=st.integers(1, 2))
    def lost(self, generation: int) -> None:
        running, waiting = self.queue.running, self.queue.runs[1:]
        changed = self.do(Lost("k", generation, "error", self.now))
        assert bool(changed) == (running is not None and generation == 1)
        if changed:
            assert self.queue.runs == left(waiting, ("k", 1))
            self.interrupted = False

    @rule(ended=_afters)
    def abort(self, ended: tuple[str, int] | None) -> None:
        running, runs = self.queue.running, self.queue.runs
        self.do(Abort(self.now, ended))
        assert self.queue.runs == [run for run in runs if run is running or run in left(runs, ended)]

    @rule()
    def crash(self) -> None:
        before, stopped = self.queue.runs, self.queue.stopped
        self.queue = RunQueue(list(self.rows.values()))
        self.interrupted = False
        assert self.queue.runs == before
        assert self.queue.stopped == stopped

    @invariant()
    def sound(self) -> None:
        self.queue.check()
        assert len(set(self.sent)) == len(self.sent)
        for run_id, run in self.rows.items():
            assert self.queue.result(run_id) == run.result
        running = self.queue.running
        waiting = {run.cell_id for run in self.queue.runs if run is not running}
        for cell_id in {run.cell_id for run in self.rows.values()}:
            state = "running" if running and running.cell_id == cell_id else "queued" if cell_id in waiting else "idle"
            assert self.queue.state(cell_id) == state


Machine.TestCase.settings = settings(max_examples=examples(80), stateful_step_count=40)
TestMachine = Machine.TestCase


def test_an_interrupt_stops_the_rest_even_when_failures_are_tolerated() -> None:
    queue = RunQueue()
    queue.handle(Enqueue([("a", "1"), ("b", "2")], False, 0))
    queue.handle(Start("m", "k", 1, 0))
    queue.handle(Interrupt(0))
    queue.handle(Replied("m", "error", True, 1))
    queue.handle(Idle("m", 1))
    assert (queue.result("a"), queue.result("b"), queue.result("c")) == ("error", "aborted", None)
    assert queue.stopped is not None
    assert (queue.stopped.failed.run_id, [run.run_id for run in queue.stopped.aborted]) == ("a", ["b"])
    queue.handle(Enqueue([("d", "1")], True, 2))
    assert queue.stopped is None


def test_a_reply_that_came_before_the_kernel_died_counts() -> None:
    queue = RunQueue()
    queue.handle(Enqueue([("a", "1")], True, 0))
    assert [run.state for run in queue.handle(Start("m", "k", 1, 0))] == ["submitted"]
    queue.handle(Replied("m", "ok", False, 1))
    queue.handle(Lost("k", 1, "error", 2))
    assert queue.result("a") == "ok"
