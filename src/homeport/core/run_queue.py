"""The queue of one document's runs: what waits, what runs, and how each run ended.

A run is submitted at most once: it goes from ``queued`` to ``submitted`` with the message id that its request has for ever,
and from there to ``finished``; at most one is submitted at a time. Events come in, the runs that are new or have changed come out;
the caller makes them durable in that order, then sends the request of a run that became ``submitted``, and tells who waits. Pure;
cells, kernels and the clock are the caller's (``documents/runner.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

RunState = Literal["queued", "submitted", "finished"]
CellState = Literal["idle", "queued", "running"]
RunResult = Literal["", "ok", "error", "aborted", "cancelled", "unknown"]
"""``""`` while not finished. ``aborted``: never run, or cut short, because of what happened to another run or the kernel."""

_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one cell. Times are seconds since the epoch."""

    run_id: str
    cell_id: str
    ordinal: int
    stop_on_error: bool
    queued: float
    state: RunState = "queued"
    result: RunResult = ""
    msg_id: str = ""
    kernel_id: str = ""
    """The kernel that has it; while it is queued, see ``Enqueue.after``."""
    generation: int = 0
    submitted: float | None = None
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run failed, and others did not run because of that."""

    failed: Run
    aborted: tuple[Run, ...]


# ---- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Somebody wants cells run, in this order. Runs whose id is known are ignored."""

    runs: Sequence[tuple[str, str]]
    """Run id and cell id of each."""
    stop_on_error: bool
    now: float
    after: tuple[str, int] | None = None
    """A kernel and its generation that is to be over before: its end, and what becomes of its run, leaves these runs waiting."""


@dataclass(frozen=True, slots=True)
class Start:
    """The run at the head goes to a kernel."""

    msg_id: str
    kernel_id: str
    generation: int
    now: float


@dataclass(frozen=True, slots=True)
class Skip:
    """The run at the head, not submitted, has nothing for a kernel to do (Markdown, an empty cell) or no cell any more."""

    result: RunResult
    now: float


@dataclass(frozen=True, slots=True)
class Replied:
    """The kernel answered the execute request ``msg_id``."""

    msg_id: str
    status: str
    """``ok``, ``error`` or ``aborted``, as in an execute_reply; or ``unknown``."""
    tolerated: bool
    """The cell may fail (tag ``raises-exception``)."""
    now: float


@dataclass(frozen=True, slots=True)
class Idle:
    """The kernel said idle after the request ``msg_id``: all its outputs have come."""

    msg_id: str
    now: float


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Somebody interrupts: when the running run fails of it, nothing goes on, whatever the cells tolerate.

    When no run has gone to a kernel yet (it is starting), what waits is aborted: there is nothing else to interrupt.
    """

    now: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Take a queued run out, or all of them (``run_id`` None). A submitted one is the kernel's: interrupt it."""

    run_id: str | None
    now: float


@dataclass(frozen=True, slots=True)
class Lost:
    """That generation of the kernel is over; its run ends with ``result``, and what waits is aborted."""

    kernel_id: str
    generation: int
    result: RunResult
    now: float


@dataclass(frozen=True, slots=True)
class Abort:
    """What waits is aborted: no kernel can be had, or it is being replaced."""

    now: float
    ended: tuple[str, int] | None = None
    """The kernel and the generation whose end is the reason."""


Event: TypeAlias = Enqueue | Start | Skip | Replied | Idle | Interrupt | Cancel | Lost | Abort


class RunQueue:
    """The queue.

    Args:
        runs: what was durable, in any order; the queue goes on from there. A submitted run is to be sent again under its
            message id by the caller.
    """

    def __init__(self, runs: Sequence[Run] = ()) -> None:
        ordered = sorted(runs, key=lambda run: run.ordinal)
        self._waiting: dict[str, Run] = {run.run_id: run for run in ordered if run.state == "queued"}
        submitted = [run for run in ordered if run.state == "submitted"]
        self._running: Run | None = submitted[0] if submitted else None
        self._results: dict[str, RunResult] = {run.run_id: run.result for run in ordered if run.state == "finished"}
        self._next = max((run.ordinal for run in runs), default=0) + 1
        self._reply: Replied | None = None
        self._idle = False
        self._interrupted = False
        self._stopped = _how_it_stopped(ordered)
        # How many runs of each cell wait: asked for every cell of a notebook whose queue is as long.
        self._queued = Counter(run.cell_id for run in self._waiting.values())
        self.check()

    @property
    def running(self) -> Run | None:
        """The run that the kernel has."""
        return self._running

    @property
    def head(self) -> Run | None:
        """The next run, when none is running."""
        return next(iter(self._waiting.values()), None) if self._running is None else None

    @property
    def runs(self) -> list[Run]:
        """The submitted run and those that wait, in order."""
        return [*([self._running] if self._running else []), *self._waiting.values()]

    @property
    def stopped(self) -> Stopped | None:
        """How the last runs ended before their time, until something is queued again."""
        return self._stopped

    @property
    def after(self) -> tuple[str, int] | None:
        """The kernel and the generation that is to be over before what waits may begin."""
        return next((_after(run) for run in self._waiting.values() if run.kernel_id), None)

    def result(self, run_id: str) -> RunResult | None:
        """How a run ended; ``""`` while it has not, None when it is not known."""
        if run_id in self._waiting or (self._running is not None and self._running.run_id == run_id):
            return ""
        return self._results.get(run_id)

    def state(self, cell_id: str) -> CellState:
        """Whether a cell runs, waits, or neither."""
        if self._running is not None and self._running.cell_id == cell_id:
            return "running"
        return "queued" if cell_id in self._queued else "idle"

    def handle(self, event: Event) -> list[Run]:
        """The one mutator. Events about requests that are not the running one's are ignored.

        Returns:
            The runs that are new or have changed, to be made durable together.
        """
        match event:
            case Enqueue():
                return self._enqueue(event)
            case Start():
                return self._start(event)
            case Skip():
                head = self.head
                return self._finish(head, event.result, event.now) if head else []
            case Replied() if self._running and event.msg_id == self._running.msg_id:
                self._reply = self._reply or event
                return self._settle(event.now)
            case Idle() if self._running and event.msg_id == self._running.msg_id:
                self._idle = True
                return self._settle(event.now)
            case Interrupt():
                self._interrupted = self._running is not None
                return [] if self._interrupted else self._abort(event.now)
            case Cancel():
                chosen = [run for run in self._waiting.values() if event.run_id in (None, run.run_id)]
                return [ended for run in chosen for ended in self._finish(run, "cancelled", event.now)]
            case Lost():
                return self._lose(event)
            case Abort():
                return self._abort(event.now, event.ended)
            case _:
                pass
        return []

    def _enqueue(self, event: Enqueue) -> list[Run]:
        known = {run.run_id for run in self.runs} | self._results.keys()
        changed: list[Run] = []
        for run_id, cell_id in event.runs:
            if run_id not in known:
                known.add(run_id)
                kernel_id, generation = event.after or ("", 0)
                run = Run(run_id, cell_id, self._next, event.stop_on_error, event.now, kernel_id=kernel_id, generation=generation)
                self._next += 1
                self._waiting[run_id] = run
                self._queued[cell_id] += 1
                changed.append(run)
                self._stopped = None
        return changed

    def _start(self, event: Start) -> list[Run]:
        head = self.head
        if head is None:
            return []
        run = replace(
            head, state="submitted", msg_id=event.msg_id, kernel_id=event.kernel_id, generation=event.generation, submitted=event.now
        )
        self._leave(head)
        self._running, self._reply, self._idle, self._interrupted = run, None, False, False
        return [run]

    def _settle(self, now: float) -> list[Run]:
        run, reply = self._running, self._reply
        if run is None or reply is None or not self._idle:
            return []
        result: RunResult = reply.status if reply.status in ("ok", "error", "aborted") else "unknown"  # type: ignore[assignment]
        changed = self._finish(run, result, now)
        stops = run.stop_on_error and not reply.tolerated
        if result != "ok":
            if stops or self._interrupted:
                changed += self._abort(now, _after(run))
            self._stopped = _how_it_stopped(changed)
        return changed

    def _lose(self, event: Lost) -> list[Run]:
        run = self._running
        if run is None or (run.kernel_id, run.generation) != (event.kernel_id, event.generation):
            return []
        result = event.result
        if self._reply is not None and self._reply.status in ("ok", "error"):
            result = self._reply.status  # type: ignore[assignment]
        changed = [*self._finish(run, result, event.now), *self._abort(event.now, _after(run))]
        self._stopped = _how_it_stopped(changed)
        return changed

    def _abort(self, now: float, ended: tuple[str, int] | None = None) -> list[Run]:
        aborted = [run for run in self._waiting.values() if ended is None or _after(run) != ended]
        return [ended for run in aborted for ended in self._finish(run, "aborted", now)]

    def _finish(self, run: Run, result: RunResult, now: float) -> list[Run]:
        if run is self._running:
            self._running = None
        else:
            self._leave(run)
        self._results[run.run_id] = result
        if len(self._results) > _REMEMBERED:
            del self._results[next(iter(self._results))]
        return [replace(run, state="finished", result=result, finished=now)]

    def _leave(self, run: Run) -> None:
        """It does not wait any more."""
        del self._waiting[run.run_id]
        self._queued[run.cell_id] -= 1
        if not self._queued[run.cell_id]:
            del self._queued[run.cell_id]

    def check(self) -> None:
        """The invariants; tests call it after every event."""
        ids = [run.run_id for run in self.runs]
        assert len(set(ids)) == len(ids), "a run is in the queue once"
        assert not self._results.keys() & set(ids), "what is finished is not in the queue"
        assert all(run.state == "queued" and not run.msg_id for run in self._waiting.values())
        ordinals = [run.ordinal for run in self.runs]
        assert [*ordinals, self._next] == sorted({*ordinals, self._next}), "first in, first out"
        assert self._running is None or (self._running.state == "submitted" and self._running.msg_id)
        assert all(self._results.values()), "what is finished has a result"
        assert self._queued == Counter(run.cell_id for run in self._waiting.values()), "what is known of cells follows from the queue"


def _after(run: Run) -> tuple[str, int]:
    return run.kernel_id, run.generation


def _how_it_stopped(runs: Sequence[Run]) -> Stopped | None:
    """The last run of a kernel that did not succeed was an error, others were aborted in that moment, and none was queued since."""
    unsuccessful = [(run.finished, run) for run in runs if run.msg_id and run.finished is not None and run.result != "ok"]
    if not unsuccessful:
        return None
    when, failed = max(unsuccessful, key=lambda each: each[0])
    aborted = tuple(run for run in runs if run.result == "aborted" and run.finished == when and run is not failed)
    since = any(run.queued > when for run in runs)
    return Stopped(failed, aborted) if failed.result == "error" and aborted and not since else None
