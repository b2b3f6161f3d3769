"""Whether messages of a kernel went missing on the way, from the numbers in their ids (pure).

jupyter_client's Session ends each msg_id in ``_PID_NUMBER`` and counts the number up by one for each message on whatever channel.
Other kernels use random ids; then nothing can be said.

A single missing number is no evidence: IPython takes a number for an ``execute_result`` that it then does not send when the
object has shown itself (``_ipython_display_``), and threads overtake each other. Two or more in a row, missing for a while, are.
Right after an adoption even one counts: there the first number tells how much was said while nobody listened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_NUMBERED = re.compile(r"(.*_\d+_)(\d+)")

GRACE = 2.0
"""Seconds that a message may be late."""

_MOST_AWAITED = 10_000


class Seen(msgspec.Struct, frozen=True):
    """Messages arrived, in this order; ``now`` in seconds of a clock that only grows."""

    msg_ids: Sequence[str]
    now: float
    iopub: bool


class Tick(msgspec.Struct, frozen=True):
    """Time passes."""

    now: float


class Missed(msgspec.Struct, frozen=True):
    """``count`` messages are lost."""

    count: int


class MessageCounter:
    """Follows the main process of one kernel: the ids that begin as the first one did. Forked children count for themselves."""

    def __init__(self) -> None:
        self._prefix: str | None = None
        self._highest = -1
        self._awaited: dict[int, float] = {}
        self._adopted = False

    @property
    def counts(self) -> bool:
        """Whether this kernel numbers its messages."""
        return bool(self._prefix)

    @property
    def adopted(self) -> bool:
        """Whether the first message on iopub since the adoption is still to come."""
        return self._adopted

    def adopt(self) -> None:
        """What was seen until now was seen by a process that died; from here on others may have been missed."""
        self._adopted = True
        self._awaited.clear()

    def handle(self, event: Seen | Tick) -> list[Missed]:
        """Take one event; return what is now known to be lost."""
        if isinstance(event, Tick):
            return self._overdue(event.now)
        if self._prefix is None and event.msg_ids:
            match = _NUMBERED.fullmatch(event.msg_ids[0])
            self._prefix = match[1] if match else ""
            self._highest = int(match[2]) if match else -1
        missed: list[Missed] = []
        if not self._prefix:
            return missed
        size = len(self._prefix)
        for msg_id in event.msg_ids:
            if not msg_id.startswith(self._prefix) or not (digits := msg_id[size:]).isdecimal():
                continue
            number = int(digits)
            if number == self._highest + 1 and not self._adopted:
                self._highest = number
            elif number <= self._highest:
                self._awaited.pop(number, None)
            else:
                missed += self._jumped(number, event)
        return missed

    def _jumped(self, number: int, event: Seen) -> list[Missed]:
        gap = number - self._highest - 1
        lost = 0
        if gap > _MOST_AWAITED:
            lost = gap
        elif gap:
            self._awaited.update((each, event.now) for each in range(self._highest + 1, number))
        self._highest = number
        first = self._adopted and event.iopub
        if first or len(self._awaited) > _MOST_AWAITED:
            lost += len(self._awaited)
            self._awaited.clear()
        if first:
            self._adopted = False
        return [Missed(lost)] if lost else []

    def _overdue(self, now: float) -> list[Missed]:
        late = sorted(number for number, since in self._awaited.items() if now - since >= GRACE)
        lost = sum(number - 1 in self._awaited or number + 1 in self._awaited for number in late)
        for number in late:
            del self._awaited[number]
        return [Missed(lost)] if lost else []

    def check(self) -> None:
        """Raise AssertionError if it contradicts itself."""
        assert all(0 <= number < self._highest for number in self._awaited)
        assert len(self._awaited) <= _MOST_AWAITED
