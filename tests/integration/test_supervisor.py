"""The supervisor with real processes: real kernels, real sockets, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeport.errors import KernelFailed, KernelGone, NotFound, SupervisorUnavailable
from homeport.folders import Folders
from homeport.kernels.client import (
    RESULT_UNKNOWN,
    RUNNING,
    SUPERVISOR_SESSION,
    Cursor,
    Ended,
    Entry,
    KernelInfo,
    SupervisorClient,
    Truncated,
)
from homeport.kernels.link import launch
from homeport.protocol import supervisor as wire
from homeport.protocol.jupyter import Parts, make

SESSION = "the-test"


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders.from_environment()


@pytest.fixture
async def client(folders: Folders) -> AsyncIterator[SupervisorClient]:
    client = SupervisorClient(folders, linger=5)
    await client.start()
    try:
        yield client
    finally:
        with contextlib.suppress(SupervisorUnavailable):
            await client.shutdown_supervisor(kernels=True)
        await client.close()


def supervisor_pid(folders: Folders) -> int:
    return int((folders.state / "supervisor" / folders.sockets.name / "lock").read_text())


async def start(client: SupervisorClient, home: Path, name: str = "python3") -> KernelInfo:
    return await client.start_kernel(name, cwd=str(home), env=dict(os.environ))


def request(msg_type: str, content: dict[str, object], msg_id: str | None = None, session: str = SESSION) -> Parts:
    return make(msg_type, content, session=session, msg_id=msg_id or uuid.uuid4().hex, date=datetime.datetime.now(datetime.UTC).isoformat())


async def run(client: SupervisorClient, kernel: KernelInfo, code: str, msg_id: str | None = None) -> str:
    msg_id = msg_id or uuid.uuid4().hex
    await client.submit(
        kernel.kernel_id, kernel.generation, "shell", request("execute_request", {"code": code, "allow_stdin": True}, msg_id)
    )
    return msg_id


class Log:
    """Everything that a cursor has given, checked for density as it comes."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.items: list[Entry | Truncated | Ended] = []

    async def until(self, there: Callable[[Log], bool], seconds: float = 30) -> Log:
        async with asyncio.timeout(seconds):
            while not there(self):
                self.items += await self.cursor.read()
        return self

    @property
    def entries(self) -> list[Entry]:
        return [item for item in self.items if isinstance(item, Entry)]

    @property
    def ended(self) -> Ended | None:
        return next((item for item in self.items if isinstance(item, Ended)), None)

    def text(self, parent: str | None = None) -> str:
        found = [entry for entry in self.entries if entry.header.msg_type == "stream" and parent in (None, entry.parent.msg_id)]
        return "".join(json.loads(entry.parts[3])["text"] for entry in found)

    def of(self, msg_type: str, parent: str) -> list[dict[str, object]]:
        return [json.loads(entry.parts[3]) for entry in self.entries if (entry.header.msg_type, entry.parent.msg_id) == (msg_type, parent)]

    def over(self, parent: str) -> bool:
        """Reply and idle of a request are in."""
        return bool(self.of("execute_reply", parent)) and {"execution_state": "idle"} in self.of("status", parent)


async def becomes(client: SupervisorClient, there: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true that changes with an event of the client."""
    changed = asyncio.Event()
    stop = client.subscribe(lambda _: changed.set())
    try:
        async with asyncio.timeout(seconds):
            while not there():
                await changed.wait()
                changed.clear()
    finally:
        stop()


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
    await client.restart(kernel.kernel_id)
    assert time.monotonic() - begun < 10


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
        await client.shutdown_supervisor(kernels=True)
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
        supervisor = psutil.Process(supervisor_pid(folders))
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
    pid = supervisor_pid(folders)
    reader, writer = await asyncio.open_unix_connection(folders.sockets / "supervisor.sock")
    writer.write(wire.frame(wire.Hello([1], "9.9.9")))
    (payload,) = wire.FrameReader(wire.MAX_GREETING).feed(await reader.read())
    refused = wire.decode_greeting(payload)
    assert isinstance(refused, wire.Refused)
    assert refused.again
    writer.close()
    client = SupervisorClient(folders, linger=1)
    await client.start()
    assert supervisor_pid(folders) != pid
    await client.shutdown_supervisor(kernels=True)
    await client.close()


# --- the life of the supervisor ---------------------------------------------------------------------------------------------------


async def gone(pid: int, seconds: float = 15) -> None:
    """Wait for the end of a process that is not ours to wait for."""
    watched = os.pidfd_open(pid)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(watched, over.set)
    try:
        await asyncio.wait_for(over.wait(), seconds)
    finally:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)


async def test_two_servers_at_once_start_one_supervisor(folders: Folders) -> None:
    clients = [SupervisorClient(folders, linger=1) for _ in range(4)]
    await asyncio.gather(*(client.start() for client in clients))
    pid = supervisor_pid(folders)
    mine = [process for process in psutil.process_iter() if str(folders.state) in " ".join(_command(process))]
    assert [process.pid for process in mine] == [pid]
    assert oct((folders.sockets / "supervisor.sock").stat().st_mode & 0o777) == "0o600"
    assert oct(folders.sockets.stat().st_mode & 0o777) == "0o700"
    for client in clients:
        await client.close()
    await gone(pid)
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
@pytest.mark.expect_log("supervisor")
async def test_an_idle_kernel_is_adopted_and_nothing_is_missing(
    client: SupervisorClient, folders: Folders, home: Path, number: int
) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    before = await run(client, kernel, "x = 41; print('before')")
    await log.until(lambda log: log.over(before))
    head = log.cursor.head
    old = supervisor_pid(folders)
    os.kill(old, signal.SIGHUP)
    os.kill(old, number)
    await becomes(client, lambda: not client.connected)
    after = await run(client, kernel, "print('after', x + 1)")
    await log.until(lambda log: log.over(after))
    assert supervisor_pid(folders) != old
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


@pytest.mark.expect_log("supervisor")
async def test_a_run_goes_on_while_supervisors_die(client: SupervisorClient, folders: Folders, home: Path) -> None:
    kernel = await start(client, home)
    log = Log(client.attach(kernel.kernel_id, generation=1, after=0, session=SESSION))
    code = "import time\nfor i in range(2000):\n    print(i, flush=True)\n    time.sleep(0.001)\nprint('end')"
    msg_id = await run(client, kernel, code)
    for line in ("300\n", "900\n"):
        await log.until(lambda log, line=line: line in log.text(msg_id) or any(isinstance(item, Truncated) for item in log.items[-50:]))
        os.kill(supervisor_pid(folders), signal.SIGKILL)
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


@pytest.mark.expect_log("supervisor")
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
    os.kill(supervisor_pid(folders), signal.SIGKILL)
    flag.touch()
    await asyncio.to_thread(_appears, home / "flag.seen")
    # The reply follows what the cell wrote by a moment in which nobody may listen yet; the kernel's next wait shows that it is over.
    await asyncio.to_thread(_sleeping, kernel.pid or 0)
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


def _sleeping(pid: int) -> None:
    """Wait until all threads of a process have been asleep for a while without using any CPU."""
    process, quiet, used = psutil.Process(pid), 0, -1.0
    deadline = time.monotonic() + 10
    while quiet < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
        now = sum(process.cpu_times()[:2])
        quiet, used = (quiet + 1 if now == used else 0), now


@pytest.mark.expect_log("supervisor")
async def test_what_happened_without_any_supervisor_is_found_out(folders: Folders, home: Path) -> None:
    client = SupervisorClient(folders, linger=1)
    await client.start()
    kernel, other = await start(client, home), await start(client, home)
    await client.close()
    os.kill(supervisor_pid(folders), signal.SIGKILL)
    os.kill(kernel.pid or 0, signal.SIGKILL)
    await gone(kernel.pid or 0)
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
    pid = supervisor_pid(folders)
    kernel = await start(client, home)
    await client.close()
    with pytest.raises(TimeoutError):
        await gone(pid, 1.5)
    client = SupervisorClient(folders, launch=False)
    await client.start()
    assert client.kernels[kernel.kernel_id].pid == kernel.pid
    await client.shutdown(kernel.kernel_id)
    await client.close()
    await gone(pid)


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
