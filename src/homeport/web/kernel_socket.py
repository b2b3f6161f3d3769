"""``/api/kernels/<id>/channels``: a Jupyter client is one more cursor on a kernel's journal.

Messages pass as bytes. A client that reads slowly stops its own cursor and nothing else. When a generation of the kernel ends the
client is told by the status messages that Jupyter's clients know, and is attached to the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

from homeport.errors import KernelGone, NotFound, SupervisorUnavailable
from homeport.protocol import jupyter
from homeport.protocol.kernel_socket import V1, decode_default, decode_v1, encode_default, encode_v1, websocket_frame
from homeport.protocol.supervisor import BACK
from homeport.web.delivery import Delivery, unacknowledged
from homeport.web.gate import Kind
from homeport.web.sockets import Socket

if TYPE_CHECKING:
    from homeport.kernels.client import Channel, Cursor, Ended, Entry, KernelInfo, Truncated
    from homeport.protocol.supervisor import Reply

log = logging.getLogger(__name__)

# The cursor is not read while the socket holds more than this; the supervisor then holds back too.
_HIGH = 1024 * 1024
# Seconds between two looks at what has arrived. A client that comes back gets once more, under the same msg_ids, what arrived in between.
_LOOK_EVERY = 0.05
# Bytes of a client's messages that the supervisor has not acknowledged; with more the next message is not read.
_MOST_ON_THE_WAY = 64 * 1024


class KernelSocket(Socket):
    """One client of one kernel."""

    kind = Kind.SOCKET

    async def prepare(self) -> None:
        """Pass the gate; a kernel that is not there is an HTTP 404, which clients understand as gone for good."""
        super().prepare()
        await self.parts.supervisor.known()
        self._kernel_id = self.path_kwargs["kernel_id"]
        if self._kernel_id not in self.parts.supervisor.kernels:
            raise NotFound(f"There is no kernel {self._kernel_id}.", kernel=self._kernel_id)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Chromium drops a socket for which none of the offered sub-protocols is chosen."""
        return V1 if V1 in subprotocols else None

    async def open(self, *args: str, **kwargs: str) -> None:
        """Begin to read."""
        await super().open(*args, **kwargs)
        v1 = self.selected_subprotocol == V1
        self._encode: Callable[[str, list[bytes]], bytes | str] = encode_v1 if v1 else encode_default
        self._decode = decode_v1 if v1 else decode_default
        self._session = self.get_query_argument("session_id", "")
        self._named = bool(self._session)
        self._session = self._session or uuid.uuid4().hex
        self._on_the_way = 0
        self._changed = asyncio.Event()
        self._unsubscribe = self.parts.supervisor.subscribe(self._on_kernel)
        self.parts.connections.add(self, login=self.who.login, kernel_id=self._kernel_id)
        self._delivery = Delivery()
        self._looking: asyncio.TimerHandle | None = None
        self._cursor = self._attach(self._info().generation, BACK)
        self._reader = asyncio.create_task(self._read())
        with contextlib.suppress(KernelGone, SupervisorUnavailable, NotFound):
            await self.parts.supervisor.touch(self._kernel_id)

    def on_close(self) -> None:
        """Note how far it had read: all, if it took its leave."""
        if not hasattr(self, "_reader"):
            return
        self.parts.connections.remove(self)
        self._unsubscribe()
        self._reader.cancel()
        if self._looking is not None:
            self._looking.cancel()
        if self.close_code is not None:
            self._cursor.reached(self._cursor.head)
        self._cursor.close()

    # ---- to the kernel ----

    def on_message(self, message: bytes | str) -> Awaitable[None] | None:
        """Pass a message on. The next one is read while this one is on its way, unless too many are."""
        try:
            posted = self._post(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the link ends and the log says why
            self.fail(error)
            return None
        return None if posted is None or self._on_the_way <= _MOST_ON_THE_WAY else _over(posted)

    def _post(self, message: bytes | str) -> asyncio.Future[Reply] | None:
        request = self._decode(message)
        if request.session and request.session != self._session and not self._named:
            # A client without session_id: its replies are those to the session in its headers.
            self._session, self._named = request.session, True
            self._follow(self._generation, self._cursor.head)
        try:
            generation = self._info().generation
        except KernelGone:
            self._say_status("dead")
            return None
        posted = self.parts.supervisor.post(self._kernel_id, generation, cast("Channel", request.channel), request.parts)
        size = len(message)
        self._on_the_way += size
        posted.add_done_callback(partial(self._on_posted, size=size))
        return posted

    def _on_posted(self, posted: asyncio.Future[Reply], *, size: int) -> None:
        self._on_the_way -= size
        error = None if posted.cancelled() else posted.exception()
        if isinstance(error, (KernelGone, NotFound)):
            self._say_status("dead")
        elif error is not None:
            self.refuse(error)

    # ---- from the kernel ----

    def _info(self) -> KernelInfo:
        info = self.parts.supervisor.kernels.get(self._kernel_id)
        if info is None:
            raise KernelGone("The kernel has been shut down.", kernel=self._kernel_id)
        return info

    def _attach(self, generation: int, after: int) -> Cursor:
        self._generation = generation
        return self.parts.supervisor.attach(self._kernel_id, generation=generation, after=after, session=self._session)

    def _follow(self, generation: int, after: int) -> None:
        """Go on with another cursor."""
        self._reader.cancel()
        self._cursor.close()
        self._cursor = self._attach(generation, after)
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                ended = await self._pass_on(self._cursor)
                self._cursor.close()
                if not await self._next_generation(ended):
                    return
        except (StreamClosedError, KernelGone):
            return  # the client has left, or the server is leaving
        except Exception as error:  # noqa: BLE001 - whatever it is, the link ends and the log says why
            self.refuse(error)

    async def _pass_on(self, cursor: Cursor) -> Ended:
        """Send what the cursor gives until the generation is over."""
        while True:
            frames: list[bytes] = []
            ended: Ended | None = None
            for item in await cursor.read():
                ended = self._frames_of(item, frames) or ended
            if frames:
                await self._write(b"".join(frames), cursor.head)
            if ended is not None:
                return ended

    def _frames_of(self, item: Entry | Truncated | Ended, frames: list[bytes]) -> Ended | None:
        """Append the frame of an entry; give back the end of the generation."""
        parts = getattr(item, "parts", None)
        if parts is not None:
            entry = cast("Entry", item)
            frames += websocket_frame(self._encode(entry.channel, parts))
        elif hasattr(item, "generation"):
            return cast("Ended", item)
        else:
            gap = cast("Truncated", item)
            log.info("Messages %d to %d of kernel %s are not there any more: %s", gap.first, gap.last, self._kernel_id, gap.reason)
        return None

    async def _write(self, frames: bytes, seq: int) -> None:
        """Write whole WebSocket frames, which end with the message ``seq``, at once; waits while the client does not read."""
        connection = self.ws_connection
        stream = connection.stream if isinstance(connection, WebSocketProtocol13) and not connection.is_closing() else None
        if stream is None:
            raise StreamClosedError
        # Joined frames cost a twentieth of one write each; this socket has no compression, so that a frame is its payload.
        self.unsent += len(frames)
        written = stream.write(frames)

        def sent(done: asyncio.Future[None]) -> None:
            self.unsent -= len(frames)
            if not done.cancelled():
                done.exception()

        written.add_done_callback(sent)
        self._delivery.wrote(len(frames), seq)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)
        if self.unsent > _HIGH:
            await written

    def _look(self) -> None:
        """Tell the supervisor what has arrived at the client."""
        self._looking = None
        connection = self.ws_connection
        link = connection.stream.socket if isinstance(connection, WebSocketProtocol13) else None
        if link is None:
            return
        seq = self._delivery.arrived(self.unsent + unacknowledged(link))
        if seq is not None:
            self._cursor.reached(seq)
        if self._delivery.pending:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

    async def _next_generation(self, ended: Ended) -> bool:
        """Tell the client that a generation is over, and wait for the next; False when there will be none."""
        told = ""
        while True:
            self._changed.clear()
            info = self.parts.supervisor.kernels.get(self._kernel_id)
            if info is not None and info.generation > ended.generation:
                if told != "restarting":
                    self._say_status("restarting")
                self._delivery = Delivery()
                self._cursor = self._attach(info.generation, 0)
                return True
            state = "dead" if info is None or info.state == "dead" else "restarting"
            if state != told:
                self._say_status(state)
                told = state
            if info is None and self.parts.supervisor.connected:
                self.close(4404, "The kernel has been shut down.")
                return False
            await self._changed.wait()

    def _on_kernel(self, info: KernelInfo | None) -> None:
        if info is None or info.kernel_id == self._kernel_id:
            self._changed.set()

    def _say_status(self, state: str) -> None:
        """A status message of ours, as jupyter_server sends it."""
        date = datetime.now(UTC).isoformat()
        content = {"execution_state": state}
        parts = jupyter.make("status", content, session=self._session, msg_id=uuid.uuid4().hex, date=date)
        self.send(self._encode("iopub", parts))


async def _over(posted: asyncio.Future[Reply]) -> None:
    """Wait for its end, whatever that is."""
    await asyncio.wait((posted,))
