"""One page in a room, whatever its transport: what it sends, what it is owed, and how far it is.

A page that does not read is skipped, not buffered: what it missed is sent later as one difference, so that its link
costs no more memory than the limit. How far it is, is told by the socket, which takes no more, and by marks that go
along with what is sent and that the page gives back: proxies and sockets on the way may hold minutes of a slow link.
The room decides what is sent; transports are the web edge's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

from homeport import __version__
from homeport.documents.away import Away, Told, told_by
from homeport.documents.log import Commit
from homeport.documents.mirror import Change
from homeport.documents.room import Room
from homeport.errors import ProtocolError
from homeport.protocol import document as protocol
from homeport.protocol.document import JSON

_CATCH_UP_EVERY = 0.1
_MARK_EVERY = 16 * 1024
_PATIENCE = 1.5
"""Seconds after which a page that has not given back a mark is behind."""


class Peer:
    """A page. Made by ``Document.connect``.

    Args:
        room: the room it is in.
        send: hands one frame to the transport; must not block.
        user: who it is, for logs.
        path: the notebook's API path, told in ``hello``.
        limit: bytes in the transport's buffer above which the page is skipped.
        longest: bytes of the largest frame that is taken.
        control: does a control op that is not the link's own.
        stale: takes the whole state of a page whose history is another one.
    """

    def __init__(
        self,
        room: Room,
        send: Callable[[bytes], None],
        *,
        user: str,
        path: Callable[[], str],
        limit: int,
        longest: int,
        control: Callable[[Peer, protocol.Control], Awaitable[None]],
        stale: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self.room = room
        self.user = user
        self.buffered: Callable[[], int] = lambda: 0
        """Bytes that the socket has not taken yet; set by the transport."""
        self.stale_keys: set[str] = set(room.state)
        """Keys of the ``state`` frame that the page does not have yet."""
        self.stale_presence: set[int] = set(room.presence)
        """Clients whose awareness the page does not have yet."""
        self._send = send
        self._path = path
        self._limit = limit
        self._longest = longest
        self._control = control
        self._stale = stale
        self._greeted = False
        self._foreign = False
        self._away: list[Told] = []
        self._joined: int | None = None
        self._behind: bytes | None = None
        self._durable = 0
        self._told = 0
        self._queue: list[JSON] = []
        self._clients: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._marking = False
        self._unmarked = 0
        self._mark = 0
        self._marks: deque[tuple[int, float]] = deque()
        self._gone = False
        room.peers.add(self)
        self.greet()
        self.send(protocol.step1(room.ydoc.get_state()))
        room.tick()

    # ---- from the page --------------------------------------------------------------------------------------------

    async def receive(self, frame: bytes) -> None:
        """Take one frame of the page.

        Raises:
            ProtocolError: it is not one, or not allowed now; the link is to be closed with the reason.
        """
        if self._gone:
            return
        if len(frame) > self._longest:
            raise ProtocolError(f"A frame has at most {self._longest} bytes, not {len(frame)}.")
        message = protocol.parse(frame)
        if isinstance(message, protocol.Control):
            await self._on_control(message)
        elif not self._greeted:
            raise ProtocolError("A page says hello first.")
        elif self._foreign:
            await self._on_foreign(message)
        elif isinstance(message, protocol.Step1):
            self._join(message.state)
        elif isinstance(message, protocol.Update):
            self._on_update(message)
        else:
            self._on_presence(message)

    def close(self) -> None:
        """The page is gone."""
        if self._gone:
            return
        self._gone = True
        self.room.peers.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        gone = [self.room.presence[client] for client in self._clients if client in self.room.presence]
        self._publish([protocol.Presence(entry.client, entry.clock, "null") for entry in gone])

    async def _on_control(self, message: protocol.Control) -> None:
        if message.op == "hello":
            self._on_hello(message)
        elif message.op == "away" and self._greeted and not self._foreign:
            self._on_away(message)
        elif message.op == "marked":
            self._on_marked(message)
        elif message.op == "ping":
            self.tell("pong", t=message.fields.get("t"))
        elif not self._greeted:
            raise ProtocolError("A page says hello first.")
        else:
            await self._control(self, message)

    def _on_hello(self, message: protocol.Control) -> None:
        if message.fields.get("protocol") != protocol.PROTOCOL:
            raise ProtocolError(f"This server speaks protocol {protocol.PROTOCOL}; reload the page.")
        self._greeted = True
        self._marking = message.fields.get("marks") is True
        epoch = message.fields.get("epoch")
        # Two histories are never united: Yjs would show the content of both.
        self._foreign = epoch is not None and epoch != self.room.epoch

    def _on_away(self, message: protocol.Control) -> None:
        """The page tells which cells it changed: of its next step 2, or, with ``now``, of what it has sent already."""
        self._away = told_by(message.fields)
        if message.fields.get("now") is True:
            cells, self._away = self._away, []
            Away(self.room, cells).settle(Change())

    def _on_update(self, message: protocol.Update) -> None:
        if not message.step2:
            self.room.apply(self, message.update)
            return
        cells, self._away = self._away, []
        away = Away(self.room, cells) if cells else None
        change = self.room.apply(self, message.update, missed=True)
        if away is not None:
            away.settle(change)

    async def _on_foreign(self, message: protocol.Frame) -> None:
        if isinstance(message, protocol.Update) and message.step2:
            await self._stale(message.update)
            self._hello(reload=True)

    def _join(self, state: bytes) -> None:
        """Answer a step 1: what the page lacks, once that is durable; from here on it gets every update."""
        try:
            missing = self.room.ydoc.get_update(state)
        except ValueError as error:
            raise ProtocolError("A sync frame does not hold a state vector.") from error
        self._joined = self.room.ordinal
        self._behind = None
        frame = protocol.step2(missing)
        self.room.log.append(Commit("", done=_once(lambda: self.send(frame))))

    def _on_presence(self, message: protocol.Awareness) -> None:
        news: list[protocol.Presence] = []
        for entry in message.clients:
            known = self.room.presence.get(entry.client)
            if known is not None and (
                entry.clock < known.clock
                or (entry.clock == known.clock and (entry.state == known.state or known.state != "null" != entry.state))
            ):
                continue
            news.append(entry)
            self._clients.add(entry.client)
        self._publish(news)

    def _publish(self, news: list[protocol.Presence]) -> None:
        for entry in news:
            self.room.presence[entry.client] = entry
            for peer in self.room.peers:
                if peer is not self:
                    peer.stale_presence.add(entry.client)
        if news:
            self.room.tick()

    # ---- to the page ----------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Hand a frame to the transport, unless the page is gone."""
        if self._gone:
            return
        for part in protocol.parts(frame):
            self._send(part)
            self._unmarked += len(part)
            if self._marking and self._unmarked >= _MARK_EVERY:
                self._unmarked = 0
                self._mark += 1
                self._marks.append((self._mark, asyncio.get_running_loop().time()))
                self._send(protocol.control("mark", n=self._mark))

    @property
    def _full(self) -> bool:
        """Whether the page is behind, and gets nothing that can wait."""
        late = self._marks and asyncio.get_running_loop().time() - self._marks[0][1] > _PATIENCE
        return bool(late) or self.buffered() > self._limit

    def _on_marked(self, message: protocol.Control) -> None:
        """The page has everything up to that mark."""
        number = message.fields.get("n")
        while self._marks and isinstance(number, int) and self._marks[0][0] <= number:
            self._marks.popleft()
        if self._timer is not None and not self._marks:
            self._timer.cancel()
            self._catch_up()

    def tell(self, op: str, **fields: object) -> None:
        """Send a control frame."""
        self.send(protocol.control(op, **fields))

    def greet(self) -> None:
        """Say ``hello`` (again: the notebook has another path)."""
        self._hello(reload=False)

    def ask(self) -> None:
        """Ask the page for everything that the room does not have."""
        self.send(protocol.step1(self.room.ydoc.get_state()))

    def wants(self, ordinal: int) -> bool:
        """Whether the page is to get that update: it has synced before it was made."""
        return self._joined is not None and self._joined <= ordinal

    def offer(self, frame: bytes, before: bytes) -> None:
        """Send an update frame, or, when the page does not keep up, remember where it stopped.

        Args:
            before: state vector of the document before that update.
        """
        if self._behind is not None:
            return
        if self._full:
            self._behind = before
            self._watch()
        else:
            self.send(frame)

    def acknowledge(self) -> None:
        """One more sync frame of this page is durable."""
        self._durable += 1
        self.room.tick()

    def tick(self) -> None:
        """Send what is owed: acknowledgements, changed state, presence. Once per turn of the loop at most."""
        if self._gone or not self._greeted:
            return
        if self._full:
            self._watch()
            return
        if self._durable != self._told:
            self._told = self._durable
            self.tell("ack", count=self._durable)
        if self.stale_keys:
            state = {key: self.room.state[key] for key in sorted(self.stale_keys) if key in self.room.state}
            self.stale_keys.clear()
            self.tell("state", **self._briefly(state))
        if self.stale_presence:
            entries = [self.room.presence[client] for client in self.stale_presence if client in self.room.presence]
            self.stale_presence.clear()
            self.send(protocol.awareness(entries))
            self.room.forget_gone()

    def _briefly(self, state: dict[str, JSON]) -> dict[str, JSON]:
        """The same, with how the queue moved on in place of the queue, if that says it."""
        queue = cast("list[JSON] | None", state.get("queue"))
        if queue is not None:
            moved = protocol.queue_moved(self._queue, queue)
            self._queue = queue
            if moved is not None:
                del state["queue"]
                state["queue_moved"] = moved
        return state

    def _watch(self) -> None:
        if self._timer is None and not self._gone:
            self._timer = asyncio.get_running_loop().call_later(_CATCH_UP_EVERY, self._catch_up)

    def _catch_up(self) -> None:
        """The page may read again: one difference from where it stopped, instead of all the updates that it missed."""
        self._timer = None
        if self._gone or self._marks or self.buffered() > self._limit // 2:
            self._watch()
            return
        if self._behind is not None:
            frame = protocol.update(self.room.ydoc.get_update(self._behind))
            self._joined = self.room.ordinal
            self._behind = None
            self.room.log.append(Commit("", done=_once(lambda: self.send(frame))))
        self.room.tick()

    def _hello(self, *, reload: bool) -> None:
        self.tell(
            "hello",
            protocol=protocol.PROTOCOL,
            epoch=self.room.epoch,
            version=__version__,
            path=self._path(),
            reload=reload,
        )


def _once(function: Callable[[], None]) -> Callable[[bool], None]:
    """A commit is reported twice when the log failed at first; a frame is sent once."""
    called = False

    def done(_: bool) -> None:
        nonlocal called
        if not called:
            called = True
            function()

    return done
