"""A day's work in little time while things are killed at random: many notebooks, queues of short cells, questions, widgets.

Each notebook has somebody at it, who queues its cells, answers what they ask, looks at what they printed (on the page and in the
file) and begins again. Meanwhile the server, or the server and the supervisor, are killed at random moments, over and over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import faults, notebooks, supervisors
from harness.browser import OpenPage
from harness.document_client import DocumentClient, OpenDocument, OpFailed
from harness.faults import Count, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server
from homeport.folders import Folders
from homeport.protocol.supervisor import UNANSWERED

LINES = 40
NOTEBOOKS = 5 if faults.LONG else 2
KILLS = 100 if faults.LONG else 4
"""Of each of the two kinds."""
PATIENCE = 300.0
"""Seconds that one round of a notebook may take on a machine that does little but start servers."""

_NOTE = """\
import time
with open("runs-{name}", "a") as file:
    file.write(get_ipython().get_parent()["header"]["msg_id"] + "\\n")
"""
_PRINT = f"""
for number in range(1, {LINES} + 1):
    print(number, flush=True)
    time.sleep(0.005)
"""
_WIDGET = f"""
from IPython.display import display
from ipywidgets import IntProgress
bar = IntProgress(max={LINES})
display(bar)
for number in range(1, {LINES} + 1):
    bar.value = number
    print(number, flush=True)
    time.sleep(0.005)
"""
CELLS = (_PRINT, _WIDGET, f"\nanswer = input('Who? ')\nassert answer == 'Ada', answer{_PRINT}", _PRINT, "\nprint(1)", _PRINT)
_WIDGET_CELL, _ONE_LINE = 1, 4
_DOUBT = f"[... {UNANSWERED} ...]\n"
_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass
class Tally:
    """What was counted in all notebooks."""

    disk: Count = field(default_factory=lambda: Count(0, 0, 0, 0, 0))
    page: Count = field(default_factory=lambda: Count(0, 0, 0, 0, 0))
    runs: int = 0
    aborted: int = 0
    unknown: int = 0
    answers: int = 0


class Worker:
    """Somebody at one notebook."""

    def __init__(self, server: Server, name: str, page: DocumentClient, tally: Tally) -> None:
        self.page = page
        self._path = server.root / f"{name}.ipynb"
        self._record = server.root / f"runs-{name}"
        self._tally = tally
        self._answered: set[tuple[str, int]] = set()

    @staticmethod
    def prepare(folder: Path, name: str) -> None:
        """Write the notebook."""
        notebooks.write(folder / f"{name}.ipynb", *(_NOTE.format(name=name) + cell for cell in CELLS))

    async def work(self, over: asyncio.Event) -> None:
        """Round after round, until it is over; the last one is finished."""
        while not over.is_set():
            await self._round()

    async def _round(self) -> None:
        names = [f"cell-{number}" for number in range(len(CELLS))]
        run_ids = await self.page.run(*names, stop_on_error=True, seconds=PATIENCE)
        # Its answer comes after the news of the queue.
        await self.page.operate("save", seconds=PATIENCE)
        links = -1
        while links != self.page.links or self.page.state.get("queue") != []:
            # A server may tell of an end and be killed before that is durable; the next one goes on with the run.
            links = self.page.links
            await self._end_of_queue()
            await self.page.operate("save", seconds=PATIENCE)
        await self._judge(dict(zip(run_ids, names, strict=True)))

    async def _end_of_queue(self) -> None:
        while self.page.state.get("queue") != []:
            await self.page.until(lambda: self.page.state.get("queue") == [] or bool(self._asked()), "the queue's end", seconds=PATIENCE)
            for request in self._asked():
                await self._answer(request)

    def _asked(self) -> list[str]:
        # A server that was killed before the answer was durable asks again: over another link.
        asked: list[str] = [asked["request"] for asked in self.page.state.get("inputs", ())]
        return [request for request in asked if (request, self.page.links) not in self._answered]

    async def _answer(self, request: str) -> None:
        links = self.page.links
        try:
            await self.page.operate("input", request=request, value="Ada", seconds=PATIENCE)
        except OpFailed as error:
            # A server that was killed had passed the answer on, and the cell is over.
            if error.error["code"] != "not_found":
                raise
        self._answered.add((request, links))
        self._tally.answers += 1

    async def _judge(self, runs: dict[str, str]) -> None:
        """Each run was begun at most once; what a begun one printed stands on the page and in the file."""
        begun = Counter(line.rpartition("_")[2] for line in self._record.read_text().split())
        assert set(begun.values()) <= {1}, f"{self._path.name}: a run was begun twice: {begun.most_common(3)}"
        cells = {cell_id: int(cell_id.rpartition("-")[2]) for run_id, cell_id in runs.items() if begun[run_id]}
        on_disk = {cell["id"]: cell for cell in (await asyncio.to_thread(notebooks.read, self._path))["cells"]}
        assert list(on_disk) == [f"cell-{number}" for number in range(len(CELLS))], f"{self._path.name} has other cells: {list(on_disk)}"
        await self.page.until(
            lambda: all(_count({"outputs": self.page.outputs(cell_id)}, number).perfect for cell_id, number in cells.items()),
            f"the outputs of {', '.join(cells)} in {self._path.name}: " + repr({c: self.page.outputs(c) for c in cells})[:4000],
            seconds=60,
        )
        for cell_id, number in cells.items():
            self._tally.page += _count({"outputs": self.page.outputs(cell_id)}, number)
            self._tally.disk += _count(on_disk[cell_id], number)
            self._tally.unknown += any(output.get("ename") == "ResultUnknown" for output in on_disk[cell_id]["outputs"])
        self._tally.runs += len(cells)
        self._tally.aborted += len(runs) - len(cells)


def _count(cell: notebooks.Notebook, number: int) -> Count:
    """Count a cell's lines; besides them it may show its widget, its question, and that its end was not seen."""
    outputs = [output for output in cell["outputs"] if _VIEW not in output.get("data", {}) and output.get("ename") != "ResultUnknown"]
    text = notebooks.all_text({"outputs": outputs})
    # An answer that may not have reached the kernel is said to be one, and given again. A question that nobody heard has no prompt.
    doubts = text.count(_DOUBT)
    text = re.sub(r"(?m)^(Who\? )?Ada\n", "", text.replace(_DOUBT, ""), count=1 + doubts)
    count = Count.of(text, 1 if number == _ONE_LINE else LINES)
    if number == _WIDGET_CELL and count.whole:
        views = [output for output in cell["outputs"] if _VIEW in output.get("data", {})]
        return count + Count.of_items([output["data"][_VIEW]["version_major"] for output in views], [2])
    return count


async def kill_server(server: Server, story: Story, number: signal.Signals) -> None:
    """Kill it, and start it after a while."""
    await server.kill(number)
    await asyncio.sleep(story.random.uniform(0, 0.3))
    await server.start()


async def kill_supervisor(server: Server, story: Story) -> None:
    """Kill it as it is, also while it starts. The server launches the next one."""
    await supervisors.kernels(120)
    os.kill(supervisors.pid(), signal.SIGKILL)


async def kill_both(server: Server, story: Story) -> None:
    """Kill both at once."""
    await supervisors.kernels(120)
    os.kill(supervisors.pid(), signal.SIGKILL)
    await kill_server(server, story, signal.SIGKILL)


async def kill_the_server(server: Server, story: Story) -> str:
    """SIGKILL, or sometimes SIGTERM."""
    number = story.random.choices([signal.SIGKILL, signal.SIGTERM], [4, 1])[0]
    await kill_server(server, story, number)
    return f"{number.name} to the server"


async def kill_either(server: Server, story: Story) -> str:
    """One of them, or both."""
    what = story.random.choice([kill_supervisor, kill_supervisor, kill_both])
    await what(server, story)
    return what.__name__.replace("_", " ")


async def progress(pages: list[DocumentClient], working: list[asyncio.Task[None]], updates: int) -> None:
    """Wait until pages have seen so many updates more, or somebody fails: nothing comes of kills that come before any work is done."""
    wanted = sum(page.updates for page in pages) + updates
    deadline = time.monotonic() + PATIENCE
    while sum(page.updates for page in pages) < wanted and not any(task.done() for task in working):
        assert time.monotonic() < deadline, f"nothing goes on: {[page.state.get('queue') for page in pages]}"
        await asyncio.sleep(0.02)  # many pages, any of which may change


def keep_state(folder: Path, story: Story) -> None:
    """For whoever looks for the cause: the runs, the requests and the journals as they are now, before all is ended."""
    with contextlib.suppress(shutil.Error):  # a file may go while it is copied
        shutil.copytree(Folders.from_environment().state, folder)
    story.say(f"the state is kept in {folder}")


KINDS: dict[str, tuple[Callable[[Server, Story], Awaitable[str]], faults.Point, str, bool]] = {
    "server": (kill_the_server, "the server goes", f"killed at random under the work of {NOTEBOOKS} notebooks", True),
    "supervisor": (
        kill_either,
        "the supervisor goes",
        f"killed at random, also with the server, under the work of {NOTEBOOKS} notebooks",
        False,
    ),
}


@pytest.mark.needs("chromium")
@pytest.mark.timeout(3600 if faults.LONG else 300)
@pytest.mark.expect_log("No supervisor can be reached")
@pytest.mark.expect_console(r"net::ERR_|WebSocket connection to .* failed|Failed to load resource")
@pytest.mark.parametrize("kind", KINDS)
async def test_random_kills(
    kind: str, server: Server, open_document: OpenDocument, open_page: OpenPage, record_fault: RecordFault, tmp_path: Path
) -> None:
    kill, point, fault, whole = KINDS[kind]
    story, tally, over = Story(f"{KILLS} random kills: {kind}"), Tally(), asyncio.Event()
    server.options = ("--on-stop=keep",)
    workers: list[Worker] = []
    for name in (f"n{number}" for number in range(NOTEBOOKS)):
        Worker.prepare(server.root, name)
        workers.append(Worker(server, name, await open_document(server, f"{name}.ipynb"), tally))
    watcher = await NotebookPage(await open_page(server, "notebooks/n0.ipynb")).loaded()
    await watcher.mark()
    working = [asyncio.create_task(worker.work(over), name=f"work {n}") for n, worker in enumerate(workers)]
    kernels = {info.pid for info in (await supervisors.kernels(120)).values()}
    killed: Counter[str] = Counter()
    for number in range(1, KILLS + 1):
        await progress([worker.page for worker in workers], working, story.random.randint(1, 30))
        # The random moment is the point.
        await asyncio.sleep(story.random.uniform(0, 0.5))
        if any(task.done() for task in working):
            break
        what = await kill(server, story)
        killed[what] += 1
        story.say(f"{number}: {what}; {tally.runs} runs, {tally.page.seen:,} lines so far")
    over.set()
    story.say("no more kills; the rounds that have begun are finished")
    try:
        await asyncio.gather(*working)
        await watcher.finished(seconds=PATIENCE)
    except BaseException:
        keep_state(tmp_path / "state", story)
        raise
    finally:
        record_fault(point, fault, times=killed.total(), disk=tally.disk, page=tally.page, seconds=story.elapsed)
        story.say(f"{dict(killed)}; {tally}")
    assert tally.disk.perfect
    assert tally.page.perfect
    if whole:
        assert tally.disk.whole
        assert tally.page.whole
        assert not tally.aborted
        assert not tally.unknown
    there = {info.pid for info in (await supervisors.kernels()).values()}
    assert kernels <= there, "every kernel lives"
    assert len(there) == NOTEBOOKS, "no kernel was left to nobody by a server that was killed while it started it"
    shown = [Count.of(await watcher.stream_text(number), LINES) for number in (0, 3)]
    assert all(count.perfect for count in shown) or not whole
    assert not await watcher.reloaded()
