"""Watches the event loop: how long a callback ever kept everybody else waiting.

Time in which this thread was ready to run, and the machine had no processor for it, is not counted (Linux says how long); nor
such time of another thread, which may have held the interpreter's lock meanwhile; nor time in which a virtual machine's processors
were taken away by the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import time
from typing import NamedTuple

log = logging.getLogger(__name__)

PERIOD = 0.02
"""Seconds between two heartbeats."""
RESTING = 0.25
"""Seconds between two heartbeats when nothing has been done for a while: fifty wake-ups a second would be all that an idle server does."""
WARN_ABOVE = 0.25
"""A stall of so many seconds is logged."""
_AT_WORK = 0.001
"""Seconds: a thread that computed for longer between two heartbeats had something to do."""
_AWAKE = 2.0
"""Seconds of short periods after something was done."""
_ASK_STOLEN = 0.1
_ASK_OTHERS = 1.0
"""Seconds after which the system is asked again what the host took, and what other threads waited: both take long to answer. All of
it counts as taken from the last beat."""
_TICKS = os.sysconf("SC_CLK_TCK")


class Stall(NamedTuple):
    """The loop stood still for so many ``seconds``; its thread computed for ``work`` seconds of them and of the time since the
    heartbeat before, and ``reads`` times a thread of ours waited for a page of memory from the disk."""

    seconds: float = 0.0
    work: float = 0.0
    reads: int = 0


class LoopWatch:
    """A heartbeat. ``longest`` is the longest stall since the start or the last :meth:`reset`.

    It rests while nothing is done: of the first stall after a rest it misses up to ``RESTING``.

    Args:
        watchful: seconds without rest after the start and after each reset.
    """

    def __init__(self, *, watchful: float = 10.0) -> None:
        self.longest = Stall()
        self._watchful = watchful
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._schedule: int | None = None
        self._waited = 0.0
        self._others_waited = 0.0
        self._stolen = 0.0
        self._stolen_asked = self._others_asked = 0.0
        self._awake_until = 0.0
        self._used = (0.0, 0)

    def start(self) -> None:
        """Begin, on the running loop."""
        with contextlib.suppress(OSError):
            self._schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self._waited = self._waiting()
        self._others_waited = self._others_waiting()
        self._stolen = _stolen()
        self._used = _used()
        self._awake_until = time.monotonic() + self._watchful
        self._schedule_beat(time.monotonic())

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._schedule is not None:
            os.close(self._schedule)
            self._schedule = None

    def reset(self) -> Stall:
        """Forget the longest stall, and return it. From now on it does not rest for a while."""
        now = time.monotonic()
        self._awake_until = now + self._watchful
        if self._timer is not None and self._due > now + PERIOD:
            self._timer.cancel()
            self._schedule_beat(now)
        longest, self.longest = self.longest, Stall()
        return longest

    def _beat(self) -> None:
        now, used = time.monotonic(), _used()
        waited = self._waiting()
        late = now - self._due - (waited - self._waited)
        self._waited = waited
        if late > PERIOD or now - self._stolen_asked > _ASK_STOLEN:
            stolen = _stolen()
            late -= stolen - self._stolen
            self._stolen, self._stolen_asked = stolen, now
        if late > 2 * PERIOD or now - self._others_asked > _ASK_OTHERS:
            others = self._others_waiting()
            late -= max(0.0, others - self._others_waited)
            self._others_waited, self._others_asked = others, now
        stall = Stall(late, used[0] - self._used[0], used[1] - self._used[1])
        if late > self.longest.seconds:
            self.longest = stall
        if late > WARN_ABOVE:
            log.warning(
                "The event loop stood still for %d ms (%d ms of them at work, %d pages read from disk).",
                late * 1000,
                stall.work * 1000,
                stall.reads,
            )
        if stall.work > _AT_WORK or late > PERIOD:
            self._awake_until = max(self._awake_until, now + _AWAKE)
        # What this took is no work of the loop's.
        self._used = _used()
        self._schedule_beat(time.monotonic())

    def _schedule_beat(self, now: float) -> None:
        period = PERIOD if now < self._awake_until else RESTING
        self._due = now + period
        self._timer = asyncio.get_running_loop().call_later(period, self._beat)

    def _waiting(self) -> float:
        """Seconds that the loop's thread ever waited for a processor; 0 where the system does not tell."""
        return 0.0 if self._schedule is None else _seconds_waited(self._schedule)

    def _others_waiting(self) -> float:
        """Seconds that the other threads ever did, added."""
        total = 0.0
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/self/task"):
                # A thread may end meanwhile.
                with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/schedstat", "rb") as file:
                    total += _seconds_waited(file.fileno())
        return total - self._waiting()


def _used() -> tuple[float, int]:
    """Seconds that this thread ever computed, and how often any of ours had to wait for a page of memory from the disk: one that
    loads compiled code has the interpreter's lock meanwhile."""
    process = resource.getrusage(resource.RUSAGE_SELF)
    usage = resource.getrusage(resource.RUSAGE_THREAD) if hasattr(resource, "RUSAGE_THREAD") else process
    return usage.ru_utime + usage.ru_stime, process.ru_majflt


def _seconds_waited(schedstat: int) -> float:
    # proc(5): nanoseconds on a processor, nanoseconds waiting for one, time slices.
    try:
        return int(os.pread(schedstat, 100, 0).split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _stolen() -> float:
    """Seconds that the host ever took away from this machine's processors; 0 where the system does not tell."""
    # proc(5): "cpu", then ticks as user, nice, system, idle, iowait, irq, softirq, steal, ..., of all processors added.
    try:
        with open("/proc/stat", "rb") as file:
            return int(file.readline().split()[8]) / _TICKS
    except (OSError, IndexError, ValueError):
        return 0.0
