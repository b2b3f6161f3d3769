"""What ``homeport doctor`` asks a server: what of its request arrived, whether pieces come one by one, whether sockets stay open.

Public, because it also has to work where a proxy breaks logging in. A caller hears of its own request only. The side that asks is
``web/outside.py``.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from homeport import __version__
from homeport.core.forwarded import parse_address
from homeport.errors import HomeportError
from homeport.web.base import Handler
from homeport.web.gate import Kind
from homeport.web.sockets import Socket

PAUSE = 1.2
"""Seconds between the pieces of a stream."""
_LONGEST_VISIT = 60.0
_MOST_VISITORS = 8
_LONGEST_ECHO = 1024


class Arrived(msgspec.Struct):
    """What arrived of a request."""

    homeport: str
    """The server's version."""
    base_url: str
    host: str
    hosts: list[str]
    """All names under which the browser may know the server, by Host and by what a trusted proxy forwarded."""
    scheme: str
    origin: str | None
    unknown_proxy: str | None
    """The address of a proxy that forwards, and whose headers do not count."""
    body: int
    """Bytes."""


class TooManyVisitors(HomeportError):
    """So many look at this server already."""

    code = "too_many_visitors"
    status = 503


class Doctor(Handler):
    """``/api/doctor``."""

    async def get(self) -> None:
        """GET: what arrived; with ``?stream`` three lines, with pauses between them."""
        if "stream" not in self.request.arguments:
            await self.post()
            return
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store, no-transform")
        self.set_header("X-Accel-Buffering", "no")  # as the pages' own streams have it
        for line in (b"data: first\n\n", b"data: second\n\n", b"data: third\n\n"):
            await self.send_piece(line)
            await asyncio.sleep(PAUSE)

    async def post(self) -> None:
        """POST: what arrived, and how large the body was."""
        client = self.client
        peer = parse_address(self.request.remote_ip or "")
        trusted = peer is None or any(peer in network for network in self.rules.proxies)
        await self.send_json(
            Arrived(
                homeport=__version__,
                base_url=self.base_url,
                host=self.request.headers.get("Host", ""),
                hosts=list(client.hosts),
                scheme=client.scheme,
                origin=self.request.headers.get("Origin"),
                unknown_proxy=str(peer) if client.proxied and not trusted else None,
                body=len(self.request.body),
            )
        )


class DoctorSocket(Socket):
    """``/api/doctor/socket``, also below ``/api/kernels/``: greets, repeats what it hears, and says nothing else for a minute."""

    kind = Kind.PAGE_SOCKET
    visitors: ClassVar[set[DoctorSocket]] = set()

    def check_origin(self, origin: str) -> bool:
        """Nothing can be done here, so anybody may come."""
        return True

    async def open(self, *args: str, **kwargs: str) -> None:
        """Greet."""
        await super().open(*args, **kwargs)
        if len(self.visitors) >= _MOST_VISITORS:
            self.refuse(TooManyVisitors("So many look at this server just now; try again in a minute."))
            return
        self.visitors.add(self)
        asyncio.get_running_loop().call_later(_LONGEST_VISIT, self.close)
        self.send("homeport")

    async def receive(self, message: bytes | str) -> None:
        """Repeat."""
        self.send(message[:_LONGEST_ECHO])

    def on_close(self) -> None:
        """Gone."""
        self.visitors.discard(self)
