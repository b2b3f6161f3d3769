"""What a server costs that nobody uses: CPU of everything but the kernel, with one kernel that does nothing."""

from __future__ import annotations

import time

from bench.context import Benchmark, Context, Metric
from bench.servers import quiet
from bench.subjects import DEFAULTS, Subject


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """Percent of one core."""
    seconds = 12.0 if context.quick else 20.0
    with context.fresh_server(subject) as server:
        server.start_kernel()
        # What a start leaves to be done later is over by then.
        await quiet(seconds)
        began, used = time.monotonic(), server.cpu_seconds()
        await quiet(seconds)
        return {"cpu": 100 * (server.cpu_seconds() - used) / (time.monotonic() - began)}


BENCHMARK = Benchmark("idle", DEFAULTS, (Metric("cpu", "CPU of an idle server, one kernel", "%"),), measure, rounds=3)
