"""The link is cut, goes silent, is closed when idle, or is slow: people go on, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import time

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.bad_link import BadLink, MakeLink
from harness.browser import OpenPage
from harness.document_client import OpenDocument
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.expect_console(r"WebSocket connection to|net::ERR_|Failed to load resource")]


async def opened(server: Server, link: BadLink, open_page: OpenPage, *cells: str) -> NotebookPage:
    """A page on a notebook of these cells, over the link, with its editor loaded."""
    notebooks.write(server.root / "a.ipynb", *cells)
    page = await NotebookPage(await open_page(link, "notebooks/a.ipynb")).loaded()  # type: ignore[arg-type]
    await page.type_into(0, " ")
    await page.state(waiting="0")
    await page.mark()
    return page


async def test_work_goes_on_while_the_link_is_cut(
    server: Server, bad_link: MakeLink, open_page: OpenPage, open_document: OpenDocument
) -> None:
    link = await bad_link(server)
    page = await opened(server, link, open_page, "a = 1", "b = 1", "c = 1", "d = 1")
    other = await open_document(server, "a.ipynb")
    link.take_down()
    await page.page.locator("html:not([data-link='online'])").wait_for(state="attached")
    # Offline: typing, a new cell, a moved cell.
    await page.type_into(1, "\nmine = 1")
    await page.type_into(2, "\nmine = 2")
    await page.page.keyboard.press("Escape")
    await page.press("Insert cell below")
    await page.type_into(3, "new = 1")
    await page.page.locator("html[data-link='offline']").wait_for(state="attached")
    await expect(page.page.get_by_role("button", name="Link to the server: Offline")).to_contain_text("changes waiting")
    # Meanwhile another one moves the first of them, deletes the second, and types.
    other.move("cell-1", 0)
    other.type("cell-1", "theirs = 1\n", at=0)
    other.delete("cell-2")
    other.type("cell-3", "\ntheirs = 3")
    await other.committed()
    link.bring_up()
    began = time.monotonic()
    await page.state(link="online", waiting="0")
    print(f"online again after {time.monotonic() - began:.1f} s")
    wanted = ["theirs = 1\nb = 1\nmine = 1", "a = 1 ", "c = 1\nmine = 2", "new = 1", "d = 1\ntheirs = 3"]
    await other.until(lambda: sorted(other.texts().values()) == sorted(wanted), f"{wanted}, not {other.texts()}")
    marks = {text: cell["metadata"].to_py() for text, cell in zip(other.texts().values(), other.cells, strict=True)}
    assert marks["c = 1\nmine = 2"] == {"homeport": {"conflict": {"cell": "cell-2"}}}
    # Undo of what was done before the cut and during it.
    new = next(index for index, text in enumerate(other.texts().values()) if text == "new = 1")
    await asyncio.sleep(0.7)  # what is typed within 600 ms of each other is undone in one step
    await page.type_into(new, " # more")
    await page.page.keyboard.press("ControlOrMeta+z")
    await expect(page.cell(new)).to_contain_text("new = 1")
    await expect(page.cell(new)).not_to_contain_text("# more")
    await page.finished()
    assert sorted(notebooks.sources(server.root / "a.ipynb")) == sorted(wanted)
    assert not await page.reloaded()


async def test_a_half_open_link_is_noticed_within_ten_seconds(server: Server, bad_link: MakeLink, open_page: OpenPage) -> None:
    link = await bad_link(server)
    page = await opened(server, link, open_page, "a = 1")
    link.go_silent()
    began = time.monotonic()
    await page.type_into(0, "\nb = 2")
    await page.page.locator("html:not([data-link='online'])").wait_for(state="attached")
    noticed = time.monotonic() - began
    print(f"noticed after {noticed:.1f} s")
    assert noticed < 10, noticed
    link.bring_up()
    await page.state(link="online", waiting="0")
    await page.finished()
    assert notebooks.sources(server.root / "a.ipynb") == ["a = 1 \nb = 2"]
    assert not await page.reloaded()


async def test_the_page_comes_back_at_once_when_the_browser_says_that_it_is_online(
    server: Server, bad_link: MakeLink, open_page: OpenPage
) -> None:
    link = await bad_link(server)
    page = await opened(server, link, open_page, "a = 1")
    link.take_down()
    await page.page.context.set_offline(True)
    await page.page.locator("html[data-link='offline']").wait_for(state="attached")
    await asyncio.sleep(6)  # until the delays between attempts are long
    link.bring_up()
    began = time.monotonic()
    await page.page.context.set_offline(False)
    await page.state(link="online")
    print(f"online {time.monotonic() - began:.2f} s after the browser")
    assert time.monotonic() - began < 3


async def test_a_proxy_that_closes_idle_connections(server: Server, bad_link: MakeLink, open_page: OpenPage) -> None:
    link = await bad_link(server, idle=6)
    page = await opened(server, link, open_page, "a = 1")
    before = link.requests.count("GET /api/documents/socket")
    await asyncio.sleep(9)  # idle for longer than the proxy stands: pings keep the link open
    assert link.requests.count("GET /api/documents/socket") == before
    await page.state(link="online")
    link.idle = 0.4  # now it stands nothing: every pause is a cut
    link.cut()
    for number in range(8):
        await page.type_into(0, f"\nx{number} = {number}")
        await asyncio.sleep(0.5)
    await page.state(waiting="0")
    assert link.requests.count("GET /api/documents/socket") > before + 2
    link.idle = 0
    await page.finished()
    assert notebooks.sources(server.root / "a.ipynb") == ["a = 1 " + "".join(f"\nx{number} = {number}" for number in range(8))]
    assert not await page.reloaded()


async def test_a_run_is_asked_for_while_the_link_is_cut(server: Server, bad_link: MakeLink, open_page: OpenPage) -> None:
    link = await bad_link(server, delay=0.075)
    page = await opened(server, link, open_page, "import os; n = globals().get('n', 0) + 1; print('run', n)")
    link.take_down()
    await page.page.locator("html:not([data-link='online'])").wait_for(state="attached")
    await page.run_all()
    link.bring_up()
    await expect(page.cell(0).locator(".stream-text")).to_contain_text("run 1", timeout=30_000)
    # Cut again and again while it runs: it runs once each time that somebody asked.
    for number in (2, 3):
        await page.run_all()
        link.cut()
        await expect(page.cell(0).locator(".stream-text")).to_contain_text(f"run {number}", timeout=30_000)
    await page.finished()
    assert (await page.stream_text(0)).strip() == "run 3"
