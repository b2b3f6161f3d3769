"""A page without a browser: the other end of the document link, for commands that use a notebook through a server.

It speaks what docs/architecture.md tells under "a page and the server", keeps the Yjs document and the state up to date, and
goes on by itself when the link was cut or the server was started anew: what has no answer yet is asked again. It only
reads the document. Which server it is, and what to do with the notebook, is its caller's to know.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import msgspec
from pycrdt import Array, Doc, Map
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from homeport.core.backoff import Backoff
from homeport.errors import Forbidden, HomeportError, NotLoggedIn, ProtocolError
from homeport.protocol import document as protocol
from homeport.protocol.document import JSON
from homeport.web.sockets import LARGEST_FRAME

_PING_EVERY = 5.0  # and as long for the answer: a dead link is noticed within 10 s
_PATIENCE = 30.0
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_CLOSED_WITH_STATUS = 4000
# Statuses by which a server says "not now": it is starting, or stopping, or does not answer.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 599})


@dataclass(frozen=True)
class Place:
    """A server: its URL, which ends with a slash, and the token that lets in (empty: none is needed)."""

    url: str
    token: str
    local_url: str = ""
    """Where it is from this machine; the same as ``url`` when empty."""
    certificate: str = ""
    """The file of the certificate that it shows: on this machine no other one is accepted, whoever signed it."""


class LinkRefused(HomeportError):
    """The server does not open the notebook; the message is the server's own."""

    code = "link_refused"


class PageLink:
    """See the module.

    Args:
        find: the server as it is now; None while there is none. Asked before each attempt: a restart may change it.
        path: the notebook's API path.
    """

    def __init__(self, find: Callable[[], Place | None], path: str) -> None:
        self.path = path
        self.state: dict[str, JSON] = {}
        """The latest of each key of the ``state`` frame."""
        self.connected = False
        self._find = find
        self._doc: Doc[Array[object] | Map[object]] = Doc()
        self._epoch: str | None = None
        self._synced = False
        self._waiting: dict[str, tuple[bytes, asyncio.Future[Mapping[str, JSON]]]] = {}
        self._changes: set[asyncio.Event] = set()
        self._socket: WebSocketClientConnection | None = None
        self._refusal = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def cells(self) -> list[Map[object]]:
        """The cells of the notebook, in order."""
        cells = cast("Array[object]", self._doc.get("cells", type=Array))
        return [cast("Map[object]", cell) for cell in cells if isinstance(cell, Map)]

    # ---- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Return when the notebook and the state are here.

        Raises:
            LinkRefused: the server does not open it.
            NotLoggedIn: the server asks for something that we do not have.
            HomeportError: there is no such server, or it does not answer.
        """
        self._task = asyncio.create_task(self._keep_up(), name=f"link to {self.path}")
        await self.until(lambda: self._synced and "link" in self.state)

    async def close(self) -> None:
        """Leave; the server keeps what it has."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, answer in self._waiting.values():
            answer.cancel()

    async def operate(self, op: str, **fields: JSON) -> Mapping[str, JSON]:
        """Ask for an operation, again after each cut until it is answered; returns the reply's fields.

        Raises:
            HomeportError: what the server answered, or why the link cannot be had any more.
        """
        number = uuid.uuid4().hex
        frame = protocol.control(op, id=number, **fields)
        answer: asyncio.Future[Mapping[str, JSON]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (frame, answer)
        self._send(frame)
        try:
            await self.until(answer.done)
        finally:
            self._waiting.pop(number, None)
        reply = answer.result()
        error = reply.get("error")
        if isinstance(error, dict):
            data = {key: value for key, value in error.items() if key != "message"}
            raise HomeportError(str(error.get("message", "")), **data)
        return reply

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` holds, looked at after each change.

        Raises:
            HomeportError: the link cannot be had any more.
        """
        while not condition():
            await self.change()

    async def change(self) -> None:
        """Wait for the next frame, or for a change of the link. Raises as :meth:`until` does."""
        changed = asyncio.Event()
        self._changes.add(changed)
        try:
            if self._task is not None and self._task.done():
                self._task.result()
            await changed.wait()
            if self._task is not None and self._task.done():
                self._task.result()
        finally:
            self._changes.discard(changed)

    def _changed(self) -> None:
        for event in self._changes:
            event.set()

    # ---- the link -------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        """Have a link, for ever; ends with the error for which there can be none."""
        backoff = Backoff(first=0.1, longest=5.0)
        try:
            while True:
                place = self._find()
                if place is None and not self._synced:
                    raise HomeportError("There is no server that serves this notebook.")
                try:
                    if place is not None:
                        await self._one_link(place, backoff)
                except (OSError, TimeoutError, HTTPClientError, WebSocketClosedError) as error:
                    _judge(error)
                finally:
                    self._lost()
                await asyncio.sleep(backoff.next(random.random()))
        finally:
            asyncio.get_running_loop().call_soon(self._changed)

    async def _one_link(self, place: Place, backoff: Backoff) -> None:
        headers = {"Authorization": f"token {place.token}"} if place.token else {}
        client, base = AsyncHTTPClient(), place.local_url or place.url
        tls = _only(Path(place.certificate)) if place.certificate else None
        ticket_url = f"{base}api/documents/ticket"
        asked = HTTPRequest(ticket_url, method="POST", body="", headers=headers, request_timeout=_PATIENCE, ssl_options=tls)
        found: object = msgspec.json.decode((await client.fetch(asked)).body)
        ticket = str(cast("dict[str, object]", found)["ticket"]) if isinstance(found, dict) else ""
        url = f"ws{base.removeprefix('http')}api/documents/socket?{urlencode({'path': self.path, 'ticket': ticket})}"
        socket = await websocket_connect(
            HTTPRequest(url, headers=headers, connect_timeout=_PATIENCE, ssl_options=tls),
            max_message_size=LARGEST_FRAME,
            compression_options={},
            ping_interval=_PING_EVERY,
            ping_timeout=_PING_EVERY,
        )
        self._socket, self._refusal = socket, ""
        joiner = protocol.Joiner()
        try:
            while (message := await socket.read_message()) is not None:
                frame = joiner.take(message) if isinstance(message, bytes) else None
                if frame is not None:
                    self._receive(protocol.parse(frame))
                    backoff.reset()
                    self._changed()
        finally:
            socket.close()
        code, reason = socket.close_code or 0, self._refusal or socket.close_reason or ""
        status = code - _CLOSED_WITH_STATUS
        if 400 <= status < 600 and status not in _PASSING:
            raise LinkRefused(reason, status=status)

    def _lost(self) -> None:
        self._socket, self.connected = None, False
        self._changed()

    def _send(self, frame: bytes) -> None:
        """What cannot be sent now is asked again on the next link."""
        if self._socket is not None and self.connected:
            with suppress(WebSocketClosedError):
                sent = self._socket.write_message(frame, binary=True)
                sent.add_done_callback(lambda done: done.exception())

    def _receive(self, frame: protocol.Frame) -> None:
        match frame:
            case protocol.Update():
                self._doc.apply_update(frame.update)
                self._synced = self._synced or frame.step2
            case protocol.Step1():
                self._send(protocol.step2(self._doc.get_update(frame.state)))
            case protocol.Control():
                self._on_control(frame)
            case _:
                pass

    def _on_control(self, frame: protocol.Control) -> None:
        fields = frame.fields
        if frame.op == "hello":
            self._on_hello(fields)
        elif frame.op == "state":
            protocol.merge_state(self.state, fields)
        elif frame.op == "refused":
            self._refusal = str(fields.get("message") or "")
        elif frame.op == "reply":
            _, answer = self._waiting.get(str(fields.get("id")), (b"", None))
            if answer is not None and not answer.done():
                answer.set_result(fields)

    def _on_hello(self, fields: Mapping[str, JSON]) -> None:
        if fields.get("protocol") != protocol.PROTOCOL:
            raise ProtocolError(f"That server is Homeport {fields.get('version')}, which this one does not understand.")
        self.path = str(fields.get("path") or self.path)  # the notebook may have been renamed
        epoch = str(fields.get("epoch"))
        if epoch != self._epoch:  # another history: we have nothing to add to it
            self._doc, self._epoch = Doc(), epoch
        self.connected = True
        self._send(protocol.control("hello", protocol=protocol.PROTOCOL, epoch=epoch, client="command"))
        self._send(protocol.step1(self._doc.get_state()))
        for again, _ in list(self._waiting.values()):
            self._send(again)


def _only(certificate: Path) -> ssl.SSLContext:
    """TLS with the holder of that certificate and nobody else; its names do not matter, since it is on this machine."""
    text = certificate.read_text("ascii")  # perhaps with a key before it, and other certificates behind
    context = ssl.create_default_context(cadata=text[text.index(_BEGIN) : text.index(_END) + len(_END)])
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _judge(error: Exception) -> None:
    """Raise what will not be better at the next attempt."""
    if not isinstance(error, HTTPClientError) or error.code in _PASSING:
        return
    if error.code == NotLoggedIn.status:
        raise NotLoggedIn("The server does not let this command in: it was started without a token.")
    body = error.response.body if error.response is not None else b""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        answer: object = msgspec.json.decode(body)
        if isinstance(answer, dict):
            message = str(cast("dict[str, object]", answer).get("message") or error.message)
            raise Forbidden(message) if error.code == Forbidden.status else LinkRefused(message, status=error.code)
    raise LinkRefused(f"The server answered {error.code} {error.message}.", status=error.code)
