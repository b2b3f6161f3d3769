"""A real Homeport in a process of its own: start it, kill it, start it again on the same port.

`server` gives one that is running on an empty folder; `make_server` makes more. At the end the server, its supervisor and
every kernel are stopped, and log lines of level warning or above that the test did not expect fail it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from harness import logs

READY = 30.0
"""Seconds a server has to answer on a busy machine; it takes well under one."""

# commands/log.py: "[W 2026-01-31 12:00:00 homeport.web] text", a traceback on indented lines; without a log, Python's own.
_BAD_LINE = re.compile(r"^\[[WEC] \d{4}-|^\s*Traceback \(most recent call last\)|Warning: |never (awaited|retrieved)")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


AS_ROOT = ["--allow-root"] if os.geteuid() == 0 else []
"""The option that a server wants before it works for root."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment and ``more``, for a Python that finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


@dataclass
class Server:
    """One Homeport on one folder; its state survives :meth:`kill` and :meth:`start`."""

    root: Path
    home: Path
    port: int
    base_url: str = "/"
    options: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    """The address that pages have of it; one of another host (harness/bad_line.py) goes with ``prefix`` and ``--ip``."""
    scheme: str = "http"
    """``https`` for one whose ``options`` make it so."""
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """A command in front of the server's, such as ``setpriv …``, which becomes it by exec."""
    expected: list[re.Pattern[str]] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    token: str = ""

    @property
    def url(self) -> str:
        """With a slash at its end."""
        return f"{self.scheme}://{self.host}:{self.port}{self.base_url}"

    @property
    def log(self) -> Path:
        """What all servers of this folder printed, one after the other."""
        return self.home / f"server-{self.port}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server was not started"
        return self.process.pid

    @property
    def headers(self) -> dict[str, str]:
        """The header that logs a client in."""
        return {"Authorization": f"token {self.token}"}

    async def start(self) -> None:
        """Start it and return when it answers. The token and the port are the ones of before."""
        assert self.process is None or self.process.returncode is not None, "it runs already"
        command = [*self.prefix, sys.executable, "-m", "homeport", str(self.root), "--no-browser", f"--port={self.port}", *self.options]
        if self.base_url != "/":
            command.append(f"--base-url={self.base_url}")
        command += AS_ROOT
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.root,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(PYTHONWARNINGS="default") | self.environment,
            )
        await self._ready()

    async def _ready(self) -> None:
        assert self.process is not None
        record = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{self.process.pid}.json"
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            if self.process.returncode is not None:
                raise AssertionError(f"The server exited with status {self.process.returncode}:\n{self.output()}")
            try:
                # Written when it listens.
                facts = json.loads(record.read_text())
            except (OSError, ValueError):
                await asyncio.sleep(0.01)
                continue
            self.token = facts["token"]
            return
        raise AssertionError(f"The server did not answer within {READY:.0f} s:\n{self.output()}")

    def output(self) -> str:
        """Everything that it printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    async def printed(self, words: str) -> str:
        """Wait until it has printed ``words``; everything that it printed."""
        deadline = time.monotonic() + READY
        while words not in (output := self.output()):
            assert time.monotonic() < deadline, f"no {words!r} in: {output}"
            await asyncio.sleep(0.02)  # a file of another process
        return output

    async def kill(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal, wait for its end and return the exit status (negative: the signal that ended it)."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def restart(self) -> None:
        """SIGKILL and start again."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """End everything: the server, the supervisor and its kernels. Unexpected log lines are raised as AssertionError."""
        try:
            await self.end()
        finally:
            await stop_supervisor()
        self.judge()

    async def end(self) -> None:
        """SIGTERM, when it runs, and wait until it is gone."""
        if self.process is None or self.process.returncode is not None:
            return
        try:
            await self.kill(signal.SIGTERM)
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"The server did not end within 30 s of SIGTERM:\n{self.output()}") from None

    def judge(self) -> None:
        """Raise unexpected lines of its log as AssertionError."""
        bad = logs.unexpected([line for line in self.output().splitlines() if _BAD_LINE.search(line)], self.expected)
        assert not bad, (
            "Unexpected lines in the server's log:\n  " + "\n  ".join(bad[:20]) + f"\n--- the whole log\n{self.output()[-6000:]}"
        )


async def stop_supervisor() -> None:
    """Stop this test's supervisor and all its kernels, when there is one."""
    from homeport.errors import SupervisorUnavailable
    from homeport.folders import Folders
    from homeport.kernels.client import SupervisorClient

    client = SupervisorClient(Folders.from_environment(), launch=False)
    try:
        await client.start()
        await client.shutdown_supervisor(kernels=True)
    except SupervisorUnavailable:
        pass  # there was none
    finally:
        await client.close()


MakeServer = Callable[..., Server]


@pytest_asyncio.fixture
async def make_server(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[MakeServer]:
    """A function that makes a :class:`Server` (not started) on ``tmp_path / name``; all are stopped at the end."""
    made: list[Server] = []

    def make(name: str = "notebooks", **arguments: object) -> Server:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        server = Server(root=root, home=home, port=free_port(), expected=logs.expected(request), **arguments)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make
    problems: list[str] = []
    # All servers first: one that still runs would launch another supervisor.
    for end in (*(server.end for server in made), stop_supervisor):
        try:
            await end()
        except AssertionError as error:
            problems.append(str(error))
    for server in made:
        try:
            server.judge()
        except AssertionError as error:
            problems.append(str(error))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest_asyncio.fixture
async def server(make_server: MakeServer) -> Server:
    """A running Homeport on an empty folder."""
    one = make_server()
    await one.start()
    return one
