"""Passwords, logins and tokens over HTTP: what lets in, how far, how it ends, and what the audit log tells of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPResponse

from harness.edge import TOKEN, Edge, cookies_of, header_of, serving
from homeport.auth.passwords import hash_password
from homeport.web.routes import ROUTES

HASH = hash_password("geheim")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
async def edge(home: Path) -> AsyncIterator[Edge]:
    async with serving(home, password=HASH) as edge:
        (edge.root / "a" / "b").mkdir(parents=True)
        (edge.root / "ab").mkdir()
        for name in ("top.txt", "a/in.txt", "a/b/deep.txt", "ab/beside.txt"):
            (edge.root / name).write_text(name)
        yield edge


async def post_login(edge: Edge, **fields: str) -> HTTPResponse:
    cookies = cookies_of(await edge.fetch("login", token=None))
    form = urlencode({"_xsrf": cookies["_xsrf"], **fields}).encode()
    headers = {"Cookie": header_of(cookies), "Content-Type": "application/x-www-form-urlencoded", "User-Agent": FIREFOX}
    return await edge.fetch("login", "POST", raw=form, token=None, headers=headers)


async def logged_in(edge: Edge, secret: str = "geheim") -> dict[str, str]:
    """Headers of a browser that has logged in by the form."""
    cookies = cookies_of(await post_login(edge, password=secret))
    page = await edge.fetch("login", token=None, headers={"Cookie": header_of(cookies)})
    cookies |= cookies_of(await edge.fetch("access", token=None, headers={"Cookie": header_of(cookies)}))
    assert page.code == 302, "whoever has come in is led on"
    return {"Cookie": header_of(cookies), "X-XSRFToken": cookies.get("_xsrf", "")}


async def told(edge: Edge) -> list[dict[str, Any]]:
    await edge.parts.auth.writes.done()
    return [json.loads(line) for line in edge.parts.auth.audit.file.read_text().splitlines()]


async def test_the_form_takes_the_password_or_the_token(edge: Edge) -> None:
    page = await edge.fetch("login", token=None)
    assert b"Password or token" in page.body
    for fields in ({"password": "geheim"}, {"token": "geheim"}, {"password": TOKEN}, {"token": TOKEN}):
        answer = await post_login(edge, **fields, next="/tree/a")
        assert (answer.code, answer.headers["Location"]) == (303, "/tree/a")
        (cookie,) = [line for line in answer.headers.get_list("Set-Cookie") if line.startswith("homeport-")]
        flags = {part.strip().lower() for part in cookie.split(";")}
        assert {"httponly", "samesite=lax", "path=/"} <= flags
        assert "secure" not in flags, "this is plain http"


async def test_the_cookie_is_secure_behind_a_proxy_that_speaks_https(edge: Edge) -> None:
    answer = await edge.fetch(f"tree?token={TOKEN}", token=None, headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"})
    assert all("secure" in line.lower() for line in answer.headers.get_list("Set-Cookie"))


async def test_wrong_tries_are_held_up_and_say_for_how_long(edge: Edge) -> None:
    assert (await post_login(edge, password="wrong")).code == 401
    answer = await post_login(edge, password="geheim")
    assert answer.code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert b"too many wrong tries" in answer.body
    assert not [line for line in answer.headers.get_list("Set-Cookie") if line.startswith("homeport-")]
    assert (await edge.fetch("api/contents")).code == 200, "whoever shows the long token goes on"


async def test_checking_a_password_does_not_stall_the_loop(edge: Edge) -> None:
    edge.parts.loop_watch.reset()
    assert (await post_login(edge, password="geheim")).code == 303
    await asyncio.sleep(0)
    assert edge.parts.loop_watch.longest.seconds < 0.05, "argon2 belongs into a thread"


async def test_logins_are_listed_and_ended(edge: Edge) -> None:
    mine, other = await logged_in(edge), await logged_in(edge)
    logins = json.loads((await edge.fetch("api/logins", token=None, headers=mine)).body)
    assert [login["program"] for login in logins] == ["Firefox on Linux"] * 2
    assert [login["current"] for login in logins].count(True) == 1
    assert {login["address"] for login in logins} == {"127.0.0.1"}
    (victim,) = [login["id"] for login in logins if not login["current"]]
    assert (await edge.fetch(f"api/logins/{victim}", "DELETE", token=None, headers=mine)).code == 204
    assert (await edge.fetch("api/contents", token=None, headers=other)).code == 401
    assert (await edge.fetch("api/contents", token=None, headers=mine)).code == 200
    assert (await edge.fetch(f"api/logins/{victim}", "DELETE", token=None, headers=mine)).code == 404
    third = await logged_in(edge)
    assert (await edge.fetch("api/logins", "DELETE", token=None, headers=mine)).code == 204
    assert (await edge.fetch("api/contents", token=None, headers=third)).code == 401
    assert (await edge.fetch("api/contents", token=None, headers=mine)).code == 200
    assert [event["event"] for event in await told(edge)].count("login ended") == 2


async def make_token(edge: Edge, **asked: object) -> str:
    made = await edge.json("api/tokens", "POST", {"name": "test", **asked}, status=201)
    return str(made["token"])


async def test_a_token_is_shown_once(edge: Edge) -> None:
    text = await make_token(edge, lifetime=3600)
    (listed,) = await edge.json("api/tokens")
    assert "token" not in listed
    assert listed["name"] == "test"
    assert listed["expires"] > listed["created"]
    assert (await edge.fetch("api/contents", token=text)).code == 200
    assert (await edge.fetch(f"api/tokens/{listed['id']}", "DELETE")).code == 204
    assert (await edge.fetch("api/contents", token=text)).code == 401
    for asked in ({}, {"name": ""}, {"name": "x", "scope": "god"}, {"name": "x", "lifetime": 0}, {"name": "x", "lifetime": 1e12}):
        assert (await edge.fetch("api/tokens", "POST", asked)).code == 400, asked
    for folder, status in (("", 400), ("../x", 403), (".ssh", 400), ("none", 404), ("top.txt", 400)):
        assert (await edge.fetch("api/tokens", "POST", {"name": "x", "scope": "folder", "folder": folder})).code == status, folder
    assert text not in edge.parts.auth.audit.file.read_text()


async def test_one_folder_is_one_folder(edge: Edge) -> None:
    text = await make_token(edge, scope="folder", folder="a")

    async def code(method: str, path: str, body: object = None) -> int:
        return (await edge.fetch(path, method, body, token=text)).code

    assert await code("GET", "api/contents/a") == 200
    assert await code("GET", "files/a/b/deep.txt") == 200
    assert await code("PUT", "api/contents/a/new.txt", {"type": "file", "format": "text", "content": "x"}) == 201
    assert await code("PATCH", "api/contents/a/new.txt", {"path": "a/b/new.txt"}) == 200
    assert await code("POST", "api/contents/a", {"copy_from": "a/in.txt"}) == 201
    assert await code("GET", "api/me") == 200
    for method, path, body in (
        ("GET", "api/contents", None),
        ("GET", "api/contents/ab", None),
        ("GET", "files/top.txt", None),
        ("GET", "files/a/../top.txt", None),
        ("GET", "files/a/%2e%2e/top.txt", None),
        ("GET", "files/ab/beside.txt", None),
        ("PUT", "api/contents/top.txt", {"type": "file", "format": "text", "content": "x"}),
        ("PUT", "api/contents/a/x.txt", {"copy_from": "top.txt"}),
        ("POST", "api/contents/a", {"copy_from": "top.txt"}),
        ("PATCH", "api/contents/a/in.txt", {"path": "top2.txt"}),
        ("PATCH", "api/contents/a", {"path": "z"}),
        ("DELETE", "api/contents/top.txt", None),
        ("GET", "api/kernels", None),
        ("POST", "api/kernels", {}),
        ("POST", "api/sessions", {"path": "a/x.ipynb", "kernel": {"name": "python3"}}),
        ("POST", "api/documents/ticket", None),
        ("GET", "api/tokens", None),
        ("GET", "api/logins", None),
        ("POST", "api/shutdown", None),
    ):
        assert await code(method, path, body) == 403, f"{method} {path} {body}"
    assert sorted(path.name for path in edge.root.iterdir()) == ["a", "ab", "top.txt"]
    assert (edge.root / "top.txt").read_text() == "top.txt"


async def test_who_logs_in_with_a_folders_token_is_led_there(edge: Edge) -> None:
    text = await make_token(edge, scope="folder", folder="a")
    answer = await edge.fetch(f"?token={text}", token=None)
    cookie = {"Cookie": header_of(cookies_of(answer))}
    assert (await edge.fetch("", token=None, headers=cookie)).headers["Location"] == "/tree/a"
    assert (await edge.fetch("tree/a", token=None, headers=cookie)).code == 200
    assert (await edge.fetch("tree", token=None, headers={**cookie, "Accept": "text/html"})).code == 403


async def test_the_audit_log_tells_who_did_what_from_where(edge: Edge) -> None:
    browser = await logged_in(edge)
    await edge.fetch("files/top.txt", token=None, headers={**browser, "X-Forwarded-For": "9.8.7.6"})
    await edge.fetch("api/contents/top.txt", "DELETE", token=None, headers=browser)
    await edge.fetch("api/contents/none.txt", "DELETE", token=None, headers=browser)
    await make_token(edge, scope="read")
    await edge.fetch("logout", token=None, headers=browser)
    events = await told(edge)
    assert [event["event"] for event in events] == ["start", "login", "download", "file changed", "token made", "logout"]
    assert all(event["time"] and "user" in event and "from" in event for event in events)
    assert events[1]["by"] == "password"
    assert events[2]["from"] == "9.8.7.6"
    assert events[2]["path"] == "/files/top.txt"
    assert events[2]["login"] == events[1]["login"]


async def test_the_audit_log_tells_which_kernels_ran(home: Path) -> None:
    async with serving(home, kernels=True) as edge:
        gone = asyncio.Event()
        # After the server's own: what it tells the log is there when this is set.
        edge.parts.supervisor.subscribe(lambda info: gone.set() if info is not None and info.state == "dead" else None)
        kernel = (await edge.json("api/kernels", "POST", {}, status=201))["id"]
        await edge.fetch(f"api/kernels/{kernel}", "DELETE")
        await asyncio.wait_for(gone.wait(), 30)
        events = [(event["event"], event.get("kernel")) for event in await told(edge)]
    assert [event for event, _ in events[1:] if event.startswith("kernel")].count("kernel running") == 1
    assert {"kernel started", "kernel running", "kernel ended", "kernel gone"} <= {event for event, _ in events}
    assert {found for event, found in events if event in ("kernel running", "kernel gone")} == {kernel}


def test_every_event_of_a_route_is_a_known_one() -> None:
    from homeport.auth.audit import EVENTS

    assert {event for route in ROUTES for event in route.policy.events.values()} <= set(EVENTS)
