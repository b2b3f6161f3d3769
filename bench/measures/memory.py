"""Memory (PSS) of what serves, kernels not counted: with 0, 1 and 10 kernels that have just been started."""

from __future__ import annotations

import asyncio
import time

from bench.context import Benchmark, Context, Metric
from bench.servers import RunningServer, quiet
from bench.subjects import DEFAULTS, Subject

COUNTS = (0, 1, 10)


async def _until_idle(server: RunningServer, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        kernels = server.json("GET", "/api/kernels")
        if len(kernels) == count and all(kernel["execution_state"] == "idle" for kernel in kernels):
            return
        await asyncio.sleep(0.2)
    # Jupyter's server calls a kernel "starting" until a client speaks to it: then its memory is what it will be.


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """One fresh server, with more and more kernels."""
    found: dict[str, float] = {}
    with context.fresh_server(subject) as server:
        await quiet(2)
        for count in COUNTS if not context.quick else COUNTS[:2]:
            for _ in range(count - len(server.json("GET", "/api/kernels"))):
                server.start_kernel()
            if count and subject.name == "homeport":
                await _until_idle(server, count)
            await quiet(2)
            memory = server.memory()
            found[f"sum_{count}"] = sum(memory.values()) / 1e6
            found |= {f"{name}_{count}": size / 1e6 for name, size in memory.items()}
    return found


_TITLES = {"sum": "memory", "server": "  of that the server", "supervisor": "  of that the supervisor"}
METRICS = tuple(
    Metric(f"{part}_{count}", f"{title}, {count} kernel{'' if count == 1 else 's'}", "MB", 1)
    for count in COUNTS
    for part, title in _TITLES.items()
)
BENCHMARK = Benchmark("memory", DEFAULTS, METRICS, measure, rounds=3)
