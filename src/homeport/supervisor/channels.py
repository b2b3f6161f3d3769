"""The ZeroMQ sockets of one kernel.

Shell, control and stdin are DEALERs with one fixed routing id, so that after the death of a supervisor the next one takes its place
in the kernel's eyes. Nothing is limited (HWM 0): at ZeroMQ's default of 1,000 a kernel's output is thrown away as soon as we are slow.

The sockets are read through their raw descriptor, which is three times cheaper than zmq.asyncio. It is edge-triggered: after a
receive *or a send* it may stay silent although there is something to read, so we read until EAGAIN and look again after each send.

Nothing is sent before iopub is open, or what the kernel says about it would be published to nobody: a new or adopted kernel's answers
would seem lost. It is open with its first message (ipykernel greets each subscriber), or shortly after its handshake.

Replies and input requests are handed on at once, except for the reply to an execution, which waits for the ``idle`` that comes with it
(:mod:`homeport.core.reply_order`). iopub is read 15 ms after a request was sent, then, while the kernel is busy, at most every 5 ms, and
under a steady flow every 20 ms: that makes batches of what would be single messages, and one of all that a short execution says. Its
reader is off the loop in the gap, or the loop would spin. A reply ends the gap: nobody waits for the end of a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, cast

import msgspec
import zmq

from homeport.core.reply_order import ReplyOrder
from homeport.errors import ProtocolError
from homeport.protocol.jupyter import Header, Parts, Signer, header_of, join, split
from homeport.protocol.supervisor import Channel

log = logging.getLogger(__name__)

FIRST_GAP: Final = 0.015
"""Seconds from the sending of a request to the look at iopub, unless its reply comes before."""

GAP: Final = 0.005
LONGEST_GAP: Final = 0.02
"""Seconds between two looks at iopub while the kernel is busy: at first, and under a steady flow."""

# So many messages in a gap are a flow.
_FLOW = 4

# Seconds from iopub's handshake until the kernel has surely taken note of the subscription that follows it.
_SUBSCRIBED = 0.05

# Milliseconds that a closed socket may still take to pass on what was sent.
_FLUSH = 200

# As plain numbers: the enumerations that pyzmq has for them cost more than the calls that they are given to.
_NOW: Final = int(zmq.NOBLOCK)
_NOW_AND_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS: Final = int(zmq.EVENTS)
_TO_READ: Final = int(zmq.POLLIN)

# So many are taken in one turn of the loop: about 3 ms.
_MOST_MESSAGES = 200
_MOST_BYTES = 4 << 20


class Received(NamedTuple):
    """A verified message, with the two headers read."""

    channel: Channel
    header: Header
    parent: Header
    parts: Parts


class Connection(msgspec.Struct, frozen=True):
    """A connection file, as the "Connection files" section of "Making kernels for Jupyter" describes it."""

    ip: str
    shell_port: int
    iopub_port: int
    stdin_port: int
    control_port: int
    hb_port: int
    key: str
    transport: str = "ipc"
    signature_scheme: str = "hmac-sha256"
    kernel_name: str = ""
    jupyter_session: str = ""

    def address(self, channel: Channel) -> str:
        """The ZeroMQ endpoint of a channel."""
        ports: Mapping[Channel, int] = {
            "shell": self.shell_port,
            "iopub": self.iopub_port,
            "stdin": self.stdin_port,
            "control": self.control_port,
        }
        return f"{self.transport}://{self.ip}{'-' if self.transport == 'ipc' else ':'}{ports[channel]}"


class KernelChannels:
    """Connected to one kernel from the moment it is made (the kernel may begin to listen later).

    Args:
        routing_id: the same for every supervisor that ever connects to this kernel.
        received: gets each batch of verified messages; its result says whether iopub may be looked at less
            often (the kernel is busy, and nobody waits for an end that is due).
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], connection: Connection, routing_id: bytes, received: Callable[[list[Received]], bool]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._signer = Signer(connection.key.encode(), connection.signature_scheme)
        self._received = received
        self._order: ReplyOrder[Received] = ReplyOrder()
        self._patience: asyncio.TimerHandle | None = None
        self._gap: asyncio.TimerHandle | None = None
        self._next_gap = GAP
        self._watching_iopub = True
        self._closed = False
        self.opened: asyncio.Future[None] = self._loop.create_future()
        """Done once messages are really sent, not held back, or never will be."""
        self._held: list[tuple[Channel, Parts]] | None = []
        self._sockets: dict[Channel, zmq.Socket[bytes]] = {}
        for channel in ("control", "shell", "stdin", "iopub"):
            self._sockets[channel] = self._socket(context, channel, routing_id)
        self._iopub = self._sockets["iopub"]
        self._watch_handshake(self._iopub)
        for channel, socket in self._sockets.items():
            socket.connect(connection.address(channel))
        self._descriptors: dict[Channel, int] = {channel: socket.FD for channel, socket in self._sockets.items()}
        for channel, descriptor in self._descriptors.items():
            self._loop.add_reader(descriptor, self._ready, channel)
            self._loop.call_soon(self._ready, channel)

    def _watch_handshake(self, socket: zmq.Socket[bytes]) -> None:
        self._monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._monitor_descriptor = self._monitor.FD
        self._loop.add_reader(self._monitor_descriptor, self._handshake)
        # Edge-triggered: a descriptor that has never been looked behind stays silent.
        self._loop.call_soon(self._handshake)

    def _handshake(self) -> None:
        if self._held is None or self._closed:
            return
        with contextlib.suppress(zmq.Again):
            _receive(self._monitor)
            self._loop.call_later(_SUBSCRIBED, self._open)

    def _open(self) -> None:
        held, self._held = self._held, None
        if self._closed or held is None:
            return
        self._unwatch()
        for channel, parts in held:
            self.send(channel, parts)
        if not self.opened.done():
            self.opened.set_result(None)

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._monitor_descriptor)
        self._iopub.disable_monitor()
        self._monitor.close()

    @staticmethod
    def _socket(context: zmq.Context[zmq.Socket[bytes]], channel: Channel, routing_id: bytes) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.SNDHWM, 0)
        socket.set(zmq.LINGER, 0)
        # The kernel begins to listen some time after we connect: look often, so that little of its beginning is missed.
        socket.set(zmq.RECONNECT_IVL, 20)
        if channel == "iopub":
            socket.set(zmq.SUBSCRIBE, b"")
        else:
            socket.set(zmq.ROUTING_ID, routing_id)
        return socket

    def send(self, channel: Channel, parts: Parts, *, answered: bool = False) -> None:
        """Sign and send a message; it waits in our queue while the kernel does not take it.

        Args:
            answered: a reply will come, and nothing else is due: what the kernel says on iopub until then may wait for it, or a gap.
        """
        if self._held is not None:
            self._held.append((channel, parts))
            return
        socket = self._sockets[channel]
        *frames, last = join([], self._signer.sign(parts), parts)
        for frame in frames:
            socket.send(frame, _NOW_AND_MORE)
        socket.send(last, _NOW)
        if _readable(socket):
            self._loop.call_soon(self._ready, channel)
        if answered and self._gap is None and self._order.deadline is None:
            self._begin_gap(FIRST_GAP)

    def drain_replies(self) -> None:
        """Hand on every reply and input request that has arrived."""
        self._drain("control", "shell", "stdin")

    def drain(self) -> None:
        """Hand on everything that has arrived; the kernel is gone, or a judgement needs all that there is."""
        self._drain("control", "shell", "stdin", "iopub")

    def _drain(self, *channels: Channel) -> None:
        for channel in channels:
            more = True
            while more and not self._closed:
                messages, more = self._take(self._sockets[channel], channel)
                published, replies = (messages, []) if channel == "iopub" else ([], messages)
                self._hand_on(published, replies, more=True)
        if not self._closed:
            self._pass_on(self._order.release())

    def _hand_on(self, published: Sequence[Received], replies: Sequence[Received], *, more: bool) -> bool:
        """Pass messages on as soon as it is their turn; whether iopub may be looked at less often."""
        return self._pass_on(self._order.handle(published, replies, self._loop.time(), more=more))

    def _pass_on(self, messages: list[Received]) -> bool:
        self._be_patient()
        return self._received(messages) if messages else False

    def _be_patient(self) -> None:
        deadline = None if self._closed else self._order.deadline
        if deadline is None and self._patience is not None:
            self._patience.cancel()
            self._patience = None
        elif deadline is not None and self._patience is None:
            self._patience = self._loop.call_at(deadline, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        # What is waited for may lie behind much that has not been read yet.
        published, more = self._take_published()
        self._hand_on(published, (), more=more)
        if not more and not self._closed:
            self._pass_on(self._order.expire(self._loop.time()))

    def close(self) -> None:
        """Close the sockets; what has not been read is lost."""
        if self._closed:
            return
        self._closed = True
        if self._held is not None:
            self._unwatch()
        if not self.opened.done():
            self.opened.set_result(None)
        self._be_patient()
        if self._gap is not None:
            self._gap.cancel()
        for channel, socket in self._sockets.items():
            self._loop.remove_reader(self._descriptors[channel])
            # What was handed to ZeroMQ counts as sent, so let its thread finish; to a kernel that is gone it never will.
            socket.close(linger=_FLUSH)

    def _ready(self, channel: Channel) -> None:
        if self._closed:
            return
        if channel != "iopub":
            if _readable(self._sockets[channel]):
                self._take_replies(channel)
        elif self._gap is None:
            self._look()

    def _take_replies(self, channel: Channel) -> None:
        if self._gap is not None:
            self._gap.cancel()
            self._gap = None
        self._read(channel)

    def _look(self) -> None:
        """Hand on what has come on iopub; a reply that has come as well belongs before its idle."""
        self._gap = None
        self._read("shell")

    def _read(self, channel: Channel) -> None:
        # What belongs to a reply came before it.
        published, more_output = self._take_published()
        replies, more = self._take(self._sockets[channel], channel)
        relaxed = self._hand_on(published, replies, more=more_output)
        if self._closed:
            return
        if more:
            self._loop.call_soon(self._ready, channel)
        self._next_look(len(published), relaxed=relaxed, more=more_output)

    def _next_look(self, count: int, *, relaxed: bool, more: bool) -> None:
        """Look at iopub again after a gap, or as soon as something comes. ``count`` messages came this time."""
        if relaxed and not more and self._order.deadline is None:
            self._begin_gap(self._next_gap)
            self._next_gap = min(2 * self._next_gap, LONGEST_GAP) if count >= _FLOW else GAP
            return
        if not relaxed:
            self._next_gap = GAP
        self._watch_iopub(True)
        if more:
            self._loop.call_soon(self._ready, "iopub")

    def _begin_gap(self, seconds: float) -> None:
        self._watch_iopub(False)
        self._gap = self._loop.call_later(seconds, self._look)

    def _watch_iopub(self, watched: bool) -> None:
        if watched and not self._watching_iopub:
            self._loop.add_reader(self._descriptors["iopub"], self._ready, "iopub")
        elif self._watching_iopub and not watched:
            self._loop.remove_reader(self._descriptors["iopub"])
        self._watching_iopub = watched

    def _take_published(self) -> tuple[list[Received], bool]:
        published, more = self._take(self._iopub, "iopub")
        if published and self._held is not None:
            self._open()
        return published, more

    def _take(self, socket: zmq.Socket[bytes], channel: Channel) -> tuple[list[Received], bool]:
        """What has arrived, up to a limit, and whether there may be more."""
        messages: list[Received] = []
        size = 0
        while len(messages) < _MOST_MESSAGES and size < _MOST_BYTES:
            try:
                frames = _receive(socket)
            except zmq.Again:
                return messages, False
            try:
                messages.append(self._checked(channel, frames))
            except ProtocolError as error:
                log.warning("A message on %s was thrown away: %s", channel, error.message)
            # The content and the buffers: the headers do not count.
            size += sum(map(len, frames[5:]))
        return messages, True

    def _checked(self, channel: Channel, frames: list[bytes]) -> Received:
        _, signature, parts = split(frames)
        if not self._signer.verify(signature, parts):
            raise ProtocolError("its signature is wrong")
        return Received(channel, header_of(parts[0]), header_of(parts[1]), parts)


def _readable(socket: zmq.Socket[bytes]) -> bool:
    return bool(cast(int, socket.get(_EVENTS)) & _TO_READ)


def _receive(socket: zmq.Socket[bytes]) -> list[bytes]:
    """One multipart message. Asking each frame whether more follow is twice as fast as ``recv_multipart``, which asks the socket."""
    frame = socket.recv(_NOW, copy=False)
    frames = [frame.bytes]
    while frame.more:
        frame = socket.recv(_NOW, copy=False)
        frames.append(frame.bytes)
    return frames
