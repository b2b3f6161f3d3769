"""A cell floods while one browser is slow and others do not read at all: they are brought up to date, and nobody else notices.

How much memory each reader costs: tests/integration/test_slow_reader.py.
"""

from __future__ import annotations

import psutil
import pytest

from harness import faults, notebooks
from harness.bad_link import MakeLink
from harness.browser import OpenPage
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import Count, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(400),
    pytest.mark.expect_log("event loop stood still"),
    pytest.mark.expect_console(r"WebSocket connection to|net::ERR_|Failed to load resource"),
]

LINES = 2_000
SECONDS = 30 if faults.LONG else 4
READERS = 5
RATE = 64 if faults.LONG else 128
"""Kilobits per second of the slow browser's link."""
MEMORY = 64
"""MiB that the server may grow by: a journal that is read, a document that changes, half a megabyte a reader."""
# Random, so that no compression makes it little; shown and replaced again and again, so that the end is much less than the flood.
FLOOD = f"""\
import os, time
from IPython.display import clear_output
end = time.time() + {SECONDS}
while time.time() < end:
    for _ in range(400):
        print(os.urandom(300).hex())
    clear_output()
    time.sleep(0.05)
clear_output()
for number in range(1, {LINES} + 1):
    print(number)
"""
OTHER = f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number, flush=True)
    time.sleep({SECONDS} / {LINES})
"""


def shown(page: DocumentClient) -> Count:
    """The lines of a client's only cell."""
    return Count.of(page.text("cell-0"), LINES)


def on_disk(server: Server, name: str) -> Count:
    """The lines of a notebook's only cell."""
    return Count.of(notebooks.stream_text(notebooks.read(server.root / name)["cells"][0]), LINES)


def memory(server: Server) -> int:
    """MiB that the server's process holds by itself."""
    return psutil.Process(server.pid).memory_full_info().uss >> 20


async def test_flood(
    server: Server, bad_link: MakeLink, open_page: OpenPage, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story(
        f"a flood of {SECONDS} s: one browser on {RATE} kbit/s, {READERS} pages that stop reading, one that reads, another notebook"
    )
    notebooks.write(server.root / "flood.ipynb", FLOOD)
    notebooks.write(server.root / "other.ipynb", OTHER)
    link = await bad_link(server)
    slow = await NotebookPage(await open_page(link, "notebooks/flood.ipynb")).loaded()  # type: ignore[arg-type]
    await slow.mark()
    stopped = [await open_document(server, "flood.ipynb") for _ in range(READERS)]
    fast, other = await open_document(server, "flood.ipynb"), await open_document(server, "other.ipynb")
    await fast.operate("start_kernel", name="python3", seconds=60)
    await other.operate("start_kernel", name="python3", seconds=60)
    before = most = memory(server)
    link.rate = RATE * 1000 / 8
    for page in stopped:
        page.stop_reading()
    await other.run()
    await fast.run()
    while not shown(fast).whole:
        updates = fast.updates
        await fast.until(lambda updates=updates: fast.updates > updates, "more", seconds=60)
        most = max(most, memory(server))
    story.say(f"the flood is over for those who read; {before} MiB before, at most {most} MiB")
    await fast.idle(seconds=60)
    await other.idle(seconds=60)
    await slow.finished(seconds=60)
    story.say("the slow browser is up to date")
    for page in stopped:
        page.read_on()
        await page.until(lambda page=page: shown(page).whole, "the lines", seconds=60)
    await fast.operate("save")
    await other.operate("save")
    disk = on_disk(server, "flood.ipynb")
    on_pages = {
        f"a browser on {RATE} kbit/s, while a cell floods": Count.of(await slow.stream_text(0), LINES),
        "a page that reads nothing, while a cell floods": shown(stopped[0]),
        "a page that reads beside them": shown(fast),
    }
    for fault, count in on_pages.items():
        record_fault("slow readers", fault, times=1, disk=disk, page=count, seconds=story.elapsed)
    record_fault(
        "slow readers", "another notebook beside them", disk=on_disk(server, "other.ipynb"), page=shown(other), seconds=story.elapsed
    )
    assert disk.whole
    assert on_disk(server, "other.ipynb").whole
    assert shown(other).whole
    assert all(count.whole for count in on_pages.values())
    assert all(shown(page).whole for page in stopped)
    assert most - before < MEMORY
    assert not await slow.reloaded()
