"""A proxy refuses WebSockets while cells print: over Server-Sent Events and POST come the same lines, soon, and each once."""

from __future__ import annotations

import re

import pytest

from harness import faults, notebooks
from harness.bad_link import MakeLink, Upgrade
from harness.browser import OpenPage
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(240),
    pytest.mark.expect_log("event loop stood still"),
    pytest.mark.expect_console(r"WebSocket connection to|net::ERR_|Failed to load resource"),
]

LINES = 2_000 if faults.LONG else 400
SOON = 300
"""Milliseconds from print() to the page."""
WAYS: dict[Upgrade, str] = {
    "403": "a proxy answers 403 to them",
    "strip": "a proxy strips Upgrade from requests",
    "400": "a proxy answers 400 to them",
    "hang": "a proxy never answers them",
}
# Chromium's clock and the kernel's are one: each line is followed by the time at which it was printed.
CELL = f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number, time.time(), flush=True)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {LINES} - 50 and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.008)
"""
WATCH = """() => {
    const seen = new Map();
    globalThis.delays = seen;
    const look = () => {
        const text = [...document.querySelectorAll(".stream-text")].map((e) => e.textContent).join("");
        for (const [line, number, at] of text.matchAll(/^([0-9]+) ([0-9.]+)$/gm))
            if (!seen.has(number)) seen.set(number, Date.now() - 1000 * Number(at));
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def numbers(text: str) -> str:
    """The lines without their times."""
    return re.sub(r"(?m) [0-9.]+$", "", text)


@pytest.mark.parametrize(
    ("upgrade", "cuts"), [(upgrade, cuts) for upgrade in WAYS for cuts in (0, 3)] if faults.LONG else [("403", 0), ("strip", 3)]
)
async def test_lines_over_plain_http(
    upgrade: Upgrade, cuts: int, server: Server, bad_link: MakeLink, open_page: OpenPage, record_fault: RecordFault
) -> None:
    story = Story(f"{WAYS[upgrade]}; {cuts} cuts")
    notebooks.write(server.root / "a.ipynb", "x = 1", CELL)
    moments = Moments(server.root, story, range(20, LINES - 100), cuts)
    link = await bad_link(server, upgrade=upgrade)
    page = await NotebookPage(await open_page(link, "notebooks/a.ipynb")).loaded()  # type: ignore[arg-type]
    await page.state(transport="HTTP")
    await page.mark()
    await page.page.evaluate(WATCH)
    await page.run_all()
    async for line in moments:
        link.cut()
        story.say(f"cut at line {line:,}")
    await page.finished(seconds=90)
    delays: list[float] = sorted(await page.page.evaluate("() => [...globalThis.delays.values()]"))
    disk = Count.of(numbers(notebooks.stream_text(notebooks.read(server.root / "a.ipynb")["cells"][1])), LINES)
    shown = Count.of(numbers(await page.stream_text(1)), LINES)
    story.say(f"from print() to the page: median {delays[LINES // 2]:.0f} ms, 95 % {delays[LINES * 95 // 100]:.0f}, most {delays[-1]:.0f}")
    fault = f"{WAYS[upgrade]}{', and cuts the link while a cell prints' if cuts else ''}"
    record_fault("no WebSockets", fault, times=max(1, cuts), disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
    assert len(delays) == LINES
    # Not the slowest ones: they tell about the machine that runs the tests.
    assert delays[LINES // 2] < SOON
    assert not await page.reloaded()
