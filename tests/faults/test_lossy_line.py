"""A browser on another host, over a line that loses packets, and that gets another address: real TCP, in network namespaces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from harness import faults, notebooks
from harness.bad_line import FAR, NEAR, BadLine
from harness.browser import OpenPage, launched
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import MakeServer

pytestmark = [
    pytest.mark.needs("chromium", "tun"),
    pytest.mark.timeout(400),
    pytest.mark.expect_log("event loop stood still", "without TLS"),
    pytest.mark.expect_console(r"WebSocket connection to|net::ERR_|Failed to load resource"),
]

DELAY, LOSS = 0.075, 0.05
"""Each way: 150 ms there and back."""
LINES = 10_000 if faults.LONG else 2_000
MOMENTS = 10 if faults.LONG else 3
CELL = f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {LINES} - 100 and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.002)
"""


@pytest_asyncio.fixture
async def browser(home: Path, bad_line: BadLine) -> AsyncIterator[Browser]:
    """The browser of this file's tests is on the other host."""
    async with launched(home, bad_line.on(NEAR)) as browser:
        yield browser


@pytest.mark.parametrize("moves", [False, True] if faults.LONG else [True])
async def test_lossy_line(moves: bool, make_server: MakeServer, bad_line: BadLine, open_page: OpenPage, record_fault: RecordFault) -> None:
    what = "150 ms and 5 % of packets lost" + (", and the browser's address changes" if moves else "")
    story = Story(what)
    server = make_server(host=FAR, prefix=bad_line.on(FAR), options=(f"--ip={FAR}", "--insecure"))
    await server.start()
    notebooks.write(server.root / "a.ipynb", CELL, "# 0")
    moments = Moments(server.root, story, range(20, LINES - 200), MOMENTS)
    bad_line.be(delay=DELAY, loss=LOSS)
    page = await NotebookPage(await open_page(server, "notebooks/a.ipynb")).loaded()
    story.say("the page is there")
    await page.mark()
    await page.cell(0).locator(".cm-content, .cell-source").first.click()
    await page.page.keyboard.press("ControlOrMeta+Enter")
    typed = 0
    async for line in moments:
        if moves and not typed:
            await bad_line.move("10.77.0.3")
            story.say(f"another address from line {line:,} on")
        typed += 1
        await page.type_into(1, f"\n# {typed}")
    await page.finished(seconds=120)
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    wanted = [f"# {number}" for number in range(typed + 1)]
    disk = Count.of(notebooks.stream_text(cells[0]), LINES) + Count.of_items(notebooks.joined(cells[1]["source"]).splitlines(), wanted)
    source = await page.cell(1).locator(".cm-line").all_text_contents()
    shown = Count.of(await page.stream_text(0), LINES) + Count.of_items(source, wanted)
    record_fault("the link goes or is bad", f"{what}; somebody types, a cell prints", disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
    assert not await page.reloaded()
