"""A proxy refuses WebSockets, in each of the ways that are seen: the page works over plain HTTP, and says so."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.bad_link import MakeLink, Upgrade
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.expect_console(r"WebSocket connection to")]

# Chromium's clock and the kernel's are one; each line carries the time at which it was printed.
TICKS = "import time\nfor n in range(30):\n    print(time.time(), flush=True)\n    time.sleep(0.1)"
WATCH = """() => {
    const seen = new Set();
    globalThis.delays = [];
    const look = () => {
        for (const line of [...document.querySelectorAll(".stream-text")].map((e) => e.textContent).join("").split("\\n"))
            if (/^[0-9.]+$/.test(line) && !seen.has(line)) { seen.add(line); globalThis.delays.push(Date.now() - 1000 * Number(line)); }
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@pytest.mark.parametrize("upgrade", ["400", "403", "strip", "hang"])
async def test_a_page_works_where_upgrades_are_refused(server: Server, bad_link: MakeLink, open_page: OpenPage, upgrade: Upgrade) -> None:
    """WebSockets are refused."""
    notebooks.write(server.root / "a.ipynb", "x = 1", TICKS)
    link = await bad_link(server, upgrade=upgrade)
    page = await NotebookPage(await open_page(link, "notebooks/a.ipynb")).loaded()  # type: ignore[arg-type]
    await page.state(transport="HTTP")
    await expect(page.page.get_by_role("button", name="Link to the server: Online over HTTP")).to_be_visible()
    await expect(page.page.get_by_role("log", name="Messages")).to_contain_text("blocks WebSockets")
    await page.type_into(0, "\nprint('typed')")
    await page.page.evaluate(WATCH)
    await page.run_all()
    await page.finished()
    assert "typed" in await page.stream_text(0)
    delays = sorted(await page.page.evaluate("() => globalThis.delays"))
    print(f"{upgrade}: output delays in ms: median {delays[len(delays) // 2]:.0f}, largest {delays[-1]:.0f}")
    assert len(delays) == 30
    assert delays[-2] < 300, delays  # one may be hit by the rest of this machine
    assert notebooks.joined(notebooks.read(server.root / "a.ipynb")["cells"][0]["source"]) == "x = 1\nprint('typed')"


async def test_six_tabs_share_one_stream(server: Server, bad_link: MakeLink, open_page: OpenPage) -> None:
    link = await bad_link(server, upgrade="403")
    names = [f"n{number}" for number in range(6)]
    for name in names:
        notebooks.write(server.root / f"{name}.ipynb", f"print('this is {name}')")
    tabs = [NotebookPage(await open_page(link, "notebooks/n0.ipynb"))]  # type: ignore[arg-type]
    for name in names[1:]:
        tabs.append(NotebookPage(await open_page(link, f"notebooks/{name}.ipynb", context=tabs[0].page.context)))  # type: ignore[arg-type]
    for tab in tabs:
        await tab.loaded()
        await tab.state(transport="HTTP")
    assert link.requests.count("GET /api/documents/events") == 1
    for tab in tabs:
        await tab.run_all()
    for name, tab in zip(names, tabs, strict=True):
        await tab.finished(seconds=60)
        assert (await tab.stream_text(0)).strip() == f"this is {name}"
    # Pages, files and the rest of the API still get through: the browser has connections left.
    assert await tabs[3].page.evaluate("async () => (await fetch('/api/status', {headers: {Accept: 'application/json'}})).status") == 200
    # The tab that holds the stream goes: another one takes over, and the others go on without a reload.
    for tab in tabs[1:]:
        await tab.mark()
    await tabs[0].page.close()
    for name, tab in zip(names[1:], tabs[1:], strict=True):
        await tab.type_into(0, f"\nprint('and again {name}')")
        await tab.run_all()
    for name, tab in zip(names[1:], tabs[1:], strict=True):
        await expect(tab.cell(0).locator(".stream-text")).to_contain_text(f"and again {name}", timeout=60_000)
        assert not await tab.reloaded()


async def test_the_page_goes_back_to_a_websocket_when_it_can(server: Server, bad_link: MakeLink, open_page: OpenPage) -> None:
    notebooks.write(server.root / "a.ipynb", "x = 1")
    link = await bad_link(server, upgrade="403")
    raw = await open_page(link, "notebooks/a.ipynb")  # type: ignore[arg-type]
    page = await NotebookPage(raw).loaded()
    await page.state(transport="HTTP")
    # This browser remembers it: another tab does not ask for a WebSocket first, and does not say it again.
    before = link.requests.count("GET /api/documents/socket")
    second = await NotebookPage(await open_page(link, "notebooks/a.ipynb", context=raw.context)).loaded()  # type: ignore[arg-type]
    await second.state(transport="HTTP")
    assert link.requests.count("GET /api/documents/socket") == before
    await expect(second.page.get_by_role("log", name="Messages")).to_be_empty()
    link.upgrade = "pass"
    await page.mark()
    await page.page.bring_to_front()
    await page.page.evaluate("() => dispatchEvent(new Event('online'))")  # the browser is on another network now
    await page.state(transport="WebSocket", link="online", seconds=60)
    await page.type_into(0, "\ny = 2")
    await page.finished()
    assert not await page.reloaded()
