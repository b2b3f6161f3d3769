"""The usual Jupyter keys, in a real browser; each key of the table is in the help dialog."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")


_SOURCES = """(wanted) => {
    const cells = [...document.querySelectorAll("article[data-cell-id]")];
    const text = (cell) => cell.querySelector(".cm-content, .painted, .cell-rendered")?.innerText.trim().replace(/\\s+/g, " ") ?? "";
    return JSON.stringify(cells.map(text)) === JSON.stringify(wanted);
}"""


async def test_cells_are_cut_pasted_moved_merged_split_and_brought_back(server: Server, open_page: OpenPage) -> None:
    path = server.root / "keys.ipynb"
    notebooks.write(path, "a", "b", "c")
    page = await NotebookPage(await open_page(server, "notebooks/keys.ipynb")).loaded()
    await page.page.locator(".cm-content").nth(2).wait_for()

    async def press(keys: str, *wanted: str) -> None:
        """Press keys, as fast as it goes; then these are the cells."""
        for key in keys.split():
            await page.page.keyboard.press(key)
        await page.page.wait_for_function(_SOURCES, arg=list(wanted))

    await page.cell(0).focus()
    await press("x", "b", "c")
    await press("v", "b", "a", "c")
    await press("z z", "a", "b", "c")
    await expect(page.cell(0)).to_be_focused()  # the cell that is there again
    await press("Home c End v", "a", "b", "c", "a")
    await press("d d", "a", "b", "c")
    await press("z Shift+Z", "a", "b", "c")
    await press("Home Alt+ArrowDown", "b", "a", "c")
    await press("Shift+J Shift+M", "b", "a c")
    await press("z", "b", "a", "c")
    await press("End b Enter n e w Escape", "b", "a", "c", "new")
    await press("Control+a d d", "")
    await press("z", "b", "a", "c", "new")
    await page.finished()


async def test_cells_are_copied_into_another_notebook(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "from.ipynb", "first = 1", "second = 2")
    target = server.root / "to.ipynb"
    notebooks.write(target, "mine")
    page = await NotebookPage(await open_page(server, "notebooks/from.ipynb")).loaded()
    other = await page.page.context.new_page()
    await other.goto(page.page.url.replace("from.ipynb", "to.ipynb"))
    there = await NotebookPage(other).loaded()
    await page.page.bring_to_front()
    await page.cell(0).locator(".cell-source").click()
    for key in ("Escape", "Shift+ArrowDown", "c"):
        await page.page.keyboard.press(key)
    await other.bring_to_front()
    await there.cell(0).locator(".cell-source").click()
    for key in ("Escape", "v"):
        await other.keyboard.press(key)
    await expect(there.cell(2)).to_contain_text("second = 2")
    await there.finished()
    cells = notebooks.read(target)["cells"]
    assert ["".join(cell["source"]) for cell in cells] == ["mine", "first = 1", "second = 2"]
    ids = [cell["id"] for cell in cells[1:]]
    assert not {cell["id"] for cell in notebooks.read(server.root / "from.ipynb")["cells"]} & set(ids), "a copy is another cell"


async def test_types_headings_and_splitting(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "types.ipynb", "one\ntwo", "words")
    page = await NotebookPage(await open_page(server, "notebooks/types.ipynb")).loaded()
    await page.page.locator(".cm-content").nth(1).wait_for()
    await page.cell(1).focus()
    await page.page.keyboard.press("2")
    await page.page.keyboard.press("Shift+Enter")
    await expect(page.cell(1).get_by_role("heading", level=2)).to_have_text("words")
    await page.page.keyboard.press("Escape")
    await page.cell(0).locator(".cm-content").click()
    await page.page.keyboard.press("Control+Home")
    await page.page.keyboard.press("End")
    await page.page.keyboard.press("ArrowRight")
    await page.page.keyboard.press("Control+Shift+-")
    await expect(page.cell(0)).to_contain_text("one")
    await expect(page.cell(1)).to_contain_text("two")
    await page.page.keyboard.press("Escape")
    for key in ("m", "y", "r"):
        await page.page.keyboard.press(key)
    await expect(page.page.get_by_role("combobox", name="Cell type")).to_have_value("raw")


async def test_a_selection_runs_and_so_do_all_above_and_below(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "runs.ipynb", *[f"print('ran {number}')" for number in range(5)])
    page = await NotebookPage(await open_page(server, "notebooks/runs.ipynb")).loaded()

    async def ran() -> list[int]:
        await page.finished(seconds=60)
        return [number for number in range(5) if await page.cell(number).locator(".cell-outputs .stream-text").count()]

    await page.cell(1).focus()
    await page.page.keyboard.press("Shift+ArrowDown")
    await page.page.keyboard.press("Control+Enter")
    await expect(page.cell(2).locator(".cell-outputs")).to_contain_text("ran 2", timeout=60_000)
    assert await ran() == [1, 2]
    await page.cell(1).focus()
    await page.press("Run menu")
    await page.page.get_by_role("menuitem", name="Run all cells above").click()
    await expect(page.cell(0).locator(".cell-outputs")).to_contain_text("ran 0")
    assert await ran() == [0, 1, 2]
    await page.cell(3).focus()
    await page.press("Run menu")
    await page.page.get_by_role("menuitem", name="Run selected cell and all below").click()
    await expect(page.cell(4).locator(".cell-outputs")).to_contain_text("ran 4")
    assert await ran() == [0, 1, 2, 3, 4]


async def test_a_waiting_cell_is_taken_out_of_the_queue(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "queue.ipynb", "import time\ntime.sleep(600)", "print('no')", "print('yes')")
    page = await NotebookPage(await open_page(server, "notebooks/queue.ipynb")).loaded()
    await page.run_all()
    await page.state(queue="3", kernel="busy", seconds=60)
    await page.press("Queue: 3 cells")
    await page.page.get_by_role("menuitem", name="Cancel cell 2: print('no')").click()
    await page.state(queue="2")
    await page.press("Queue: 2 cells")
    await page.page.get_by_role("menuitem", name="Interrupt cell 1").click()
    await page.state(queue="0")
    await expect(page.cell(1).locator(".cell-outputs")).to_be_empty()


async def test_text_is_found_in_cells_that_are_not_in_the_page(server: Server, open_page: OpenPage) -> None:
    cells = [f"value_{number} = {number}\n" * 8 for number in range(120)]
    cells[100] = "first = 1\nneedle = 'here'"
    notebooks.write(server.root / "find.ipynb", *cells)
    page = await NotebookPage(await open_page(server, "notebooks/find.ipynb")).loaded()
    await page.cell(0).locator(".cm-content").click()
    await page.page.keyboard.press("Control+f")
    field = page.page.get_by_role("searchbox", name="Find in notebook")
    await expect(field).to_be_focused()
    await field.press_sequentially("NEEDLE")
    await expect(page.page.get_by_role("search")).to_contain_text("1 of 1")
    await expect(page.cell(100).get_by_text("needle")).to_be_in_viewport()
    marked = page.page.locator(".cm-selectionBackground")
    await expect(marked).to_have_count(1)
    await field.press("Escape")
    await expect(page.cell(100)).to_be_focused()
    await expect(marked).to_have_count(0)
    await page.page.keyboard.press("f")
    await field.fill("value_7 ")
    await field.press("Enter")
    await expect(page.page.get_by_role("search")).to_contain_text("2 of 8")
    await expect(page.cell(7)).to_be_in_viewport()


async def test_a_long_name_leaves_room_for_the_rest_of_the_head(server: Server, open_page: OpenPage) -> None:
    name = "a name that somebody chose without thinking of telephones or of anything as narrow as they are"
    notebooks.write(server.root / f"{name}.ipynb", "a")
    page = await NotebookPage(await open_page(server, f"notebooks/{name}.ipynb", size=(360, 740))).loaded()
    await expect(page.page.get_by_role("button", name="Kernel Python 3")).to_be_in_viewport(ratio=1)
    await expect(page.page.get_by_text("Saved", exact=True)).to_be_in_viewport(ratio=1)
    assert await page.page.evaluate("document.documentElement.scrollWidth") == 360


async def test_a_menu_takes_the_room_there_is_and_scrolls_when_it_has_more(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "menu.ipynb", "a")
    page = await NotebookPage(await open_page(server, "notebooks/menu.ipynb")).loaded()
    for height in (850, 400):
        await page.page.set_viewport_size({"width": 1000, "height": height})
        await page.press("More actions")
        menu = page.page.get_by_role("menu")
        rows = menu.locator(".menu-item:enabled")
        whole = await menu.evaluate("(menu) => menu.scrollHeight <= menu.clientHeight")
        room = await menu.evaluate("(menu) => innerHeight - menu.getBoundingClientRect().bottom")
        assert room >= 0
        assert whole or room < 20, "it scrolls only where there is no room left"
        await page.page.keyboard.press("End")
        await expect(rows.last).to_be_focused()
        await expect(rows.last).to_be_in_viewport(ratio=1)
        await page.page.keyboard.press("Escape")
