"""What every WebSocket shares: the gate, back-pressure, and being closed with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import unquote

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol13

from homeport.auth.identity import Caller
from homeport.auth.policies import Policy
from homeport.core.forwarded import Client
from homeport.errors import HomeportError, NotLoggedIn, ProtocolError
from homeport.web import gate, problems
from homeport.web.base import API_HEADERS, client_behind, knock_of, log_problem
from homeport.web.gate import Kind, Rules
from homeport.web.parts import Parts

log = logging.getLogger(__name__)

LARGEST_FRAME = 64 * 1024 * 1024
"""Bytes; the rooms behind have limits of their own."""
PING_EVERY = 20.0
"""Seconds. A link on which no pong comes for so long is dead; proxies that close idle connections after a minute see traffic."""

_CLOSE_BASE = 4000
_UNSENT = 64 * 1024


def close_code(problem: HomeportError) -> int:
    """The close code that tells a client of an error: 4000 and its HTTP status."""
    return _CLOSE_BASE + problem.status


def close_reason(message: str) -> str:
    """``message``, cut to the 123 bytes that a close frame holds."""
    data = message.encode("utf-8", "replace")
    return message if len(data) <= 123 else data[:120].decode("utf-8", "ignore") + "…"


def hold_little(stream: IOStream) -> None:
    """Let the system keep little that is not on its way yet: it may hold megabytes, minutes of a slow link, and what was sent
    there cannot be taken back for something newer. What is on its way is not limited, so that fast links stay fast."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and stream.socket is not None:
        with contextlib.suppress(OSError):
            stream.socket.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)


class Socket(WebSocketHandler):
    """Base of every WebSocket."""

    kind: ClassVar[Kind] = Kind.SOCKET

    parts: Parts
    rules: Rules
    client: Client
    caller: Caller | None = None

    def initialize(self, parts: Parts, rules: Rules, policy: Policy | None = None) -> None:
        """Take what the table of routes gives."""
        self.parts = parts
        self.rules = rules
        self._policy = policy
        self._stream: IOStream | None = None
        self.unsent: int = 0
        """Bytes that the socket has not taken yet."""

    def set_default_headers(self) -> None:
        """For the answers of refused handshakes."""
        for name, value in API_HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> Awaitable[None] | None:
        """Pass the gate."""
        self.client = client_behind(self.request, self.rules)
        gate.check_peer(self.request.remote_ip or "", self.rules)
        knock = knock_of(self.request, self.client, self.parts.auth.cookie_name, None)
        self.caller = gate.admit(knock, self._policy, self.kind, self.rules)
        event = self._policy.events.get("GET") if self._policy is not None else None
        if event is not None and self.caller is not None:
            user, path = self.caller.identity.username, self.get_query_argument("path", unquote(self.request.path))
            self.parts.auth.audit.record(event, user=user, address=self.client.address, login=self.caller.login, path=path)

    async def open(self, *args: str, **kwargs: str) -> None:
        """The handshake is over. Called by those who override it."""
        # Tornado turns Nagle's algorithm on again after each answer, the handshake's too: the second of two small frames would wait 40 ms.
        self.set_nodelay(True)
        if isinstance(self.ws_connection, WebSocketProtocol13):
            self._stream = self.ws_connection.stream
            hold_little(self._stream)

    def check_origin(self, origin: str) -> bool:
        """The gate has looked at it, by the one rule for HTTP and WebSockets; what shows a token or ticket may come from anywhere."""
        return self.caller is not None

    @property
    def who(self) -> Caller:
        """The caller."""
        if self.caller is None:
            raise NotLoggedIn("Log in first.")
        return self.caller

    def send(self, frame: bytes | str) -> None:
        """Send a frame; nothing happens when the link is gone."""
        try:
            sending = self.write_message(frame, binary=isinstance(frame, bytes))
        except WebSocketClosedError:
            return
        size = len(frame)
        self.unsent += size

        def sent(done: asyncio.Future[None]) -> None:
            self.unsent -= size
            if not done.cancelled() and not isinstance(done.exception(), (WebSocketClosedError, StreamClosedError, type(None))):
                log.error("A frame could not be sent: %r", done.exception())

        sending.add_done_callback(sent)

    def abort(self) -> None:
        """Leave at once; what the other end has not taken is thrown away."""
        if self._stream is not None:
            self._stream.close()

    def refuse(self, error: BaseException) -> None:
        """Close the link with the reason that ``error`` gives."""
        problem = problems.as_homeport_error(error)
        if not isinstance(error, HomeportError):
            log_problem(self.request, type(error), error, error.__traceback__)
        self.close(close_code(problem), close_reason(problem.message))

    async def receive(self, message: bytes | str) -> None:
        """Take one frame. An error closes the link with its reason."""
        raise NotImplementedError

    def on_message(self, message: bytes | str) -> Awaitable[None] | None:
        """One frame at a time, in order: the next is read when what is returned is done."""
        return self._receive(message)

    async def _receive(self, message: bytes | str) -> None:
        try:
            await self.receive(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the link ends and the log says why
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """A frame could not be taken: close the link, saying why."""
        if isinstance(error, ProtocolError):
            self.close(close_code(error), close_reason(error.message))
        else:
            self.refuse(error)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A refused handshake: JSON as everywhere."""
        exc_info = kwargs.get("exc_info")
        problem = problems.as_homeport_error(exc_info[1] if exc_info else None, status_code)
        problems.write_json(self, problem)

    def log_exception(self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """Never a query, a cookie, a token or a Referer."""
        if not isinstance(value, (WebSocketClosedError, StreamClosedError)):
            log_problem(self.request, typ, value, tb)

    def _request_summary(self) -> str:  # Tornado's own lines use it
        return f"{self.request.method} {self.request.path}"
