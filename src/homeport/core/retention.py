"""Which saved states of a file are kept: pure.

The newest ones all; of older ones one per ten minutes, of those older than a day one per day; and never more than a number
of them and of bytes, of which the oldest go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NEWEST = 20
"""So many of the newest are kept however near together they are."""
_DAY = 86400.0
_TEN_MINUTES = 600.0


@dataclass(frozen=True, slots=True)
class State:
    """A saved state. ``at``: seconds since the epoch; ``size``: bytes that it takes."""

    id: str
    at: float
    size: int


def surplus(states: Sequence[State], *, now: float, count: int, size: int) -> list[str]:
    """The ids of the states that go, oldest first; the newest one never does.

    Args:
        states: oldest first.
        now: seconds since the epoch.
        count: how many are kept at most.
        size: how many bytes they take at most together.
    """
    kept: list[State] = []
    bucket: tuple[float, int] | None = None
    for number, state in enumerate(reversed(states)):
        width = _TEN_MINUTES if now - state.at < _DAY else _DAY
        place = (width, int(state.at // width))
        if number >= NEWEST and place == bucket:
            continue
        bucket = place
        kept.append(state)
    total = 0
    staying: set[str] = set()
    for number, state in enumerate(kept):
        total += state.size
        if number and (number >= count or total > size):
            break
        staying.add(state.id)
    return [state.id for state in states if state.id not in staying]
