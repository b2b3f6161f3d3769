"""``python -m bench``: runs the benchmarks in turns, subject by subject, and prints the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.context import Benchmark, Context
from bench.environments import peer_python, peer_versions
from bench.measures import NAMES, load
from bench.subjects import ALL, Subject
from bench.table import Result, as_json, render


def _names(allowed: tuple[str, ...]) -> argparse.Action | object:
    def read(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"there is no '{name}'; there are {', '.join(allowed)}")
        return names

    return read


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    subjects = tuple(subject.name for subject in ALL)
    parser = argparse.ArgumentParser("python -m bench", description="Measure Homeport and its peers, and print one table.")
    parser.add_argument("--only", type=_names(NAMES), default=NAMES, metavar="NAMES", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--subjects", type=_names(subjects), default=subjects, metavar="NAMES", help=f"some of: {', '.join(subjects)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--quick", action="store_true", help="few and short: to see that everything works, not to quote from")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to this file")
    return parser


async def _run(benchmark: Benchmark, subjects: list[Subject], rounds: int, context: Context, mark: str) -> Result:
    result = Result(benchmark)
    for turn in range(rounds):
        # Another one begins each time: what drifts, drifts for all.
        for subject in subjects[turn % len(subjects) :] + subjects[: turn % len(subjects)]:
            print(f"{benchmark.name}: {subject.name}, {turn + 1} of {rounds}", file=sys.stderr)
            watch = machine.Watch(mark)
            try:
                result.add(subject, await benchmark.measure(subject, context))
            except Exception as error:  # noqa: BLE001  # one that fails is told in the table; the others are measured all the same
                result.errors.append(f"{benchmark.name}, {subject.name}: {error}")
            result.busy.append(watch.read())
    context.let_go()
    return result


async def main() -> int:
    """Run what the command line asks for; 1 when something could not be measured."""
    given = make_parser().parse_args()
    python = peer_python()
    # Every process that is started from here on carries this, and so can be told from those of others.
    mark = os.environ["BENCH_RUN"] = secrets.token_hex(16)
    facts = {**machine.describe(), **peer_versions(python), "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
    results: list[Result] = []
    with Context(python, quick=given.quick) as context:
        for benchmark in load(given.only):
            subjects = [subject for subject in benchmark.subjects if subject.name in given.subjects]
            if subjects:
                rounds = given.rounds or (1 if given.quick else benchmark.rounds)
                results.append(await _run(benchmark, subjects, rounds, context, mark))
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(render(results))
    if given.json:
        given.json.write_text(json.dumps({"facts": facts, "results": as_json(results)}, indent=1))
    return 1 if any(result.errors for result in results) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
