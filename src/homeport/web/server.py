"""The HTTP server's life: bind, answer, tell where it is, leave.

Where it is stands in a runtime file that ``jupyter server list``, editors and ``homeport list`` read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import mimetypes
import os
import socket
import time
from collections.abc import Callable
from urllib.parse import quote

import msgspec
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from homeport import __version__
from homeport.auth.addresses import is_loopback, reachable_names, url_host
from homeport.auth.certificates import Served
from homeport.errors import HomeportError
from homeport.folders import keep_private
from homeport.web import uploads
from homeport.web.app import make_app
from homeport.web.assets import ASSETS
from homeport.web.attention import Attention
from homeport.web.kernel_audit import KernelAudit
from homeport.web.pages import frame_page
from homeport.web.parts import Parts
from homeport.web.tls import Certificate, Door, Make

log = logging.getLogger(__name__)

LARGEST_PLAIN_BODY = 16 * 1024 * 1024
"""Bytes of a body that is held in memory; uploads go to files and may be larger (``contents.py``)."""
_PATIENCE = 1.0
_SWEEP_EVERY = 2.0
_BUSY = (errno.EADDRINUSE, errno.EACCES)


class CannotListen(HomeportError):
    """No port could be bound; ``data`` has the port, and whether it is ``taken``: somebody listens on it."""

    code = "cannot_listen"


def _read_ahead() -> None:
    """Read the small files that answers need, so that no answer waits for the disk with all the others behind it."""
    mimetypes.init()
    ASSETS.of_page("tree")
    frame_page()


class Server:
    """One server on one port.

    Args:
        make_certificate: with it the server speaks TLS.
    """

    def __init__(self, parts: Parts, make_certificate: Make | None = None) -> None:
        self._parts = parts
        self._make_certificate = make_certificate
        self._certificate: Certificate | None = None
        self._door: Door | None = None
        self._http: HTTPServer | None = None
        self._attention: Attention | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self.port = 0
        """The port that it listens on, once started."""

    # ---- where it is ----

    @property
    def certificate(self) -> Served | None:
        """The certificate in force; None when nothing is encrypted."""
        return self._certificate.served if self._certificate is not None else None

    @property
    def hostname(self) -> str:
        """The name that URLs have, such as ``localhost`` for loopback and this host's name for all addresses."""
        return url_host(self._names[0])

    @property
    def _names(self) -> list[str]:
        settings = self._parts.settings
        return reachable_names(settings.ip, settings.names, self.certificate.names if self.certificate is not None else ())

    @property
    def url(self) -> str:
        """The URL, without the token; ends with a slash."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """The URLs under which others may reach it, the best first."""
        scheme = "https" if self._certificate is not None else "http"
        return [f"{scheme}://{url_host(name)}:{self.port}{self._parts.settings.base_url}" for name in self._names]

    @property
    def _local_url(self) -> str:
        ip = self._parts.settings.ip
        host = "127.0.0.1" if ip in ("", "0.0.0.0") else "::1" if ip == "::" else ip  # compared, not bound
        return f"{self.url.partition(':')[0]}://{url_host(host)}:{self.port}{self._parts.settings.base_url}"

    @property
    def link(self) -> str:
        """The URL that lets in: with the token when there is one."""
        return self.link_to("")

    def link_to(self, path: str) -> str:
        """The URL of a notebook or folder (an API path) that lets in."""
        page = f"{'notebooks' if path.endswith('.ipynb') else 'tree'}/{quote(path)}" if path else ""
        token = self._parts.auth.token
        return f"{self.url}{page}" + (f"?token={quote(token)}" if token else "")

    # ---- its life ----

    async def start(self, stop: Callable[[bool], None]) -> None:
        """Listen and answer.

        Args:
            stop: called when somebody asks over the API that the server ends; with True, its kernels too.

        Raises:
            CannotListen: the port is taken or not allowed, and so are the next ones that may be tried.
            BadCertificate: the certificate cannot be used.
        """
        parts = self._parts
        if self._make_certificate is not None:
            self._certificate = Certificate(self._make_certificate)
        parts.stop = stop
        sockets = self._bind()
        self.port = int(sockets[0].getsockname()[1])
        parts.auth.listening_on(self.port)
        parts.documents.url = self.url
        parts.auth.logins.watch(parts.connections.close_login)
        self._unsubscribe = parts.supervisor.subscribe(KernelAudit(parts.auth.audit, time.time()).note)
        await asyncio.to_thread(_read_ahead)
        loopback_only = all(is_loopback(str(each.getsockname()[0])) for each in sockets)
        app = make_app(parts, loopback_only=loopback_only)
        http = HTTPServer(app, max_body_size=LARGEST_PLAIN_BODY, max_header_size=64 * 1024, idle_connection_timeout=300)
        if self._certificate is not None:
            self._door = Door(http, self._certificate, name=self.hostname, port=self.port)
            self._door.open(sockets)
        else:
            http.add_sockets(sockets)
        self._http = http
        parts.loop_watch.start()
        self._attention = Attention(
            documents=parts.documents,
            connections=parts.connections,
            sessions=parts.sessions,
            supervisor=parts.supervisor,
            idle_shutdown=parts.settings.idle_shutdown,
        )
        self._attention.start()
        self._sweeping = asyncio.create_task(self._sweep())
        await asyncio.to_thread(uploads.sweep, parts.folders.state / "uploads", older_than=86400, now=time.time())
        parts.auth.writes.start()
        self._tell_where()
        parts.auth.audit.record("start", url=self.url, password=parts.auth.has_password, token=bool(parts.auth.token))

    async def _sweep(self) -> None:
        """End logins and tokens that are over, also those that only hold a socket open; take a renewed certificate."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            auth, connections = self._parts.auth, self._parts.connections
            auth.sweep(connections.logins)
            for login in filter(auth.is_over, connections.logins):
                connections.close_login(login)
            if self._certificate is not None:
                await self._certificate.refresh()

    async def stop(self) -> None:
        """Accept nothing more, say goodbye to open links, finish what is being answered (for a second)."""
        http, self._http = self._http, None
        if http is None:
            return
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._file().unlink(missing_ok=True)
        if self._door is not None:
            self._door.close()
        http.stop()
        self._parts.connections.close_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await http.close_all_connections()
        self._parts.connections.abort_all()
        await self._parts.notebook_worker.close()
        self._parts.loop_watch.stop()
        if self._attention is not None:
            self._attention.stop()
        await self._parts.auth.writes.close()

    def _bind(self) -> list[socket.socket]:
        settings = self._parts.settings
        first = settings.port
        last_error: OSError | None = None
        for port in range(first, min(first + settings.port_tries, 65536)) if first else (0,):
            try:
                return bind_sockets(port, settings.ip or None)
            except OSError as error:
                if error.errno not in _BUSY:
                    raise CannotListen(f"Cannot listen on {settings.ip or 'all addresses'}: {error.strerror}.", port=port) from error
                log.info("Port %d is not free (%s).", port, error.strerror)
                last_error = error
        taken = last_error is not None and last_error.errno == errno.EADDRINUSE
        why = "is already in use" if taken else "may not be used"
        more = f" and so are the next {settings.port_tries - 1}" if settings.port_tries > 1 else ""
        raise CannotListen(f"Port {first} {why}{more}. Choose another one with --port.", port=first, taken=taken) from last_error

    def _file(self):
        return self._parts.folders.runtime / f"jpserver-{os.getpid()}.json"

    def _tell_where(self) -> None:
        settings = self._parts.settings
        facts = {
            "base_url": settings.base_url,
            "homeport": __version__,
            "hostname": self.hostname,
            # For commands on this machine, which may not be able to resolve or reach the names that others use.
            "local_url": self._local_url,
            "certificate": str(self.certificate.certfile) if self.certificate is not None else "",
            "password": self._parts.auth.has_password,
            "pid": os.getpid(),
            "port": self.port,
            "root_dir": str(settings.root_dir),
            "secure": self._certificate is not None,
            "sock": "",
            "token": self._parts.auth.token,
            "url": self.url,
            "version": __version__,
        }
        try:
            keep_private(self._file(), msgspec.json.format(msgspec.json.encode(facts), indent=2))
        except OSError as error:
            log.warning("Other programs cannot find this server: its runtime file cannot be written (%s).", error)
