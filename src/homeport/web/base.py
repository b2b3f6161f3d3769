"""What every handler shares: the gate, security headers, answers and errors."""

from __future__ import annotations

import asyncio
import logging
import secrets
import zlib
from http.cookies import Morsel
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import quote, unquote

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Finish, HTTPError, RequestHandler

from homeport.auth.identity import Caller
from homeport.auth.policies import Policy
from homeport.core.forwarded import Client, client_of
from homeport.errors import BadRequest, HomeportError, NotLoggedIn
from homeport.web import gate, problems
from homeport.web.gate import Kind, Knock, Rules
from homeport.web.parts import Parts

log = logging.getLogger(__name__)

T = TypeVar("T")

# Below this an answer fits into a packet or two; above it, compressing would keep a thread busy for seconds.
_COMPRESS_FROM = 1400
COMPRESSED = 8 * 1024 * 1024
"""Bytes up to which an answer is compressed."""
# zlib takes 10 ms for this much; more goes to a thread.
_COMPRESS_HERE = 128 * 1024

API_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with "no-referrer" browsers send "Origin: null" with our own forms
    "Server": "Homeport",
    "X-Content-Type-Options": "nosniff",
}


def cookie_of(request: HTTPServerRequest, name: str) -> str | None:
    """The value of a cookie."""
    cookies: dict[str, Morsel[str]] = cast("Any", request).cookies  # Tornado leaves out the type of a morsel's value
    return cookies[name].value if name in cookies else None


def knock_of(request: HTTPServerRequest, client: Client, cookie_name: str, path: str | None) -> Knock:
    """What the gate looks at, from Tornado's request; ``path`` is the part of the address that the route calls so."""

    def argument(name: str) -> str | None:
        values = request.arguments.get(name)
        return values[-1].decode("utf-8", "replace") if values else None

    return Knock(
        method=request.method or "",
        client=client,
        headers=request.headers,
        token=argument("token"),
        ticket=argument("ticket"),
        xsrf=argument("_xsrf"),
        path=path,
        cookie=cookie_of(request, cookie_name),
        xsrf_cookie=cookie_of(request, gate.XSRF_COOKIE),
    )


def client_behind(request: HTTPServerRequest, rules: Rules) -> Client:
    """The client of a request."""
    return client_of(request.remote_ip or "", request.protocol, request.headers, rules.proxies)


class Handler(RequestHandler):
    """Base of every HTTP handler. ``parts``, ``client`` and ``caller`` are set before a method runs."""

    kind: ClassVar[Kind] = Kind.API

    parts: Parts
    rules: Rules
    client: Client
    caller: Caller | None = None
    _new_xsrf: str | None = None

    def initialize(self, parts: Parts, rules: Rules, policy: Policy | None = None) -> None:
        """Take what the table of routes gives."""
        self.parts = parts
        self.rules = rules
        self._policy = policy

    def set_default_headers(self) -> None:
        """Strict by default; a handler that gives something else loosens what it must."""
        for name, value in API_HEADERS.items():
            self.set_header(name, value)
        self._without_what_browsers_ignore()

    def _without_what_browsers_ignore(self) -> None:
        # Called twice: the client is not known yet when a request comes in, and an error sets the defaults anew.
        client = getattr(self, "client", None)
        if client is not None and not client.trustworthy:
            # Over plain http it does nothing, and browsers complain of it on every page.
            self.clear_header("Cross-Origin-Opener-Policy")

    def prepare(self) -> None:
        """Pass the gate."""
        # Tornado turns Nagle's algorithm on again after each answer: what a handler flushes piece by piece would wait 40 ms.
        stream = cast("HTTP1Connection", self.request.connection).stream
        if stream is not None:  # None once the client has left
            stream.set_nodelay(True)
        self.client = client_behind(self.request, self.rules)
        self._without_what_browsers_ignore()
        gate.check_peer(self.request.remote_ip or "", self.rules)
        if self.request.method == "OPTIONS":
            self._answer_preflight()
            return
        self._allow_origin()
        knock = knock_of(self.request, self.client, self.parts.auth.cookie_name, self.path_kwargs.get("path"))
        self.caller = gate.admit(knock, self._policy, self.kind, self.rules)

    def on_finish(self) -> None:
        """Tell the audit log what the route says that it shall know."""
        event = self._policy.events.get(self.request.method or "") if self._policy is not None else None
        if event is not None and self.caller is not None and self.get_status() < 300:
            self.audit(event, path=unquote(self.request.path))

    def audit(self, event: str, **more: object) -> None:
        """Tell the audit log of something that this caller has done."""
        user = self.caller.identity.username if self.caller is not None else ""
        login = {"login": self.caller.login} if self.caller is not None else {}
        self.parts.auth.audit.record(event, user=user, address=self.client.address, **login, **more)

    @property
    def who(self) -> Caller:
        """The caller, on a route that is not public."""
        if self.caller is None:
            raise NotLoggedIn("Log in first.")
        return self.caller

    @property
    def base_url(self) -> str:
        """Where everything is; begins and ends with a slash."""
        return self.parts.settings.base_url

    # ---- cookies ----

    def keep_cookie(self, name: str, value: str, *, script: bool = False) -> None:
        """Set a cookie for a month. ``script``: pages' scripts may read it."""
        secure = self.client.scheme == "https"
        self.set_cookie(  # pyright: ignore[reportUnknownMemberType]
            name, value, expires_days=30, path=self.base_url, httponly=not script, secure=secure, samesite="Lax"
        )

    def drop_cookie(self, name: str) -> None:
        """Remove a cookie of ours."""
        self.clear_cookie(name, path=self.base_url)

    def ensure_xsrf(self) -> str:
        """The value of the ``_xsrf`` cookie; set when the browser has none."""
        there = cookie_of(self.request, gate.XSRF_COOKIE)
        if there is not None and len(there) >= gate.XSRF_SIZE:
            # Another server on this host, or behind another tunnel, shares the cookie: to replace it would break its pages.
            return there
        if self._new_xsrf is None:
            # Once for an answer: the form in it must hold what the cookie holds.
            self._new_xsrf = secrets.token_urlsafe(gate.XSRF_SIZE)
            self.keep_cookie(gate.XSRF_COOKIE, self._new_xsrf, script=True)
        return self._new_xsrf

    # ---- bodies ----

    def json_body(self, type: type[T]) -> T:
        """The request's body; see :func:`read_json`."""
        return read_json(self.request.body, type)

    async def send_json(self, value: object, *, status: int = 200) -> None:
        """Answer with JSON; bytes are JSON already."""
        self.set_status(status)
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        await self.send_body(body, "application/json")

    async def send_body(self, body: bytes, content_type: str) -> None:
        """Answer with ``body``, compressed when that is worth it and the client can take it."""
        self.set_header("Content-Type", content_type)
        if _COMPRESS_FROM <= len(body) <= COMPRESSED:
            self.add_header("Vary", "Accept-Encoding")
            if "gzip" in self.request.headers.get("Accept-Encoding", ""):
                self.set_header("Content-Encoding", "gzip")
                body = _gzip(body) if len(body) < _COMPRESS_HERE else await asyncio.to_thread(_gzip, body)
        await self.send_parts(body)

    async def send_parts(self, *parts: bytes | memoryview) -> None:
        """Send the parts of a body, one behind the other, after all headers but its length."""
        self.set_header("Content-Length", str(sum(map(len, parts))))
        if self.request.method == "HEAD":
            return
        for part in map(memoryview, parts):
            for start in range(0, len(part), 1 << 20):
                # Piecewise: a client that reads slowly gets no whole copy in the socket's buffer.
                await self.send_piece(bytes(part[start : start + (1 << 20)]))

    async def send_piece(self, piece: bytes) -> None:
        """Send a piece of the body; waits while the client does not read.

        Raises:
            Finish: the client has left; nothing is wrong, and nobody is there to hear of it.
        """
        self.write(piece)  # pyright: ignore[reportUnknownMemberType]
        try:
            await self.flush()
        except StreamClosedError:
            raise Finish from None

    def end(self, body: bytes = b"") -> None:
        """Send ``body`` as it is, and end the answer."""
        self.finish(body)  # pyright: ignore[reportUnknownMemberType]

    def compute_etag(self) -> str | None:
        """No hash over every body; those that are worth it set their own."""
        return None

    # ---- CORS ----

    def _allow_origin(self) -> bool:
        origin = self.request.headers.get("Origin")
        allowed = self.parts.settings.allow_origin
        if not allowed or origin is None or not gate.origin_allowed(origin, self.client, allowed):
            return False
        self.set_header("Access-Control-Allow-Origin", "*" if allowed == "*" else origin)
        self.add_header("Vary", "Origin")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        return True

    def _answer_preflight(self) -> None:
        gate.check_host(self.request.headers.get("Host", ""), self.rules)
        if self._allow_origin() and self._policy is not None:
            self.set_header("Access-Control-Allow-Methods", ", ".join(self._policy.methods))
            self.set_header("Access-Control-Allow-Headers", "accept, content-type, authorization, x-xsrftoken")
        self.set_status(204)
        raise Finish

    def options(self, *args: str, **kwargs: str) -> None:
        """Answered by :meth:`prepare`."""

    # ---- errors ----

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with an error: JSON. Pages of HTML override :meth:`write_problem`."""
        exc_info = kwargs.get("exc_info")
        problem = problems.as_homeport_error(exc_info[1] if exc_info else None, status_code)
        self.set_status(problem.status)
        self.write_problem(problem)

    def write_problem(self, problem: HomeportError) -> None:
        """Write ``problem`` as the body; the status is set."""
        problems.write_json(self, problem)

    def log_exception(self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """One line per expected error, a traceback for others; never a query, a cookie, a token or a Referer."""
        log_problem(self.request, typ, value, tb)

    def _request_summary(self) -> str:  # Tornado's own lines use it
        return f"{self.request.method} {self.request.path}"


def read_json(body: bytes, type: type[T]) -> T:
    """A request's body as ``type``; an empty one is ``{}``.

    Raises:
        BadRequest: it is not such JSON.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body of this request is not what it must be: {error}") from None


def log_problem(request: HTTPServerRequest, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
    """Log an error of a request without anything secret."""
    where = f"{request.method} {request.path}"
    if isinstance(value, HomeportError):
        level = logging.WARNING if value.status >= 500 else logging.DEBUG
        log.log(level, "%s: %s %s", where, value.code, value.message)
    elif isinstance(value, HTTPError):
        log.debug("%s: %d", where, value.status_code)
    elif typ is not None and value is not None:
        log.error("%s: unexpected %s", where, typ.__name__, exc_info=(typ, value, tb))


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def content_disposition(filename: str, *, attachment: bool) -> str:
    """A header that names a file (RFC 6266), whatever characters its name has."""
    plain = "".join(char if 32 <= ord(char) < 127 and char not in '"\\%' else "_" for char in filename)
    word = "attachment" if attachment else "inline"
    return f"{word}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
