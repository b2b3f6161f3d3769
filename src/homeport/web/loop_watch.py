"""Watches the event loop: how long a callback ever kept everybody else waiting.

What a busy machine took is not the loop's doing: time in which the thread could have run and got no processor is left out,
where the kernel tells (Linux: ``/proc/<pid>/schedstat``, second number, nanoseconds).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time

log = logging.getLogger(__name__)

PERIOD = 0.02
"""Seconds between two heartbeats."""
WARN_ABOVE = 0.25
"""A stall of so many seconds is logged."""


class LoopWatch:
    """A heartbeat. ``longest`` is the longest stall in seconds since the start or the last :meth:`reset`."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._waited = 0.0
        self._schedule: int | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        with contextlib.suppress(OSError):
            self._schedule = os.open("/proc/self/schedstat", os.O_RDONLY)
        self._waited = self._without_processor()
        try:
            self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._schedstat = -1
        self._waited = self._waiting()
        self._due = time.monotonic() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._beat)

    def _waiting(self) -> float:
        """Seconds that this thread ever waited for a processor; 0 where the system does not tell."""
        # proc(5): nanoseconds on a processor, nanoseconds waiting for one, time slices.
        return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e9 if self._schedstat >= 0 else 0.0

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._schedule is not None:
            os.close(self._schedule)
            self._schedule = None

    def reset(self) -> float:
        """Forget the longest stall, and return it."""
        longest, self.longest = self.longest, 0.0
        return longest

    def _beat(self) -> None:
        waited = self._without_processor()
        late = time.monotonic() - self._due - (waited - self._waited)
        self._waited = waited
        if late > self.longest:
            self.longest = late
        if late > WARN_ABOVE:
            log.warning("The event loop stood still for %d ms.", late * 1000)
        self._due = time.monotonic() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._beat)

    def _without_processor(self) -> float:
        """Seconds since the start of the process in which its first thread, the loop's, waited for a processor; 0 where unknown."""
        if self._schedule is None:
            return 0.0
        try:
            return int(os.pread(self._schedule, 64, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0
