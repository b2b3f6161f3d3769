"""Cold start: from the start of the process to the first answer of ``GET /api/status``. No supervisor runs before."""

from __future__ import annotations

from bench.context import Benchmark, Context, Metric
from bench.servers import quiet
from bench.subjects import DEFAULTS, Subject


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """One start."""
    await quiet(0.5)
    with context.fresh_server(subject) as server:
        return {"first_answer": server.seconds_to_first_answer}


BENCHMARK = Benchmark("startup", DEFAULTS, (Metric("first_answer", "cold start to the first answer", "s"),), measure)
