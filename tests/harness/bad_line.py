"""Two hosts on one machine, joined by a bad line: real TCP on both ends, over packets that are late or lost.

Each host is a network namespace of its own with a TUN device; a process carries the packets between them. When that process ends,
or whoever holds its standard input, both hosts are gone: nothing is left behind. It needs root and /dev/net/tun, not tc:
many kernels have no netem.

Run as a program it is that process: ``python -m harness.bad_line`` prints the numbers of the two namespaces' file descriptors, and
reads what the line is to do from standard input, a JSON object a line.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import pytest_asyncio

NEAR: Final = "10.77.0.1"
"""The browser's host."""
FAR: Final = "10.77.0.2"
"""The server's host."""

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass
class BadLine:
    """The two hosts and the line between them, seen from a test."""

    process: asyncio.subprocess.Process
    namespaces: dict[str, str] = field(default_factory=dict)

    def on(self, host: str) -> tuple[str, ...]:
        """What to put in front of a command so that it runs on a host (by :data:`NEAR` or :data:`FAR`)."""
        return ("nsenter", f"--net={self.namespaces[host]}", "--")

    def be(self, *, delay: float = 0.0, loss: float = 0.0) -> None:
        """From now on packets take ``delay`` seconds each way, and so many of them (0 to 1) are lost."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"delay": delay, "loss": loss}).encode() + b"\n")

    async def move(self, address: str) -> None:
        """The browser's host has another address from now on, and its old one no more, as after a change of the network."""
        for command in (f"addr del {NEAR}/24 dev line", f"addr add {address}/24 dev line"):
            moving = await asyncio.create_subprocess_exec(*self.on(NEAR), "ip", *command.split())
            assert await moving.wait() == 0, command


@pytest_asyncio.fixture
async def bad_line(home: object) -> AsyncIterator[BadLine]:
    """A :class:`BadLine`, as yet a good one; the test says ``@pytest.mark.needs("tun")``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "harness.bad_line",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    numbers = json.loads(await process.stdout.readline())
    yield BadLine(process, {host: f"/proc/{process.pid}/fd/{number}" for host, number in numbers.items()})
    process.stdin.close()
    print((await process.stdout.read()).decode().strip())
    await process.wait()


# ---- the process between the hosts ----


class _Line:
    def __init__(self) -> None:
        self.delay = self.loss = 0.0
        self.carried = self.lost = 0
        self._random = random.Random(1)

    def carry(self, source: int, target: int) -> None:
        """Take the packets that wait at one end to the other."""
        loop = asyncio.get_running_loop()
        for _ in range(64):
            try:
                packet = os.read(source, 65536)
            except BlockingIOError:
                return
            self.carried += 1
            if self._random.random() < self.loss:
                self.lost += 1
            else:
                loop.call_later(self.delay, _deliver, target, packet)


def _deliver(target: int, packet: bytes) -> None:
    try:
        os.write(target, packet)
    except OSError:
        pass  # its queue is full: networks lose such packets, too


def _host(address: str) -> tuple[int, int]:
    """Move into a new host with a device of this address. Returns descriptors of its namespace and of the device."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no new network namespace")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"line", _IFF_TUN | _IFF_NO_PI))
    for command in ("link set lo up", f"addr add {address}/24 dev line", "link set line up"):
        subprocess.run(["ip", *command.split()], check=True)
    return os.open("/proc/self/ns/net", os.O_RDONLY), device


async def _main() -> None:
    line = _Line()
    (near, one), (far, other) = _host(NEAR), _host(FAR)
    loop = asyncio.get_running_loop()
    loop.add_reader(one, line.carry, one, other)
    loop.add_reader(other, line.carry, other, one)
    print(json.dumps({NEAR: near, FAR: far}), flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := await orders.readline():
        wanted = json.loads(order)
        line.delay, line.loss = wanted["delay"], wanted["loss"]
    print(f"the line carried {line.carried:,} packets and lost {line.lost:,} of them", flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
