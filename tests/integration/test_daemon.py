"""``homeport --daemon``: a server in the background, where guides say to run it in tmux."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest
import pytest_asyncio
import requests

from harness.server import AS_ROOT, environment, free_port, stop_supervisor


@pytest_asyncio.fixture(autouse=True)
async def everything_stops(home: Path) -> AsyncIterator[None]:
    yield
    homeport("stop", cwd=home)
    await stop_supervisor()


def homeport(*arguments: str, cwd: Path) -> tuple[int | None, str]:
    """A command on a terminal that is closed when the command has ended; exit status and what it said."""
    child: pexpect.spawn[str] = pexpect.spawn(
        *(sys.executable, ["-m", "homeport", *arguments]),
        cwd=str(cwd), env=environment(PYTHONWARNINGS="default"),
        encoding="utf-8", timeout=60, dimensions=(40, 300),
    )  # fmt: skip
    child.expect(pexpect.EOF)
    said = (child.before or "").replace("\r\n", "\n")
    child.close()
    return child.exitstatus, said


def serve(root: Path, port: int, *options: str) -> tuple[int | None, str]:
    (root / "a.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')  # so that nothing is offered
    return homeport(".", "--daemon", "--no-browser", f"--port={port}", *options, *AS_ROOT, cwd=root)


def test_it_outlives_its_terminal_and_homeport_stop_ends_it(tmp_path: Path) -> None:
    port = free_port()
    status, said = serve(tmp_path, port)
    assert status == 0, said
    match = re.search(r"http://localhost:\d+/\?token=(\w+)", said)
    assert match, said
    assert f"'homeport stop {port}' stops the server" in said
    log = re.search(r"with its log in (\S+)\.\n", said)
    assert log, said
    file = Path(log[1])
    headers = {"Authorization": f"token {match[1]}"}
    kernel = requests.post(f"http://127.0.0.1:{port}/api/kernels", json={}, headers=headers, timeout=60).json()["id"]

    status, said = serve(tmp_path, port)
    refusal = (
        f"homeport: Port {port} is already in use. Choose another one with --port.\nYour own Homeport serves {tmp_path} there:\n"
        f"    {match[0]}\n'homeport stop {port}' stops it.\n"
    )
    assert (status, said) == (1, refusal)
    assert requests.get(f"http://127.0.0.1:{port}/nothing/there", timeout=30).status_code in (403, 404)
    deadline = time.monotonic() + 20
    while "/nothing/there" not in file.read_text():
        assert time.monotonic() < deadline, "the log is still that of the server that runs"
        time.sleep(0.02)  # a file tells nobody that it changed
    assert (file.stat().st_mode & 0o777, match[1] in file.read_text()) == (0o600, False), "the token is for the terminal alone"

    status, said = homeport("stop", cwd=tmp_path)
    assert (status, said.splitlines()[0]) == (0, f"Stopped the server on port {port} ({tmp_path}).")
    assert "1 kernel runs on" in said
    assert kernel[:8] in homeport("kernels", cwd=tmp_path)[1], "kernels outlive it"
    assert "Traceback" not in file.read_text()
    assert sorted(each.name for each in file.parent.glob("server-*")) == [file.name]

    assert serve(tmp_path, port)[0] == 0
    assert Path(f"{file}.1").exists(), "the log of the start before is kept"


def test_what_is_wrong_is_said_on_the_terminal(tmp_path: Path) -> None:
    status, said = serve(tmp_path, free_port(), f"--certfile={tmp_path}/none.pem")
    assert status == 1
    assert "none.pem" in said
    assert "Traceback" not in said


@pytest.mark.needs("unshare")
async def test_it_does_not_end_a_container_at_once(tmp_path: Path) -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "homeport", str(tmp_path), "--daemon"]
    process = await asyncio.create_subprocess_exec(
        *command, *AS_ROOT, env=environment(), stderr=asyncio.subprocess.PIPE
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert "--daemon would end this container at once" in said.decode()
