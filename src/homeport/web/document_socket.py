"""The WebSocket between a page and an open document: binary frames in, binary frames out (``protocol/document.py``)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from homeport.auth.identity import Caller
from homeport.auth.policies import Policy
from homeport.errors import ProtocolError
from homeport.protocol.document import control
from homeport.web.base import Handler
from homeport.web.contents import served
from homeport.web.gate import Kind, Rules
from homeport.web.parts import Parts
from homeport.web.problems import as_homeport_error
from homeport.web.sockets import Socket

if TYPE_CHECKING:
    from homeport.documents.peer import Peer


_AT_ONCE = 128 * 1024
"""Bytes that are sent in one turn of the loop: to compress them takes some milliseconds, and others are to come in between."""


class DocumentSocket(Socket):
    """``/api/documents/socket?path=…&ticket=…``; also under ``/api/kernels/``: old Apache recipes let WebSockets through there only."""

    kind = Kind.PAGE_SOCKET

    def initialize(self, parts: Parts, rules: Rules, policy: Policy | None = None) -> None:
        """Take what the table of routes gives."""
        super().initialize(parts, rules, policy)
        self._peer: Peer | None = None
        self._waiting: deque[bytes | str] = deque()
        self._sent = 0
        self._next_turn: asyncio.Handle | None = None

    async def open(self, *args: str, **kwargs: str) -> None:
        """Connect the page to its document. What cannot be opened closes the link with the reason."""
        await super().open(*args, **kwargs)
        self.parts.connections.add(self, login=self.who.login)
        try:
            document = await self.parts.documents.open(served(self.get_query_argument("path", "")))
            if self.ws_connection is None:
                return  # the page has left meanwhile
            self._peer = document.connect(self.send, user=self.who.identity.username)
            self._peer.buffered = lambda: self.unsent
        except Exception as error:  # noqa: BLE001 - whatever it is, the link ends and the log says why
            self.refuse(error)

    def refuse(self, error: BaseException) -> None:
        """Close the link with the reason, and tell it whole before: a close frame cuts it."""
        self.send(control("refused", message=as_homeport_error(error).message))
        super().refuse(error)

    def send(self, frame: bytes | str) -> None:
        """Send a frame, behind those that wait for the next turn of the loop."""
        if self._next_turn is None and not self._waiting:
            self._send_now(frame)
        else:
            self._waiting.append(frame)
            self.unsent += len(frame)

    def _send_now(self, frame: bytes | str) -> None:
        super().send(frame)
        self._sent += len(frame)
        if self._sent >= _AT_ONCE and self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next_turn = None
        self._sent = 0
        while self._waiting and self._next_turn is None:
            frame = self._waiting.popleft()
            self.unsent -= len(frame)
            self._send_now(frame)

    async def receive(self, message: bytes | str) -> None:
        """Hand a frame to the document."""
        if isinstance(message, str):
            raise ProtocolError("Frames are binary; this one is text.")
        if self._peer is not None:
            await self._peer.receive(message)

    def on_close(self) -> None:
        """The page is gone."""
        self.parts.connections.remove(self)
        self._waiting.clear()
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def get_compression_options(self) -> dict[str, Any]:
        """permessage-deflate: the first sync of 1,000 cells is 712 kB, and 93 kB deflated."""
        return {"compression_level": 4, "mem_level": 8}


class Ticket(Handler):
    """``/api/documents/ticket``: a ticket for the sockets of this login."""

    async def post(self) -> None:
        """POST."""
        caller: Caller = self.who
        await self.send_json({"ticket": self.parts.auth.ticket(caller)})
