"""CPU of what serves, kernels not counted, for 1,000 outputs: in a burst, and at 900 a second, a little less than what
jupyter_server begins to drop.

Outputs are ``display_data`` messages, since a kernel joins what is printed. The client is one kernel socket, as JupyterLab
has one.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from bench.context import Benchmark, Context, Metric
from bench.kernel_socket import KernelSocket
from bench.servers import RunningServer, quiet
from bench.subjects import DEFAULTS, Subject

_SEND = "display({'text/plain': str(n)}, raw=True)"


def burst(count: int) -> str:
    """Code that sends ``count`` outputs as fast as it can."""
    return f"for n in range({count}):\n    {_SEND}"


def paced(count: int, rate: int) -> str:
    """Code that sends ``count`` outputs, ``rate`` a second."""
    return (
        f"import time\nbegan = time.perf_counter()\nfor n in range({count}):\n    {_SEND}\n"
        f"    left = began + n / {rate} - time.perf_counter()\n    if left > 0: time.sleep(left)"
    )


async def _cpu_per_1000(server: RunningServer, socket: KernelSocket, code: str, count: int) -> float:
    seen: Counter[str] = Counter()
    # jupyter_server counts the messages of the last three seconds, and drops what comes above 1,000 a second.
    await quiet(4.0)
    before = server.cpu_seconds()
    await socket.execute(code, lambda kind: seen.update((kind,)))
    await asyncio.sleep(0.3)  # what a server still does afterwards is its work too
    used = server.cpu_seconds() - before
    if seen["display_data"] != count:
        raise RuntimeError(f"{server.subject.name} delivered {seen['display_data']} of {count} outputs")
    return used * 1000 / count


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """One burst and one paced series."""
    count = 1000 if context.quick else 2000
    server = context.server(subject)
    kernel = server.start_kernel()
    try:
        async with KernelSocket(server, kernel) as socket:
            await socket.execute(burst(100))
            return {
                "burst": await _cpu_per_1000(server, socket, burst(count), count),
                "paced": await _cpu_per_1000(server, socket, paced(count, 900), count),
            }
    finally:
        server.stop_kernel(kernel)


METRICS = (Metric("burst", "CPU for 1,000 outputs, burst", "s", 3), Metric("paced", "CPU for 1,000 outputs, 900 a second", "s", 3))
BENCHMARK = Benchmark("outputs", DEFAULTS, METRICS, measure)
