"""How much the supervisor costs: executions and outputs through it, against a direct ZeroMQ client on the same kernel.

    PYTHONPATH=src python bench/probe_supervisor.py

Prints back-to-back executions (median of the time from request to reply and idle), CPU per output in a burst and at 1,000 outputs a
second (client and supervisor added), and the supervisor's memory. A probe for whoever changes the supervisor; it takes 15 s.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import uvloop
import zmq

from homeport.folders import Folders
from homeport.kernels.client import Cursor, Entry, KernelInfo, SupervisorClient
from homeport.protocol.jupyter import Parts, Signer, header_of, join, make, split

RUNS = 300
OUTPUTS = 20_000
BURST = "import os\nfor i in range({n}): print(i, flush=True)"
STEADY = """import time
t = time.perf_counter()
for i in range({n}):
    print(i, flush=True)
    while time.perf_counter() < t + i / 1000:
        time.sleep(0.0002)
"""


def request(code: str) -> tuple[str, Parts]:
    msg_id = uuid.uuid4().hex
    date = datetime.datetime.now(datetime.UTC).isoformat()
    return msg_id, make(
        "execute_request", {"code": code, "silent": False, "store_history": False}, session="probe", msg_id=msg_id, date=date
    )


async def execute(client: SupervisorClient, kernel: KernelInfo, cursor: Cursor, code: str) -> int:
    """Run it; the number of stream messages until reply and idle."""
    msg_id, parts = request(code)
    await client.submit(kernel.kernel_id, kernel.generation, "shell", parts)
    waiting, streams = {"reply", "idle"}, 0
    while waiting:
        for item in await cursor.read():
            assert isinstance(item, Entry), item
            if item.header.msg_type == "stream":
                streams += 1
            elif item.parent.msg_id == msg_id:
                if item.channel == "shell":
                    waiting.discard("reply")
                elif item.header.msg_type == "status" and b'"idle"' in item.parts[3]:
                    waiting.discard("idle")
    return streams


class Direct:
    """The limit: one blocking client with raw sockets that checks signatures and reads headers."""

    def __init__(self, connection_file: Path) -> None:
        facts = json.loads(connection_file.read_text())
        self.signer = Signer(facts["key"].encode())
        self.context = zmq.Context()
        self.shell, self.iopub = self.context.socket(zmq.DEALER), self.context.socket(zmq.SUB)
        self.iopub.set(zmq.SUBSCRIBE, b"")
        self.iopub.set(zmq.RCVHWM, 0)
        self.shell.connect(f"ipc://{facts['ip']}-{facts['shell_port']}")
        self.iopub.connect(f"ipc://{facts['ip']}-{facts['iopub_port']}")
        self.poller = zmq.Poller()
        self.poller.register(self.shell, zmq.POLLIN)
        self.poller.register(self.iopub, zmq.POLLIN)

    def execute(self, code: str) -> None:
        msg_id, parts = request(code)
        self.shell.send_multipart(join([], self.signer.sign(parts), parts))
        waiting = {"reply", "idle"}
        while waiting:
            for socket, _ in self.poller.poll():
                _, signature, found = split(socket.recv_multipart())
                assert self.signer.verify(signature, found)
                header = header_of(found[0])
                if header.msg_type != "stream" and header_of(found[1]).msg_id == msg_id:
                    if socket is self.shell:
                        waiting.discard("reply")
                    elif header.msg_type == "status" and b'"idle"' in found[3]:
                        waiting.discard("idle")

    def close(self) -> None:
        self.context.destroy(linger=0)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> float:
    """MiB of memory, shared pages by halves."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def measure(folder: Path) -> None:
    folders = Folders(state=folder / "state", config=folder / "config", runtime=folder / "run", sockets=folder / "s")
    client = SupervisorClient(folders, linger=1)
    begun = time.perf_counter()
    await client.start()
    print(f"supervisor launched and greeted in {1000 * (time.perf_counter() - begun):.0f} ms")
    pid = int((next((folder / "state").rglob("lock"))).read_text())
    print(f"supervisor without kernels: {pss(pid):.1f} MiB PSS")
    try:
        kernel = await client.start_kernel("python3", cwd=str(folder), env=dict(os.environ))
        cursor = client.attach(kernel.kernel_id, generation=1, after=None, session="probe")
        direct = Direct(folders.runtime / f"kernel-{kernel.kernel_id}.json")
        await execute(client, kernel, cursor, "1")
        await asyncio.to_thread(direct.execute, "1")
        ours: list[float] = []
        limit: list[float] = []
        for _ in range(RUNS // 50):
            for _ in range(50):
                begun = time.perf_counter()
                await execute(client, kernel, cursor, "1")
                ours.append(time.perf_counter() - begun)
            for _ in range(50):
                begun = time.perf_counter()
                direct.execute("1")
                limit.append(time.perf_counter() - begun)
        direct.close()
        a, b = statistics.median(ours), statistics.median(limit)
        print(f"one execution: {1000 * a:.2f} ms, direct {1000 * b:.2f} ms, ratio {a / b:.2f}")
        for name, code, count in (("burst", BURST, OUTPUTS), ("1,000 a second", STEADY, 3000)):
            before, own = cpu_of(pid), time.process_time()
            begun = time.perf_counter()
            streams = await execute(client, kernel, cursor, code.format(n=count))
            there, here = cpu_of(pid) - before, time.process_time() - own
            print(
                f"{name}: {streams} messages in {time.perf_counter() - begun:.2f} s, CPU an output:"
                f" supervisor {there / streams * 1e6:.1f} us + client {here / streams * 1e6:.1f} us"
            )
        print(f"supervisor with one kernel: {pss(pid):.1f} MiB PSS")
    finally:
        await client.shutdown_supervisor(kernels=True)
        await client.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hp-") as home:
        os.environ.update(HOME=home, IPYTHONDIR=f"{home}/ipython")
        uvloop.run(measure(Path(home)))
        sys.stdout.flush()
