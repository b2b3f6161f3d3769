"""The web edge in the test's own process: a real server on a free port, with the real rooms behind it.

``async with serving(home) as edge`` starts it; ``edge.fetch`` asks it as a browser, a script or an attacker would.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from homeport.auth.access import Access
from homeport.commands.password_files import reread
from homeport.documents.limits import Limits
from homeport.documents.registry import Documents
from homeport.folders import Folders
from homeport.kernels.client import SupervisorClient
from homeport.kernels.sessions import Sessions
from homeport.options import Settings
from homeport.stores.files import FileStore
from homeport.web.parts import Parts
from homeport.web.server import Server
from homeport.web.tls import Make

TOKEN = "the-token-of-the-test"


@dataclass
class Edge:
    """A running server, and a client."""

    parts: Parts
    server: Server
    root: Path
    stopped: list[bool] = field(default_factory=list)
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def base(self) -> str:
        """The URL of the base, ending with a slash."""
        return f"http://{self.authority}{self.parts.settings.base_url}"

    def ws(self, path: str) -> str:
        return f"ws://{self.authority}{self.parts.settings.base_url}{path}"

    async def fetch(
        self,
        path: str,
        method: str = "GET",
        body: object = None,
        *,
        token: str | None = TOKEN,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        anywhere: bool = False,
    ) -> HTTPResponse:
        """One request; never raises for a status, never follows redirects. ``anywhere``: the path is not below the base."""
        all_headers = dict(headers or {})
        if token:
            all_headers.setdefault("Authorization", f"token {token}")
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is None and method in ("POST", "PUT", "PATCH"):
            raw = b""
        request = HTTPRequest(
            f"http://{self.authority}{path}" if anywhere else self.base + path,
            method=method,
            headers=all_headers,
            body=raw,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            request_timeout=60,
            decompress_response=False,
        )
        return await AsyncHTTPClient(force_instance=False).fetch(request, raise_error=False)

    async def json(self, path: str, method: str = "GET", body: object = None, *, status: int | None = None) -> Any:
        """The JSON of an answer; fails when its status is another one (2xx when none is named)."""
        answer = await self.fetch(path, method, body)
        assert (answer.code == status) if status else (200 <= answer.code < 300), f"{method} {path}: {answer.code} {answer.body[:500]!r}"
        return json.loads(answer.body) if answer.body else None

    async def browser(self) -> Mapping[str, str]:
        """Headers of a browser that has logged in by the printed link."""
        answer = await self.fetch(f"tree?token={TOKEN}", token=None)
        assert answer.code == 302, answer.code
        cookies = cookies_of(answer)
        page = await self.fetch("tree", token=None, headers={"Cookie": header_of(cookies)})
        assert page.code == 200, page.code
        cookies |= cookies_of(page)
        return {"Cookie": header_of(cookies), "X-XSRFToken": cookies["_xsrf"]}


def cookies_of(answer: HTTPResponse) -> dict[str, str]:
    """Names and values that an answer sets."""
    pairs = (line.partition(";")[0].partition("=") for line in answer.headers.get_list("Set-Cookie"))
    return {name.strip(): value for name, _, value in pairs}


def header_of(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


@asynccontextmanager
async def serving(
    home: Path, root: Path | None = None, *, kernels: bool = False, make_certificate: Make | None = None, **settings: Any
) -> AsyncIterator[Edge]:
    """A server on a free port; with ``kernels`` a supervisor is launched for it, and ended with its kernels."""
    root = root or home / "root"
    root.mkdir(exist_ok=True)
    chosen = Settings(**{"port": 0, "token": TOKEN, "root_dir": root, "sources": {"port": "test"}, **settings})
    folders = Folders.from_environment()
    store = FileStore(root, trash=folders.state / "trash", private=folders.own)
    supervisor = SupervisorClient(folders, linger=1)
    sessions = Sessions(folders, supervisor, root)
    documents = Documents(store=store, supervisor=supervisor, sessions=sessions, folders=folders, limits=Limits())
    await documents.start()
    auth = Access(chosen, folders, reread=reread)
    parts = Parts(settings=chosen, documents=documents, supervisor=supervisor, sessions=sessions, store=store, auth=auth, folders=folders)
    server = Server(parts, make_certificate)
    edge = Edge(parts, server, root)
    try:
        await server.start(edge.stopped.append)
        if kernels:
            await supervisor.start()
        yield edge
    finally:
        await server.stop()
        await documents.close()
        if supervisor.connected:
            await supervisor.shutdown_supervisor(kernels=True)
        await supervisor.close()
        sessions.close()
