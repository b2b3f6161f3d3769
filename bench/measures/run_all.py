"""Run all: how long from one cell to the next, when ``homeport run`` runs a notebook of cells with ``1`` and looks on.

That is what a client does that sends the next request when the reply and the idle of the one before are there, and what the
benchmark of executions measures; but what a cell says is in the document, and durable, before the next one begins. The peers' servers
do not run notebooks: their clients do.
"""

from __future__ import annotations

import json
import statistics
import time
from datetime import datetime

from bench.context import Benchmark, Context, Metric
from bench.direct import DirectKernel
from bench.servers import KERNEL
from bench.subjects import DIRECT, HOMEPORT, Subject

CELLS = 300
WARM = 30
"""Of them, so many come before those that are measured."""


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """The median from cell to cell, in milliseconds; a fresh kernel each time."""
    if subject == DIRECT:
        with DirectKernel() as kernel:
            times: list[float] = []
            for _ in range(CELLS):
                kernel.execute("1")
                times.append(time.perf_counter())
    else:
        times = _run_all(subject, context)
    between = [after - before for before, after in zip(times[WARM:], times[WARM + 1 :], strict=False)]
    return {"each": statistics.median(between) * 1e3}


def _run_all(subject: Subject, context: Context) -> list[float]:
    """When the kernel said that it had done each cell."""
    cells = [
        {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {}, "outputs": [], "source": "1"} for n in range(CELLS)
    ]
    metadata = {"kernelspec": {"display_name": "Bench", "language": "python", "name": KERNEL}}
    with context.fresh_server(subject) as server:
        file = server.root / "run-all.ipynb"
        file.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
        server.command("run", file.name)
        ran = json.loads(file.read_text())["cells"]
    return [datetime.fromisoformat(cell["metadata"]["execution"]["shell.execute_reply"]).timestamp() for cell in ran]


BENCHMARK = Benchmark("run_all", (HOMEPORT, DIRECT), (Metric("each", "from cell to cell of Run all", "ms"),), measure, rounds=9)
