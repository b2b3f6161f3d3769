"""Back-to-back execution: ``1`` again and again, each sent when the reply and idle of the one before are there.

All subjects have their kernels all the time and take turns after a few executions: the pace of a virtual machine changes within seconds,
and what is compared must have met the same.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.context import Benchmark, Context, Metric
from bench.direct import DirectKernel
from bench.kernel_socket import PlainKernelSocket
from bench.subjects import ALL, DIRECT, Subject

CODE = "1"
TURN = 20
"""Executions of a subject before it is another's turn."""


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """The median over one turn, in milliseconds."""
    execute = context.kept(f"execution {subject.name}", lambda stack: _begin(subject, context, stack))
    for _ in range(3):
        execute(CODE)
    times: list[float] = []
    for _ in range(TURN):
        began = time.perf_counter()
        execute(CODE)
        times.append(time.perf_counter() - began)
    return {"each": statistics.median(times) * 1e3}


def _begin(subject: Subject, context: Context, stack: ExitStack) -> Callable[[str], None]:
    """What executes code in a kernel of the subject, which is warm."""
    if subject == DIRECT:
        execute = stack.enter_context(DirectKernel()).execute
    else:
        server = context.server(subject)
        kernel = server.start_kernel()
        stack.callback(server.stop_kernel, kernel)
        execute = stack.enter_context(PlainKernelSocket(server, kernel)).execute
    for _ in range(30):
        execute(CODE)
    return execute


BENCHMARK = Benchmark("execution", ALL, (Metric("each", "back-to-back execution", "ms"),), measure, rounds=100)
