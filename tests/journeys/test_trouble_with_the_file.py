"""What a page says of trouble with its file, and the one click that each needs, in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage
from harness.document_client import DocumentClient, OpenDocument
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")


def rewrite(path: Path, number: int, source: str) -> None:
    notebook = notebooks.read(path)
    notebook["cells"][number]["source"] = [source]
    new = path.with_name("new")
    new.write_text(json.dumps(notebook))
    os.replace(new, path)


async def test_a_conflict_is_settled_with_one_click(server: Server, open_page: OpenPage, open_document: OpenDocument) -> None:
    path = server.root / "note.ipynb"
    notebooks.write(path, "a = 1", "b = 2")
    page = await NotebookPage(await open_page(server, "notebooks/note.ipynb")).loaded()
    other = await open_document(server, "note.ipynb")
    for keep, before, theirs, after in (
        ("Keep theirs", "a = 1  # mine", "a = 3", "a = 3"),
        ("Keep mine", "a = 3  # mine", "a = 4", "a = 3  # mine"),
    ):
        async with somebody_typing(other):
            await page.type_into(0, "  # mine")
            await other.until(lambda before=before: other.source(0) == before, "what was typed")
            rewrite(path, 0, theirs)
            await expect(page.cell(1)).to_contain_text("changed in two places at once")
            await expect(page.page.get_by_text("changed here and by another program")).to_be_visible()
        await page.press(keep)
        await expect(page.page.locator("article[data-cell-id]")).to_have_count(2)
        await expect(page.page.get_by_text("changed here and by another program")).to_have_count(0)
        await other.operate("save")
        assert notebooks.sources(path)[0] == after


@contextlib.asynccontextmanager
async def somebody_typing(client: DocumentClient) -> AsyncIterator[None]:
    """Somebody else types into the second cell, so that nothing is saved for some seconds."""

    async def typing() -> None:
        while True:
            client.type("cell-1", "#")
            await asyncio.sleep(0.2)

    task = asyncio.create_task(typing())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_deleted_file_is_said_and_saved_again(server: Server, open_page: OpenPage) -> None:
    path = server.root / "note.ipynb"
    notebooks.write(path, "a = 1")
    page = await NotebookPage(await open_page(server, "notebooks/note.ipynb")).loaded()
    path.unlink()
    reason = page.page.get_by_text("was deleted or moved by another program")
    await expect(reason).to_be_visible()
    # Whoever is further down sees that it is not saved, and gets to the reason.
    await page.page.set_viewport_size({"width": 1280, "height": 200})
    await page.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(reason).not_to_be_in_viewport()
    await page.press("Not saved")
    await expect(reason).to_be_in_viewport()
    await page.press("Save it again")
    await page.finished()
    assert notebooks.sources(path) == ["a = 1"]
    await expect(page.page.get_by_text("was deleted or moved by another program")).to_have_count(0)


async def test_an_old_version_is_looked_at_and_restored(server: Server, open_page: OpenPage) -> None:
    path = server.root / "note.ipynb"
    notebooks.write(path, "a = 1", "b = 2")
    page = await NotebookPage(await open_page(server, "notebooks/note.ipynb")).loaded()
    await page.type_into(0, "\nc = 3")
    await page.state(waiting="0")
    await page.page.keyboard.press("ControlOrMeta+s")
    await expect(page.page.locator("html[data-save='saved']")).to_be_attached()
    await page.press("More actions")
    await page.page.get_by_role("menuitem", name="History").click()
    history = page.page.get_by_role("dialog", name="History")
    await expect(history.get_by_text("The notebook is the same now.")).to_be_visible()
    await expect(history.get_by_role("button", name="Restore this version")).to_be_disabled()
    await history.get_by_role("list", name="Saved versions").get_by_role("button").last.click()
    await expect(history.get_by_role("heading", name="Code cell changed")).to_be_visible()
    await expect(history.locator(".diff-added")).to_contain_text("c = 3")
    await history.get_by_role("button", name="Restore this version").click()
    await expect(history).to_have_count(0)
    await expect(page.cell(0)).not_to_contain_text("c = 3")
    await page.finished()
    assert notebooks.sources(path) == ["a = 1", "b = 2"]
