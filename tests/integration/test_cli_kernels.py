"""``homeport kernels`` against a real supervisor and a real kernel, with no server anywhere."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from harness.kernel_client import becomes
from harness.server import environment, stop_supervisor
from homeport.folders import Folders
from homeport.kernels.client import SupervisorClient
from homeport.supervisor.server import state_folder


@pytest_asyncio.fixture
async def supervisor(home: Path) -> AsyncIterator[SupervisorClient]:
    client = SupervisorClient(Folders.from_environment(), linger=5)
    await client.start()
    yield client
    await client.shutdown_supervisor(kernels=True)
    await client.close()


async def homeport(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a homeport command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "homeport",
        *arguments,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_no_supervisor_no_kernels() -> None:
    assert await homeport("kernels") == (0, "No kernel is running.\n", "")
    assert await homeport("kernels", "stop", "--all") == (0, "No kernel is running.\n", "")


async def test_a_supervisor_without_kernels(supervisor: SupervisorClient) -> None:
    assert await homeport("kernels") == (0, "No kernel is running.\n", "")


async def test_the_table_and_stopping(supervisor: SupervisorClient, tmp_path: Path) -> None:
    notebook = tmp_path / "a.ipynb"
    env = {**os.environ, "JPY_SESSION_NAME": str(notebook)}
    ours = [await supervisor.start_kernel("python3", cwd=str(tmp_path), env=env) for _ in range(2)]
    status, output, _ = await homeport("kernels")
    assert status == 0
    head, *rows = output.splitlines()
    assert head.split() == ["ID", "KERNEL", "NOTEBOOK", "STATE", "MEMORY", "IDLE", "FOR"]
    assert [row.split()[:4] for row in rows] == [[info.kernel_id[:8], "python3", str(notebook), "idle"] for info in ours]
    for row in rows:
        size, unit = row.split()[4:6]
        assert unit == "MB"
        assert 10 < float(size) < 500  # a fresh ipykernel
    status, _, errors = await homeport("kernels", "stop", "zzz")
    assert status == 1
    assert "No kernel has an ID that begins with zzz" in errors
    status, output, _ = await homeport("kernels", "stop", ours[0].kernel_id[:8])
    assert (status, output) == (0, f"{ours[0].kernel_id[:8]}: shut down\n")
    await becomes(supervisor, lambda: set(supervisor.kernels) == {ours[1].kernel_id})
    assert (await homeport("kernels", "stop", "--all"))[0] == 0
    await becomes(supervisor, lambda: not supervisor.kernels)


async def test_kernels_of_a_killed_supervisor_are_adopted_and_shown(home: Path, tmp_path: Path) -> None:
    folders = Folders.from_environment()
    client = SupervisorClient(folders, linger=5)
    await client.start()
    info = await client.start_kernel("python3", cwd=str(tmp_path), env=dict(os.environ))
    await client.close()
    try:
        os.kill(int((state_folder(folders) / "lock").read_text()), signal.SIGKILL)
        status, output, _ = await homeport("kernels")
        assert status == 0
        assert info.kernel_id[:8] in output
        assert (await homeport("kernels", "stop", "--all"))[0] == 0
    finally:
        await stop_supervisor()


@pytest.mark.parametrize("linger", ["soon", "-1"])
async def test_a_bad_duration(linger: str) -> None:
    status, _, errors = await homeport("supervisor", f"--linger={linger}")
    assert status == 2
    assert "duration" in errors


async def test_the_supervisor_command_leaves_when_it_has_nothing_to_do() -> None:
    status, _, _ = await homeport("supervisor", "--linger=0.2s")
    assert status == 0
