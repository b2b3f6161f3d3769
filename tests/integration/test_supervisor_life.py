"""The life of a supervisor: launched once, leaving when nobody needs it, killed, and followed by one that adopts its kernels."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from harness import supervisors
from harness.kernel_client import SESSION, Log, becomes, connected, request, run, start
from harness.processes import at_rest
from homeport.errors import SupervisorUnavailable
from homeport.folders import Folders
from homeport.kernels.client import RESULT_UNKNOWN, SUPERVISOR_SESSION, SupervisorClient, Truncated


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders.from_environment()


@pytest.fixture
async def client(home: Path) -> AsyncIterator[SupervisorClient]:
    async with connected() as client:
        yield client


async def test_two_servers_at_once_start_one_supervisor(folders: Folders) -> None:
    clients = [SupervisorClient(folders, linger=1) for _ in range(4)]
    await asyncio.gather(*(client.start() for client in clients))
    pid = supervisors.pid()
    mine = [process for process in psutil.process_iter() if str(folders.state) in " ".join(_command(process))]
    assert [process.pid for process in mine] == [pid]
    assert oct((folders.sockets / "supervisor.sock").stat().st_mode & 0o777) == "0o600"
    assert oct(folders.sockets.stat().st_mode & 0o777) == "0o700"
    for client in clients:
        await client.close()
    await supervisors.gone(pid, 15)
    assert not (folders.sockets / "supervisor.sock").exists()


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


async def test_without_launching_an_absent_supervisor_is_an_error(folders: Folders) -> None:
    client = SupervisorClient(folders, launch=False)
    with pytest.raises(SupervisorUnavailable):
        await client.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.expect_log("No supervisor can be reached")
async def test_an_idle_kernel_is_adopted_and_nothing_is_missing(
    client: SupervisorClient, folders: Folders, home: Path, number: int
) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    before = await run(client, kernel, "x = 41; print('before')")
    await log.until(lambda log: log.over(before))
    head = log.cursor.head
    old = supervisors.pid()
    os.kill(old, signal.SIGHUP)
    os.kill(old, number)
    await becomes(client, lambda: not client.connected)
    after = await run(client, kernel, "print('after', x + 1)")
    await log.until(lambda log: log.over(after))
    assert supervisors.pid() != old
    assert log.text(after) == "after 42\n"
    assert [item for item in log.items if isinstance(item, Truncated)] == []
    assert log.cursor.head > head
    assert client.kernels[kernel.kernel_id].pid == kernel.pid
    assert not client.kernels[kernel.kernel_id].lost
    await client.submit(kernel.kernel_id, 1, "shell", request("execute_request", {"code": "print('again')"}, before))
    last = await run(client, kernel, "1")
    await log.until(lambda log: log.over(last))
    assert "again" not in log.text(), "the successor knows what was sent"
    await client.interrupt(kernel.kernel_id)
    os.kill(kernel.pid or 0, signal.SIGKILL)
    await log.until(lambda log: log.ended is not None, seconds=5)
    assert log.ended is not None
    assert "not known" in log.ended.reason


@pytest.mark.expect_log("No supervisor can be reached")
async def test_a_run_goes_on_while_supervisors_die(client: SupervisorClient, folders: Folders, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    code = "import time\nfor i in range(2000):\n    print(i, flush=True)\n    time.sleep(0.001)\nprint('end')"
    msg_id = await run(client, kernel, code)
    for line in ("300\n", "900\n"):
        await log.until(lambda log, line=line: line in log.text(msg_id) or any(isinstance(item, Truncated) for item in log.items[-50:]))
        os.kill(supervisors.pid(), signal.SIGKILL)
        await becomes(client, lambda: not client.connected)
        await becomes(client, lambda: client.connected)
    await log.until(lambda log: log.over(msg_id))
    numbers = [int(number) for number in log.text(msg_id).split()[:-1]]
    assert numbers == sorted(set(numbers)), "nothing twice, and in order"
    gaps = [item for item in log.items if isinstance(item, Truncated)]
    assert gaps
    assert client.kernels[kernel.kernel_id].lost
    missing = 2000 - len(numbers)
    assert missing <= sum(gap.last - gap.first + 1 for gap in gaps) <= missing + 10, "each lost message takes a seq"
    assert [reply["status"] for reply in log.of("execute_reply", msg_id)] == ["ok"]


@pytest.mark.expect_log("No supervisor can be reached")
async def test_a_run_that_ended_unseen_is_settled(folders: Folders, home: Path) -> None:
    client = SupervisorClient(folders, linger=1)
    await client.start()
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    flag = home / "flag"
    code = (
        f"import os, time\nprint('running', flush=True)\nflag = {str(flag)!r}\n"
        "while not os.path.exists(flag): time.sleep(0.01)\nopen(flag + '.seen', 'w')"
    )
    msg_id = await run(client, kernel, code)
    await log.until(lambda log: log.text(msg_id) == "running\n")
    head = log.cursor.head
    await client.close()
    os.kill(supervisors.pid(), signal.SIGKILL)
    flag.touch()
    await asyncio.to_thread(_appears, home / "flag.seen")
    # The reply follows what the cell wrote by a moment in which nobody may listen yet; the kernel's next wait shows that it is over.
    await asyncio.to_thread(at_rest, kernel.pid or 0)
    successor = SupervisorClient(folders, linger=1)
    await successor.start()
    log = Log(successor.attach(kernel.kernel_id, generation=1, after=head, session=SESSION))
    await log.until(lambda log: log.over(msg_id))
    (reply,) = [entry for entry in log.entries if entry.header.msg_type == "execute_reply"]
    assert reply.header.session == SUPERVISOR_SESSION
    assert json.loads(reply.parts[3])["ename"] == RESULT_UNKNOWN
    await becomes(successor, lambda: successor.kernels[kernel.kernel_id].state == "idle")
    assert successor.kernels[kernel.kernel_id].lost
    again = await run(successor, kernel, "print('and on')")
    await log.until(lambda log: log.over(again))
    assert log.text(again) == "and on\n"
    await successor.shutdown_supervisor(kernels=True)
    await successor.close()


def _appears(file: Path) -> None:
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.01)  # a kernel without a supervisor can say it in no other way


@pytest.mark.expect_log("No supervisor can be reached")
async def test_what_happened_without_any_supervisor_is_found_out(folders: Folders, home: Path) -> None:
    client = SupervisorClient(folders, linger=1)
    await client.start()
    kernel, other = await start(client, home), await start(client, home)
    await client.close()
    os.kill(supervisors.pid(), signal.SIGKILL)
    os.kill(kernel.pid or 0, signal.SIGKILL)
    await supervisors.gone(kernel.pid or 0, 15)
    successor = SupervisorClient(folders, linger=1)
    await successor.start()
    assert successor.kernels[kernel.kernel_id].state == "dead"
    assert successor.kernels[kernel.kernel_id].reason == "ended while no supervisor was there"
    assert successor.kernels[other.kernel_id].state in ("idle", "busy")
    log = Log(successor.attach(kernel.kernel_id, generation=1, after=0))
    await log.until(lambda log: log.ended is not None)
    assert log.entries, "its journal is still there"
    await successor.shutdown_supervisor(kernels=True)
    await successor.close()


async def test_a_supervisor_leaves_when_nobody_needs_it(folders: Folders, home: Path) -> None:
    client = SupervisorClient(folders, linger=0.3)
    await client.start()
    pid = supervisors.pid()
    kernel = await start(client, home)
    await client.close()
    with pytest.raises(TimeoutError):
        await supervisors.gone(pid, 1.5)
    client = SupervisorClient(folders, launch=False)
    await client.start()
    assert client.kernels[kernel.kernel_id].pid == kernel.pid
    await client.shutdown(kernel.kernel_id)
    await client.close()
    await supervisors.gone(pid, 15)


async def test_its_socket_is_put_back_when_somebody_tidied_up(client: SupervisorClient, folders: Folders) -> None:
    (folders.sockets / "supervisor.sock").unlink()
    again = SupervisorClient(folders, launch=False)
    async with asyncio.timeout(10):
        while True:
            try:
                await again.start()
                break
            except SupervisorUnavailable:
                await asyncio.sleep(0.05)
    assert client.connected
    await again.close()
