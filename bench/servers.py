"""Starting a subject's server in a HOME of its own, knowing its processes, and ending every one of them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from bench.machine import belongs, cpu, pss
from bench.subjects import HOMEPORT, NODELAY, Subject

MARK = "HOMEPORT_BENCH_ID"
KERNEL = "bench"
_START_TIMEOUT = 60.0

_NODELAY = """
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
_open = KernelWebsocketHandler.open
async def open(self, kernel_id):
    self.set_nodelay(True)
    await _open(self, kernel_id)
KernelWebsocketHandler.open = open
"""


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_kernelspec(folder: Path) -> None:
    """The one kernel of all subjects: this environment's ipykernel, as kernelspec ``bench`` below ``folder``."""
    spec = folder / "kernels" / KERNEL
    spec.mkdir(parents=True)
    argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Bench", "language": "python"}))


class RunningServer:
    """A server of ``subject`` on the folder ``root``. Use it as a context manager."""

    def __init__(self, subject: Subject, root: Path, peer_python: Path) -> None:
        self.subject = subject
        self.root = root
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._peer_python = peer_python
        self._mark = secrets.token_hex(16)
        self._home = tempfile.TemporaryDirectory(prefix="hpb-")
        self._process: subprocess.Popen[bytes] | None = None
        self.seconds_to_first_answer = 0.0

    # -- its life --

    def __enter__(self) -> RunningServer:
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def _environment(self, home: Path) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "HOMEPORT", "JPY_", "XDG_"))}
        return keep | {
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(home / "run"),
            "JUPYTER_PATH": str(home / "share"),
            "JUPYTER_TOKEN": self.token,
            MARK: self._mark,
        }

    def _command(self) -> list[str]:
        common = ["--no-browser", f"--port={self.port}", "--allow-root"]
        if self.subject == HOMEPORT:
            return [sys.executable, "-m", "homeport", str(self.root), *common]
        return [str(self._peer_python), "-m", "jupyterlab", f"--ServerApp.root_dir={self.root}", "--ip=127.0.0.1", *common]

    def _start(self) -> None:
        home = Path(self._home.name)
        for name in ("config", "run", "share"):
            (home / name).mkdir()
        write_kernelspec(home / "share")
        if self.subject == NODELAY:
            (home / "config" / "jupyter_server_config.py").write_text(_NODELAY)
        with open(home / "log", "wb") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(
                self._command(), env=self._environment(home), cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_for_answer(began)
        self.seconds_to_first_answer = time.perf_counter() - began

    def _wait_for_answer(self, began: float) -> None:
        assert self._process is not None
        while time.perf_counter() - began < _START_TIMEOUT:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/api/status")[0] == 200:
                    return
            time.sleep(0.003)  # the finest step of what is measured here; there is no event to wait for
        text = Path(self._home.name, "log").read_text(errors="replace")
        raise RuntimeError(f"{self.subject.name} gave no answer; its log ends with:\n{text[-3000:]}")

    def command(self, *arguments: str) -> None:
        """Use ``homeport`` on the command line, beside the server.

        Raises:
            RuntimeError: it failed.
        """
        result = subprocess.run(
            [sys.executable, "-m", "homeport", *arguments],
            env=self._environment(Path(self._home.name)), cwd=self.root, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if result.returncode:
            raise RuntimeError(f"homeport {' '.join(arguments)} failed:\n{result.stdout}{result.stderr}")

    def end(self) -> None:
        """End the server, its supervisor and its kernels: every process that has our mark in its environment, and no other."""
        ours = [process for process in psutil.process_iter() if belongs(process, self._mark)]
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for process in ours:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(sent)
            _, ours = psutil.wait_procs(ours, timeout=5 if sent == signal.SIGTERM else 10)
            # What was started in between.
            ours += [process for process in psutil.process_iter() if process not in ours and belongs(process, self._mark)]
        if self._process is not None:
            self._process.wait(10)
        with contextlib.suppress(OSError):
            self._home.cleanup()

    # -- its processes --

    @property
    def mark(self) -> str:
        """What stands in the environment of all its processes."""
        return self._mark

    def pids(self) -> dict[str, int]:
        """Processes that serve, kernels not among them: ``server`` and, where there is one, ``supervisor``."""
        assert self._process is not None
        found = {"server": self._process.pid}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if process.pid != self._process.pid and any("supervisor" in word for word in words[1:4]) and belongs(process, self._mark):
                    found["supervisor"] = process.pid
        return found

    def memory(self) -> dict[str, int]:
        """PSS in bytes by process, see :meth:`pids`."""
        return {name: pss(pid) for name, pid in self.pids().items()}

    def cpu_seconds(self) -> float:
        """CPU used so far by all that serves."""
        return sum(cpu(pid) for pid in self.pids().values())

    # -- its API --

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One HTTP request on a connection of its own; status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Authorization": f"token {self.token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        """A GET, see :meth:`request`."""
        return self.request("GET", path)

    def json(self, method: str, path: str, model: Mapping[str, object] | None = None) -> Any:
        """A request with a JSON body and a JSON answer.

        Raises:
            RuntimeError: the status is an error.
        """
        status, body = self.request(method, path, None if model is None else json.dumps(model).encode())
        if status >= 400:
            raise RuntimeError(f"{self.subject.name} answered {status} to {method} {path}: {body[:300]!r}")
        return json.loads(body) if body else None

    def start_kernel(self) -> str:
        """Start a kernel; its id."""
        return str(self.json("POST", "/api/kernels", {"name": KERNEL})["id"])

    def stop_kernel(self, kernel_id: str) -> None:
        """Shut a kernel down."""
        self.json("DELETE", f"/api/kernels/{kernel_id}")


async def quiet(seconds: float = 1.0) -> None:
    """Let what a server does after it has been started, or asked, die down before the next thing is measured."""
    await asyncio.sleep(seconds)
