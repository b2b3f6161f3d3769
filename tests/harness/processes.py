"""Finds the processes that a test started, however far they detached themselves.

Every test has a unique value in its environment; children inherit it, also the supervisor and its kernels, which leave
the test's process group and session on purpose. Linux has everybody's environment in /proc; elsewhere psutil reads it.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

VARIABLE = "HOMEPORT_TEST_ID"


@dataclass(frozen=True)
class Left:
    """A process that carries a test's mark."""

    pid: int
    command: str

    def kill(self) -> None:
        """SIGKILL; nothing happens when it is gone already."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def marked(test_id: str) -> list[Left]:
    """The living processes (no zombies, not this one) with ``VARIABLE=test_id`` in their environment at start."""
    return _marked_proc(test_id) if Path("/proc/self/environ").exists() else _marked_psutil(test_id)


def _marked_proc(test_id: str) -> list[Left]:
    wanted = f"{VARIABLE}={test_id}".encode()
    found: list[Left] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            # A zombie's environment is empty, so it is not counted.
            if wanted in Path(entry.path, "environ").read_bytes().split(b"\0"):
                command = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(Left(int(entry.name), command))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def _marked_psutil(test_id: str) -> list[Left]:
    found: list[Left] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(VARIABLE) == test_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(Left(process.pid, " ".join(process.cmdline())))
        except psutil.Error:
            continue
    return found


def wait_gone(test_id: str, seconds: float) -> list[Left]:
    """Wait until no marked process is left; those that still are after ``seconds`` are returned."""
    deadline = time.monotonic() + seconds
    while True:
        left = marked(test_id)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)  # processes that we did not start ourselves cannot be waited for


def at_rest(pid: int) -> None:
    """Wait until a process has used no CPU for a while: whatever it had to say, it has said."""
    process, quiet, used = psutil.Process(pid), 0, -1.0
    deadline = time.monotonic() + 20
    while quiet < 20:
        assert time.monotonic() < deadline, f"{pid} does not come to rest"
        time.sleep(0.01)
        now = sum(process.cpu_times()[:2])
        quiet, used = (quiet + 1 if now == used else 0), now
