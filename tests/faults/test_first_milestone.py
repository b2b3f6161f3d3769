"""A cell prints 1 to 10,000 while processes are killed: the file and an open page show every line exactly once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness import faults, notebooks
from harness.browser import OpenPage
from harness.faults import Count, Row, Story
from harness.notebook_page import NotebookPage
from harness.server import MakeServer, Server

LINES = 10_000
SECONDS = 12
"""How long the cell prints, at the least: every kill happens while it does."""
CELL = f"""\
import time
for number in range(1, {LINES} + 1):
    print(number)
    if number % 20 == 0:
        time.sleep({SECONDS * 20 / LINES})
"""
ROUNDS = 20 if faults.LONG else 1

# A killed server is a refused connection in the page's console.
pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.expect_console(r"net::ERR_|WebSocket connection to .* failed|Failed to load resource"),
    pytest.mark.timeout(180),
]


async def print_while(server: Server, page: NotebookPage, path: Path, story: Story, kills: int) -> None:
    """Run the cell, kill the server at random moments and start it again, and wait until all is finished and saved."""
    await page.run_all()
    await page.cell(0).locator(".stream-text").first.wait_for()
    began = asyncio.get_running_loop().time()
    moments = sorted(story.random.uniform(0, SECONDS - 3) for _ in range(kills))
    for moment in moments:
        now = asyncio.get_running_loop().time() - began
        await asyncio.sleep(max(0.0, moment - now))  # the random moment is the point, nothing is waited for
        at = asyncio.get_running_loop().time() - began
        assert at < SECONDS, "too slow: the cell may have finished before the kill"
        await server.kill()
        pause = story.random.uniform(0, 0.5)
        story.say(f"killed the server {at:.2f} s into the run; {pause:.2f} s of silence")
        await asyncio.sleep(pause)
        await server.start()
        story.say("it answers again")
    await page.page.get_by_text(str(LINES), exact=False).first.wait_for(state="attached", timeout=60_000)
    await page.finished(seconds=60)
    story.say("the run is finished and saved")


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_server_killed_while_a_cell_prints(attempt: int, make_server: MakeServer, open_page: OpenPage, fault_row: Row) -> None:
    """SIGKILL of the server while a cell prints 1 to 10,000."""
    kills = 3
    story = Story(f"{kills} kills of the server while a cell prints {LINES:,} lines")
    server = make_server()
    path = server.root / "count.ipynb"
    notebooks.write(path, CELL)
    await server.start()
    page = await NotebookPage(await open_page(server, "notebooks/count.ipynb")).loaded()
    await page.mark()

    await print_while(server, page, path, story, kills)

    disk = Count.of(notebooks.stream_text(notebooks.read(path)["cells"][0]), LINES)
    shown = Count.of(await page.stream_text(0), LINES)
    fault_row.add(times=kills, disk=disk, page=shown, seconds=story.elapsed)
    story.say(f"on disk: {disk}")
    story.say(f"on the page: {shown}")
    assert disk.perfect
    assert shown.perfect
    assert not await page.reloaded()
