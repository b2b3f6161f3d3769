"""What a fault run prints and counts: which lines are missing, which stand there twice.

The rows of all fault tests make one table, printed at the end of the run; `make faults` writes it to docs/faults.md.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

LONG = os.environ.get("HOMEPORT_FAULTS") == "long"
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
_ROWS = pytest.StashKey[list["Row"]]()


@dataclass(frozen=True)
class Count:
    """How the numbers 1 to ``expected`` stand in a text of lines."""

    expected: int
    seen: int
    lost: int
    doubled: int
    foreign: int
    """Lines that are none of the numbers, or that stand before a smaller one."""

    @classmethod
    def of(cls, text: str, expected: int) -> Count:
        """Count a text in which each of ``1..expected`` should stand on a line of its own, in order."""
        lines = text.splitlines()
        numbers = [int(line) if line.isdecimal() and 1 <= int(line) <= expected else 0 for line in lines]
        times = Counter(number for number in numbers if number)
        disorder = sum(1 for before, after in itertools.pairwise(numbers) if 0 < after < before)
        return cls(
            expected=expected,
            seen=len(lines),
            lost=expected - len(times),
            doubled=sum(times.values()) - len(times),
            foreign=numbers.count(0) + disorder,
        )

    @property
    def perfect(self) -> bool:
        """Every line exactly once, in order, and nothing else."""
        return self.lost == self.doubled == self.foreign == 0


@dataclass
class Row:
    """One line of the table."""

    fault: str
    times: int = 0
    runs: int = 0
    expected: int = 0
    disk: int = 0
    page: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    seconds: float = 0.0

    def add(self, *, times: int, disk: Count, page: Count, seconds: float) -> None:
        """Add one run to the row."""
        self.runs += 1
        self.times += times
        self.expected += disk.expected
        self.disk += disk.seen
        self.page += page.seen
        self.lost += disk.lost + page.lost
        self.doubled += disk.doubled + page.doubled
        self.wrong += disk.foreign + page.foreign
        self.seconds += seconds


HEAD = ("fault", "times", "runs", "lines expected", "on disk", "on the page", "lost", "doubled", "other", "seconds")


def table(rows: list[Row]) -> list[str]:
    """The rows as a Markdown table, which reads well on a terminal too."""
    cells = [HEAD] + [
        (
            row.fault,
            *(f"{n:,}" for n in (row.times, row.runs, row.expected, row.disk, row.page, row.lost, row.doubled, row.wrong)),
            f"{row.seconds:.0f}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths, strict=True)))
        + " |"
        for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width if not at else "-" * (width - 1) + ":" for at, width in enumerate(widths)) + " |")
    return lines


@dataclass
class Story:
    """Tells what a fault run does, with times, and draws its random moments; the seed is printed, and HOMEPORT_SEED sets it."""

    name: str
    seed: int = field(default_factory=lambda: int(os.environ.get("HOMEPORT_SEED") or random.SystemRandom().randrange(2**32)))
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.say(f"{self.name}: HOMEPORT_SEED={self.seed}")

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        """Print a line, which pytest shows when the run fails (always in `make faults`)."""
        print(f"{self.elapsed:7.2f} s  {text}", flush=True)


@pytest.fixture
def fault_row(request: pytest.FixtureRequest) -> Row:
    """This test's row of the table; its name is the first line of the test's docstring."""
    rows = request.config.stash.setdefault(_ROWS, [])
    name = (request.node.function.__doc__ or request.node.name).strip().splitlines()[0].rstrip(".")
    found = next((row for row in rows if row.fault == name), None)
    if found is None:
        found = Row(name)
        rows.append(found)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = terminalreporter.config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("faults")
    for line in table(rows):
        terminalreporter.write_line(line)
    if LONG:
        PAGE.write_text(_page(rows))
        terminalreporter.write_line(f"written to {PAGE}")


def _page(rows: list[Row]) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        "# Fault runs\n\n"
        f"`make faults` on {when}, {os.cpu_count()} cores. Real servers, supervisors, kernels and a real Chromium;\n"
        "signals at random moments.\n"
        'A line counts as lost or doubled on disk and on the page; "other" are lines out of order or that nobody printed.\n\n'
        + "\n".join(table(rows))
        + "\n"
    )
