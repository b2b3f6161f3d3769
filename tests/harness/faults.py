"""What a fault run does, prints and counts: which lines are missing, which stand there twice.

A test breaks something on purpose, tells about it with a :class:`Story`, counts with :class:`Count` and hands the counts to the
``record_fault`` fixture. The rows of all fault tests make one table, printed at the end of the run; `make faults` writes it to
docs/faults.md.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

import pytest

LONG = os.environ.get("HOMEPORT_FAULTS") == "long"
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

Point = Literal[
    "the tab goes",
    "the server goes",
    "the supervisor goes",
    "the link goes or is bad",
    "no WebSockets",
    "the disk is full or fails",
    "somebody else writes the file",
    "a save shrinks nothing",
    "history",
    "slow readers",
    "two people, five tabs",
    "compaction",
]
"""What must be survived; the table has a row for each, in this order. docs/guide/survives.md tells the same to users."""

POINTS: Final[tuple[Point, ...]] = get_args(Point)

# What a document says where a kernel's messages are missing (documents/runner.py).
_SAID = re.compile(r"\[\.\.\. (?:[\d,]+ messages? of the kernel left out|messages of the kernel may be missing here): .*\.\.\.\]")
_BEFORE_SAID = re.compile(r"(?<=\d)(?=\[\.\.\. (?:[\d,]+ )?messages? )")

_ROWS = pytest.StashKey[list["Row"]]()


@dataclass(frozen=True)
class Count:
    """How things that should stand there once, in order, do stand there: lines of a cell, cells of a notebook, files."""

    expected: int
    seen: int
    lost: int
    doubled: int
    foreign: int
    """Things that nobody put there, or that stand before one they should stand behind."""
    said: int = 0
    """Missing where the text itself says that something is missing. Not counted as lost."""

    @classmethod
    def of(cls, text: str, expected: int) -> Count:
        """Count a text in which each of ``1..expected`` should stand on a line of its own, in order.

        Where a line of the text says that messages were left out, what is missing just there counts as ``said``. The end of a line
        may be a message of its own: it may be missing alone, or be all that is left.
        """
        numbers: list[int | None] = []  # None: something is missing here, and it is said
        rest = False  # behind what is said, the end of a lost line may be left
        for line in _BEFORE_SAID.sub("\n", text).splitlines():
            if _SAID.fullmatch(line):
                numbers.append(None)
            elif line or not rest:
                numbers.append(int(line) if line.isdecimal() and 1 <= int(line) <= expected else 0)
            rest = numbers[-1:] == [None] and bool(line)
        return cls._count(numbers, range(1, expected + 1), _said(numbers, expected))

    @classmethod
    def of_items(cls, found: Iterable[Hashable], expected: Sequence[Hashable]) -> Count:
        """Count things, each of which should be found once and in the order of ``expected`` (which names none twice)."""
        places = {item: place for place, item in enumerate(expected, 1)}
        assert len(places) == len(expected), "expected things must differ from each other"
        return cls._count([places.get(item, 0) for item in found], range(1, len(expected) + 1), set())

    @classmethod
    def _count(cls, found: Sequence[int | None], expected: range, said: set[int]) -> Count:
        numbers = [number for number in found if number is not None]
        times = Counter(number for number in numbers if number)
        missing = set(expected) - set(times)
        disorder = sum(1 for before, after in itertools.pairwise(numbers) if 0 < after < before)
        return cls(
            expected=len(expected),
            seen=len(numbers),
            lost=len(missing - said),
            doubled=sum(times.values()) - len(times),
            foreign=numbers.count(0) + disorder,
            said=len(missing & said),
        )

    def __add__(self, other: Count) -> Count:
        """Both together."""
        return Count(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def perfect(self) -> bool:
        """Everything exactly once, in order, and nothing else; what is missing is said to be missing."""
        return self.lost == self.doubled == self.foreign == 0

    @property
    def whole(self) -> bool:
        """Perfect, and nothing is missing."""
        return self.perfect and not self.said

    def __str__(self) -> str:
        said = f", {self.said:,} missing and said so" if self.said else ""
        return f"{self.seen:,} of {self.expected:,}, {self.lost:,} lost, {self.doubled:,} doubled, {self.foreign:,} other{said}"


def _said(numbers: Sequence[int | None], expected: int) -> set[int]:
    """The numbers that would stand where something is said to be missing."""
    said: set[int] = set()
    before, gap = 0, False
    for number in [*numbers, expected + 1]:
        if number is None:
            gap = True
        elif number:
            if gap:
                said.update(range(before + 1, number))
            before, gap = number, False
    return said


@dataclass
class Row:
    """One line of the table: a fault, how often it was produced, and what became of what it threatened."""

    point: Point
    fault: str
    times: int = 0
    runs: int = 0
    expected: int = 0
    disk: int = 0
    page: int = 0
    said: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    seconds: float = 0.0

    def add(self, *, times: int, disk: Count | None, page: Count | None, seconds: float) -> None:
        """Add one run to the row."""
        self.runs += 1
        self.times += times
        self.expected += max(count.expected for count in (disk, page) if count is not None)
        self.disk += disk.seen if disk is not None else 0
        self.page += page.seen if page is not None else 0
        self.said += max(count.said for count in (disk, page) if count is not None)
        for count in (disk, page):
            if count is not None:
                self.lost += count.lost
                self.doubled += count.doubled
                self.wrong += count.foreign
        self.seconds += seconds


HEAD = ("what happens", "times", "runs", "expected", "on disk", "on the page", "said missing", "lost", "doubled", "other", "seconds")


def table(rows: Iterable[Row]) -> list[str]:
    """The rows as a Markdown table, which reads well on a terminal too; in the order of the points."""
    cells = [HEAD] + [
        (
            f"{row.point}: {row.fault}",
            *(f"{n:,}" for n in (row.times, row.runs, row.expected, row.disk, row.page, row.said, row.lost, row.doubled, row.wrong)),
            f"{row.seconds:.0f}",
        )
        for row in sorted(rows, key=lambda row: POINTS.index(row.point))
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


class Moments:
    """Random lines of a cell at which something is to break.

    A cell that is broken at a line, not at a time, is never over too early on a slow machine. For that the cell takes the file
    ``break-N`` of its working folder away when it has printed line N, and waits near its end for the file ``all-broken``.

    Args:
        folder: the cell's working folder.
        lines: among which ``count`` are drawn.
    """

    def __init__(self, folder: Path, story: Story, lines: range, count: int) -> None:
        self._folder = folder
        self._files = [folder / f"break-{line}" for line in sorted(story.random.sample(lines, count))]
        for file in self._files:
            file.touch()

    async def __aiter__(self) -> AsyncIterator[int]:
        """Each of the lines when it has been printed."""
        deadline = time.monotonic() + 120
        for file in self._files:
            while file.exists():
                assert time.monotonic() < deadline, f"the cell did not come to {file.name}"
                await asyncio.sleep(0.005)  # a kernel can say it in no other way while nothing listens to it
            yield int(file.name.removeprefix("break-"))
        (self._folder / "all-broken").touch()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if LONG:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


class RecordFault(Protocol):
    """See :func:`record_fault`."""

    def __call__(
        self,
        point: Point,
        fault: str,
        *,
        times: int = 1,
        disk: Count | None = None,
        page: Count | None = None,
        seconds: float | None = None,
    ) -> None: ...


@pytest.fixture
def record_fault(request: pytest.FixtureRequest) -> RecordFault:
    """Add one run to the table: ``record_fault("the server goes", "killed (SIGKILL)", times=3, disk=count, page=count)``.

    Call it once a run, before the assertions (a loss must stand in the table, too). Calls with the same point and fault make one row.

    Args:
        point: what happens, one of :data:`POINTS`.
        fault: how, in a few words.
        times: how often the fault was produced in this run.
        disk: what was counted in the file (or whatever is kept).
        page: what was counted on a page, or in another client. At least one of the two is given.
        seconds: how long the run took; since the test began, when not given.
    """
    began = time.monotonic()

    def record(
        point: Point, fault: str, *, times: int = 1, disk: Count | None = None, page: Count | None = None, seconds: float | None = None
    ) -> None:
        rows = request.config.stash.setdefault(_ROWS, [])
        row = next((row for row in rows if (row.point, row.fault) == (point, fault)), None)
        if row is None:
            row = Row(point, fault)
            rows.append(row)
        row.add(times=times, disk=disk, page=page, seconds=time.monotonic() - began if seconds is None else seconds)
        print(f"{point}: {fault}, {times} times; on disk: {disk or 'not looked at'}; on the page: {page or 'not looked at'}", flush=True)

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    rows = terminalreporter.config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("faults")
    for line in table(rows):
        terminalreporter.write_line(line)
    if LONG and _all_of_it(terminalreporter.config):
        failed = len(terminalreporter.stats.get("failed", [])) + len(terminalreporter.stats.get("error", []))
        # What people wrote below the table stays.
        _, heading, written = PAGE.read_text().partition("\n## ")
        PAGE.write_text(_page(rows, failed) + heading + written)
        terminalreporter.write_line(f"written to {PAGE}")


def _all_of_it(config: pytest.Config) -> bool:
    """Whether the run was not of some tests only, whose rows alone would replace the table of all."""
    chosen = (
        config.getoption("keyword")
        or config.getoption("markexpr")
        or config.getoption("deselect")
        or config.getoption("lf", default=False)
        or config.getoption("maxfail")
    )
    return not chosen and not any("::" in argument or argument.endswith(".py") for argument in config.args)


def _page(rows: list[Row], failed: int) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    absent = [point for point in POINTS if point not in {row.point for row in rows}]
    verdict = f"{failed} of its tests failed." if failed else "All of its tests passed."
    return (
        "# Fault runs\n\n"
        f"`make faults` on {when}, {os.cpu_count()} cores. {verdict} Real servers, supervisors, kernels, files\n"
        "and a real Chromium; signals at random moments.\n\n"
        'What is expected (lines, cells, messages, saves) is counted on disk and on the page. "Lost" is missing from one of them,\n'
        '"doubled" stands there twice, "other" stands in another order or was put there by nobody. "Said missing" are lines that a kernel\n'
        "printed while its supervisor was dead, and where the cell itself says that something is missing.\n\n"
        + "\n".join(table(rows))
        + "\n"
        + (f"\nNot covered by this run: {'; '.join(absent)}.\n" if absent else "")
    )
