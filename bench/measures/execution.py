"""Back-to-back execution: ``1`` again and again, each sent when the reply and idle of the one before are there.

The subjects take turns after a few executions, each with a kernel that is kept: the pace of a virtual machine changes within seconds,
and what is compared must have met the same. After some turns all get fresh ones: of two kernels that were started in the same way
one is up to a tenth faster than the other for all its life, and so are servers.
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
TURNS = 10
"""Turns of a kernel, and of its server, before the next ones are started."""


class _Executor:
    """What executes code for one subject, in one kernel after the other."""

    def __init__(self, subject: Subject, context: Context) -> None:
        self._subject = subject
        self._context = context
        self._stack = ExitStack()
        self._turns = 0

    def turn(self) -> list[float]:
        """Seconds of each execution of one turn."""
        if self._turns % TURNS == 0:
            self.close()
            self._execute = self._begin()
            for _ in range(30):
                self._execute(CODE)
        self._turns += 1
        for _ in range(3):
            self._execute(CODE)
        times: list[float] = []
        for _ in range(TURN):
            began = time.perf_counter()
            self._execute(CODE)
            times.append(time.perf_counter() - began)
        return times

    def close(self) -> None:
        """End the kernel and its server."""
        self._stack.close()

    def _begin(self) -> Callable[[str], None]:
        if self._subject == DIRECT:
            return self._stack.enter_context(DirectKernel()).execute
        server = self._stack.enter_context(self._context.fresh_server(self._subject))
        return self._stack.enter_context(PlainKernelSocket(server, server.start_kernel())).execute


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """The median over one turn, in milliseconds."""

    def make(stack: ExitStack) -> _Executor:
        executor = _Executor(subject, context)
        stack.callback(executor.close)
        return executor

    return {"each": statistics.median(context.kept(f"execution {subject.name}", make).turn()) * 1e3}


BENCHMARK = Benchmark("execution", ALL, (Metric("each", "back-to-back execution", "ms"),), measure, rounds=200)
