"""The supervisor of the test's home folder, seen from outside: who it is, killing it, and asking it about its kernels."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from homeport.errors import SupervisorUnavailable
from homeport.folders import Folders
from homeport.kernels.client import KernelInfo, SupervisorClient
from homeport.supervisor.server import state_folder


def lock_file() -> Path:
    """The file that holds the pid of the supervisor, locked while it lives."""
    return state_folder(Folders.from_environment()) / "lock"


def pid() -> int:
    """The supervisor that runs, or ran last."""
    return int(lock_file().read_text())


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
