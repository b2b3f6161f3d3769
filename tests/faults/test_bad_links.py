"""A page over bad links: closed by a proxy whenever idle, half-open. What is typed and what is printed meanwhile stands there once.

Cut without a word: test_first_milestone.py. Lost packets and another address: test_lossy_line.py.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from harness import faults, notebooks
from harness.bad_link import MakeLink
from harness.browser import OpenPage
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(400),
    pytest.mark.expect_log("event loop stood still"),
    pytest.mark.expect_console(r"WebSocket connection to|net::ERR_|Failed to load resource"),
]

SOCKET = "GET /api/documents/socket"
NOTICED = 10
"""Seconds within which a page knows that its link is dead."""
LINES = 1_200
PAUSES = 4
# The page's clock is the test's.
NOTE_LOSS = """() => {
    const root = document.documentElement;
    new MutationObserver((_, observer) => {
        if (root.dataset.link !== "online") { globalThis.lostAt = Date.now(); observer.disconnect(); }
    }).observe(root, { attributes: true, attributeFilter: ["data-link"] });
}"""
WATCHED = f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number, flush=True)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {LINES} - 50 and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.001)
"""


def burst(pause: float) -> str:
    """Prints 1 to LINES in bursts, with pauses of so many seconds between them."""
    return f"""\
import time
for number in range(1, {LINES} + 1):
    print(number)
    if number % {LINES // PAUSES} == 0:
        time.sleep({pause})
"""


def typed(source: str, expected: int) -> Count:
    """Count the lines that a person typed: numbers in comments."""
    return Count.of("\n".join(line.removeprefix("# ") for line in source.splitlines()), expected)


def on_disk(server: Server) -> tuple[str, str]:
    """What the first cell printed, and the source of the second."""
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    return notebooks.stream_text(cells[0]), notebooks.joined(cells[1]["source"])


async def shown_source(page: NotebookPage, number: int) -> str:
    """The source of a cell as its editor shows it."""
    return "\n".join(await page.cell(number).locator(".cm-line").all_text_contents())


@pytest.mark.parametrize("idle", [0.4, 60] if faults.LONG else [0.4])
async def test_a_proxy_closes_idle_connections(
    idle: float, server: Server, bad_link: MakeLink, open_page: OpenPage, record_fault: RecordFault
) -> None:
    """With less than half a second each pause is a cut; a minute is never reached, since pages ping."""
    story = Story(f"a proxy that closes connections which are idle for {idle} s")
    pause = 1.2 * idle + 0.3
    notebooks.write(server.root / "a.ipynb", burst(pause), "# 0")
    link = await bad_link(server)
    page = await NotebookPage(await open_page(link, "notebooks/a.ipynb")).loaded()  # type: ignore[arg-type]
    await page.mark()
    link.idle = idle
    async with page.page.expect_event("websocket"):
        link.cut()  # it is for the connections that are made from now on
    await page.state(link="online")
    before = link.requests.count(SOCKET)
    await page.cell(0).locator(".cm-content, .cell-source").first.click()
    await page.page.keyboard.press("ControlOrMeta+Enter")
    for number in range(1, PAUSES + 1):
        await page.type_into(1, f"\n# {number}")
        await asyncio.sleep(pause)  # idle for longer than the proxy stands
    link.idle = 0
    await page.finished(seconds=60 + 6 * pause)
    links = link.requests.count(SOCKET) - before
    story.say(f"the page came back {links} times")
    text, source = on_disk(server)
    disk = Count.of(text, LINES) + typed(source.removeprefix("# 0\n"), PAUSES)
    shown = Count.of(await page.stream_text(0), LINES) + typed((await shown_source(page, 1)).removeprefix("# 0\n"), PAUSES)
    fault = f"a proxy closes connections that are idle for {idle} s; somebody types, a cell prints"
    record_fault("the link goes or is bad", fault, times=max(1, links), disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
    assert (links > 0) == (idle < 1), "pages ping every few seconds"
    assert not await page.reloaded()


async def test_half_open(server: Server, bad_link: MakeLink, open_page: OpenPage, record_fault: RecordFault) -> None:
    rounds = 5 if faults.LONG else 1
    story = Story(f"{rounds} x half-open: no byte passes, and nobody says so")
    notebooks.write(server.root / "a.ipynb", WATCHED, "# 0")
    moments = Moments(server.root, story, range(20, LINES - 100), rounds)
    link = await bad_link(server)
    page = await NotebookPage(await open_page(link, "notebooks/a.ipynb")).loaded()  # type: ignore[arg-type]
    await page.mark()
    await page.cell(0).locator(".cm-content, .cell-source").first.click()
    await page.page.keyboard.press("ControlOrMeta+Enter")
    times: list[float] = []
    number = 0
    async for line in moments:
        await page.page.evaluate(NOTE_LOSS)
        link.go_silent()
        began = time.time()
        number += 1
        await page.type_into(1, f"\n# {number}")
        await page.page.locator("html:not([data-link='online'])").wait_for(state="attached")
        times.append(await page.page.evaluate("() => globalThis.lostAt") / 1000 - began)
        story.say(f"silent from line {line:,} on; noticed after {times[-1]:.1f} s")
        number += 1
        await page.type_into(1, f"\n# {number}")
        link.bring_up()
        await page.state(link="online", waiting="0")
    await page.finished(seconds=60)
    text, source = on_disk(server)
    disk = Count.of(text, LINES) + typed(source.removeprefix("# 0\n"), number)
    shown = Count.of(await page.stream_text(0), LINES) + typed((await shown_source(page, 1)).removeprefix("# 0\n"), number)
    fault = f"half-open, noticed within {NOTICED} s; somebody types on, a cell prints"
    record_fault("the link goes or is bad", fault, times=rounds, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
    assert max(times) < NOTICED, times
    assert not await page.reloaded()
