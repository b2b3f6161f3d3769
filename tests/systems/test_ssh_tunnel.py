"""docs/guide/remote.md with a real sshd: a server behind a tunnel, the tunnel cut, and both started again."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage
from harness.installed import ROOT
from harness.needs import program
from harness.notebook_page import NotebookPage
from harness.proxies import Front
from harness.server import environment, free_port, stop_supervisor

pytestmark = [pytest.mark.needs("sshd", "chromium"), pytest.mark.timeout(240)]

AS_ROOT = ["--allow-root"] if os.geteuid() == 0 else []
COUNT = """
import pathlib, time
print("begun", flush=True)
while not pathlib.Path("go on").exists():
    time.sleep(0.05)
print("the end", 6 * 7)
"""


@pytest.fixture
async def ssh(home: Path) -> AsyncIterator[list[str]]:
    """An SSH server of the test's own; the words of a command that reaches this account through it."""
    folder, port = home / "ssh", free_port()
    folder.mkdir(mode=0o700)
    for name in ("host", "mine"):
        make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        assert await (await asyncio.create_subprocess_exec(*make)).wait() == 0
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd wants it when it is root's
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/mine.pub\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\n"
    )
    log = (folder / "log").open("w")
    daemon = await asyncio.create_subprocess_exec(program("sshd") or "", "-D", "-e", "-f", str(folder / "config"), stderr=log)
    try:
        async with asyncio.timeout(30):
            while "listening" not in (folder / "log").read_text():
                assert daemon.returncode is None, (folder / "log").read_text()
                await asyncio.sleep(0.02)
        options = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "LogLevel=ERROR", "ExitOnForwardFailure=yes")
        yield ["ssh", "-i", str(folder / "mine"), "-p", str(port), *(f"-o{each}" for each in options)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.terminate()
        await daemon.wait()
        log.close()
        await stop_supervisor()


@asynccontextmanager
async def tunnel(ssh: list[str], forward: str, command: list[str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """What somebody types on the laptop, and in the shell that opens: until the server has said where it is."""
    kept = ("HOME", "XDG", "JUPYTER", "PYTHON", "IPYTHON")
    variables = [f"{name}={text}" for name, text in environment().items() if name.startswith(kept)]
    remote = shlex.join(["env", *variables, *command])
    process = await asyncio.create_subprocess_exec(
        *ssh, "-tt", "-L", forward, f"{getpass.getuser()}@127.0.0.1", remote, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(60):
            while "Ctrl-C stops the server" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line.decode()
        yield process, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.expect_console(r"WebSocket connection to|Failed to load resource: net::")
async def test_the_guide_with_a_tunnel_that_breaks(ssh: list[str], open_page: OpenPage, home: Path) -> None:
    guide = (ROOT / "docs" / "guide" / "remote.md").read_text()
    [forward] = re.findall(r"you@laptop\$ ssh -L (\S+) you@machine", guide)
    [typed] = re.findall(r"you@machine\$ homeport (.+)", guide)
    assert forward == "8888:localhost:8888"
    work = home / "work"
    work.mkdir()
    notebooks.write(work / "a.ipynb", COUNT)
    # Laptop and machine are one here, so that the two ends need two ports.
    near, far = free_port(), free_port()
    command = [sys.executable, "-m", "homeport", *typed.replace("~", str(home)).split(), f"--port={far}", *AS_ROOT]

    async with tunnel(ssh, f"{near}:localhost:{far}", command) as (process, said):
        link = re.search(rf"http://localhost:{far}/\?token=(\w+)", said)
        assert link is not None, said
        assert f"From your own computer: ssh -N -L {far}:127.0.0.1:{far} {getpass.getuser()}@" in said
        page = await open_page(Front(f"http://localhost:{near}/", link[1], work), "notebooks/a.ipynb")
        notebook = await NotebookPage(page).loaded()
        await notebook.mark()
        await notebook.run_all()
        await expect(notebook.cell(0).locator(".stream-text").first).to_contain_text("begun")
        [record] = Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json")
        server = psutil.Process(int(record.stem.removeprefix("jpserver-")))
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await notebook.state(link="offline")
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(server.wait, 30)  # it ends with its terminal
    (work / "go on").touch()
    async with tunnel(ssh, f"{near}:localhost:{far}", command):
        await expect(notebook.cell(0)).to_contain_text("the end 42")
        await notebook.finished()
        assert not await notebook.reloaded()
