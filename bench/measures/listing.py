"""Listing a folder of 5,000 files through the contents API, and how long other requests wait meanwhile."""

from __future__ import annotations

import json
import time

from bench.context import Benchmark, Context, Metric
from bench.stall import Stall
from bench.subjects import DEFAULTS, Subject

COUNT = 5000


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """One listing."""
    folder = context.root(subject) / "many"
    if not folder.exists():
        folder.mkdir()
        for number in range(COUNT):
            suffix = ("ipynb", "py", "csv", "txt")[number % 4]
            (folder / f"file-{number:04}.{suffix}").write_text("{}")
    server = context.server(subject)
    async with Stall(server) as stall:
        began = time.perf_counter()
        status, body = await stall.fetch("GET", "/api/contents/many")
        seconds = time.perf_counter() - began
    if status != 200 or len(json.loads(body)["content"]) != COUNT:
        raise RuntimeError(f"{subject.name} did not list {COUNT} files: {status}")
    return {"list": seconds, "stall": stall.longest * 1e3}


METRICS = (Metric("list", "listing 5,000 files", "s", 3), Metric("stall", "  other requests wait at most", "ms", 0))
BENCHMARK = Benchmark("listing", DEFAULTS, METRICS, measure)
