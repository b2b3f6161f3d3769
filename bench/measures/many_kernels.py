"""Sixteen kernels, each with a client that runs ``print(1)`` ten times a second: how long an execution takes, and CPU of what serves."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack

from bench.context import Benchmark, Context, Metric
from bench.kernel_socket import KernelSocket
from bench.subjects import SERVERS, Subject

RATE = 10


async def _client(socket: KernelSocket, offset: float, seconds: float, times: list[float]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time() + offset
    for turn in range(int(seconds * RATE)):
        await asyncio.sleep(began + turn / RATE - loop.time())
        sent = time.perf_counter()
        await socket.execute("print(1)")
        times.append(time.perf_counter() - sent)


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """One stretch of time with all of them."""
    count, seconds = (4, 2.0) if context.quick else (16, 10.0)
    server = context.server(subject)
    kernels = [server.start_kernel() for _ in range(count)]
    try:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(KernelSocket(server, kernel)) for kernel in kernels]
            await asyncio.gather(*(socket.execute("1") for socket in sockets))
            times: list[float] = []
            before, began = server.cpu_seconds(), time.perf_counter()
            await asyncio.gather(*(_client(socket, n / count / RATE, seconds, times) for n, socket in enumerate(sockets)))
            cpu, wall = server.cpu_seconds() - before, time.perf_counter() - began
    finally:
        for kernel in kernels:
            server.stop_kernel(kernel)
    ordered = sorted(times)
    return {"median": statistics.median(ordered) * 1e3, "p99": ordered[int(len(ordered) * 0.99)] * 1e3, "cpu": cpu / wall * 100}


METRICS = (
    Metric("median", "16 kernels at 10 a second: execution, median", "ms"),
    Metric("p99", "16 kernels at 10 a second: execution, 99 of 100", "ms"),
    Metric("cpu", "16 kernels at 10 a second: CPU that serves", "% of a core", 1),
)
BENCHMARK = Benchmark("many_kernels", SERVERS, METRICS, measure, rounds=3)
