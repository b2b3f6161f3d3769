"""The server that serves a notebook: one that runs, or one that a command starts for itself and ends again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.running import RunningServer, running_servers
from homeport.errors import HomeportError
from homeport.folders import private

if TYPE_CHECKING:
    from homeport.folders import Folders

_START = 60.0
_END = 30.0
_TAIL = 2000
_TOKEN = re.compile(r"(token=)[^&\s]+")


def server_of(file: Path, servers: Sequence[RunningServer]) -> RunningServer | None:
    """The Homeport that serves ``file``: of several the one whose folder is the nearest. None: there is none.

    Args:
        file: absolute, its folder without symbolic links.
    """
    serving = [server for server in servers if server.is_homeport and server.root_dir and file.is_relative_to(root_of(server))]
    return max(serving, key=lambda server: len(Path(server.root_dir).parts), default=None)


def root_of(server: RunningServer) -> Path:
    """The folder that it serves, without symbolic links."""
    return Path(server.root_dir).resolve()


class OwnServer:
    """A server in a process and session of its own: Ctrl-C and a closed terminal do not reach it.

    Args:
        folders: of this user.
        root: the folder that it serves.
        options: for its command line.
    """

    def __init__(self, folders: Folders, root: Path, options: Sequence[str]) -> None:
        self.root = root
        self._runtime = folders.runtime
        self._options = options
        self._log = private(folders.state) / f"run-{os.getpid()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def find(self) -> RunningServer | None:
        """The server as its runtime file tells; None while it is not ready."""
        process = self._process
        return next((each for each in running_servers(self._runtime) if process is not None and each.pid == process.pid), None)

    async def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            HomeportError: it ended; the message has what it said.
        """
        self._process = self._launch()
        deadline = time.monotonic() + _START
        while self.find() is None:
            if self.ended or time.monotonic() > deadline:
                words = self.words
                await self.stop()
                raise HomeportError(f"No server could be started. {words}")
            await asyncio.sleep(0.02)  # its runtime file tells nobody that it is there

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "homeport", str(self.root), "--no-browser", *self._options]
        with self._log.open("wb") as log:
            return subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @property
    def words(self) -> str:
        """The end of what it said, without its token: who started us may keep what we print."""
        text = _TOKEN.sub(r"\1...", self._log.read_text(errors="replace")) if self._log.exists() else ""
        return text.strip()[-_TAIL:].removeprefix("homeport: ") or "It said nothing."

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself or otherwise."""
        return self._process is not None and self._process.poll() is not None

    @property
    def end(self) -> str:
        """How it ended."""
        status = self._process.returncode if self._process is not None else None
        if status is not None and status < 0:
            return f"The server that was started was ended by {signal.Signals(-status).name}."
        return f"The server that was started has ended with status {status}."

    def leave(self) -> None:
        """It goes on without us."""
        if self._process is not None:
            # Or Python would complain that nobody waited for it.
            self._process.returncode = 0

    async def stop(self) -> None:
        """End it. Its kernels are whoever's who started them."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, _END)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        with contextlib.suppress(OSError):
            self._log.unlink()
