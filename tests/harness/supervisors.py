"""The supervisor of the test's home folder, seen from outside: who it is, killing it, and asking it about its kernels."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from homeport.errors import SupervisorUnavailable
from homeport.folders import Folders
from homeport.kernels.client import KernelInfo, SupervisorClient
from homeport.protocol import jupyter
from homeport.supervisor.server import state_folder


def lock_file() -> Path:
    """The file that holds the pid of the supervisor, locked while it lives."""
    return state_folder(Folders.from_environment()) / "lock"


def socket_folder() -> Path:
    """Where the supervisor and its kernels listen."""
    return Folders.from_environment().sockets


def pid() -> int:
    """The supervisor that runs, or ran last."""
    return int(lock_file().read_text())


def all_pids() -> list[int]:
    """Every process of this test's that is a supervisor, or is about to launch one or to leave again."""
    mark = f"--state={Folders.from_environment().state}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if b"homeport.supervisor" in arguments and mark in arguments:
                    found.append(int(entry.name))
    return found


async def only_one(seconds: float = 30) -> int:
    """The supervisor, once those that came too late have left again. Raises AssertionError if two stay."""
    deadline = time.monotonic() + seconds
    while (found := all_pids()) != [pid()]:
        assert time.monotonic() < deadline, f"{found} are supervisors, {pid()} should be"
        await asyncio.sleep(0.05)  # processes of others: nobody tells us of their end
    return found[0]


async def gone(process: int, seconds: float = 30) -> None:
    """Wait for the end of a process that need not be a child of ours; one that is gone already is no error."""
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(watched, over.set)
    try:
        await asyncio.wait_for(over.wait(), seconds)
    finally:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)


async def kill(number: signal.Signals = signal.SIGKILL) -> int:
    """Send it a signal and wait for its end. Returns the pid that it had."""
    process = pid()
    os.kill(process, number)
    await gone(process)
    return process


async def send_answer(kernel: KernelInfo, msg_id: str, value: str) -> None:
    """Send a kernel an answer to ``input()``, as a server does."""
    client = SupervisorClient(Folders.from_environment(), launch=False)
    try:
        await client.start()
        content = {"status": "ok", "value": value}
        parts = jupyter.make("input_reply", content, session="somebody", msg_id=msg_id, date="2026-01-01T00:00:00Z")
        await client.submit(kernel.kernel_id, kernel.generation, "stdin", parts)
    finally:
        await client.close()


async def kernels(seconds: float = 30) -> Mapping[str, KernelInfo]:
    """What the supervisor knows of its kernels now; waits for one, and launches none."""
    client = SupervisorClient(Folders.from_environment(), launch=False)
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await client.start()
                    return dict(client.kernels)
                except SupervisorUnavailable:
                    await asyncio.sleep(0.02)  # whoever launches the next one tells nobody else
    finally:
        await client.close()
