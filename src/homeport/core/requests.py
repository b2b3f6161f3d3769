"""The requests that were sent to one life of a kernel: each at most once, and how far each has come (pure).

A request is *open* until the kernel has answered it (if it is one that is answered) and has published the ``idle`` that belongs to
it. What is open when a supervisor dies is settled by the next one: :class:`Settle`, once everything that the kernel had to say is in.

From the ``status`` messages follows what the kernel does: it is busy while any request is between its ``busy`` and its ``idle``.
(The last status alone would mislead: control requests are answered, with a busy and an idle of their own, while a cell runs.)
After the death of a supervisor it counts as busy with whatever is open on shell, until that is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from homeport.protocol.supervisor import Channel

REMEMBERED: Final = 20_000
"""Requests whose ids are remembered; older ones are too old to be sent again."""


class Submit(msgspec.Struct, frozen=True):
    """Somebody wants to send a message. ``header``: its header as bytes; ``after``: the journal's last seq now;
    ``ordered``: the kernel handles it after what came before it on the channel (not so with subshells)."""

    msg_id: str
    msg_type: str
    channel: Channel
    header: bytes
    after: int
    ordered: bool = True


class Status(msgspec.Struct, frozen=True):
    """The kernel published a status that belongs to the request ``msg_id`` ("" for none); it has the seq ``seq``."""

    msg_id: str
    msg_type: str
    execution_state: str
    seq: int


class Reply(msgspec.Struct, frozen=True):
    """The kernel answered the request ``msg_id``."""

    msg_id: str


class Settle(msgspec.Struct, frozen=True):
    """The kernel has finished ``probe``, a request that it handles after all others submitted before it on that channel, and
    everything that it said until then has been handled."""

    probe: Request


Event = Submit | Status | Reply | Settle


class Remember(msgspec.Struct, frozen=True):
    """Write the request down durably, then send it."""

    request: Request


class Finished(msgspec.Struct, frozen=True):
    """The request is over."""

    request: Request


class StateIs(msgspec.Struct, frozen=True):
    """The kernel's state changed."""

    state: Literal["idle", "busy"]


class MakeReply(msgspec.Struct, frozen=True):
    """No answer to this request will come: make one that says that its result is unknown."""

    request: Request


class MakeIdle(msgspec.Struct, frozen=True):
    """No idle for this request will come: make one."""

    request: Request


Command = Remember | Finished | StateIs | MakeReply | MakeIdle


@dataclass(slots=True)
class Request:
    """A request. ``order``: counts the requests; ``first``: the seq of its ``busy``, the first message about it."""

    msg_id: str
    msg_type: str
    channel: Channel
    header: bytes
    after: int
    ordered: bool = True
    order: int = 0
    replied: bool = False
    idle: bool = False
    first: int | None = None


class Requests:
    """See the module."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self._open: dict[str, Request] = {}
        self._busy: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._state: Literal["idle", "busy"] | None = None
        self._count = 0
        self._answer: Request | None = None
        self._awaiting_idle: set[str] = set()

    @classmethod
    def recovered(cls, requests: Sequence[Request], finished: Sequence[str]) -> Requests:
        """What a process that died had written down: its requests in order, and those that it knew to be over."""
        found = cls()
        for request in requests:
            found.handle(Submit(request.msg_id, request.msg_type, request.channel, request.header, request.after, request.ordered))
        for msg_id in finished:
            found._open.pop(msg_id, None)
        for request in found._open.values():
            found._presume_busy(request)
        if found._busy:
            found._changed()
        return found

    def _presume_busy(self, request: Request) -> None:
        # Its busy may be among what nobody heard. A kernel that is called idle although it waits in input() would be given up.
        if request.channel == "shell" and request.ordered:
            self._busy[request.msg_id] = request.after + 1
            if request.msg_type == "execute_request":
                self._running[request.msg_id] = request.after + 1

    @property
    def awaiting_idle(self) -> bool:
        """Whether a request has its answer and only its idle, which is due at once, is missing."""
        return bool(self._awaiting_idle)

    @property
    def state(self) -> Literal["idle", "busy"] | None:
        """What the kernel does; ``None`` before its first status."""
        return self._state

    @property
    def occupied(self) -> bool:
        """Whether the kernel is busy, or will be as soon as it reads what it was sent."""
        executions = (each for each in self._open.values() if each.msg_type == "execute_request")
        return self._state == "busy" or any(each.ordered and not each.replied for each in executions)

    @property
    def open(self) -> list[Request]:
        """The open requests, oldest first."""
        return list(self._open.values())

    @property
    def answer(self) -> Request | None:
        """The last message on stdin, while a request that may have asked for it is open."""
        answer = self._answer
        asking = answer is not None and any(each.channel == "shell" and each.order < answer.order for each in self._open.values())
        return answer if asking else None

    @property
    def remembered(self) -> list[str]:
        """The msg_ids that will not be sent again, oldest first."""
        return list(self._seen)

    @property
    def running(self) -> int | None:
        """The seq of the first message of the execute request that runs now; ``None`` when none runs."""
        return min(self._running.values(), default=None)

    def handle(self, event: Event) -> list[Command]:
        """Take one event, return what to do about it, in order."""
        match event:
            case Submit():
                return self._submit(event)
            case Status():
                return self._status(event)
            case Reply():
                request = self._open.get(event.msg_id)
                if request is None:
                    return []
                request.replied = True
                if not request.idle:
                    self._awaiting_idle.add(request.msg_id)
                return self._finish(request)
            case Settle():
                return self._settle(event)

    def _submit(self, event: Submit) -> list[Command]:
        if event.msg_id in self._seen:
            return []
        self._seen[event.msg_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        self._count += 1
        request = Request(event.msg_id, event.msg_type, event.channel, event.header, event.after, event.ordered, self._count)
        # Messages that are no request (comm_msg, ...) get no answer; an input_reply gets nothing at all.
        request.replied = not event.msg_type.endswith("_request")
        if event.channel in ("shell", "control"):
            self._open[event.msg_id] = request
        elif event.channel == "stdin":
            self._answer = request
        return [Remember(request)]

    def _status(self, event: Status) -> list[Command]:
        request = self._open.get(event.msg_id)
        commands: list[Command] = []
        if event.execution_state == "busy":
            self._busy[event.msg_id] = event.seq
            if event.msg_type == "execute_request":
                self._running[event.msg_id] = event.seq
            if request is not None and request.first is None:
                request.first = event.seq
        elif event.execution_state == "idle":
            self._busy.pop(event.msg_id, None)
            self._running.pop(event.msg_id, None)
            if request is not None:
                request.idle = True
                commands += self._finish(request)
        else:
            return []
        return commands + self._changed()

    def _finish(self, request: Request) -> list[Command]:
        if not (request.replied and request.idle):
            return []
        self._open.pop(request.msg_id, None)
        self._awaiting_idle.discard(request.msg_id)
        return [Finished(request)]

    def _settle(self, event: Settle) -> list[Command]:
        commands: list[Command] = []
        for request in self.open:
            if request.channel != event.probe.channel or request.order >= event.probe.order or not request.ordered:
                continue
            if not request.replied:
                commands.append(MakeReply(request))
            if not request.idle:
                commands.append(MakeIdle(request))
        if event.probe.channel == "shell" and event.probe.first is not None:
            # Of a request that somebody else sent to the kernel we know only that it was busy with it.
            for msg_id, seq in list(self._busy.items()):
                if seq < event.probe.first and msg_id not in self._open:
                    del self._busy[msg_id]
                    self._running.pop(msg_id, None)
        return commands + self._changed()

    def _changed(self) -> list[Command]:
        state: Literal["idle", "busy"] = "busy" if self._busy else "idle"
        if state == self._state:
            return []
        self._state = state
        return [StateIs(state)]

    def check(self) -> None:
        """Raise AssertionError if it contradicts itself."""
        assert self._awaiting_idle <= set(self._open)
        assert set(self._running) <= set(self._busy)
        assert all(not (request.replied and request.idle) for request in self._open.values())
        assert len(self._seen) <= REMEMBERED
        assert self._state is None or (self._state == "busy") == bool(self._busy)
