"""TLS at the door: the certificate in force, picked up anew when its file changes, and what comes unencrypted sent to https.

A port that speaks TLS leaves a browser that speaks plain http waiting or with a cryptic error; here the first byte of a
connection decides who answers it. Whether a certificate can be used, and making one, are ``auth/certificates.py``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import IOStream, SSLIOStream
from tornado.netutil import add_accept_handler, ssl_wrap_socket

from homeport.auth.certificates import BadCertificate, Served

log = logging.getLogger(__name__)

_HANDSHAKE = 0x16
"""First byte of a TLS record that holds a handshake (RFC 8446, section 5.1)."""
_PATIENCE = 10.0
_MOST_SILENT = 500
_ASK_EVERY = 3600.0
_HOST = re.compile(r"[\w.-]+(?::\d{1,5})?|\[[0-9a-fA-F:.]+\](?::\d{1,5})?")

Make = Callable[[datetime.datetime], Served]
"""Checks, or makes and renews, the certificate; raises BadCertificate."""


class Certificate:
    """The certificate in force.

    Args:
        make: asked at the start, when a file has changed, and every hour.

    Raises:
        BadCertificate: it cannot be used.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._asked = asyncio.get_running_loop().time()
        self._take(*self._made())

    def _made(self) -> tuple[Served, ssl.SSLContext, tuple[object, ...]]:
        served = self._make(_now())
        facts = _facts(served)
        # A new one each time: one that took a certificate and not its key would answer nobody.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(served.certfile, served.keyfile)
        return served, context, facts

    def _take(self, served: Served, context: ssl.SSLContext, facts: tuple[object, ...]) -> None:
        self.served = served
        self.context = context
        """For connections that begin now."""
        self._seen = facts

    async def refresh(self) -> None:
        """Take a renewed certificate; new connections get it. One that cannot be used is warned about, and the old one stays."""
        due = asyncio.get_running_loop().time() - self._asked > _ASK_EVERY
        facts = _facts(self.served)
        if facts == self._seen and not due:
            return
        before = self.served.fingerprint
        self._asked = asyncio.get_running_loop().time()
        try:
            self._take(*await asyncio.to_thread(self._made))
        except (BadCertificate, OSError) as error:
            # Perhaps only half of it is written: the next change is looked at again.
            self._seen = facts
            log.warning("The certificate of before stays in use: %s", error)
            return
        if self.served.fingerprint != before:
            log.info("A renewed certificate is in use, until %s.", f"{self.served.expires:%d %B %Y}")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _facts(served: Served) -> tuple[object, ...]:
    return tuple(_facts_of(file) for file in (served.certfile, served.keyfile) if file is not None)


def _facts_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Door:
    """Takes connections, looks at the first byte of each, and hands it on.

    Args:
        http: answers what comes encrypted.
        name: host name for clients that send no usable Host.
        port: where https is, for such clients.
    """

    def __init__(self, http: HTTPServer, certificate: Certificate, *, name: str, port: int) -> None:
        self._http = http
        self._certificate = certificate
        self._fallback = f"{name}:{port}"
        self._plain = HTTPServer(self._send_to_https, max_header_size=64 * 1024, idle_connection_timeout=_PATIENCE, no_keep_alive=True)
        self._closing: list[Callable[[], None]] = []
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        _quiet_handshakes()

    def open(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to take connections."""
        for listening in sockets:
            listening.setblocking(False)
            self._closing += [add_accept_handler(listening, self._look), listening.close]

    def close(self) -> None:
        """Take no more; those that are being answered go on."""
        for close in self._closing:
            close()
        self._closing.clear()
        for connection in tuple(self._silent):
            self._forget(connection).close()

    def _look(self, connection: socket.socket, address: Any) -> None:
        """Wait for the first byte without taking it."""
        if len(self._silent) >= _MOST_SILENT:  # those that say nothing must not use up all descriptors
            self._forget(next(iter(self._silent))).close()
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        self._silent[connection] = loop.call_later(_PATIENCE, lambda: self._forget(connection).close())
        loop.add_reader(connection, self._hand_on, connection, address)

    def _forget(self, connection: socket.socket) -> socket.socket:
        asyncio.get_running_loop().remove_reader(connection)
        self._silent.pop(connection).cancel()
        return connection

    def _hand_on(self, connection: socket.socket, address: Any) -> None:
        self._forget(connection)
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except OSError:
            first = b""
        if not first:
            connection.close()
            return
        try:
            if first[0] == _HANDSHAKE:
                wrapped = ssl_wrap_socket(connection, self._certificate.context, server_side=True, do_handshake_on_connect=False)
                self._http.handle_stream(SSLIOStream(wrapped), address)  # pyright: ignore[reportUnknownMemberType]  # a bare tuple in Tornado
            else:
                self._plain.handle_stream(IOStream(connection), address)  # pyright: ignore[reportUnknownMemberType]
        except (ssl.SSLError, OSError) as error:  # it has left between two steps
            log.debug("A connection could not be taken: %s", error)
            with contextlib.suppress(OSError):
                connection.close()

    def _send_to_https(self, request: HTTPServerRequest) -> None:
        host = request.headers.get("Host", "")
        host = host if _HOST.fullmatch(host) else self._fallback
        # A path with two slashes at its beginning stays one on this host: what comes before is ours.
        place = f"https://{host}/{(request.uri or '/').lstrip('/')}"
        body = f"This port speaks https only: {place.partition('?')[0]}\n".encode()
        headers = HTTPHeaders(
            {"Location": place, "Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        )
        headers["Connection"] = "close"
        connection = request.connection
        assert connection is not None
        connection.write_headers(
            ResponseStartLine("HTTP/1.1", 307, "Temporary Redirect"), headers, b"" if request.method == "HEAD" else body
        )
        connection.finish()


class _NoHandshakes(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("SSL Error on")


def _quiet_handshakes() -> None:
    """A browser that does not trust the certificate yet, or a port scanner, is no fault of the server."""
    tornado_log = logging.getLogger("tornado.general")
    if not any(isinstance(each, _NoHandshakes) for each in tornado_log.filters):
        tornado_log.addFilter(_NoHandshakes())
