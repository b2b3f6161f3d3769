"""A cell prints 1 to 10,000 while things break: the file and an open page show every line exactly once, without a reload."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from harness import faults, notebooks
from harness.browser import OpenPage
from harness.document_client import OpenDocument
from harness.faults import Count, Row, Story
from harness.notebook_page import NotebookPage
from harness.server import MakeServer, Server

LINES = 10_000
SECONDS = 12
"""How long the cell prints, at the least: every fault happens while it does."""
CELL = f"""\
import time
for number in range(1, {LINES} + 1):
    print(number)
    if number % 20 == 0:
        time.sleep({SECONDS * 20 / LINES})
"""
KILLS = 3
ROUNDS = 20 if faults.LONG else 1

pytestmark = [pytest.mark.timeout(180)]
# A killed server is a refused connection in the page's console.
server_is_away = pytest.mark.expect_console(r"net::ERR_|WebSocket connection to .* failed|Failed to load resource")


async def kill_while_it_prints(server: Server, story: Story, number: signal.Signals) -> None:
    """Kill the server at random moments of the next seconds, and start it again after a random pause."""
    began = time.monotonic()
    for moment in sorted(story.random.uniform(0, SECONDS - 3) for _ in range(KILLS)):
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))  # the random moment is the point; nothing is waited for
        at = time.monotonic() - began
        assert at < SECONDS, "too slow: the cell may have finished before the kill"
        await server.kill(number)
        pause = story.random.uniform(0, 0.5)
        story.say(f"{number.name} to the server {at:.2f} s into the run, {pause:.2f} s without one")
        await asyncio.sleep(pause)
        await server.start()
        story.say("the server answers again")


async def browser_run(
    server: Server, open_page: OpenPage, story: Story, row: Row, number: signal.Signals
) -> tuple[Count, Count, NotebookPage]:
    """One run watched by a page that was open all along; what is on disk, what is on the page, and the page."""
    path = server.root / "count.ipynb"
    notebooks.write(path, CELL)
    await server.start()
    page = await NotebookPage(await open_page(server, "notebooks/count.ipynb")).loaded()
    await page.mark()
    await page.run_all()
    await page.cell(0).locator(".stream-text").first.wait_for()
    await kill_while_it_prints(server, story, number)
    await page.finished(seconds=60)
    story.say("the run is finished and saved")
    disk = Count.of(notebooks.stream_text(notebooks.read(path)["cells"][0]), LINES)
    shown = Count.of(await page.stream_text(0), LINES)
    row.add(times=KILLS, disk=disk, page=shown, seconds=story.elapsed)
    story.say(f"on disk: {disk}")
    story.say(f"on the page: {shown}")
    return disk, shown, page


@pytest.mark.needs("chromium")
@server_is_away
@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_server_killed_while_a_cell_prints(attempt: int, make_server: MakeServer, open_page: OpenPage, fault_row: Row) -> None:
    """server killed (SIGKILL), page open all along."""
    story = Story(f"{KILLS} kills of the server while a cell prints {LINES:,} lines")
    disk, shown, page = await browser_run(make_server(), open_page, story, fault_row, signal.SIGKILL)
    assert disk.perfect
    assert shown.perfect
    assert not await page.reloaded()


@pytest.mark.needs("chromium")
@server_is_away
@pytest.mark.parametrize("attempt", range(ROUNDS if faults.LONG else 0))
async def test_server_stopped_while_a_cell_prints(attempt: int, make_server: MakeServer, open_page: OpenPage, fault_row: Row) -> None:
    """server stopped (SIGTERM), page open all along."""
    story = Story(f"{KILLS} stops of the server while a cell prints {LINES:,} lines")
    server = make_server(options=("--on-stop=keep",))
    disk, shown, page = await browser_run(server, open_page, story, fault_row, signal.SIGTERM)
    assert disk.perfect
    assert shown.perfect
    assert not await page.reloaded()


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_link_cut_while_a_cell_prints(attempt: int, server: Server, open_document: OpenDocument, fault_row: Row) -> None:
    """link cut without a word, client of the document socket."""
    story = Story(f"cuts of the link while a cell prints {LINES:,} lines")
    path = server.root / "count.ipynb"
    notebooks.write(path, CELL)
    page = await open_document(server, "count.ipynb")
    await page.run()
    began, cuts = time.monotonic(), 0
    while time.monotonic() - began < SECONDS - 2:
        await asyncio.sleep(story.random.uniform(0.1, 1.5))  # the random moment is the point; nothing is waited for
        await page.cut()
        cuts += 1
    story.say(f"cut the link {cuts} times; it came back {page.links - 1} times")
    await page.until(lambda: page.state.get("queue") == [] and page.state["save"]["state"] == "saved", "the end of the run", seconds=60)
    disk = Count.of(notebooks.stream_text(notebooks.read(path)["cells"][0]), LINES)
    shown = Count.of(page.text(0), LINES)
    fault_row.add(times=cuts, disk=disk, page=shown, seconds=story.elapsed)
    story.say(f"on disk: {disk}; in the client: {shown}")
    assert disk.perfect
    assert shown.perfect
