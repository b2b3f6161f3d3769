"""A notebook of 30 MB through the contents API: reading it, writing it, and how long other requests wait meanwhile."""

from __future__ import annotations

import json
import tempfile
import time

from bench.context import Benchmark, Context, Metric
from bench.stall import Stall
from bench.subjects import DEFAULTS, Subject


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """Read it and write it back."""
    path = context.notebook(subject, "mb-30")
    server = context.server(subject)
    async with Stall(server) as reading:
        began = time.perf_counter()
        status, body = await reading.fetch("GET", f"/api/contents/{path}?type=notebook&content=1")
        read = time.perf_counter() - began
    if status != 200:
        raise RuntimeError(f"{subject.name} answered {status} to reading: {body[:300]!r}")
    model = {"type": "notebook", "format": "json", "content": json.loads(body)["content"]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(model, file)
        file.flush()
        async with Stall(server) as writing:
            began = time.perf_counter()
            status, body = await writing.fetch("PUT", f"/api/contents/{path}", file.name)
            write = time.perf_counter() - began
    if status not in (200, 201):
        raise RuntimeError(f"{subject.name} answered {status} to writing: {body[:300]!r}")
    return {"read": read, "read_stall": reading.longest * 1e3, "write": write, "write_stall": writing.longest * 1e3}


METRICS = (
    Metric("read", "reading a 30 MB notebook", "s"),
    Metric("read_stall", "  other requests wait at most", "ms", 0),
    Metric("write", "writing a 30 MB notebook", "s"),
    Metric("write_stall", "  other requests wait at most", "ms", 0),
)
BENCHMARK = Benchmark("big_notebook", DEFAULTS, METRICS, measure, rounds=3)
