"""The journey "Open, edit, save", in a real browser."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")


async def expect_file(path: Path, wanted: list[str], *, seconds: float = 15) -> None:
    """Wait until the cells of the file have these sources."""
    deadline = time.monotonic() + seconds
    while notebooks.sources(path) != wanted:
        assert time.monotonic() < deadline, f"{notebooks.sources(path)} is in the file, not {wanted}"
        await asyncio.sleep(0.05)  # a file tells nobody that it changed


async def test_what_is_typed_is_in_the_file_without_a_click(server: Server, open_page: OpenPage) -> None:
    path = server.root / "note.ipynb"
    notebooks.write(path, "x = 1", ("markdown", "# A title"))
    page = await NotebookPage(await open_page(server, "notebooks/note.ipynb")).loaded()
    await page.type_into(0, "\ny = 2")
    await page.finished()
    # "saved" may be of before the edit: the file is what counts.
    await expect_file(path, ["x = 1\ny = 2", "# A title"])


async def test_cells_are_inserted_and_deleted(server: Server, open_page: OpenPage) -> None:
    path = server.root / "cells.ipynb"
    notebooks.write(path, "a = 1", "b = 2", "c = 3")
    page = await NotebookPage(await open_page(server, "notebooks/cells.ipynb")).loaded()
    await page.cell(0).locator(".cell-source").click()
    await page.page.keyboard.press("Escape")
    await page.press("Insert cell below")
    await page.type_into(1, "between = 1.5")
    # As fast as keys can come: none may still reach the editor that was left.
    await asyncio.gather(*(page.page.keyboard.press(key) for key in ("Escape", "j", "d")))
    await page.page.keyboard.press("d")
    await expect_file(path, ["a = 1", "between = 1.5", "c = 3"])


async def test_two_people_see_each_others_edits(server: Server, open_page: OpenPage) -> None:
    path = server.root / "shared.ipynb"
    notebooks.write(path, "mine = 1", "yours = 2")
    first = await NotebookPage(await open_page(server, "notebooks/shared.ipynb")).loaded()
    second = await NotebookPage(await open_page(server, "notebooks/shared.ipynb")).loaded()
    await first.type_into(0, "  # from the first")
    await second.type_into(1, "  # from the second")
    await expect(second.cell(0)).to_contain_text("# from the first")
    await expect(first.cell(1)).to_contain_text("# from the second")
    await expect_file(path, ["mine = 1  # from the first", "yours = 2  # from the second"])


@pytest.mark.expect_console(r"net::ERR_|WebSocket connection|Failed to load resource")
async def test_edits_made_while_the_server_was_down_are_merged(server: Server, open_page: OpenPage) -> None:
    path = server.root / "offline.ipynb"
    notebooks.write(path, "a = 1")
    page = await NotebookPage(await open_page(server, "notebooks/offline.ipynb")).loaded()
    await page.mark()
    await page.type_into(0, "\n")  # the editor is loaded before the server goes
    await server.kill()
    await page.page.locator("html:not([data-link='online'])").wait_for(state="attached")
    await page.type_into(0, "b = 2")
    await page.page.locator("html:not([data-waiting='0'])").wait_for(state="attached")
    await server.start()
    await page.state(link="online", waiting="0")
    await expect_file(path, ["a = 1\nb = 2"])
    assert not await page.reloaded()
