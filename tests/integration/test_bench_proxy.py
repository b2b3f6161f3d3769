"""The benchmark's slow link is no faster than it says, and passes every byte on in order."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
RATE = 800_000  # bits per second
RTT = 0.1


@asynccontextmanager
async def slow(to_port: int) -> AsyncIterator[int]:
    command = [sys.executable, "-m", "bench.proxy", "--to", str(to_port), f"--rate={RATE}", f"--rtt={RTT}"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(await asyncio.wait_for(process.stdout.readline(), 20))
    finally:
        process.terminate()
        await process.wait()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _there_and_back(port: int, data: bytes) -> tuple[bytes, float]:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    back = await reader.read(-1)
    writer.close()
    return back, time.perf_counter() - began


async def test_the_link_is_as_slow_as_it_says() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, slow(server.sockets[0].getsockname()[1]) as port:
        data = bytes(range(256)) * 100
        back, seconds = await asyncio.wait_for(_there_and_back(port, data), 20)
        assert back == data
        # A handshake and a way there and back; both ways pass at the same time, so the rate counts once.
        assert seconds >= 2 * RTT + len(data) * 8 / RATE
        # Two connections share the link.
        began = time.perf_counter()
        results = await asyncio.wait_for(asyncio.gather(*(_there_and_back(port, data) for _ in range(2))), 20)
        assert [each for each, _ in results] == [data, data]
        assert time.perf_counter() - began >= 2 * len(data) * 8 / RATE


async def test_nobody_behind_the_link() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with slow(port) as slow_port:
        reader, writer = await asyncio.open_connection("127.0.0.1", slow_port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
