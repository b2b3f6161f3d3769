"""Watches the event loop: how long a callback ever kept everybody else waiting."""

from __future__ import annotations

import asyncio
import logging
import time

log = logging.getLogger(__name__)

PERIOD = 0.02
"""Seconds between two heartbeats."""
WARN_ABOVE = 0.25
"""A stall of so many seconds is logged; a busy machine alone makes shorter ones."""


class LoopWatch:
    """A heartbeat. ``longest`` is the longest stall in seconds since the start or the last :meth:`reset`."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin, on the running loop."""
        self._due = time.monotonic() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._beat)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reset(self) -> float:
        """Forget the longest stall, and return it."""
        longest, self.longest = self.longest, 0.0
        return longest

    def _beat(self) -> None:
        late = time.monotonic() - self._due
        if late > self.longest:
            self.longest = late
        if late > WARN_ABOVE:
            log.warning("The event loop stood still for %d ms.", late * 1000)
        self._due = time.monotonic() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._beat)
