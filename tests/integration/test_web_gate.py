"""The walk over the table of routes: every route and method, without credentials, with wrong ones, and as an attacker.

Complete by construction: it reads the table that the server is made from.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness.edge import TOKEN, Edge, cookies_of, header_of, serving
from homeport.web.document_events import Events
from homeport.web.document_socket import DocumentSocket
from homeport.web.gate import Kind
from homeport.web.routes import ROUTES, Route

_EXAMPLES = {
    "path": "folder/a.ipynb",
    "name": "0" * 64,
    "file": "logo.svg",
    "kernel_id": "00000000-0000-0000-0000-000000000000",
    "login_id": "none",
    "token_id": "none",
    "session_id": "00000000-0000-0000-0000-000000000000",
    "checkpoint": "checkpoint",
    "version": "none",
    "action": "restart",
    "key": "notebook/run/0",
    "stream_id": "s" * 32,
    "channel": "c" * 32,
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
WS_HEADERS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def address_of(route: Route) -> str:
    """An address that this row matches, and no row above it."""
    path = re.sub(r"\(\?P<(\w+)>[^()]*\)", lambda match: _EXAMPLES[match[1]], route.pattern)
    while "(?:" in path:
        path = re.sub(r"\(\?:([^()]*)\)\?", r"\1", path)
    path = path.removesuffix("/?").replace("\\.", ".").replace(".*", "no/such/address")
    first = next(each for each in ROUTES if re.fullmatch(each.pattern, path))
    assert first is route, f"{path} is matched by {first.pattern}, not {route.pattern}"
    return path


def is_socket(route: Route) -> bool:
    return route.handler.kind in (Kind.SOCKET, Kind.PAGE_SOCKET)  # type: ignore[attr-defined]


def walk() -> Iterator[tuple[Route, str, str]]:
    for route in ROUTES:
        for method in METHODS:
            yield route, method, address_of(route)


@pytest.fixture
async def edge(home: Path) -> AsyncIterator[Edge]:
    async with serving(home, base_url="/base/", kernels=True) as edge:
        yield edge


def test_every_row_has_an_address_of_its_own() -> None:
    assert all(address_of(route) is not None for route in ROUTES)
    assert sum(route.policy.public for route in ROUTES) == 10, "a new public route? Say here that it is meant"


def test_a_row_without_the_gate_cannot_be_written() -> None:
    from tornado.web import RequestHandler

    from homeport.auth.policies import public

    with pytest.raises(TypeError, match="gate"):
        Route("x", RequestHandler, public("GET"))


async def test_nothing_answers_without_credentials(edge: Edge) -> None:
    for route, method, path in walk():
        headers = WS_HEADERS if is_socket(route) and method == "GET" and not route.policy.public else {}
        answer = await edge.fetch(path, method, token=None, headers=headers)
        case = f"{method} {path}: {answer.code}"
        if route.policy.public:
            # 400: a socket for everybody, asked without a handshake.
            assert answer.code in (200, 302, 400, 401, 403, 404, 405), case
        elif route.handler.kind is Kind.PAGE and method in ("GET", "HEAD"):  # type: ignore[attr-defined]
            assert answer.code == 302, case
            assert answer.headers["Location"].startswith("/base/login?next="), case
        else:
            assert answer.code == 401, case


async def test_a_wrong_token_is_refused_everywhere(edge: Edge) -> None:
    browser = await edge.browser()
    for credentials in ({"Authorization": "token wrong"}, {"Authorization": "Bearer wrong", **browser}):
        for route, method, path in walk():
            if route.policy.public:
                continue
            answer = await edge.fetch(path, method, token=None, headers=credentials)
            page = route.handler.kind is Kind.PAGE  # type: ignore[attr-defined]
            assert answer.code in ((302, 401) if page else (401,)), f"{method} {path}: {answer.code}"
    assert (await edge.fetch("api", token="wrong")).code == 401


READABLE = {"contents", "documents", "identity", "kernels", "kernelspecs", "server", "sessions"}


async def test_a_read_only_token_reads_and_nothing_else(edge: Edge) -> None:
    made = await edge.json("api/tokens", "POST", {"name": "reader", "scope": "read"}, status=201)
    cookie = {"Cookie": header_of(cookies_of(await edge.fetch(f"login?token={made['token']}", token=None)))}
    page = await edge.fetch("tree", token=None, headers=cookie)
    browser = {"Cookie": f"{cookie['Cookie']}; {header_of(cookies_of(page))}", "X-XSRFToken": cookies_of(page)["_xsrf"]}
    for route, method, path in walk():
        action = route.policy.actions.get(method)
        if route.policy.public or action is None:
            continue
        allowed = action == "read" and route.policy.resource in READABLE
        for token, headers in ((made["token"], {}), (None, browser)):
            handshake = WS_HEADERS if is_socket(route) and method == "GET" else {}
            answer = await edge.fetch(path, method, token=token, headers={**headers, **handshake})
            case = f"{method} {path} ({route.policy.resource}): {answer.code} {answer.body[:200]!r}"
            if allowed:
                assert answer.code != 401, case
                assert b'"reason":"Scope"' not in answer.body, case
            else:
                assert answer.code == 403, case
    assert (await edge.fetch("api/contents", "POST", {}, token=made["token"])).code == 403
    assert edge.stopped == []


async def test_a_foreign_host_is_refused_everywhere(edge: Edge) -> None:
    for route, method, path in walk():
        for name in ("evil.example", f"evil.example:{edge.server.port}", "127.0.0.1.evil.example"):
            forged = {"Host": name, "X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1"}
            answer = await edge.fetch(path, method, headers=forged)
            assert answer.code == 403, f"{method} {path} as {name}: {answer.code} of {route.pattern}"


async def test_a_foreign_origin_is_refused_everywhere(edge: Edge) -> None:
    browser = await edge.browser()
    for route, method, path in walk():
        for origin in (
            "https://evil.example",
            "null",
            f"http://127.0.0.1:{edge.server.port + 1}",
            f"http://{edge.authority}.evil.example",
            "file://",
        ):
            headers = {**browser, "Origin": origin, **(WS_HEADERS if is_socket(route) and method == "GET" else {})}
            answer = await edge.fetch(path, method, token=None, headers=headers)
            assert answer.code == 403, f"{method} {path} from {origin}: {answer.code}"


async def test_a_request_that_another_site_caused_is_refused(edge: Edge) -> None:
    browser = await edge.browser()
    for route, method, path in walk():
        if route.handler.kind is Kind.ASSET or is_socket(route):  # type: ignore[attr-defined]
            continue
        for site in ("cross-site", "same-site"):
            headers = {**browser, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
            answer = await edge.fetch(path, method, token=None, headers=headers)
            assert answer.code == 403, f"{method} {path}: {answer.code}"


async def test_a_link_on_another_site_leads_to_pages_and_nothing_else(edge: Edge) -> None:
    browser = await edge.browser()
    followed = {**browser, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await edge.fetch("tree", token=None, headers=followed)).code == 200
    assert (await edge.fetch("api/contents", token=None, headers=followed)).code == 403
    assert (await edge.fetch("tree", token=None, headers={**followed, "Sec-Fetch-Dest": "iframe"})).code == 403


async def test_a_cookie_alone_changes_nothing(edge: Edge) -> None:
    browser = await edge.browser()
    cookie = {"Cookie": browser["Cookie"]}
    for wrong in ({}, {"X-XSRFToken": ""}, {"X-XSRFToken": "0" * 43}):
        for _route, method, path in walk():
            if method in ("GET", "HEAD"):
                continue
            answer = await edge.fetch(path, method, token=None, headers={**cookie, **wrong})
            assert answer.code == 403, f"{method} {path}: {answer.code}"


async def test_a_short_xsrf_cookie_that_an_attacker_set_does_not_count(edge: Edge) -> None:
    browser = await edge.browser()
    cookie = browser["Cookie"].partition("; _xsrf=")[0] + "; _xsrf=x"
    answer = await edge.fetch("api/contents", "POST", {}, token=None, headers={"Cookie": cookie, "X-XSRFToken": "x"})
    assert answer.code == 403


async def test_methods_that_a_row_does_not_name_are_refused(edge: Edge) -> None:
    for route, method, path in walk():
        if method in route.policy.actions:
            continue
        answer = await edge.fetch(path, method)
        assert answer.code == 405, f"{method} {path}: {answer.code}"
        assert answer.headers["Allow"] == ", ".join(route.policy.methods)


async def test_every_answer_has_the_security_headers(edge: Edge) -> None:
    for token in (None, TOKEN):
        for route, method, path in walk():
            if token and route.handler is Events:
                continue  # it lets this token in and does not end: test_document_events.py looks at its headers
            answer = await edge.fetch(path, method if method in ("GET", "HEAD") else "GET", token=token)
            case = f"{method} {path}: {answer.code}"
            assert answer.headers.get("X-Content-Type-Options") == "nosniff", case
            assert "Content-Security-Policy" in answer.headers, case
            assert "frame-ancestors" in answer.headers["Content-Security-Policy"], case
            assert "Cross-Origin-Resource-Policy" in answer.headers, case
            assert answer.headers["Referrer-Policy"] == "same-origin", case
            assert "Tornado" not in answer.headers["Server"], case


async def test_page_sockets_open_by_ticket_only(edge: Edge) -> None:
    browser = await edge.browser()
    same_origin = {**browser, **WS_HEADERS, "Origin": f"http://{edge.authority}"}
    paths = [address_of(route) for route in ROUTES if route.handler in (DocumentSocket, Events)]
    assert len(paths) == 3
    for path in paths:
        assert (await edge.fetch(path, token=None, headers=same_origin)).code == 403
        for ticket in ("", "x", "bm90aGluZw.AAAA"):
            assert (await edge.fetch(f"{path}?ticket={ticket}", token=None, headers=same_origin)).code == 401


async def test_through_a_proxy_a_cookie_opens_no_kernel_socket(edge: Edge) -> None:
    """Old Apache recipes rewrite Origin to ours, so that a page of another port of that host would get in with its cookies."""
    browser = await edge.browser()
    cookie = {"Cookie": browser["Cookie"], **WS_HEADERS, "Origin": f"http://{edge.authority}"}
    path = f"api/kernels/{_EXAMPLES['kernel_id']}/channels"
    assert (await edge.fetch(path, token=None, headers=cookie)).code == 404  # past the gate; there is no such kernel
    proxied = {**cookie, "X-Forwarded-For": "1.2.3.4"}
    assert (await edge.fetch(path, token=None, headers=proxied)).code == 403
    assert (await edge.fetch(path, token=None, headers={**proxied, "X-XSRFToken": browser["X-XSRFToken"]})).code == 404
    assert (await edge.fetch(path, headers=proxied)).code == 404


async def test_an_origin_that_was_allowed_may_come_with_its_preflight(home: Path) -> None:
    async with serving(home, allow_origin="https://friend.example") as edge:
        friend = {"Origin": "https://friend.example"}
        answer = await edge.fetch("api/status", headers=friend)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://friend.example"
        preflight = await edge.fetch("api/contents/x", "OPTIONS", token=None, headers={**friend, "Access-Control-Request-Method": "PUT"})
        assert preflight.code == 204
        assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
        for foe in ("https://evil.example", "https://friend.example.evil.example", "https://a.friend.example", "http://friend.example"):
            answer = await edge.fetch("api/contents/x", "OPTIONS", token=None, headers={"Origin": foe})
            assert "Access-Control-Allow-Origin" not in answer.headers, foe


async def test_a_host_that_was_named_may_be_used(home: Path) -> None:
    async with serving(home, local_hostnames=("localhost", "mine.example")) as edge:
        assert (await edge.fetch("api", headers={"Host": "mine.example:80"})).code == 200
        assert (await edge.fetch("api", headers={"Host": "other.example"})).code == 403
    async with serving(home, allow_remote_access=True) as edge:
        assert (await edge.fetch("api", headers={"Host": "other.example"})).code == 200


async def test_without_a_token_the_checks_against_other_sites_stay(home: Path) -> None:
    async with serving(home, token="") as edge:
        assert (await edge.fetch("api/contents", token=None)).code == 200
        assert (await edge.fetch("api/contents", "POST", {}, token=None)).code == 403
        assert (await edge.fetch("api/contents", token=None, headers={"Origin": "https://evil.example"})).code == 403
        assert (await edge.fetch("api/contents", token=None, headers={"Host": "evil.example"})).code == 403
