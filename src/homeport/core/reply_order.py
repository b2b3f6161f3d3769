"""The reply to an execution comes behind everything that was published about it (pure).

A kernel replies on one socket and publishes on another, and which of them is read first is chance: with a client that reads both, a
result comes behind its reply a few times in ten thousand executions, and ipykernel pauses before each reply so that it is not more. The
end of what is published about a request is its ``idle``, which a kernel sends right after the reply ("Messaging in Jupyter", section
"Kernel status"). So the reply waits for that, and stands right before it. What was published just before it waits with it, up to a few
messages: all that a short execution says is then one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from homeport.protocol.jupyter import Header, Parts, execution_state

PATIENCE = 0.05
"""Seconds for which a reply waits for its idle. It takes about a millisecond, unless a kernel never says it."""

# More than so many messages are worth a batch of their own.
_ONE_BATCH = 32
# Executions whose idle was read before their reply.
_REMEMBERED = 64


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
        self._waiting: dict[str, tuple[float, list[M]]] = {}  # since when, oldest first
        self._batch: list[M] = []
        self._over: dict[str, None] = {}

    @property
    def deadline(self) -> float | None:
        """When the reply that has waited longest has waited for long enough; None: none waits."""
        return next((since + PATIENCE for since, _ in self._waiting.values()), None)

    def handle(self, published: Sequence[M], replies: Sequence[M], now: float, *, more: bool) -> list[M]:
        """Messages were read.

        Args:
            published: from iopub, in their order.
            replies: from the other channels, read after ``published``.
            now: seconds of a clock that only grows.
            more: there is more to read on iopub.

        Returns:
            What can be handed on now, in its order. It may be nothing, but nothing is ever lost.
        """
        behind: list[M] = []
        for reply in replies:
            request = reply.parent.msg_id
            if reply.header.msg_type == "execute_reply" and request not in self._over:
                self._waiting.setdefault(request, (now, []))[1].append(reply)
            else:
                self._over.pop(request, None)
                behind.append(reply)
        for message in published:
            if message.header.msg_type == "status" and execution_state(message.parts) == "idle":
                self._end(message.parent)
            self._batch.append(message)
        self._batch += behind
        if self._waiting and not more and not behind and len(self._batch) <= _ONE_BATCH:
            return []
        return self._take()

    def expire(self, now: float) -> list[M]:
        """Give up waiting for what is due; call it when all that there was on iopub has been handled."""
        for request in [request for request, (since, _) in self._waiting.items() if since + PATIENCE <= now]:
            self._batch += self._waiting.pop(request)[1]
        return [] if self._waiting else self._take()

    def release(self) -> list[M]:
        """All that is held back."""
        return self.expire(float("inf"))

    def _end(self, request: Header) -> None:
        if request.msg_id in self._waiting:
            self._batch += self._waiting.pop(request.msg_id)[1]
        elif request.msg_type == "execute_request":
            self._over[request.msg_id] = None
            if len(self._over) > _REMEMBERED:
                del self._over[next(iter(self._over))]

    def _take(self) -> list[M]:
        batch, self._batch = self._batch, []
        return batch

    def check(self) -> None:
        """The invariants.

        Raises:
            AssertionError: one does not hold.
        """
        assert self._waiting or not self._batch, "what nobody waits for is handed on"
        assert len(self._batch) <= _ONE_BATCH, "a batch is handed on"
        assert not self._waiting.keys() & self._over.keys(), "what is over is not waited for"
        assert len(self._over) <= _REMEMBERED
        assert [since for since, _ in self._waiting.values()] == sorted(since for since, _ in self._waiting.values()), "oldest first"
