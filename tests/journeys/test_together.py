"""Two browsers on one notebook: questions answered by either, edits during runs, undo that leaves others' work alone."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")


async def test_another_browser_answers_what_the_kernel_asks(server: Server, open_page: OpenPage) -> None:
    path = server.root / "ask.ipynb"
    notebooks.write(
        path, "import getpass\nname = input('Who? ')\nword = getpass.getpass('Password: ')\nprint('Hello', name, 'with', len(word))"
    )
    first = await NotebookPage(await open_page(server, "notebooks/ask.ipynb")).loaded()
    await first.run_all()
    await first.cell(0).get_by_role("textbox", name="Who?").wait_for(timeout=60_000)
    await first.page.close()

    phone = await NotebookPage(await open_page(server, "notebooks/ask.ipynb", size=(360, 740))).loaded()
    field = phone.cell(0).get_by_role("textbox", name="Who?")
    await field.fill("Ada")
    await field.press("Enter")
    secret = phone.cell(0).get_by_label("Password:")
    await expect(secret).to_have_attribute("type", "password")
    await secret.fill("secret")
    await phone.cell(0).get_by_role("button", name="Send").click()
    await expect(phone.cell(0).locator(".cell-outputs")).to_contain_text("Hello Ada with 6")
    await phone.finished()
    assert "secret" not in path.read_text()


async def test_a_cell_can_be_edited_while_somebody_else_runs_it(server: Server, open_page: OpenPage) -> None:
    path = server.root / "both.ipynb"
    notebooks.write(path, "import pathlib, time\nprint('begun')\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\nprint('done')")
    runs = await NotebookPage(await open_page(server, "notebooks/both.ipynb")).loaded()
    types = await NotebookPage(await open_page(server, "notebooks/both.ipynb")).loaded()
    await runs.run_all()
    await expect(types.cell(0).locator(".cell-outputs")).to_contain_text("begun", timeout=60_000)
    await types.type_into(0, "\nprint('typed meanwhile')")
    await expect(runs.cell(0)).to_contain_text("typed meanwhile")
    await types.page.keyboard.press("Shift+Home")
    await expect(runs.cell(0).locator(".remote-selection")).to_have_text("print('typed meanwhile')")
    # The name is seen for a moment, and then no longer covers what it stands on.
    await expect(runs.cell(0).locator(".remote-caret-name")).to_have_css("opacity", "1")
    await expect(runs.cell(0).locator(".remote-caret-name")).to_have_css("opacity", "0")
    (server.root / "go").touch()
    await expect(types.cell(0).locator(".cell-outputs")).to_contain_text("done")
    await expect(types.cell(0).locator(".cm-content")).to_be_focused()
    await types.finished()
    cell = notebooks.read(path)["cells"][0]
    assert notebooks.stream_text(cell) == "begun\ndone\n"
    assert notebooks.joined(cell["source"]).endswith("print('typed meanwhile')")


async def test_undo_takes_back_ones_own_edits_only(server: Server, open_page: OpenPage) -> None:
    path = server.root / "undo.ipynb"
    notebooks.write(path, "start", "kept", "last")
    mine = await NotebookPage(await open_page(server, "notebooks/undo.ipynb")).loaded()
    yours = await NotebookPage(await open_page(server, "notebooks/undo.ipynb")).loaded()
    await mine.type_into(0, " mine")
    await yours.type_into(0, " yours")
    await expect(mine.cell(0).locator(".cm-content")).to_contain_text("start mine yours")
    await mine.page.keyboard.press("Control+z")
    await expect(yours.cell(0).locator(".cm-content")).to_contain_text("start yours")

    # I delete a cell, and you write into the one below meanwhile: my undo brings the cell back, with your words kept.
    await mine.page.keyboard.press("Escape")
    for key in "jdd":
        await mine.page.keyboard.press(key)
    await expect(yours.page.locator("article[data-cell-id]")).to_have_count(2)
    await yours.type_into(1, " of yours")
    await expect(mine.cell(1)).to_contain_text("last of yours")
    await mine.page.keyboard.press("z")
    for page in (mine, yours):
        await expect(page.page.locator("article[data-cell-id]")).to_have_count(3)
        await expect(page.cell(1)).to_contain_text("kept")
        await expect(page.cell(2)).to_contain_text("last of yours")
    await mine.finished()
