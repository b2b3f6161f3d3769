"""The supervisor with real processes: real kernels, real sockets, real signals. Its own life is in test_supervisor_life.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import supervisors
from harness.kernel_client import SESSION, Log, becomes, connected, request, run, start
from homeport.errors import KernelFailed, KernelGone, NotFound
from homeport.folders import Folders
from homeport.kernels.client import RUNNING, Ended, SupervisorClient, Truncated
from homeport.kernels.link import launch
from homeport.protocol import supervisor as wire
from homeport.supervisor.kernel import GRACE


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders.from_environment()


@pytest.fixture
async def client(home: Path) -> AsyncIterator[SupervisorClient]:
    async with connected() as client:
        yield client


# --- the life of a kernel -------------------------------------------------------------------------------------------------


async def test_a_kernel_lives_through_runs_interrupts_and_restarts(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    assert (kernel.state, kernel.generation, kernel.language, kernel.cwd) == ("idle", 1, "python", str(home))
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    first = await run(client, kernel, "import os; print(os.getcwd()); 6 * 7")
    await log.until(lambda log: log.over(first))
    assert log.text(first) == f"{home}\n"
    assert [output["data"] for output in log.of("execute_result", first)] == [{"text/plain": "42"}]
    assert [entry.seq for entry in log.entries] == sorted({entry.seq for entry in log.entries})

    sleeping = await run(client, kernel, "print('asleep', flush=True)\nimport time; time.sleep(60)")
    await log.until(lambda log: log.text(sleeping) == "asleep\n")
    await becomes(client, lambda: client.kernels[kernel.kernel_id].state == "busy")
    await client.interrupt(kernel.kernel_id)
    await log.until(lambda log: log.over(sleeping))
    assert [error["ename"] for error in log.of("error", sleeping)] == ["KeyboardInterrupt"]

    again = await client.restart(kernel.kernel_id)
    assert (again.generation, again.state) == (2, "idle")
    assert again.pid != kernel.pid
    await log.until(lambda log: log.ended is not None)
    assert log.items[-1] == Ended(1, "was restarted")
    with pytest.raises(KernelGone):
        await log.cursor.read()
    with pytest.raises(KernelGone):
        await run(client, kernel, "1")

    second = Log(client.attach(kernel.kernel_id, generation=2, after=0, session=SESSION))
    msg_id = await run(client, again, "6 * 8")
    await second.until(lambda log: log.over(msg_id))
    assert second.of("execute_reply", msg_id)[0]["execution_count"] == 1
    await client.shutdown(kernel.kernel_id)
    await second.until(lambda log: log.ended is not None)
    assert kernel.kernel_id not in client.kernels
    assert not psutil.pid_exists(again.pid or 0)


async def test_a_busy_kernel_is_restarted_at_once(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    busy = await run(client, kernel, "print('go', flush=True)\nimport time; time.sleep(60)")
    await log.until(lambda log: log.text(busy) == "go\n")
    begun = time.monotonic()
    restarting = asyncio.create_task(client.restart(kernel.kernel_id))
    await log.until(lambda log: isinstance(log.items[-1], Ended))
    # Were the cell not interrupted, SIGTERM would end it then.
    assert time.monotonic() - begun < GRACE / 2
    assert (await restarting).generation == 2


async def test_a_request_is_sent_once_however_often_it_is_submitted(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    parts = request("execute_request", {"code": "print('once')"}, "the-id")
    await asyncio.gather(*(client.submit(kernel.kernel_id, 1, "shell", parts) for _ in range(5)))
    last = await run(client, kernel, "1")
    await log.until(lambda log: log.over(last))
    assert log.text().count("once") == 1
    assert len(log.of("execute_reply", "the-id")) == 1


async def test_replies_and_input_requests_go_to_the_session_that_asked(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    mine = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    other = Log(client.attach(kernel.kernel_id, generation=1, after=0, session="somebody-else"))
    nobody = Log(client.attach(kernel.kernel_id, generation=1, after=0))
    msg_id = await run(client, kernel, "print(input('who? '))")
    await mine.until(lambda log: bool(log.of("input_request", msg_id)))
    await client.submit(kernel.kernel_id, 1, "stdin", request("input_reply", {"value": "me"}))
    await mine.until(lambda log: log.over(msg_id))
    for log in (other, nobody):
        await log.until(lambda log: {"execution_state": "idle"} in log.of("status", msg_id))
        assert log.text(msg_id) == "me\n"
        assert not log.of("execute_reply", msg_id)
        assert {entry.channel for entry in log.entries} == {"iopub"}
    assert mine.text(msg_id) == "me\n"


LATE = """\
import sys, time
kernel = get_ipython().kernel
publish = kernel.iopub_thread._really_send
def later(frames, *args, **kwargs):
    if any(b'"execute_result"' in frame for frame in frames):
        time.sleep(0.005)
    publish(frames, *args, **kwargs)
kernel.iopub_thread._really_send = later
sys.stdout.flush = sys.stderr.flush = lambda: None
"""
"""A result comes after its reply: this kernel does not wait until it is said."""

WITHOUT_IDLE = """\
status = kernel._publish_status
kernel._publish_status = lambda state, *args, **kwargs: state == "idle" or status(state, *args, **kwargs)
"""


async def test_a_reply_comes_behind_what_was_published_before_it(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    await run(client, kernel, LATE)
    for _ in range(10):
        msg_id = await run(client, kernel, "display(6); 6 * 7")
        await log.until(lambda log, msg_id=msg_id: log.over(msg_id))
        said = [entry.header.msg_type for entry in log.entries if entry.parent.msg_id == msg_id]
        assert said == ["status", "execute_input", "display_data", "execute_result", "execute_reply", "status"]
    await run(client, kernel, WITHOUT_IDLE)
    last = await run(client, kernel, "7")
    await log.until(lambda log: bool(log.of("execute_reply", last)))


async def test_an_ipython_kernel_does_not_pause_before_its_replies(client: SupervisorClient, home: Path) -> None:
    async def pause() -> str:
        kernel = await start(client, home)
        log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
        msg_id = await run(client, kernel, "print(get_ipython().kernel._execute_sleep)")
        await log.until(lambda log: log.over(msg_id))
        return log.text(msg_id).strip()

    assert await pause() == "0.0"
    profile = Path(os.environ["IPYTHONDIR"]) / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text("c.IPythonKernel._execute_sleep = 0.002")
    assert await pause() == "0.002"  # somebody wants it


async def test_a_cursor_may_begin_at_the_tail_or_with_what_runs(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    earlier = await run(client, kernel, "print('earlier')")
    await log.until(lambda log: log.over(earlier))
    running = await run(client, kernel, "print('one', flush=True); print(input())")
    await log.until(lambda log: bool(log.of("input_request", running)))
    from_run = Log(client.attach(kernel.kernel_id, generation=1, after=RUNNING, session=SESSION))
    from_tail = Log(client.attach(kernel.kernel_id, generation=1, after=None, session=SESSION))
    await from_run.until(lambda log: bool(log.of("input_request", running)))
    await client.submit(kernel.kernel_id, 1, "stdin", request("input_reply", {"value": "two"}))
    await from_run.until(lambda log: log.over(running))
    await from_tail.until(lambda log: log.over(running))
    assert from_run.entries[0].parent.msg_id == running
    assert from_run.text() == "one\ntwo\n"
    assert from_tail.text() == "two\n"


async def test_no_kernel_listens_on_tcp(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    process = psutil.Process(kernel.pid)
    listening = [each for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    # ipykernel's own pipe for what forked children print (IOPubThread._setup_pipe_in); no channel of the protocol.
    assert [each.laddr.ip for each in listening] in ([], ["127.0.0.1"])
    facts = json.loads((Folders.from_environment().runtime / f"kernel-{kernel.kernel_id}.json").read_text())
    assert facts["transport"] == "ipc"
    assert len([each for each in process.net_connections("unix") if str(each.laddr).startswith(facts["ip"])]) >= 5


async def test_a_kernel_that_is_not_there_is_an_ended_one(client: SupervisorClient) -> None:
    log = Log(client.attach("nobody", generation=3, after=17))
    await log.until(lambda log: log.ended is not None)
    assert log.items == [Ended(3, "is not there any more")]
    with pytest.raises(KernelGone):
        await client.submit("nobody", 3, "shell", request("execute_request", {"code": ""}))
    await client.shutdown("nobody")


async def test_kernelspecs_and_their_files(client: SupervisorClient, home: Path) -> None:
    folder = home / "jdata" / "kernels" / "mine"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": ["true"], "display_name": "Mine", "language": "none"}))
    (folder / "logo-64x64.png").write_bytes(b"picture")
    found = await client.kernelspecs()
    assert found.default == "python3"
    assert found.specs["mine"].spec["display_name"] == "Mine"
    assert found.specs["mine"].resources == {"logo-64x64": "logo-64x64.png"}
    assert await client.kernelspec_file("mine", "logo-64x64.png") == b"picture"
    for name, file in (("mine", "nothing.png"), ("mine", "../mine/kernel.json/.."), ("mine", "../python3/kernel.json"), ("none", "x")):
        with pytest.raises(NotFound):
            await client.kernelspec_file(name, file)


# --- how kernels end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import os; os._exit(3)", "exited with status 3"), ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL")],
)
async def test_a_dead_kernel_is_noticed_at_once_and_stays_dead(client: SupervisorClient, home: Path, code: str, reason: str) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    # The file descriptor behind the kernel's own capture of it.
    await run(client, kernel, "import sys; sys.__stderr__.write('last words\\n'); sys.__stderr__.flush()")
    await run(client, kernel, code)
    await log.until(lambda log: log.ended is not None, seconds=5)
    assert log.ended is not None
    assert log.ended.reason == reason
    await becomes(client, lambda: client.kernels[kernel.kernel_id].state == "dead")
    assert client.kernels[kernel.kernel_id].reason == reason
    assert log.ended.stderr == "last words", "without what an IPython kernel says when it starts"
    assert client.kernels[kernel.kernel_id].pid is None
    with pytest.raises(KernelGone):
        await client.interrupt(kernel.kernel_id)
    assert (await client.restart(kernel.kernel_id)).state == "idle"


async def test_a_kernel_that_dies_at_start_says_why(client: SupervisorClient, home: Path) -> None:
    folder = home / "jdata" / "kernels" / "broken"
    folder.mkdir(parents=True)
    script = "import sys; print('boom: no such module', file=sys.stderr); sys.exit(4)"
    (folder / "kernel.json").write_text(
        json.dumps({"argv": [sys.executable, "-c", script, "{connection_file}"], "display_name": "Broken", "language": "none"})
    )
    with pytest.raises(KernelFailed) as caught:
        await start(client, home, "broken")
    assert caught.value.data["reason"] == "exited with status 4"
    assert caught.value.data["stderr"] == "boom: no such module"
    (folder / "kernel.json").write_text(json.dumps({"argv": ["/no/such/program"], "display_name": "Broken", "language": "none"}))
    with pytest.raises(KernelFailed, match="could not be started"):
        await start(client, home, "broken")
    with pytest.raises(NotFound, match="python3"):
        await start(client, home, "absent")
    await becomes(client, lambda: not client.kernels)


@pytest.mark.needs("root", "linux")
async def test_out_of_memory_is_called_by_its_name(client: SupervisorClient, home: Path) -> None:
    group = Path("/sys/fs/cgroup/memory") if Path("/sys/fs/cgroup/memory").exists() else Path("/sys/fs/cgroup")
    mine = group / f"homeport-test-{uuid.uuid4().hex}"
    mine.mkdir()
    limit = mine / ("memory.limit_in_bytes" if group.name == "memory" else "memory.max")
    limit.write_text(str(200 << 20))
    try:
        kernel = await start(client, home)
        # The kernel is there already: move it, then have the supervisor look again as it does when a restarted one is ready.
        folder = home / "jdata" / "kernels" / "small"
        folder.mkdir(parents=True)
        script = f"echo $$ > {mine}/cgroup.procs; exec {sys.executable} -m ipykernel_launcher -f {{connection_file}}"
        (folder / "kernel.json").write_text(json.dumps({"argv": ["/bin/sh", "-c", script], "display_name": "Small", "language": "python"}))
        small = await start(client, home, "small")
        log = Log(client.attach(small.kernel_id, generation=1, after=0, session=SESSION))
        await run(client, small, "x = b'x' * (400 << 20)")
        await log.until(lambda log: log.ended is not None)
        assert log.ended is not None
        assert log.ended.reason == "out of memory"
        assert client.kernels[kernel.kernel_id].state == "idle"
    finally:
        for kernel_id in list(client.kernels):
            await client.shutdown(kernel_id)
        mine.rmdir()


async def test_idle_kernels_are_stopped_when_that_is_wanted(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    busy = await start(client, home)
    await run(client, busy, "import time; time.sleep(60)")
    await becomes(client, lambda: client.kernels[busy.kernel_id].state == "busy")
    await client.configure(idle_shutdown=1.0)
    await becomes(client, lambda: client.kernels[kernel.kernel_id].state == "dead")
    assert client.kernels[kernel.kernel_id].reason == "was stopped: idle for 1 s"
    assert client.kernels[busy.kernel_id].state == "busy"


# --- links and readers -----------------------------------------------------------------------------------------------------------


class CuttingProxy:
    """A Unix socket in front of the supervisor's, whose connections can be cut."""

    def __init__(self, folders: Folders, home: Path) -> None:
        self.folders = Folders(state=home / "front", config=folders.config, runtime=folders.runtime, sockets=home / "front")
        self._target = folders.sockets / "supervisor.sock"
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def __aenter__(self) -> CuttingProxy:
        self.folders.sockets.mkdir(mode=0o700)
        self._server = await asyncio.start_unix_server(self._serve, self.folders.sockets / "supervisor.sock")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, back}
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        target.transport.abort()


async def test_a_cut_link_costs_nothing_and_doubles_nothing(client: SupervisorClient, folders: Folders, home: Path) -> None:
    kernel = await start(client, home)
    async with CuttingProxy(folders, home) as proxy:
        far = SupervisorClient(proxy.folders, launch=False)
        await far.start()
        log = Log(far.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
        msg_id = await run(far, kernel, "for i in range(3000):\n    print(i, flush=True)\n    if i % 1000 == 500: input()")
        for round_ in range(3):
            await log.until(lambda log, wanted=round_ + 1: len(log.of("input_request", msg_id)) == wanted)
            proxy.cut()
            await far.submit(kernel.kernel_id, 1, "stdin", request("input_reply", {"value": ""}))
        await log.until(lambda log: log.over(msg_id))
        assert log.text(msg_id).split() == [str(number) for number in range(3000)]
        seqs = [entry.seq for entry in log.entries]
        assert seqs == sorted(set(seqs)), "no item twice, and in order"
        assert not [item for item in log.items if isinstance(item, Truncated)]
        assert len(log.of("input_request", msg_id)) == 3
        assert proxy.connections == 4
        await far.close()


async def test_a_reader_that_stalls_holds_up_nobody(client: SupervisorClient, folders: Folders, home: Path) -> None:
    kernel = await start(client, home)
    stalled = client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    # A server that does not even read its socket.
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(folders.sockets / "supervisor.sock"))
        deaf.sendall(wire.frame(wire.Hello([1], "")) + wire.frame(wire.Attach(1, kernel.kernel_id, 1, 0, None, 1 << 30)))
        msg_id = await run(client, kernel, "for i in range(300): print('x' * 100_000, flush=True)")
        await log.until(lambda log: log.over(msg_id))
        assert len(log.text(msg_id)) == 300 * 100_001
        supervisor = psutil.Process(supervisors.pid())
        assert supervisor.memory_info().rss < 100 << 20, "the backlog is on disk"
    late = Log(stalled)
    await late.until(lambda log: log.over(msg_id))
    assert late.text(msg_id) == log.text(msg_id)


async def test_reading_can_be_cancelled(client: SupervisorClient, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=None, session=SESSION))
    for _ in range(3):
        reading = asyncio.create_task(log.cursor.read())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    msg_id = await run(client, kernel, "print('all of it')")
    await log.until(lambda log: log.over(msg_id))
    assert log.text() == "all of it\n"
    reading = asyncio.create_task(log.cursor.read())
    await asyncio.sleep(0)
    log.cursor.close()
    with pytest.raises(KernelGone):
        await reading


async def test_garbage_closes_its_connection_and_nothing_else(client: SupervisorClient, folders: Folders, home: Path) -> None:
    kernel = await start(client, home)
    hello = wire.frame(wire.Hello([1], ""))
    path = str(folders.sockets / "supervisor.sock")

    def throw(data: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as thrower:
            thrower.settimeout(10)
            thrower.connect(path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                thrower.sendall(data)
                thrower.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while thrower.recv(1 << 16):
                    pass

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.booleans(), st.binary(max_size=400), st.booleans())
    def attack(greet: bool, data: bytes, framed: bool) -> None:
        throw((hello if greet else b"") + (len(data).to_bytes(4, "big") + data if framed else data))

    await asyncio.to_thread(attack)
    await asyncio.to_thread(throw, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    log = Log(client.attach(kernel.kernel_id, generation=1, after=None, session=SESSION))
    msg_id = await run(client, kernel, "print('unmoved')")
    await log.until(lambda log: log.over(msg_id))
    assert log.text() == "unmoved\n"
    assert client.connected


async def test_a_server_of_another_time_is_refused_by_name_and_kernels_live_on(
    client: SupervisorClient, folders: Folders, home: Path
) -> None:
    kernel = await start(client, home)
    reader, writer = await asyncio.open_unix_connection(folders.sockets / "supervisor.sock")
    writer.write(wire.frame(wire.Hello([98, 99], "9.9.9")))
    (payload,) = wire.FrameReader(wire.MAX_GREETING).feed(await reader.read())
    refused = wire.decode_greeting(payload)
    assert isinstance(refused, wire.Refused)
    assert "speaks 98, 99" in refused.reason
    assert not refused.again
    writer.close()
    assert client.kernels[kernel.kernel_id].state == "idle"


async def test_an_idle_supervisor_makes_room_for_another_release(folders: Folders) -> None:
    await launch(folders, linger=30)
    pid = supervisors.pid()
    reader, writer = await asyncio.open_unix_connection(folders.sockets / "supervisor.sock")
    writer.write(wire.frame(wire.Hello([1], "9.9.9")))
    (payload,) = wire.FrameReader(wire.MAX_GREETING).feed(await reader.read())
    refused = wire.decode_greeting(payload)
    assert isinstance(refused, wire.Refused)
    assert refused.again
    writer.close()
    client = SupervisorClient(folders, linger=1)
    await client.start()
    assert supervisors.pid() != pid
    await client.shutdown_supervisor(kernels=True)
    await client.close()
