"""A page on 64 kbit/s while a cell floods: it stays online, shows the end soon, and what is typed on it arrives."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.bad_link import MakeLink
from harness.browser import OpenPage
from harness.document_client import OpenDocument
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")

FLOOD = """import os, time
end = time.time() + 10
while time.time() < end:
    print(os.urandom(40).hex())
    time.sleep(0.0005)
print("over", "and", "out")"""


async def test_a_page_on_a_slow_link_is_brought_up_to_date(
    server: Server, bad_link: MakeLink, open_page: OpenPage, open_document: OpenDocument
) -> None:
    notebooks.write(server.root / "a.ipynb", FLOOD, "x = 1")
    link = await bad_link(server)
    page = await NotebookPage(await open_page(link, "notebooks/a.ipynb")).loaded()  # type: ignore[arg-type]
    await page.type_into(1, "\n")  # the editor is loaded
    other = await open_document(server, "a.ipynb")
    sockets = link.requests.count("GET /api/documents/socket")
    link.rate = 64_000 / 8
    link.delay = 0.1
    await other.run("cell-0")
    await other.until(lambda: len(other.text("cell-0")) > 60_000, "a flood")
    await page.type_into(1, "typed = 'during the flood'")
    began = time.monotonic()
    await other.until(lambda: "typed" in other.source("cell-1"), "what was typed on the slow page")
    print(f"typed on the slow page: seen by another after {time.monotonic() - began:.1f} s")
    await other.until(lambda: "over and out" in other.text("cell-0"), "the end")
    began = time.monotonic()
    await expect(page.cell(0)).to_contain_text("over and out", timeout=60_000)
    print(f"the end is on the slow page {time.monotonic() - began:.1f} s after it was on the fast one")
    assert time.monotonic() - began < 30
    assert link.requests.count("GET /api/documents/socket") == sockets, "a slow link is no dead link"
    await page.state(link="online", waiting="0", seconds=60)
