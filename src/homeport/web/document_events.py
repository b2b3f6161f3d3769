"""Open documents over plain HTTP, for where WebSockets are refused: a stream of events down, numbered POSTs up.

The framing is ``protocol/document_events.py``; above it a page is the same peer of a document as over a WebSocket. A stream
and its channels live as long as the stream's connection: when it is cut, pages come again and sync what they missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import cast

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError

from homeport.errors import BadRequest, NotFound
from homeport.web import problems
from homeport.web.base import Handler
from homeport.web.contents import served
from homeport.web.event_streams import Channel, EventStream
from homeport.web.gate import Kind
from homeport.web.sockets import LARGEST_FRAME, hold_little

_CHANNEL = re.compile(r"[\w-]{8,64}")


class Events(Handler):
    """``/api/documents/events?ticket=…``: one browser's stream."""

    kind = Kind.PAGE_SOCKET

    async def get(self) -> None:
        """GET: runs until the browser leaves."""
        self.set_header("Content-Type", "text/event-stream")
        # What a proxy holds back or changes comes too late or not at all.
        self.set_header("Cache-Control", "no-store, no-transform")
        self.set_header("X-Accel-Buffering", "no")
        connection = cast("HTTP1Connection", self.request.connection).stream
        if isinstance(connection, IOStream):
            hold_little(connection)
        streams = self.parts.event_streams
        self._stream = streams.begin(self.who.identity.username)
        self.parts.connections.add(self._stream, login=self.who.login)
        try:
            while (data := await self._stream.next()) is not None:
                await self.send_piece(data)
                self._stream.sent(len(data))
        except StreamClosedError:
            pass  # the browser has left
        finally:
            self.parts.connections.remove(self._stream)
            streams.end(self._stream)

    def on_connection_close(self) -> None:
        """The browser has left while nothing was being sent."""
        self._stream.close()
        super().on_connection_close()


class _Opening(msgspec.Struct):
    path: str
    packed: bool = False


class EventsChannel(Handler):
    """``/api/documents/events/<stream>/<channel>?number=…``: what a tab sends. 0 opens the channel, the others are pieces."""

    async def post(self, stream_id: str, channel: str) -> None:
        """POST."""
        stream = self.parts.event_streams.find(stream_id, self.who.identity.username)
        number = self.get_query_argument("number", "")
        if not number.isdecimal() or not _CHANNEL.fullmatch(channel):
            raise BadRequest("A channel has a name of 8 to 64 letters, digits or hyphens, and its pieces have numbers.")
        if number == "0":
            await self._open(stream, channel)
        else:
            await self._take(stream, channel, int(number))
        self.set_status(204)

    async def delete(self, stream_id: str, channel: str) -> None:
        """DELETE: the tab is leaving."""
        # A tab that closes its stream says so as well, and the stream's end may be seen first.
        with contextlib.suppress(NotFound):
            self.parts.event_streams.find(stream_id, self.who.identity.username).drop(channel)
        self.set_status(204)

    async def _open(self, stream: EventStream, name: str) -> None:
        if name in stream.channels:
            await asyncio.shield(stream.channels[name].opened)  # the answer to the first try was lost
            return
        wanted = self.json_body(_Opening)
        channel = Channel(name, stream, packed=wanted.packed, longest=LARGEST_FRAME)
        stream.add(channel)
        connections = self.parts.connections
        connections.add(channel, login=self.who.login)
        channel.gone = lambda: connections.remove(channel)
        try:
            document = await self.parts.documents.open(served(wanted.path))
        except Exception as error:
            stream.drop(name)
            channel.opened.set_exception(error)
            channel.opened.exception()  # nobody else may be waiting for it
            raise
        if stream.channels.get(name) is channel:
            channel.connect(document, self.who.identity.username)
            self.audit("notebook opened", path=document.path)
        channel.opened.set_result(None)

    async def _take(self, stream: EventStream, name: str, number: int) -> None:
        channel = stream.channels.get(name)
        if channel is None:
            raise NotFound("This channel is over; open another one.")
        try:
            await channel.take(number, self.request.body)
        except Exception as error:
            stream.drop(name, problems.as_homeport_error(error).message)
            raise
