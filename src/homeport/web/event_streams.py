"""The open event streams of a server and their channels: what is still to be sent on each, and who is there.

What travels on them is ``protocol/document_events.py``; HTTP is ``document_events.py``'s business.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from homeport.errors import BadRequest, NotFound
from homeport.protocol.document_events import HEARTBEAT, Pieces, ending, event, opening

if TYPE_CHECKING:
    from homeport.documents.document import Document
    from homeport.documents.peer import Peer

HEARTBEAT_EVERY = 15.0
"""Seconds without an event after which the stream says that it is there."""
SILENT_CHANNEL = 200.0
"""Seconds without a POST after which a tab is taken to be gone; browsers let the timers of hidden tabs run once a minute."""
EMPTY_STREAM = 60.0
"""Seconds that a stream without channels is kept."""
MOST_CHANNELS = 64
"""Channels of one stream: tabs of one browser."""


class Channel:
    """One tab's link to one document.

    Args:
        name: as the tab calls it.
        stream: carries what the document says.
        packed: the tab can inflate frames.
        longest: bytes of the largest frame that is taken.
    """

    def __init__(self, name: str, stream: EventStream, *, packed: bool, longest: int) -> None:
        self.name = name
        self.heard = time.monotonic()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the document is connected, or could not be."""
        self.gone: Callable[[], None] = lambda: None
        """Called once when the channel is over."""
        self._stream = stream
        self._packed = packed
        self._pieces = Pieces(longest)
        self._peer: Peer | None = None
        self._turn = asyncio.Lock()

    def connect(self, document: Document, user: str) -> None:
        """Let the page into its document."""
        self._peer = document.connect(self._send, user=user)
        self._peer.buffered = lambda: self._stream.unsent

    async def take(self, number: int, piece: bytes) -> None:
        """Hand a piece's frames to the document, in order.

        Raises:
            ProtocolError: it is not the next piece, or holds what is not allowed.
        """
        self.heard = time.monotonic()
        async with self._turn:
            for frame in self._pieces.take(number, piece):
                if self._peer is not None:
                    await self._peer.receive(frame)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """End the channel, after telling the tab why."""
        self._stream.drop(self.name, reason or "")

    def abort(self) -> None:
        """End the channel."""
        self.close()

    def leave(self) -> None:
        """The channel is over: the stream has dropped it."""
        self.gone()
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def _send(self, frame: bytes) -> None:
        self._stream.put(event(self.name, frame, packed=self._packed))


class EventStream:
    """One browser's stream: its channels, and what is still to be sent. ``unsent`` are bytes that the socket has not taken."""

    def __init__(self, user: str) -> None:
        self.id = secrets.token_urlsafe(24)
        self.user = user
        self.unsent = 0
        self.channels: dict[str, Channel] = {}
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()
        self._emptied = time.monotonic()
        self._over = False
        self.put(opening(self.id))

    def put(self, data: bytes) -> None:
        """Send ``data`` when its turn comes."""
        if not self._over:
            self._waiting.append(data)
            self.unsent += len(data)
            self._news.set()

    async def next(self) -> bytes | None:
        """What is to be sent next, waiting for it; a heartbeat when there is nothing for long; None: it is over."""
        if not self._waiting and not self._over:
            self._news.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_EVERY):
                    await self._news.wait()
            except TimeoutError:
                self._sweep()
                self.put(HEARTBEAT)
        if not self._waiting:
            return None
        data = b"".join(self._waiting)
        self._waiting.clear()
        return data

    def sent(self, size: int) -> None:
        """The socket has taken ``size`` bytes."""
        self.unsent -= size

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """End the stream, after telling each channel why."""
        for name in tuple(self.channels):
            self.drop(name, reason or "")
        self._over = True
        self._news.set()

    def abort(self) -> None:
        """End the stream; its connection is closed by the server."""
        self.close()

    def add(self, channel: Channel) -> None:
        """A tab has come.

        Raises:
            BadRequest: there are too many.
        """
        if len(self.channels) >= MOST_CHANNELS:
            raise BadRequest(f"One browser can have {MOST_CHANNELS} tabs on a stream.")
        self.channels[channel.name] = channel

    def drop(self, name: str, reason: str | None = None) -> None:
        """A channel is over; ``reason``: the tab is told."""
        channel = self.channels.pop(name, None)
        if channel is None:
            return
        if reason is not None:
            self.put(ending(name, reason))
        channel.leave()
        self._emptied = time.monotonic()

    def _sweep(self) -> None:
        now = time.monotonic()
        for name, channel in tuple(self.channels.items()):
            if now - channel.heard > SILENT_CHANNEL:
                self.drop(name, "")
        if not self.channels and now - self._emptied > EMPTY_STREAM:
            self.close()


class EventStreams:
    """The open streams of a server, by id."""

    def __init__(self) -> None:
        self._open: dict[str, EventStream] = {}

    def begin(self, user: str) -> EventStream:
        """A new stream, for tabs of that user."""
        stream = EventStream(user)
        self._open[stream.id] = stream
        return stream

    def end(self, stream: EventStream) -> None:
        """A stream's connection is gone."""
        self._open.pop(stream.id, None)
        stream.close()

    def find(self, stream_id: str, user: str) -> EventStream:
        """The stream of that id. A browser may have logged in again since it began, so it is not the login that counts.

        Raises:
            NotFound: it is over, or another user's.
        """
        stream = self._open.get(stream_id)
        if stream is None or stream.user != user:
            raise NotFound("This stream is over; open another one.")
        return stream
