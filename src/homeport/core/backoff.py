"""Waiting longer after each failure: pure, so that the same rule serves saves, the log and links.

The caller brings the randomness and does the waiting.
"""

from __future__ import annotations


class Backoff:
    """Delays that double from ``first`` to ``longest``, spread by jitter so that many do not come back at once.

    Args:
        first: the first delay, seconds, above 0.
        longest: no delay is longer, seconds.
        jitter: part of a delay (0 to 1) that is random.
    """

    def __init__(self, *, first: float, longest: float, jitter: float = 0.2) -> None:
        if not 0 < first <= longest or not 0 <= jitter <= 1:
            raise ValueError("0 < first <= longest and 0 <= jitter <= 1 are needed")
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._failures = 0

    @property
    def failures(self) -> int:
        """Delays given since the start or the last :meth:`reset`."""
        return self._failures

    def next(self, random: float) -> float:
        """The delay before the next attempt, seconds: at most ``longest``, at least ``(1 - jitter)`` of the plain one.

        Args:
            random: uniform in 0 to 1.
        """
        # The exponent is capped so that years of failures do not overflow a float.
        plain = min(self._longest, self._first * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return plain * (1 - self._jitter * random)

    def reset(self) -> None:
        """It worked: the next failure waits ``first`` again."""
        self._failures = 0
