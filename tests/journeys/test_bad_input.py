"""What cannot be opened or run says so on a page, names what is wrong, offers what can be done, and leaves the file alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from harness import notebooks
from harness.browser import OpenPage, page_url
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")

BAD = {
    "not-json": (b"Dear diary", "is not JSON"),
    "newer": (b'{"cells": [], "metadata": {}, "nbformat": 9, "nbformat_minor": 0}', "newer"),
    "no-notebook": (b'["a", "list"]', "not a notebook"),
}


@pytest.mark.expect_console(r"status of 4\d\d")
@pytest.mark.parametrize("name", sorted(BAD))
async def test_a_file_that_is_no_notebook(name: str, server: Server, open_page: OpenPage) -> None:
    content, words = BAD[name]
    path = server.root / f"{name}.ipynb"
    path.write_bytes(content)
    page = await open_page(server, f"notebooks/{name}.ipynb")
    await expect(page.get_by_role("heading", name="This notebook cannot be opened")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text(words)
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download the file").click()
    assert (await (await download.value).path()).read_bytes() == content
    assert path.read_bytes() == content


@pytest.mark.expect_console(r"status of 4\d\d|WebSocket connection")
async def test_what_is_found_out_after_the_page_was_sent_is_said_all_the_same(server: Server, open_page: OpenPage) -> None:
    """A file that takes long to be read gets a notebook's page first."""
    notebooks.write(server.root / "good.ipynb", "1 + 1")
    (server.root / "slow.ipynb").write_bytes(b"Dear diary")
    page = await open_page(server, "tree")

    async def answer_too_early(route: Route) -> None:
        early = await route.fetch(url=f"{server.url}notebooks/good.ipynb")
        await route.fulfill(response=early, body=(await early.text()).replace("good.ipynb", "slow.ipynb"))

    await page.route("**/notebooks/slow.ipynb", answer_too_early, times=1)
    await page.goto(page_url(server, "notebooks/slow.ipynb", login=False))
    await expect(page.get_by_role("heading", name="This notebook cannot be opened")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("is not JSON")
    # Somebody mends the file: the page that is open shows it.
    notebooks.write(server.root / "slow.ipynb", "print('mended')")
    await expect(page.locator("article[data-cell-id]")).to_contain_text("print('mended')", timeout=90_000)


async def test_a_kernel_that_is_not_installed_is_said_on_opening(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "elsewhere.ipynb", "1 + 1", kernel="julia-9.9")
    page = await NotebookPage(await open_page(server, "notebooks/elsewhere.ipynb")).loaded()
    notice = page.page.get_by_text("The kernel 'julia-9.9', which this notebook wants, is not installed on this machine.")
    await notice.wait_for()
    await expect(page.page.get_by_role("button", name="not started")).to_be_visible()
    await page.press("Choose a kernel")
    await page.page.get_by_role("dialog", name="Choose a kernel").get_by_role("button", name="Python 3").click()
    await page.state(kernel="idle")
    await expect(notice).to_have_count(0)
    await page.run_all()
    await expect(page.cell(0)).to_contain_text("2")
    await page.finished()


@pytest.mark.expect_console(r"status of 409")
async def test_a_name_that_is_taken_stays_in_the_dialog(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "one.ipynb", "1")
    notebooks.write(server.root / "two.ipynb", "2")
    page = await NotebookPage(await open_page(server, "notebooks/one.ipynb")).loaded()
    await page.press("Rename notebook one")
    dialog = page.page.get_by_role("dialog", name="Rename notebook")
    field = dialog.get_by_role("textbox", name="New name")
    await field.fill("two.ipynb")
    await field.press("Enter")
    await expect(dialog.get_by_role("alert")).to_contain_text("two.ipynb")
    await expect(field).to_have_value("two.ipynb")
    await field.fill("three.ipynb")
    await expect(dialog.get_by_role("alert")).to_have_count(0)
    await field.press("Enter")
    await page.page.wait_for_url("**/three.ipynb")
    assert sorted(path.name for path in server.root.iterdir() if path.suffix == ".ipynb") == ["three.ipynb", "two.ipynb"]


@pytest.mark.expect_log(r"The kernel 'Broken' exited with status 1 while it was starting")
async def test_a_kernel_that_dies_at_start_shows_its_words_and_a_choice_of_others(server: Server, open_page: OpenPage) -> None:
    spec = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels" / "broken"
    spec.mkdir(parents=True)
    program = "import sys; sys.exit('libfoo.so.1: cannot open shared object file')"
    argv = [sys.executable, "-c", program, "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Broken", "language": "python"}))
    path = server.root / "broken.ipynb"
    notebooks.write(path, "print(6 * 7)", kernel="broken")
    page = await NotebookPage(await open_page(server, "notebooks/broken.ipynb")).loaded()
    await page.run_all()
    await page.state(kernel="dead")
    await expect(page.page.get_by_text("libfoo.so.1: cannot open shared object file")).to_be_visible()
    await page.press("Choose another kernel")
    await page.page.get_by_role("dialog").get_by_role("button", name="Python 3 (ipykernel)").click()
    await page.state(kernel="idle")
    await page.run_all()
    await expect(page.cell(0).locator(".cell-outputs")).to_have_text("42")
    await page.finished()
    assert notebooks.read(path)["metadata"]["kernelspec"]["name"] == "python3"
