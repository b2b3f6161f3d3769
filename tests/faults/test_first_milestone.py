"""A cell prints 1 to 10,000 while things break: the file and an open page show every line exactly once, without a reload."""

from __future__ import annotations

import asyncio
import signal

import pytest

from harness import faults, notebooks
from harness.browser import OpenPage
from harness.document_client import OpenDocument
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import MakeServer, Server

LINES = 10_000
SECONDS = 6
"""How long the cell prints, at the least."""
BREAKS = 3
"""How often things break while it does."""
LAST = int(LINES * 0.75)
"""The last line at which something may break; before the last lines the cell waits until everything that is to break has broken."""
CELL = f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {LINES * 9 // 10} and not os.path.exists("all-broken"):
        time.sleep(0.01)
    if number % 20 == 0:
        time.sleep({SECONDS * 20 / LINES})
"""
ROUNDS = 2 if faults.LONG else 1

pytestmark = pytest.mark.timeout(240)
# A killed server is a refused connection in the page's console.
server_is_away = pytest.mark.expect_console(r"net::ERR_|WebSocket connection to .* failed|Failed to load resource")


async def browser_run(server: Server, open_page: OpenPage, story: Story, number: signal.Signals) -> tuple[Count, Count, NotebookPage]:
    """One run watched by a page that was open all along; what is on disk, what is on the page, and the page."""
    path = server.root / "count.ipynb"
    notebooks.write(path, CELL)
    moments = Moments(server.root, story, range(20, LAST), BREAKS)
    await server.start()
    page = await NotebookPage(await open_page(server, "notebooks/count.ipynb")).loaded()
    await page.mark()
    await page.run_all()
    async for line in moments:
        await server.kill(number)
        pause = story.random.uniform(0, 0.5)
        story.say(f"{number.name} to the server at line {line:,}, {pause:.2f} s without one")
        await asyncio.sleep(pause)
        await server.start()
        story.say("the server answers again")
    await page.finished(seconds=90)
    story.say("the run is finished and saved")
    disk = Count.of(notebooks.stream_text(notebooks.read(path)["cells"][0]), LINES)
    shown = Count.of(await page.stream_text(0), LINES)
    return disk, shown, page


@pytest.mark.needs("chromium")
@server_is_away
@pytest.mark.parametrize("attempt", range(ROUNDS))
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
async def test_server_ended_while_a_cell_prints(
    attempt: int, number: signal.Signals, make_server: MakeServer, open_page: OpenPage, record_fault: RecordFault
) -> None:
    story = Story(f"{BREAKS} x {number.name} to the server while a cell prints {LINES:,} lines")
    server = make_server(options=("--on-stop=keep",))
    disk, shown, page = await browser_run(server, open_page, story, number)
    fault = f"{number.name} while a cell prints, page open all along"
    record_fault("the server goes", fault, times=BREAKS, disk=disk, page=shown)
    assert disk.whole
    assert shown.whole
    assert not await page.reloaded()


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_link_cut_while_a_cell_prints(attempt: int, server: Server, open_document: OpenDocument, record_fault: RecordFault) -> None:
    cuts = 4 * BREAKS
    story = Story(f"{cuts} cuts of the link while a cell prints {LINES:,} lines")
    path = server.root / "count.ipynb"
    notebooks.write(path, CELL)
    moments = Moments(server.root, story, range(20, LAST), cuts)
    page = await open_document(server, "count.ipynb")
    await page.run()
    async for line in moments:
        await page.cut()
        story.say(f"cut at line {line:,}")
    await page.until(lambda: page.state.get("queue") == [] and page.state["save"]["state"] == "saved", "the end of the run", seconds=90)
    story.say(f"the run is finished and saved; the link came back {page.links - 1} times")
    disk = Count.of(notebooks.stream_text(notebooks.read(path)["cells"][0]), LINES)
    shown = Count.of(page.text(0), LINES)
    record_fault(
        "the link goes or is bad", "cut without a word while a cell prints", times=cuts, disk=disk, page=shown, seconds=story.elapsed
    )
    assert disk.whole
    assert shown.whole
