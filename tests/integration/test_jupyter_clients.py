"""Clients that speak Jupyter's API: kernels and sessions over REST, messages over ``/api/kernels/<id>/channels``, links that are cut."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from harness.edge import Edge, serving
from harness.jupyter_client import client
from harness.server import Server
from homeport.web.delivery import unacknowledged

# Prints a line whenever its file grows, so that the test decides when there is something to miss.
FOLLOWS = """
import pathlib, time
path, seen = pathlib.Path("go"), 0
while seen < {count}:
    there = len(path.read_text()) if path.exists() else 0
    while seen < there:
        seen += 1
        print("line", seen, flush=True)
    time.sleep(0.01)
"""


async def ask(server: Server, path: str, body: Mapping[str, object]) -> Any:
    """POST to the API."""
    answer = await AsyncHTTPClient().fetch(
        f"{server.url}{path}", method="POST", headers=server.headers, body=json.dumps(body), request_timeout=60
    )
    return json.loads(answer.body)


def lines(first: int, last: int) -> str:
    """What FOLLOWS prints."""
    return "".join(f"line {number}\n" for number in range(first, last + 1))


@pytest.mark.parametrize("v1", [True, False], ids=["v1.kernel.websocket.jupyter.org", "default"])
async def test_both_sub_protocols_run_code(server: Server, v1: bool) -> None:
    kernel = (await ask(server, "api/kernels", {"name": "python3"}))["id"]
    async with client(server.url, server.token, kernel, v1=v1) as one:
        request = await one.execute("print('é'); 6 * 7")
        seen: list[tuple[str, str]] = []
        result = text = ""
        while not {("shell", "execute_reply"), ("iopub", "idle")} <= set(seen):
            channel, kind, parent, content = await one.next()
            if parent == request:
                seen.append((channel, content["execution_state"] if kind == "status" else kind))
                text += content["text"] if kind == "stream" else ""
                result = content["data"]["text/plain"] if kind == "execute_result" else result
        assert (text, result) == ("é\n", "42")
        on_iopub = [kind for channel, kind in seen if channel == "iopub"]
        assert on_iopub == ["busy", "execute_input", "stream", "execute_result", "idle"]


async def test_requests_that_nobody_waits_for_run_in_order(server: Server) -> None:
    kernel = (await ask(server, "api/kernels", {"name": "python3"}))["id"]
    async with client(server.url, server.token, kernel) as one:
        await one.execute("seen = []")
        for number in range(50):
            long = "  # " + "x" * 100_000 if number == 25 else ""
            await one.execute(f"seen.append({number}){long}")
        request = await one.execute("print(*seen)")
        assert await one.text(request) == f"{' '.join(map(str, range(50)))}\n"


async def test_who_comes_back_gets_what_was_missed_and_who_is_new_all_that_runs(server: Server) -> None:
    session = await ask(server, "api/sessions", {"path": "a.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}})
    kernel = session["kernel"]["id"]
    go = server.root / "go"
    async with client(server.url, server.token, kernel, session="the-same") as one:
        request = await one.execute(FOLLOWS.format(count=30))
        go.write_text("x" * 10)
        assert await one.text(request, until="line 10\n") == lines(1, 10)
    go.write_text("x" * 20)
    async with client(server.url, server.token, kernel) as new:
        # Nothing of the request is over, so all of it is there for one that has seen none of it.
        assert await new.text(request, until="line 20\n") == lines(1, 20)
        async with client(server.url, server.token, kernel, session="the-same", v1=False) as again:
            go.write_text("x" * 30)
            assert await again.text(request) == lines(11, 30)
        # Replies go to the session that asked: the other one sees the end on iopub alone.
        assert await new.text(request, until="line 30\n") == lines(21, 30)


async def test_a_client_goes_on_after_the_server_was_killed(server: Server) -> None:
    kernel = (await ask(server, "api/kernels", {"name": "python3"}))["id"]
    go = server.root / "go"
    code = FOLLOWS.format(count=30).replace('"go"', repr(str(go)))
    go.write_text("x" * 10)
    async with client(server.url, server.token, kernel, session="the-same") as one:
        request = await one.execute(code)
        assert await one.text(request, until="line 10\n") == lines(1, 10)
        had = one.had
        await server.kill()
    # The request ends while no server is there.
    go.write_text("x" * 30)
    await server.start()
    # It answers before it has met its supervisor; nobody is told meanwhile that a kernel is gone.
    answer = await AsyncHTTPClient().fetch(f"{server.url}api/kernels/{kernel}", headers=server.headers)
    assert json.loads(answer.body)["execution_state"] in ("busy", "idle")
    async with client(server.url, server.token, kernel, session="the-same", had=had) as again:
        assert await again.text(request) == lines(11, 30)
        assert again.twice < 25, "what had arrived a while before does not come again"


def test_the_system_knows_what_the_other_end_has_not_acknowledged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    with near, far:
        near.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += near.send(b"x" * 65536)
        # The far end acknowledges what its buffer holds, and that is all.
        assert 0 < unacknowledged(near) < sent
        while sent:
            sent -= len(far.recv(65536))
        assert near in select.select([], [near], [], 10)[1]
        while unacknowledged(near):  # the last acknowledgement may be delayed, by 40 ms
            assert not select.select([near], [], [], 0.01)[0]


async def test_small_frames_are_sent_at_once(home: Path) -> None:
    """Nagle's algorithm is off on every WebSocket, or the second of two small frames waits for an acknowledgement: 40 ms."""
    async with serving(home, kernels=True) as edge:
        kernel = (await edge.json("api/kernels", "POST", {"name": "python3"}))["id"]
        async with client(edge.base, edge.parts.auth.token or "", kernel) as one:
            await one.text(await one.execute("1"))
            assert nodelay(edge)


def nodelay(edge: Edge) -> bool:
    """Whether the one WebSocket that is open has TCP_NODELAY."""
    (link,) = edge.parts.connections._open  # pyright: ignore[reportPrivateUsage]
    stream = link.ws_connection.stream  # type: ignore[attr-defined]
    return bool(stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
