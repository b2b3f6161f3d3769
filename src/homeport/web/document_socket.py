"""The WebSocket between a page and an open document: binary frames in, binary frames out (``protocol/document.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeport.auth.identity import Caller
from homeport.errors import ProtocolError
from homeport.web.base import Handler
from homeport.web.contents import served
from homeport.web.gate import Kind
from homeport.web.sockets import Socket

if TYPE_CHECKING:
    from homeport.documents.peer import Peer


class DocumentSocket(Socket):
    """``/api/documents/socket?path=…&ticket=…``; also under ``/api/kernels/``: old Apache recipes let WebSockets through there only."""

    kind = Kind.PAGE_SOCKET

    async def open(self, *args: str, **kwargs: str) -> None:
        """Connect the page to its document. What cannot be opened closes the link with the reason."""
        await super().open(*args, **kwargs)
        self._peer: Peer | None = None
        self.parts.connections.add(self, login=self.who.login)
        try:
            document = await self.parts.documents.open(served(self.get_query_argument("path", "")))
            if self.ws_connection is None:
                return  # the page has left meanwhile
            self._peer = document.connect(self.send, user=self.who.identity.username)
            self._peer.buffered = lambda: self.unsent
        except Exception as error:  # noqa: BLE001 - whatever it is, the link ends and the log says why
            self.refuse(error)

    async def receive(self, message: bytes | str) -> None:
        """Hand a frame to the document."""
        if isinstance(message, str):
            raise ProtocolError("Frames are binary; this one is text.")
        if self._peer is not None:
            await self._peer.receive(message)

    def on_close(self) -> None:
        """The page is gone."""
        self.parts.connections.remove(self)
        if getattr(self, "_peer", None) is not None and self._peer is not None:
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
