"""The reply to an execution comes behind everything that was published about it (pure).

A kernel replies on one socket and publishes on another, and which of them is read first is chance: with a client that reads both, a
result comes behind its reply a few times in ten thousand executions, and ipykernel pauses before each reply so that it is not more. The
end of what is published about a request is its ``idle``, which a kernel sends right after the reply ("Messaging in Jupyter", section
"Kernel status"). So the reply waits for that, and stands right before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from homeport.protocol.jupyter import Header, Parts, execution_state

_REMEMBERED = 16


class Message(Protocol):
    """A message of a kernel, its headers read."""

    @property
    def header(self) -> Header: ...
    @property
    def parent(self) -> Header: ...
    @property
    def parts(self) -> Parts: ...


M = TypeVar("M", bound=Message)


class ReplyOrder(Generic[M]):
    """Of one kernel."""

    def __init__(self) -> None:
        self._published: list[M] = []
        self._replies: list[M] = []
        self._awaited: set[str] = set()
        # Requests whose idle was seen lately: a kernel may say it before the reply, and both may be read in whatever order.
        self._over: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def waiting(self) -> bool:
        """Whether messages are held back until a kernel is idle again. Who waits for them gives up after a while, with :meth:`release`."""
        return bool(self._awaited)

    def handle(self, published: Sequence[M], replies: Sequence[M]) -> list[M]:
        """Messages were read.

        Args:
            published: from iopub, in their order.
            replies: from all other channels; what was published before them is among what was published until now, if it is there already.

        Returns:
            What can be handed on now, in its order. It may be nothing, but nothing is ever lost.
        """
        idle = [message.parent.msg_id for message in published if _is_idle(message)]
        self._over.extend(idle)
        self._awaited.difference_update(idle)
        for reply in replies:
            if reply.header.msg_type == "execute_reply" and reply.parent.msg_id not in self._over:
                self._awaited.add(reply.parent.msg_id)
        self._published += published
        self._replies += replies
        return [] if self._awaited else self.release()

    def release(self) -> list[M]:
        """All that is held back, in its order."""
        published, self._published = self._published, []
        replies, self._replies = self._replies, []
        self._awaited.clear()
        if not replies:
            return published
        due: dict[str, list[M]] = {}
        for reply in replies:
            due.setdefault(reply.parent.msg_id, []).append(reply)
        messages: list[M] = []
        for message in published:
            if _is_idle(message):
                messages += due.pop(message.parent.msg_id, ())
            messages.append(message)
        for late in due.values():
            messages += late
        return messages

    def check(self) -> None:
        """The invariants.

        Raises:
            AssertionError: one does not hold.
        """
        assert self._awaited or not (self._published or self._replies), "what nobody waits for is handed on"
        assert self._awaited <= {reply.parent.msg_id for reply in self._replies}, "who waits is held back"
        come = {message.parent.msg_id for message in self._published if _is_idle(message)}
        assert not self._awaited & come, "what has come is not waited for"


def _is_idle(message: Message) -> bool:
    return message.header.msg_type == "status" and execution_state(message.parts) == "idle"
