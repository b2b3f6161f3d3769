"""A server that a service manager has started: what it tells it, over a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from harness import processes
from harness.server import MakeServer

WATCHDOG = 1.5


@pytest.fixture
def manager(home: Path) -> Iterator[socket.socket]:
    """The manager's end of the line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(home / "notify"))
        line.setblocking(False)
        yield line


async def next_word(manager: socket.socket) -> list[str]:
    return (await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 4096), 60)).decode().splitlines()


async def word_that_begins(manager: socket.socket, beginning: str) -> list[str]:
    while True:
        word = await next_word(manager)
        if word[0].startswith(beginning):
            return word


@pytest.mark.expect_log("stood still for")
async def test_ready_alive_and_stopping(make_server: MakeServer, manager: socket.socket) -> None:
    server = make_server(environment={"NOTIFY_SOCKET": str(manager.getsockname()), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))})
    await server.start()
    first = await next_word(manager)
    assert first == ["READY=1", f"STATUS=Serves {server.root} at http://localhost:{server.port}/"]
    for _ in range(3):
        assert await word_that_begins(manager, "WATCHDOG") == ["WATCHDOG=1"]

    started = await asyncio.to_thread(requests.post, f"{server.url}api/kernels", json={}, headers=server.headers, timeout=60)
    assert started.status_code == 201
    others = [each for each in processes.marked(os.environ[processes.VARIABLE]) if each.pid != server.pid]
    assert len(others) >= 2, "a supervisor and a kernel"
    for each in others:
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{each.pid}/environ").read_bytes(), each.command

    # A process that hangs says nothing.
    os.kill(server.pid, signal.SIGSTOP)
    await silence(manager)
    os.kill(server.pid, signal.SIGCONT)
    assert await next_word(manager) == ["WATCHDOG=1"]

    ending = asyncio.create_task(server.kill(signal.SIGTERM))
    assert (await word_that_begins(manager, "STOPPING"))[0] == "STOPPING=1"
    assert await ending == 0
    assert server.token not in server.output(), "others may read the log of a service"
    assert "The server has ended; 1 kernel runs on" in server.output()


async def silence(manager: socket.socket) -> None:
    """What was said before is thrown away; then nothing comes for as long as a watchdog waits."""
    while True:
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 4096), WATCHDOG)
        except TimeoutError:
            return
