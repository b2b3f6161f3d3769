"""What went wrong in this field, class by class: each test is named after the advisory whose mistake it would find here.

Elsewhere: the walk over all routes (no credentials, wrong ones, a read-only token, foreign Host, Origin and site, missing XSRF token:
CVE-2026-39987, CVE-2024-28179, DNS rebinding) in ``test_web_gate.py``; scope escalation (GHSA-9x4q-3gxw-849f) in
``unit/test_access.py``; sanitising of outputs (CVE-2018-8768, CVE-2021-32797, CVE-2024-43805, CVE-2025-59842, CVE-2026-40171) in
``ui/src/outputs/*.test.ts``; unsigned messages of kernels in ``unit/test_supervisor_protocol.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from tornado.web import RequestHandler
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from harness.edge import TOKEN, Edge, cookies_of, header_of, serving
from homeport.auth.passwords import hash_password
from homeport.auth.policies import needs
from homeport.commands.command_line import read_command_line
from homeport.kernels.environment import kernel_environment
from homeport.web import server as web_server
from homeport.web.app import make_app
from homeport.web.base import Handler
from homeport.web.gate import Kind
from homeport.web.pages import Page
from homeport.web.routes import ROUTES, Route

NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
async def edge(home: Path) -> AsyncIterator[Edge]:
    async with serving(home) as edge:
        (edge.root / "a.ipynb").write_text(NOTEBOOK)
        yield edge


class _Broken(Handler):
    def get(self) -> None:
        raise RuntimeError(f"cannot read {self.parts.settings.root_dir}")


class _BrokenPage(Page, _Broken):
    pass


@pytest.fixture
def broken_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two routes that fail in a way that nobody has thought of."""
    more = (Route("broken", _Broken, needs("contents", "GET")), Route("broken-page", _BrokenPage, needs("contents", "GET")))
    monkeypatch.setattr(web_server, "make_app", lambda *args, **more_args: make_app(*args, routes=(*more, *ROUTES), **more_args))


@pytest.mark.expect_log("unexpected RuntimeError|GET /broken")
@pytest.mark.usefixtures("broken_routes")
async def test_ghsa_c3mw_737p_c7g2_and_cve_2022_24757_no_secret_in_any_log_line(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(home, password=hash_password("correct horse")) as edge:
        browser = await edge.browser()
        login = browser["Cookie"].partition("; ")[0].partition("=")[2]
        referer = {"Referer": f"{edge.base}tree?token={TOKEN}"}
        for path in ("broken", "broken-page", "api/contents/none", "no/such", "api/history/none", "files/none", "api/contents?type=x"):
            await edge.fetch(f"{path}{'&' if '?' in path else '?'}token={TOKEN}", token=None, headers=referer)
            await edge.fetch(path, token=None, headers={**browser, **referer})
            await edge.fetch(path, "POST", raw=b"correct horse " + TOKEN.encode(), headers={**browser, **referer})
        made = (await edge.json("api/tokens", "POST", {"name": "x"}, status=201))["token"]
        await edge.fetch("broken", token=made)
        cookies = cookies_of(await edge.fetch("login", token=None))
        for password in ("correct horse", "wrong battery"):
            form = urlencode({"_xsrf": cookies["_xsrf"], "password": password}).encode()
            headers = {"Cookie": header_of(cookies), "Content-Type": "application/x-www-form-urlencoded"}
            await edge.fetch("login", "POST", raw=form, token=None, headers=headers)
        ticket = (await edge.json("api/documents/ticket", "POST"))["ticket"]
        await edge.fetch(f"api/documents/socket?path=a.ipynb&ticket={ticket}", token=None)
        await edge.parts.auth.writes.done()
        text = caplog.text + edge.parts.auth.audit.file.read_text()
    assert "unexpected RuntimeError" in text, "the failures are logged"
    for secret in (TOKEN, made, login, browser["X-XSRFToken"], "correct horse", "wrong battery", ticket):
        assert secret not in text, secret


@pytest.mark.expect_log("unexpected RuntimeError|GET /broken")
@pytest.mark.usefixtures("broken_routes")
async def test_cve_2023_49080_no_traceback_and_no_path_of_the_machine_in_an_answer(home: Path) -> None:
    async with serving(home) as edge:
        for path in ("broken", "broken-page", "api/contents/none", "files/none", "api/contents/%00", "notebooks/none.ipynb"):
            for accept in ("application/json", "text/html"):
                answer = await edge.fetch(path, headers={"Accept": accept, "Referer": f"{edge.base}?token={TOKEN}"})
                body = answer.body.decode()
                assert answer.code >= 400, path
                for said in ("Traceback", "RuntimeError", str(edge.root), str(home), ".py", TOKEN):
                    assert said not in body, f"{path}: {said}"


async def test_ghsa_fcw5_x6j4_ccmp_what_a_user_wrote_never_runs_on_our_origin(edge: Edge) -> None:
    for name, kind in (("x.html", "text/html"), ("x.svg", "image/svg+xml"), ("x.xml", "xml"), ("x.js", "javascript"), ("x.xhtml", "xhtml")):
        (edge.root / name).write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
        answer = await edge.fetch(f"files/{name}")
        policy = answer.headers["Content-Security-Policy"]
        assert kind in answer.headers["Content-Type"]
        assert policy.startswith("sandbox"), name
        assert "allow-same-origin" not in policy, name
    content = {route.handler for route in ROUTES if route.handler.kind is Kind.CONTENT}  # type: ignore[attr-defined]
    assert {handler.__name__ for handler in content} == {"Files", "Blob", "StreamText"}, "a new one? It needs the sandbox too"


async def test_cve_2026_40934_a_new_password_ends_logins_and_their_open_sockets(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(await asyncio.to_thread(hash_password, "one"))
    sources = {"port": "test", "password": str(file)}
    async with serving(home, password=file.read_text(), sources=sources) as edge:
        (edge.root / "a.ipynb").write_text(NOTEBOOK)
        browser = await edge.browser()
        async with connect(await socket_of(edge, browser)) as socket:
            await socket.recv()
            file.write_text(await asyncio.to_thread(hash_password, "two"))
            assert await closing_code(socket) == 4401
        assert (await edge.fetch("api/contents", token=None, headers=browser)).code == 401


async def socket_of(edge: Edge, browser: dict[str, str]) -> str:
    """The address of the socket of a page in that browser."""
    answer = await edge.fetch("api/documents/ticket", "POST", token=None, headers=browser)
    return edge.ws(f"api/documents/socket?path=a.ipynb&ticket={json.loads(answer.body)['ticket']}")


async def closing_code(socket: object) -> int | None:
    async with asyncio.timeout(60):
        while True:
            try:
                await socket.recv()  # type: ignore[attr-defined]
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None


async def test_cve_2021_41247_logging_out_closes_what_open_tabs_hold(edge: Edge) -> None:
    browser = await edge.browser()
    address = await socket_of(edge, browser)
    async with connect(address) as socket:
        await socket.recv()
        await edge.fetch("logout", token=None, headers=browser)
        assert await closing_code(socket) == 4401
    again = await edge.fetch(address.partition(edge.authority)[2].lstrip("/"), token=None)
    assert again.code == 401, "nor does its ticket open another one"
    assert (await edge.fetch("api/contents", token=None, headers=browser)).code == 401


async def test_cve_2026_35397_a_sibling_whose_name_begins_like_the_root_is_outside(edge: Edge) -> None:
    sibling = edge.root.with_name(edge.root.name + "-secret")
    sibling.mkdir()
    (sibling / "x.txt").write_text("secret")
    (edge.root / "link").symlink_to(sibling)
    for path in (f"../{sibling.name}/x.txt", f"%2e%2e/{sibling.name}/x.txt", f"..%2f{sibling.name}%2fx.txt", "link/x.txt"):
        for prefix in ("files", "api/contents", "notebooks", "tree"):
            answer = await edge.fetch(f"{prefix}/{path}")
            assert answer.code in (403, 404), f"{prefix}/{path}: {answer.code}"
            assert b"secret" not in answer.body.replace(sibling.name.encode(), b"")


async def test_cve_2022_29241_homeports_own_files_are_not_served_even_from_inside_the_root(home: Path) -> None:
    async with serving(home, root=home) as edge:
        mine = {
            "runtime": next(Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json")),
            "state": edge.parts.folders.state / "auth" / "cookie_secret",
        }
        (home / "way").symlink_to(edge.parts.folders.runtime)
        for file in mine.values():
            path = file.relative_to(home).as_posix()
            for address in (f"files/{path}", f"api/contents/{path}", f"api/contents/{path}/checkpoints", f"files/way/{file.name}"):
                answer = await edge.fetch(address)
                assert answer.code in (403, 404) or answer.body == b"[]", f"{address}: {answer.code}"
                assert TOKEN.encode() not in answer.body
            assert (await edge.fetch(f"api/contents/{path}", "PUT", {"type": "file", "format": "text", "content": ""})).code == 403
            assert file.stat().st_mode & 0o077 == 0


async def test_cve_2022_29238_what_is_hidden_is_not_served(edge: Edge) -> None:
    (edge.root / ".hidden").mkdir()
    for name in (".hidden/x.ipynb", ".x.ipynb"):
        (edge.root / name).write_text(NOTEBOOK)
        for prefix in ("files", "api/contents", "notebooks", "tree"):
            assert (await edge.fetch(f"{prefix}/{name}")).code == 404, f"{prefix}/{name}"
        assert (await edge.fetch("api/contents/a.ipynb", "PATCH", {"path": name})).code in (404, 409)
        assert (await edge.fetch("api/contents", "POST", {"copy_from": name})).code == 404
        assert (await edge.fetch(f"api/contents/{name}", "DELETE")).code == 404
    assert [entry["name"] for entry in (await edge.json("api/contents"))["content"]] == ["a.ipynb"]


REDIRECTS = (
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https:evil.example",
    "/%09/evil.example",
    "/%0d%0aSet-Cookie:x=1", "/%2f/evil.example", "/%5cevil.example", "/..//evil.example", " //evil.example", "javascript:alert(1)",
    "/@evil.example",
    "/tree/..;/..//evil.example", "data:text/html,x", "//evil.example/%2e%2e", "/.evil.example",
)  # fmt: skip


@pytest.mark.parametrize("wanted", REDIRECTS)
async def test_cve_2025_61669_2026_33709_2020_26232_2019_10255_a_login_leads_nowhere_else(edge: Edge, wanted: str) -> None:
    browser = await edge.browser()
    cookies = cookies_of(await edge.fetch("login", token=None))
    form = urlencode({"_xsrf": cookies["_xsrf"], "token": TOKEN, "next": wanted}).encode()
    headers = {"Cookie": header_of(cookies), "Content-Type": "application/x-www-form-urlencoded"}
    places = [
        (await edge.fetch("login?" + urlencode({"next": wanted}), token=None, headers=browser)).headers["Location"],
        (await edge.fetch("login", "POST", raw=form, token=None, headers=headers)).headers["Location"],
    ]
    for path in (f"/{wanted}?token={TOKEN}", f"//evil.example/{quote(wanted)}?token={TOKEN}"):
        place = (await edge.fetch(path, token=None, anywhere=True)).headers.get("Location", "/")
        places.append(place)
    for place in places:
        assert place.startswith("/"), place
        assert not place.startswith(("//", "/\\")), place
        assert TOKEN not in place


async def test_cve_2023_40170_and_2019_9644_files_and_notebooks_cannot_be_embedded_by_another_site(edge: Edge) -> None:
    browser = await edge.browser()
    for path in ("files/a.ipynb", "api/contents/a.ipynb"):
        for destination in ("script", "image", "style", "iframe", "object", "empty"):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": destination}
            assert (await edge.fetch(path, token=None, headers={**browser, **headers})).code == 403
        answer = await edge.fetch(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "javascript" not in answer.headers["Content-Type"]


async def test_js_1630_one_rule_of_origins_for_http_and_websockets(home: Path) -> None:
    async with serving(home, kernels=True) as edge:
        await compare_origins(edge)


async def compare_origins(edge: Edge) -> None:
    browser = await edge.browser()
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "A" * 22 + "=="}
    decided = set()
    for origin in (
        f"http://{edge.authority}",
        f"https://{edge.authority}",
        "https://evil.example",
        "null",
        f"http://{edge.authority}.evil",
    ):
        headers = {**browser, "Origin": origin}
        http = (await edge.fetch("api/contents", token=None, headers=headers)).code == 403
        socket = (await edge.fetch("api/kernels/none/channels", token=None, headers={**headers, **handshake})).code == 403
        assert http == socket, origin
        decided.add(http)
    assert decided == {True, False}


async def test_cve_2026_40110_an_allowed_origin_is_the_whole_of_it(home: Path) -> None:
    async with serving(home, allow_origin="https://friend.example") as edge:
        for origin in (
            "https://friend.example.evil.example",
            "https://friend.example:444",
            "https://friend.exampl",
            "http://friend.example",
        ):
            answer = await edge.fetch("api/contents", headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in answer.headers, origin


async def test_cve_2018_8768_names_of_files_are_text(edge: Edge) -> None:
    evil = "</script><img src=x onerror=alert(1)>\"'.ipynb"
    folder = evil.replace("/", "∕").removesuffix(".ipynb")
    (edge.root / folder).mkdir()
    (edge.root / folder / "x.ipynb").write_text(NOTEBOOK)
    for path in (f"tree/{quote(folder)}", f"notebooks/{quote(folder)}/x.ipynb", f"notebooks/{quote(evil)}", f"tree/{quote(evil)}"):
        answer = await edge.fetch(path, headers={"Accept": "text/html"})
        assert b"<img" not in answer.body, path
        assert b"onerror=alert(1)>" not in answer.body, path
    answer = await edge.fetch("login?" + urlencode({"next": evil, "wrong": evil}), token=None)
    assert b"<img" not in answer.body


async def test_our_pages_have_a_strict_policy(edge: Edge) -> None:
    for path, token in (("tree", TOKEN), ("notebooks/a.ipynb", TOKEN), ("access", TOKEN), ("login", None), ("no/such/page", TOKEN)):
        answer = await edge.fetch(path, token=token, headers={"Accept": "text/html"})
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["object-src"] == "'none'", path
        assert policy["script-src"] == policy["form-action"] == policy["frame-ancestors"] == "'self'", path
        assert "unsafe" not in answer.headers["Content-Security-Policy"], path


async def test_cve_2024_22421_ids_in_addresses_hold_no_path(edge: Edge) -> None:
    browser = await edge.browser()
    for address in ("api/kernels/%2e%2e%2fcontents/interrupt", "api/sessions/..%2f..%2fapi%2fkernels", "api/kernels/../shutdown"):
        answer = await edge.fetch(address, "POST", {}, token=None, headers=browser)
        assert answer.code in (404, 405), f"{address}: {answer.code}"
    assert edge.stopped == []


async def test_cve_2026_40864_no_fetch_metadata_replaces_the_xsrf_token(edge: Edge) -> None:
    browser = await edge.browser()
    cookie = {"Cookie": browser["Cookie"]}
    for mode in ("no-cors", "cors", "same-origin", "navigate", ""):
        for site in ("same-origin", "none", ""):
            headers = {**cookie, "Sec-Fetch-Mode": mode, **({"Sec-Fetch-Site": site} if site else {})}
            assert (await edge.fetch("api/contents", "POST", {}, token=None, headers=headers)).code == 403, (mode, site)


async def test_cve_2024_28233_a_cookie_that_a_sibling_site_tossed_is_not_enough(edge: Edge) -> None:
    login = (await edge.browser())["Cookie"].partition("; ")[0]
    tossed = {"Cookie": f"_xsrf={'e' * 43}; {login}", "X-XSRFToken": "e" * 43}
    for sent in ({"Origin": "https://sibling.example"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}):
        # An old recipe's proxy may have rewritten Origin to ours: Fetch metadata still tells.
        for more in ({}, {"Origin": f"http://{edge.authority}"} if "Origin" not in sent else {}):
            answer = await edge.fetch("api/contents", "POST", {}, token=None, headers={**tossed, **sent, **more})
            assert answer.code == 403, sent
    forged = {"Cookie": f"{edge.parts.auth.cookie_name}=YWJj.AAAA; {login}"}
    assert (await edge.fetch("api/contents", token=None, headers=forged)).code in (200, 401), "never an error of the server"


def test_cve_2022_21699_and_2022_39286_nothing_is_run_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jupyter_config.py", "jupyter_notebook_config.py", "jupyter_server_config.py", "homeport_config.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('run from the current folder')\n")
    (tmp_path / "homeport_config.json").write_text('{"Homeport": {"ip": "0.0.0.0", "token": ""}}')
    monkeypatch.chdir(tmp_path)
    settings = read_command_line([]).settings
    assert (settings.ip, settings.token) == ("127.0.0.1", None)


def test_secrets_do_not_reach_kernels_by_their_environment() -> None:
    secret = {"JUPYTER_TOKEN", "HOMEPORT_TOKEN", "HOMEPORT_PASSWORD_HASH", "HOMEPORT_PASSWORD_FILE", "JPY_API_TOKEN"}
    assert kernel_environment(dict.fromkeys([*secret, "PATH"], "x")) == {"PATH": "x"}


async def test_positron_14475_a_wrong_token_is_told_where_anybody_may_come(edge: Edge) -> None:
    assert (await edge.fetch("api", token=None)).code == 200
    assert (await edge.fetch("api", token="wrong")).code == 401


async def test_what_names_a_server_tells_strangers_nothing_more(edge: Edge) -> None:
    assert set(json.loads((await edge.fetch("api", token=None)).body)) == {"version"}
    page = (await edge.fetch("login", token=None)).body.decode()
    for said in (str(edge.root), os.environ["HOME"], TOKEN):
        assert said not in page


def test_every_handler_is_one_that_the_gate_knows() -> None:
    assert all(issubclass(route.handler, RequestHandler) and route.policy is not None for route in ROUTES)
