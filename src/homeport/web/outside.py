"""``homeport doctor``'s look at a server from outside: through whatever stands between, and what that does wrong.

The other side is ``web/doctor.py``. Nothing is changed on the server, and no login is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, WebSocketError, websocket_connect

from homeport.web.doctor import PAUSE, Arrived

BODY = 8 * 1024 * 1024
"""Bytes: the largest piece in which pages upload."""
QUIET = 23.0
"""Seconds: a link that stays open for so long stays open, since the server sends something every 20 s."""
_PATIENCE = 15.0
_NO_SOCKET = (OSError, HTTPClientError, StreamClosedError, WebSocketError)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "note", "problem"]
    what: str
    advice: str = ""


class NotReached(Exception):
    """The look ends here; ``finding`` says why."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.finding = Finding("problem", what, advice)


def cleaned(url: str) -> str:
    """The address of a server from what somebody copied: without its token, with a scheme and a slash at its end.

    Raises:
        ValueError: it is no address of a web server.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as https://example.org/jupyter/ is wanted")
    path = parts.path
    for page in ("/tree", "/lab", "/login", "/notebooks/"):
        path = path.partition(page)[0] if page in path else path
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/") + "/", "", ""))


class Look:
    """A look at one server.

    Args:
        url: as :func:`cleaned` gives it.
        quick: leave out what takes longer than a few seconds.
    """

    def __init__(self, url: str, *, quick: bool = False) -> None:
        self.url = url
        self._quick = quick
        self._check_certificate = True
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=20, max_body_size=1 << 20)

    async def findings(self) -> AsyncGenerator[Finding]:
        """Everything that was found, one by one."""
        try:
            async for finding in self._reach():
                yield finding
        except NotReached as error:
            yield error.finding
            return
        looks = [self._look_at_sockets(), self._look_at_stream(), self._look_at_body()]
        if not self._quick:
            looks.append(self._look_at_patience())
        for task in [asyncio.create_task(look) for look in looks]:
            for finding in await task:
                yield finding
        self._client.close()

    # ---- is it there, and under which address does it think that it is? ----

    async def _reach(self) -> AsyncGenerator[Finding]:
        answer = await self._ask("api/doctor", origin=None)
        if not self._check_certificate:
            advice = "Browsers warn of it until they are told to trust it; 'homeport cert' on the server's machine shows how."
            yield Finding("note", "The certificate is not one that this machine trusts.", advice)
        if answer.effective_url.endswith("api/doctor") and answer.effective_url != self.url + "api/doctor":
            yield Finding("note", f"{self.url} leads to {answer.effective_url.removesuffix('api/doctor')}")
            self.url = answer.effective_url.removesuffix("api/doctor")
        arrived = _arrived(answer)
        if arrived is None:
            await self._say_why_not(answer)
            return
        yield Finding("ok", f"Homeport {arrived.homeport} answers at {self.url}")
        parts = urlsplit(self.url)
        if arrived.base_url != parts.path:
            yield Finding(
                "problem",
                f"The proxy strips the prefix: the server believes that it is at {arrived.base_url}, browsers know it at {parts.path}.",
                f"Start the server with --base-url={parts.path} and have the proxy pass paths on unchanged "
                f"(nginx: proxy_pass http://127.0.0.1:8888; without a path behind the port).",
            )
        for finding in self._look_at_names(arrived):
            yield finding
        with_origin = await self._ask("api/doctor", origin=f"{parts.scheme}://{parts.netloc}")
        repeated = _arrived(with_origin)
        if repeated is not None and repeated.origin not in (None, f"{parts.scheme}://{parts.netloc}"):
            advice = "Nothing is wrong with that here, and it is not needed."
            yield Finding("note", f"The proxy rewrites Origin to {repeated.origin}.", advice)

    def _look_at_names(self, arrived: Arrived) -> list[Finding]:
        parts = urlsplit(self.url)
        found: list[Finding] = []
        if arrived.unknown_proxy:
            advice = f"If that is your proxy, start the server with --trusted-proxies={arrived.unknown_proxy}."
            found.append(Finding("problem", f"A proxy at {arrived.unknown_proxy} forwards, and its headers do not count.", advice))
        if _plain(parts.netloc) not in {_plain(host) for host in arrived.hosts}:
            found.append(
                Finding(
                    "problem",
                    f"The proxy loses the Host: browsers say {parts.netloc}, the server hears {arrived.host}. Logging in will be refused.",
                    "nginx: proxy_set_header Host $http_host;  Apache: ProxyPreserveHost On",
                )
            )
        if parts.scheme == "https" and arrived.scheme == "http" and not arrived.unknown_proxy:
            found.append(
                Finding(
                    "problem",
                    "The proxy does not say that browsers use https; cookies are not marked Secure.",
                    "nginx: proxy_set_header X-Forwarded-Proto $scheme;  "
                    "Apache: RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}  "
                    "haproxy: http-request set-header X-Forwarded-Proto https if { ssl_fc }",
                )
            )
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            advice = "Give the proxy a certificate, use 'homeport --public', or an SSH tunnel."
            found.append(Finding("note", "This address is not encrypted: whoever is on the way can read passwords and notebooks.", advice))
        return found

    async def _say_why_not(self, answer: HTTPResponse) -> None:
        """Raises NotReached with what is known of an answer that is not from ``api/doctor``."""
        prefix = urlsplit(self.url).path
        body = _json_of(answer)
        if body.get("reason") == "Host":
            raise NotReached("The server does not know the name by which it was asked.", str(body.get("message", "")).replace("\n", " "))
        if body.get("reason") == "Origin" or answer.code == 403:
            raise NotReached(f"The server refuses: {body.get('message', 'status 403')}", "Look at what the proxy does to Host and Origin.")
        if answer.code == 404 and prefix != "/" and _arrived(await self._ask(prefix.lstrip("/") + "api/doctor", origin=None)) is not None:
            raise NotReached(
                f"The proxy strips the prefix {prefix}, and the server is below it itself.",
                "Have the proxy pass paths on unchanged (nginx: proxy_pass http://127.0.0.1:8888; without a path behind the port).",
            )
        if answer.code in (502, 503, 504):
            raise NotReached(
                f"A proxy answers, but behind it nothing does (status {answer.code}).",
                "Is the server running ('homeport list' on its machine), and is its port the one in the proxy's configuration?",
            )
        server = answer.headers.get("Server", "something")
        raise NotReached(
            f"{server} answers at {self.url} with status {answer.code}, and is no Homeport.",
            "Is this the address that the server printed, and does the proxy pass this path on?",
        )

    # ---- what gets through ----

    async def _look_at_sockets(self) -> list[Finding]:
        direct = await self._socket_works("api/doctor/socket")
        if direct:
            return [Finding("ok", "WebSockets get through.")]
        if await self._socket_works("api/kernels/doctor/socket"):
            advice = "Pages work. Other programs may not; pass WebSockets on for the whole prefix (Apache: upgrade=websocket)."
            return [Finding("note", "WebSockets get through under api/kernels/ only, as old Apache guides have it.", advice)]
        return [
            Finding(
                "problem",
                "WebSockets are blocked. Pages work without them, more slowly; editors and other Jupyter programs do not.",
                "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;  "
                "Apache: ProxyPass ... upgrade=websocket",
            )
        ]

    async def _socket_works(self, path: str) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                socket = await self._connect(path)
                greeting = await socket.read_message()
                await socket.write_message("echo")
                echo = await socket.read_message()
                socket.close()
        except _NO_SOCKET:
            return False
        return (greeting, echo) == ("homeport", "echo")

    async def _connect(self, path: str) -> WebSocketClientConnection:
        url = "ws" + self.url.removeprefix("http") + path
        return await websocket_connect(HTTPRequest(url, validate_cert=self._check_certificate, connect_timeout=_PATIENCE))

    async def _look_at_stream(self) -> list[Finding]:
        arrivals: list[float] = []

        def heard(piece: bytes) -> None:
            arrivals.append(time.monotonic())

        # As browsers ask: what compresses on the way often holds back, too.
        headers = HTTPHeaders({"Accept-Encoding": "gzip"})
        request = self._request("api/doctor?stream=1", streaming_callback=heard, headers=headers)
        try:
            await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPStreamClosedError, HTTPTimeoutError) as error:
            return [Finding("problem", f"A streamed answer breaks off: {error}", "Look at the proxy's log.")]
        # The first piece often comes along with the headers, even where the others are held back.
        if sum(after - before > PAUSE / 2 for before, after in pairwise(arrivals)) >= 2:
            return [Finding("ok", "Streamed answers come as they are sent.")]
        return [
            Finding(
                "problem",
                "The proxy buffers: it holds streamed answers back until they are complete. Without WebSockets pages would hear nothing.",
                "nginx: proxy_buffering off;  (and neither gzip nor proxy_ignore_headers X-Accel-Buffering for text/event-stream)",
            )
        ]

    async def _look_at_body(self) -> list[Finding]:
        xsrf = "doctor" * 8
        headers = HTTPHeaders({"Cookie": f"_xsrf={xsrf}", "X-XSRFToken": xsrf, "Content-Type": "application/octet-stream"})
        try:
            answer = await self._client.fetch(
                self._request("api/doctor", method="POST", headers=headers, body=bytes(BODY)), raise_error=False
            )
        except (OSError, HTTPStreamClosedError, HTTPTimeoutError):
            arrived, code = None, 0
        else:
            arrived, code = _arrived(answer), answer.code
        if arrived is not None and arrived.body == BODY:
            return [Finding("ok", f"Bodies of {BODY >> 20} MiB get through.")]
        said = f"status {code}" if code else "the connection was cut"
        advice = "nginx: client_max_body_size 0;  Apache: LimitRequestBody 0"
        return [Finding("problem", f"The proxy limits bodies: {BODY >> 20} MiB do not get through ({said}). Uploads will fail.", advice)]

    async def _look_at_patience(self) -> list[Finding]:
        for path in ("api/doctor/socket", "api/kernels/doctor/socket"):
            try:
                socket = await self._connect(path)
            except _NO_SOCKET:
                continue  # told of by _look_at_sockets
            began = time.monotonic()
            await socket.read_message()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUIET):
                    await socket.read_message()
                return [
                    Finding(
                        "problem",
                        f"The proxy cuts links that are quiet for {time.monotonic() - began:.0f} s. Pages reconnect, again and again.",
                        "Give it a minute or more. nginx: proxy_read_timeout 300s;  haproxy: timeout tunnel 1h  Apache: ProxyTimeout 300",
                    )
                ]
            socket.close()
            return [Finding("ok", f"Links stay open while nothing is said ({QUIET:.0f} s).")]
        return []

    # ---- asking ----

    def _request(self, path: str, **arguments: object) -> HTTPRequest:
        return HTTPRequest(
            self.url + path,
            validate_cert=self._check_certificate,
            connect_timeout=_PATIENCE,
            request_timeout=_PATIENCE + 15,
            decompress_response=False,
            **arguments,  # pyright: ignore[reportArgumentType]
        )

    async def _ask(self, path: str, *, origin: str | None) -> HTTPResponse:
        headers = HTTPHeaders({"Origin": origin} if origin else {})
        host = urlsplit(self.url).netloc
        try:
            return await self._client.fetch(self._request(path, headers=headers), raise_error=False)
        except ssl.SSLCertVerificationError:
            self._check_certificate = False
            return await self._ask(path, origin=origin)
        except ssl.SSLError as error:
            raise NotReached(f"{host} does not speak TLS as it should: {error.reason}", "Is it https, and the right port?") from None
        except HTTPTimeoutError:
            advice = "A firewall that drops packets looks like this. Is the port open there?"
            raise NotReached(f"{host} did not answer within {_PATIENCE:.0f} s.", advice) from None
        except HTTPStreamClosedError:
            advice = "Is it https:// rather than http://, or the other way round?"
            raise NotReached(f"{host} hangs up without an answer.", advice) from None
        except OSError as error:
            advice = "Is the name right, and does something listen there? Ask on the server's machine: homeport list"
            raise NotReached(f"{host} cannot be reached: {error.strerror or error}", advice) from None


def _arrived(answer: HTTPResponse) -> Arrived | None:
    try:
        return msgspec.json.decode(answer.body or b"", type=Arrived)
    except msgspec.MsgspecError:
        return None


def _json_of(answer: HTTPResponse) -> dict[str, object]:
    try:
        return msgspec.json.decode(answer.body or b"", type=dict[str, object])
    except msgspec.MsgspecError:
        return {}


def _plain(host: str) -> str:
    return host.lower().removesuffix(":80").removesuffix(":443")
