"""The files page: make, rename, move, delete, upload and download; and the welcoming notebook."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.rest import rest
from harness.server import MakeServer, Server

pytestmark = pytest.mark.needs("chromium")


async def on_disk(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait until a look at the disk says so: a file tells nobody that it changed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true on disk"
        await asyncio.sleep(0.05)


def another_kernelspec() -> None:
    """Install a second kernelspec: Python again, under another name."""
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels" / "other"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Another Python", "language": "python", "env": {"WHICH_KERNEL": "the other"}}
    (folder / "kernel.json").write_text(json.dumps(spec))


async def test_a_notebook_is_made_for_the_kernel_that_was_chosen(make_server: MakeServer, open_page: OpenPage) -> None:
    server = make_server()
    another_kernelspec()
    await server.start()
    tab = await open_page(server, "tree")
    await tab.get_by_role("button", name="Choose a kernel").click()
    await tab.get_by_role("menuitem", name="Another Python").click()
    page = await NotebookPage(tab).loaded()
    await page.type_into(0, "import os; print('I am', os.environ['WHICH_KERNEL'])")
    await page.run_all()
    await expect(page.cell(0).locator(".cell-outputs")).to_contain_text("I am the other", timeout=60_000)
    await page.finished()
    made = notebooks.read(next(server.root.glob("*.ipynb")))
    assert made["metadata"]["kernelspec"]["name"] == "other"


async def test_who_makes_a_notebook_types_into_it(server: Server, open_page: OpenPage) -> None:
    tab = await open_page(server, "tree")
    await tab.get_by_role("button", name="New notebook", exact=True).click()
    page = await NotebookPage(tab).loaded()
    await page.state(mode="edit")
    await tab.keyboard.type("print('a')")
    await tab.keyboard.press("Control+Shift+Minus")
    await tab.keyboard.type("print('b')")
    await page.run_all()
    await page.finished()
    assert [await page.stream_text(number) for number in range(2)] == ["a\n", "b\n"]


@pytest.mark.expect_console(r"409 \(Conflict\)")
async def test_files_are_moved_to_another_folder(server: Server, open_page: OpenPage) -> None:
    (server.root / "old" / "2025").mkdir(parents=True)
    notebooks.write(server.root / "a.ipynb", "1")
    (server.root / "b.txt").write_text("b")
    (server.root / "old" / "b.txt").write_text("another b")
    page = await open_page(server, "tree")

    await page.get_by_role("button", name="Actions for a.ipynb").click()
    await page.get_by_role("menuitem", name="Move to…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("button", name="Move here")).to_be_disabled()
    # By keys: the first folder has the focus, and in each folder the way up.
    await expect(dialog.get_by_role("button", name="old", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Up to “Files”")).to_be_focused()
    await dialog.get_by_role("button", name="2025").click()
    await dialog.get_by_role("button", name="Move to “2025”").click()
    await expect(page.get_by_text("Moved “a.ipynb” to “2025”.")).to_be_visible()
    await expect(page.get_by_role("link", name="a.ipynb")).to_have_count(0)
    assert (server.root / "old" / "2025" / "a.ipynb").exists()

    # What has the name there already is not replaced, and a folder is not offered to itself.
    await page.get_by_role("checkbox", name="b.txt").check()
    await page.get_by_role("toolbar", name="Selection").get_by_role("button", name="Move to…").click()
    await dialog.get_by_role("button", name="old", exact=True).click()
    await dialog.get_by_role("button", name="Move to “old”").click()
    await expect(page.get_by_text("“b.txt” could not be moved")).to_be_visible()
    assert ((server.root / "b.txt").read_text(), (server.root / "old" / "b.txt").read_text()) == ("b", "another b")
    await page.get_by_role("button", name="Actions for old").click()
    await page.get_by_role("menuitem", name="Move to…").click()
    await expect(dialog.get_by_text("There is no other folder.")).to_be_visible()


async def test_files_are_renamed_deleted_uploaded_and_downloaded(server: Server, open_page: OpenPage, tmp_path: Path) -> None:
    notebooks.write(server.root / "draft.ipynb", "1")
    (server.root / "old.txt").write_text("gone soon")
    page = await open_page(server, "tree")

    await page.get_by_role("button", name="Actions for draft.ipynb").click()
    await page.get_by_role("menuitem", name="Rename").click()
    field = page.get_by_role("textbox", name="New name")
    await field.fill("final.ipynb")
    await field.press("Enter")
    await expect(page.get_by_role("link", name="final.ipynb")).to_be_visible()
    assert sorted(path.name for path in server.root.iterdir()) == ["final.ipynb", "old.txt"]

    await page.get_by_role("button", name="Actions for old.txt").click()
    await page.get_by_role("menuitem", name="Move to trash").click()
    await page.get_by_role("dialog").get_by_role("button", name="Move to trash").click()
    await expect(page.get_by_role("link", name="old.txt")).to_have_count(0)
    assert not (server.root / "old.txt").exists()
    kept = [path for path in server.home.rglob("*") if path.is_file() and path.name.startswith("old") and path.suffix == ".txt"]
    assert [path.read_text() for path in kept] == ["gone soon"], "what is deleted can be had back"

    upload = tmp_path / "täglich & mehr.csv"
    upload.write_bytes(b"a,b\n" * 200_000)
    await page.get_by_label("Files to upload").set_input_files(upload)
    link = page.get_by_role("link", name="täglich & mehr.csv")
    await expect(link).to_be_visible()
    await on_disk((server.root / upload.name).exists)
    assert (server.root / upload.name).read_bytes() == upload.read_bytes()

    await page.get_by_role("button", name=f"Actions for {upload.name}").click()
    async with page.expect_download() as started:
        await page.get_by_role("menuitem", name="Download").click()
    download = await started.value
    assert download.suggested_filename == upload.name
    assert Path(await download.path()).read_bytes() == upload.read_bytes()


async def running(server: Server, open_page: OpenPage) -> tuple[NotebookPage, Page]:
    """The page of ``long.ipynb``, of which a cell runs, and the files page of the same browser, which says so."""
    notebooks.write(server.root / "long.ipynb", "import time\ntime.sleep(600)")
    page = await NotebookPage(await open_page(server, "notebooks/long.ipynb")).loaded()
    await page.run_all()
    await page.state(kernel="busy", seconds=60)
    files = await open_page(server, "tree", context=page.page.context)
    await expect(files.get_by_role("row", name="long.ipynb")).to_contain_text("Running")
    return page, files


async def test_which_notebooks_have_a_kernel_is_shown_and_it_can_be_shut_down(server: Server, open_page: OpenPage) -> None:
    page, files = await running(server, open_page)
    await files.get_by_role("link", name="Running").click()
    await files.get_by_role("button", name="Shut down").first.click()
    await files.get_by_role("dialog").get_by_role("button", name="Shut down kernel").click()
    await expect(files.get_by_role("heading", name="No kernel is running")).to_be_visible()
    await page.state(queue="0")


async def test_deleting_a_notebook_that_runs_ends_its_kernel_and_its_page_says_so(server: Server, open_page: OpenPage) -> None:
    page, files = await running(server, open_page)
    await files.get_by_role("button", name="Actions for long.ipynb").click()
    await files.get_by_role("menuitem", name="Move to trash").click()
    await expect(files.get_by_role("dialog")).to_contain_text("A kernel runs for it and is shut down")
    await files.get_by_role("dialog").get_by_role("button", name="Move to trash").click()
    await expect(page.page.get_by_text("was deleted to the trash from another page")).to_be_visible()
    await page.state(queue="0")
    assert (await rest(server, "GET", "api/kernels")).json() == []
    await page.press("Save it again")
    await page.finished()
    assert (server.root / "long.ipynb").exists()


async def test_the_welcoming_notebook_runs_to_its_end(make_server: MakeServer, open_page: OpenPage) -> None:
    server = make_server()
    await server.start()
    files = await open_page(server, "tree")
    await files.get_by_role("button", name="Open the welcome notebook").click()
    await files.wait_for_url("**/notebooks/**")
    page = await NotebookPage(files).loaded()
    # Its minute of work is shortened to some seconds.
    await page.cell(3).get_by_text("61").dblclick()
    await files.keyboard.type("6")
    await page.run_all()
    field = files.get_by_role("textbox", name="What is your name?")
    await field.wait_for(timeout=60_000)
    await field.fill("Ada")
    await field.press("Enter")
    await page.finished()
    cells = notebooks.code_cells(notebooks.read(server.root / "Welcome to Homeport.ipynb"))
    assert all(cell["outputs"] for cell in cells)
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert notebooks.stream_text(cells[-1]).endswith("Good to have you here, Ada.\n")


# A file's page is of no origin, and may not even have our icon.
@pytest.mark.expect_console(r"ERR_BLOCKED_BY_RESPONSE.* \(http://127\.0\.0\.1:\d+/favicon\.ico\)")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.py", "print('ä')"),
        ("data.csv", "a,b\n1,2"),
        ("config.yaml", "lr: 0.1"),
        ("Makefile", "all:\n\ttrue"),
        ("a b#c.log", "line\n" * 9000),
    ],
)
async def test_text_is_shown(server: Server, open_page: OpenPage, name: str, text: str) -> None:
    """Browsers would save most of these for their types."""
    (server.root / name).write_text(text)
    tab = await open_page(server, "tree")
    await tab.get_by_role("link", name=name, exact=True).click()
    await expect(tab.locator("body > pre")).to_have_text(text, use_inner_text=True)


async def test_what_is_no_text_is_saved(server: Server, open_page: OpenPage) -> None:
    data = b"# looks like text\n" + bytes(range(256))
    (server.root / "weights").write_bytes(data)
    tab = await open_page(server, "tree")
    async with tab.expect_download() as saved:
        await tab.get_by_role("link", name="weights", exact=True).click()
    assert Path(await (await saved.value).path()).read_bytes() == data


@pytest.mark.expect_console(r"Failed to load resource: the server responded with a status of 404")
async def test_a_link_to_a_file_that_is_gone_says_so_on_a_page(server: Server, open_page: OpenPage) -> None:
    tab = await open_page(server, "tree")
    await tab.goto(f"{server.url}files/gone/plot.png")
    await expect(tab.get_by_role("main")).to_contain_text("“gone/plot.png” does not exist")
    await tab.get_by_role("link", name="Open the files").click()
    await tab.wait_for_url("**/tree")
