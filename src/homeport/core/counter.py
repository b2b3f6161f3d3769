"""Whether messages of a kernel went missing on the way, from the numbers in their ids (pure).

jupyter_client's Session ends each msg_id in ``_PID_NUMBER`` and counts the number up by one for each message on whatever channel.
Other kernels use random ids; then nothing can be said.

A single missing number is no evidence: IPython takes a number for an ``execute_result`` that it then does not send when the
object has shown itself (``_ipython_display_``), and threads overtake each other. Two or more in a row, missing for a while, are.
Right after an adoption even one counts: there the first number on iopub tells how much was said while nobody listened. The first
on another channel does not: a reply overtakes what was published before it, so what is missing then may still be on its way. When
the one who listened dies in that moment, it is on its way to nobody.
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
    """Messages arrived, in this order.

    Args:
        now: seconds of a clock that only grows.
        in_order: the kernel had sent what it numbered before them, and that comes no more: so it is on iopub, threads aside.
    """

    msg_ids: Sequence[str]
    now: float
    in_order: bool


class Told(msgspec.Struct, frozen=True):
    """What is missing until now has been said to be lost."""


class Tick(msgspec.Struct, frozen=True):
    """Time passes."""

    now: float


class Judge(msgspec.Struct, frozen=True):
    """After an adoption: nothing comes any more that was numbered before what has come. Of what has not come it says nothing."""


class Missed(msgspec.Struct, frozen=True):
    """``count`` messages are lost."""

    count: int


class MessageCounter:
    """Follows the main process of one kernel: the ids that begin as the first one did. Forked children count for themselves."""

    def __init__(self) -> None:
        self._prefix: str | None = None
        self._highest: int = -1
        self._highest_before: int = -1
        self._ordered: int = -1
        self._awaited: dict[int, float] = {}
        self._adopted = False

    @property
    def counts(self) -> bool:
        """Whether this kernel numbers its messages."""
        return bool(self._prefix)

    @property
    def met(self) -> bool:
        """Whether any message of the kernel has been seen."""
        return self._prefix is not None

    def numbers(self, msg_id: str) -> bool:
        """Whether a message is of the process that is followed."""
        return bool(self._prefix) and msg_id.startswith(self._prefix) and msg_id[len(self._prefix) :].isdecimal()

    @property
    def adopted(self) -> bool:
        """Whether it is not known yet what was missed before the adoption: only the first message in order tells."""
        return self._adopted

    def adopt(self) -> None:
        """What was seen until now was seen by a process that died; from here on others may have been missed.

        What was numbered before a message in order, and never came, never was: only what replies had overtaken was still to come.
        """
        self._adopted = self.counts
        self._highest_before = self._highest
        self._give_up([each for each in self._awaited if each < self._ordered])

    def handle(self, event: Seen | Told | Tick | Judge) -> list[Missed]:
        """Take one event; return what is now known to be lost."""
        if isinstance(event, Tick):
            return self._overdue(event.now)
        if isinstance(event, Told):
            self._awaited.clear()
            return []
        if isinstance(event, Judge):
            return self._judge(self._highest) if self._adopted and self._highest > self._highest_before else []
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
            if number == self._highest + 1:
                self._highest = number
            elif number <= self._highest:
                self._awaited.pop(number, None)
            else:
                missed += self._jumped(number, event.now)
            if event.in_order:
                self._ordered = number
                if self._adopted:
                    missed += self._judge(number)
        return missed

    def _jumped(self, number: int, now: float) -> list[Missed]:
        first, self._highest = self._highest + 1, number
        if number - first > _MOST_AWAITED:
            return [Missed(number - first)]
        self._awaited.update((each, now) for each in range(first, number))
        return self._give_up(list(self._awaited)) if len(self._awaited) > _MOST_AWAITED else []

    def _judge(self, number: int) -> list[Missed]:
        self._adopted = False
        return self._give_up([each for each in self._awaited if each < number])

    def _give_up(self, numbers: Sequence[int]) -> list[Missed]:
        for number in numbers:
            del self._awaited[number]
        return [Missed(len(numbers))] if numbers else []

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
        assert self.counts or not (self._awaited or self._adopted)
