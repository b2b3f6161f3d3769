"""The benchmarks, one small module each; this is their order in the table."""

from __future__ import annotations

from importlib import import_module

from bench.context import Benchmark

NAMES = ("startup", "memory", "idle", "execution", "run_all", "outputs", "many_kernels", "listing", "big_notebook", "page")


def load(names: tuple[str, ...] = NAMES) -> list[Benchmark]:
    """The benchmarks called ``names``."""
    return [import_module(f"bench.measures.{name}").BENCHMARK for name in names]
