"""The life of a real server: where it listens, how it is found and stopped, what signals and Ctrl-C do to its kernels."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest
import requests

from harness.server import AS_ROOT, MakeServer, Server, environment, free_port, stop_supervisor


def homeport(*arguments: str, timeout: float = 40) -> subprocess.CompletedProcess[str]:
    """Run a homeport command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "homeport", *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def api(url: str, token: str, method: str, path: str, model: object = None) -> Any:
    """A REST request; the answer's JSON."""
    answer = requests.request(method, f"{url}api/{path}", json=model, headers={"Authorization": f"token {token}"}, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.content else None


async def start_kernel(server: Server, path: str = "a.ipynb") -> str:
    """A session with a kernel; the kernel's id."""
    session = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
    return str((await asyncio.to_thread(api, server.url, server.token, "POST", "sessions", session))["kernel"]["id"])


def kernels_shown() -> list[str]:
    """The (short) ids that ``homeport kernels`` shows."""
    return [line.split()[0] for line in homeport("kernels").stdout.splitlines()[1:]]


def runs_on(kernel: str) -> str:
    """What is said when a server has ended and left this kernel."""
    return (
        "1 kernel runs on, and will be here again at the next start: "
        f"'homeport kernels' lists it, 'homeport kernels stop {kernel[:8]}' ends it."
    )


# -- where it listens --


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = await asyncio.to_thread(homeport, str(tmp_path), "--no-browser", f"--port={port}", *AS_ROOT)
    assert result.returncode == 1
    assert result.stderr.endswith(f"homeport: Port {port} is already in use. Choose another one with --port.\n")
    assert "Traceback" not in result.stderr
    await stop_supervisor()


async def test_a_port_that_an_own_server_has_is_said_to_be_so(server: Server, tmp_path: Path) -> None:
    arguments = (str(tmp_path), "--no-browser", f"--port={server.port}", *AS_ROOT)
    taken = f"homeport: Port {server.port} is already in use. Choose another one with --port.\n"
    begin = f"{taken}Your own Homeport serves {server.root} there:\n"
    url = f"    http://localhost:{server.port}/"
    end = f"\n'homeport stop {server.port}' stops it.\n"
    in_a_log = await asyncio.to_thread(homeport, *arguments)
    assert in_a_log.returncode == 1
    assert in_a_log.stderr.endswith(f"{begin}{url}   ('homeport list' shows the link that lets in){end}")
    assert server.token not in in_a_log.stderr, "others may read a log"

    child = pexpect.spawn(
        *(sys.executable, ["-m", "homeport", *arguments]), env=environment(), encoding="utf-8", timeout=30, dimensions=(40, 300)
    )
    await asyncio.to_thread(child.expect, pexpect.EOF)
    assert str(child.before).replace("\r\n", "\n").endswith(f"{begin}{url}?token={server.token}{end}")
    child.close()
    assert child.exitstatus == 1


async def test_the_next_free_port_is_used(make_server: MakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make_server(options=(f"--port={port}", "--port-retries=40", "--log-level=error"))
        server.port = 0
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "homeport", str(server.root), "--no-browser", *server.options, *AS_ROOT],
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        link = ""
        while "token=" not in link:
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert line, "the server left without printing its link"
            link = line.decode().strip()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    match = re.fullmatch(r"http://localhost:(\d+)/\?token=\w+", link)
    assert match
    assert port < int(match[1]) <= port + 40


async def test_what_it_says_at_the_start(server: Server) -> None:
    output = await server.printed("Ctrl-C")
    assert f"serves {server.root}" in output
    assert output.count("http://") == 1
    assert f"http://localhost:{server.port}/?token={server.token}" in output


async def test_a_token_that_somebody_chose_is_not_printed(make_server: MakeServer) -> None:
    server = make_server(environment={"JUPYTER_TOKEN": "my-own-secret"})
    await server.start()
    assert server.token == "my-own-secret"
    await server.kill(signal.SIGTERM)
    assert "my-own-secret" not in server.output()


# -- list and stop --


async def test_list_and_stop(make_server: MakeServer) -> None:
    one, other = make_server("one"), make_server("other")
    await one.start()
    await other.start()
    kernel = await start_kernel(one)
    listed = (await asyncio.to_thread(homeport, "list")).stdout.splitlines()
    assert sorted(listed) == sorted(f"http://localhost:{each.port}/?token={each.token}  ::  {each.root}" for each in (one, other))
    which = await asyncio.to_thread(homeport, "stop")
    assert which.returncode == 1
    assert str(one.port) in which.stderr
    assert (await asyncio.to_thread(homeport, "stop", "1")).returncode == 1
    stopped = await asyncio.to_thread(homeport, "stop", str(one.port))
    assert (stopped.returncode, stopped.stdout) == (0, f"Stopped the server on port {one.port} ({one.root}).\n{runs_on(kernel)}\n")
    assert one.process is not None
    assert await asyncio.wait_for(one.process.wait(), 10) == 0
    assert await asyncio.to_thread(kernels_shown) == [kernel[:8]]
    # Only one is left, so no port is needed; its kernels are its own, not those of the server that has left.
    mine = await start_kernel(other)
    stopped = await asyncio.to_thread(homeport, "stop", "--kernels")
    assert stopped.returncode == 0
    assert "Shut down 2 kernels." in stopped.stdout
    assert mine
    assert await asyncio.to_thread(kernels_shown) == []
    assert (await asyncio.to_thread(homeport, "list")).stdout.startswith("No server is running")


async def test_stop_says_nothing_of_the_kernels_of_others(make_server: MakeServer) -> None:
    one, other = make_server("one"), make_server("other")
    await one.start()
    await other.start()
    await start_kernel(other)
    stopped = await asyncio.to_thread(homeport, "stop", str(one.port))
    assert (stopped.returncode, stopped.stdout) == (0, f"Stopped the server on port {one.port} ({one.root}).\n")
    assert "The server has ended" not in one.output()


async def test_stop_says_what_the_server_shuts_down_by_itself(make_server: MakeServer) -> None:
    server = make_server()
    server.options = ("--on-stop=shutdown",)
    await server.start()
    await start_kernel(server)
    stopped = await asyncio.to_thread(homeport, "stop")
    assert stopped.stdout.startswith(f"Stopped the server on port {server.port} ({server.root}).\nIt shut down 1 kernel as it left: ")
    assert await asyncio.to_thread(kernels_shown) == []


async def test_stop_with_kernels_leaves_those_of_other_servers(make_server: MakeServer) -> None:
    one, other = make_server("one"), make_server("other")
    await one.start()
    await other.start()
    await start_kernel(one)
    stays = await start_kernel(other)
    stopped = await asyncio.to_thread(homeport, "stop", str(one.port), "--kernels")
    assert "Shut down 1 kernel." in stopped.stdout
    assert await asyncio.to_thread(kernels_shown) == [stays[:8]]


async def test_kernels_that_run_on_can_be_stopped_without_a_server(make_server: MakeServer) -> None:
    server = make_server()
    await server.start()
    await start_kernel(server)
    await server.kill(signal.SIGTERM)
    stopped = await asyncio.to_thread(homeport, "stop", "--kernels")
    assert (stopped.returncode, stopped.stdout) == (0, "No server is running; shut down 1 kernel.\n")
    assert await asyncio.to_thread(kernels_shown) == []


# -- signals --


@pytest.mark.parametrize(
    ("sent", "on_stop", "stays"),
    [
        (signal.SIGTERM, "auto", True),
        (signal.SIGTERM, "keep", True),
        (signal.SIGTERM, "shutdown", False),
        (signal.SIGHUP, "shutdown", True),
        (signal.SIGINT, "auto", True),
    ],
)
async def test_signals(make_server: MakeServer, sent: signal.Signals, on_stop: str, stays: bool) -> None:
    server = make_server(options=(f"--on-stop={on_stop}",))
    await server.start()
    kernel = await start_kernel(server)
    assert await server.kill(sent) == 0
    assert not list(Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*"))
    assert await asyncio.to_thread(kernels_shown) == ([kernel[:8]] if stays else [])
    assert (f"The server has ended; {runs_on(kernel)}\n" in server.output()) == stays
    assert ("The server has ended" in server.output()) == stays


async def test_kernels_are_there_again_at_the_next_start(make_server: MakeServer) -> None:
    server = make_server()
    await server.start()
    kernel = await start_kernel(server)
    await server.kill(signal.SIGTERM)
    await server.start()
    await server.printed("Still running from before: 1 kernel.")
    sessions = await asyncio.to_thread(api, server.url, server.token, "GET", "sessions")
    assert [session["kernel"]["id"] for session in sessions] == [kernel]


async def test_the_api_ends_the_server_too(make_server: MakeServer) -> None:
    server = make_server()
    await server.start()
    await asyncio.to_thread(api, server.url, server.token, "POST", "shutdown")
    assert server.process is not None
    assert await asyncio.wait_for(server.process.wait(), 20) == 0


# -- Ctrl-C on a terminal --


class Terminal:
    """A server on a real terminal, with a notebook in its folder so that nothing is offered."""

    def __init__(self, root: Path) -> None:
        (root / "a.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        self.port = free_port()
        self.child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable,
            ["-m", "homeport", str(root), "--no-browser", f"--port={self.port}", *AS_ROOT],
            env=environment(),
            encoding="utf-8",
            timeout=30,
            dimensions=(40, 200),
        )
        self.child.expect(r"(http://\S+)\?token=(\w+)")
        assert self.child.match is not None
        self.url, self.token = str(self.child.match[1]), str(self.child.match[2])
        self.child.expect("next start")

    def start_kernel(self) -> str:
        session = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
        return str(api(self.url, self.token, "POST", "sessions", session)["kernel"]["id"])

    def ended(self, *, kernel: str = "") -> int | None:
        """Wait for the end; the exit status. Of ``kernel`` it is said that it runs on; of none when none is given."""
        self.child.expect(pexpect.EOF)
        assert (f"The server has ended; {runs_on(kernel)}" if kernel else "") in str(self.child.before)
        assert ("The server has ended" in str(self.child.before)) == bool(kernel)
        self.child.close()
        return self.child.exitstatus


@pytest.fixture
def terminal(tmp_path: Path):
    one = Terminal(tmp_path)
    yield one
    one.child.close(force=True)
    asyncio.run(stop_supervisor())


def test_ctrl_c_without_kernels_just_ends(terminal: Terminal) -> None:
    terminal.child.sendintr()
    assert terminal.ended() == 0


@pytest.mark.parametrize(("answer", "stays"), [("y\r", True), ("\r", True), ("n\r", False)])
def test_ctrl_c_asks_about_kernels(terminal: Terminal, answer: str, stays: bool) -> None:
    kernel = terminal.start_kernel()
    terminal.child.sendintr()
    terminal.child.expect("1 kernel is running:")
    terminal.child.expect("a.ipynb  Python 3")
    terminal.child.expect(r"leave them running\?")
    terminal.child.send(answer)
    assert terminal.ended(kernel=kernel if stays else "") == 0
    assert kernels_shown() == ([kernel[:8]] if stays else [])


def test_ctrl_c_cancelled_and_then_twice(terminal: Terminal) -> None:
    kernel = terminal.start_kernel()
    terminal.child.sendintr()
    terminal.child.expect(r"leave them running\?")
    terminal.child.send("c\r")
    assert len(api(terminal.url, terminal.token, "GET", "kernels")) == 1  # the server goes on
    terminal.child.sendintr()
    terminal.child.expect(r"leave them running\?")
    terminal.child.sendintr()
    assert terminal.ended(kernel=kernel) == 0
    assert kernels_shown() == [kernel[:8]]


def test_a_closed_terminal_ends_the_server_and_leaves_kernels(terminal: Terminal) -> None:
    kernel = terminal.start_kernel()
    process = terminal.child.ptyproc
    process.fileobj.close()  # its own close() would send signals
    process.closed = True
    deadline = time.monotonic() + 20
    while process.isalive():
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.02)
    assert kernels_shown() == [kernel[:8]]


# -- process 1 --


def _can_unshare() -> bool:
    try:
        command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "true"]
        return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _can_unshare(), reason="PID namespaces need root, or user namespaces")
async def test_as_process_one_it_ends_soon_and_takes_its_kernels_along(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "homeport", str(tmp_path)]
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *[*command, "--no-browser", f"--port={port}", *AS_ROOT],
            env=environment(JUPYTER_TOKEN="t"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline, log.read_text()
        try:
            await asyncio.to_thread(api, url, "t", "POST", "kernels", {"name": "python3"})
            break
        except requests.ConnectionError:
            await asyncio.sleep(0.02)
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    began = time.monotonic()
    os.kill(int(first), signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert time.monotonic() - began < 3, log.read_text()
    assert "Traceback" not in log.read_text()
