"""The tab goes while cells run, wait and ask: whoever opens the notebook later, elsewhere, finds all of it and goes on live."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable

import psutil
import pytest
from playwright.async_api import Page, expect

from harness import faults, notebooks
from harness.browser import OpenPage
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(240), pytest.mark.expect_log("event loop stood still")]

LINES = 1_800
SEEN = 1_200
"""Lines of the first cell; those of the last one come when the question has been answered."""
ROUNDS = 3 if faults.LONG else 1
_COUNT = f"""\
import os, time
for number in range(1, {SEEN} + 1):
    print(number, flush=True)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {SEEN} - 200 and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.001)
"""
_WIDGET = "from ipywidgets import IntProgress\nbar = IntProgress(value=7, max=10)\nbar"
_ASK = "name = input('Who? ')\nassert name == 'Ada', name\nbar.value += 1"
_REST = f"assert bar.value == 8\nfor number in range({SEEN} + 1, {LINES} + 1):\n    print(number, flush=True)\n    time.sleep(0.001)"


async def close(page: Page) -> None:
    """Somebody closes the tab."""
    await page.close()


async def kill_renderers(page: Page) -> None:
    """The tab crashes: its process is killed, and with it whatever other tabs of this test's browser there are (none)."""
    crashed = asyncio.Event()
    page.once("crash", lambda _: crashed.set())
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if "--type=renderer" in process.cmdline():
                os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(crashed.wait(), 30)
    await page.close()


async def lines_on_disk(server: Server, wanted: int) -> str:
    """Wait until the file has so many lines of the first cell, though nobody looks at a page; all that it has."""
    deadline = time.monotonic() + 60
    while True:
        text = notebooks.stream_text((await asyncio.to_thread(notebooks.read, server.root / "a.ipynb"))["cells"][0])
        if text.count("\n") >= wanted:
            return text
        assert time.monotonic() < deadline, f"{wanted} lines were not saved; {text.count(chr(10))} were"
        await asyncio.sleep(0.1)  # a file tells nobody that it changed


@pytest.mark.parametrize("attempt", range(ROUNDS))
@pytest.mark.parametrize(
    ("how", "leave"), [pytest.param("closed", close, id="closed"), pytest.param("its process is killed", kill_renderers, id="crashed")]
)
async def test_tab_goes(
    how: str, leave: Callable[[Page], Awaitable[None]], attempt: int, server: Server, open_page: OpenPage, record_fault: RecordFault
) -> None:
    story = Story(f"the tab goes ({how}) while a cell prints; a widget, a question and another cell wait behind it")
    notebooks.write(server.root / "a.ipynb", _COUNT, _WIDGET, _ASK, _REST)
    moments = Moments(server.root, story, range(20, SEEN - 300), 1)
    first = await NotebookPage(await open_page(server, "notebooks/a.ipynb")).loaded()
    await first.run_all()
    async for line in moments:
        await leave(first.page)
        story.say(f"gone at line {line:,}")
    assert Count.of(await lines_on_disk(server, SEEN), SEEN).whole, "the file has the lines as they come"
    story.say("the first cell is over, and stands in the file")

    phone = await NotebookPage(await open_page(server, "notebooks/a.ipynb", size=(360, 740))).loaded()
    await phone.mark()
    await phone.state(queue="2")
    field = phone.cell(2).get_by_role("textbox", name="Who?")
    await field.wait_for()
    assert Count.of(await phone.stream_text(0), SEEN).whole
    await expect(phone.cell(1)).to_contain_text("interactive widget")
    await field.fill("Ada")
    await field.press("Enter")
    await phone.finished(seconds=90)
    story.say("another browser has answered the question and seen the rest")
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    disk = Count.of(notebooks.stream_text(cells[0]) + notebooks.stream_text(cells[3]), LINES)
    shown = Count.of(await phone.stream_text(0) + await phone.stream_text(3), LINES)
    record_fault("the tab goes", f"{how}, cells and a question wait; another browser goes on", disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
    assert not await phone.reloaded()
    (view,) = cells[1]["outputs"]
    assert "application/vnd.jupyter.widget-view+json" in view["data"]
