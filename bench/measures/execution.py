"""Back-to-back execution: ``1`` again and again, each sent when the reply and idle of the one before are there."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from bench.context import Benchmark, Context, Metric
from bench.direct import DirectKernel
from bench.kernel_socket import PlainKernelSocket
from bench.subjects import ALL, DIRECT, Subject

CODE = "1"


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """The median over one series, in milliseconds."""
    count, warm_up = (30, 5) if context.quick else (300, 30)
    if subject == DIRECT:
        with DirectKernel() as direct:
            return {"each": _median(direct.execute, count, warm_up)}
    server = context.server(subject)
    kernel = server.start_kernel()
    try:
        with PlainKernelSocket(server, kernel) as socket:
            return {"each": _median(socket.execute, count, warm_up)}
    finally:
        server.stop_kernel(kernel)


def _median(execute: Callable[[str], None], count: int, warm_up: int) -> float:
    times: list[float] = []
    for _ in range(warm_up + count):
        began = time.perf_counter()
        execute(CODE)
        times.append(time.perf_counter() - began)
    return statistics.median(times[warm_up:]) * 1e3


BENCHMARK = Benchmark("execution", ALL, (Metric("each", "back-to-back execution", "ms"),), measure)
