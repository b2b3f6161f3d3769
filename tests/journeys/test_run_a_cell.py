"""The journey "Run a cell", in a real browser against a real kernel."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import MakeServer, Server

pytestmark = pytest.mark.needs("chromium")

# This notebook shows a picture of another host, which tests may be unable to reach.
_PORTRAIT = pytest.mark.expect_console(r"net::ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED) \(https://upload\.wikimedia\.org/")


async def test_a_cell_runs_and_its_output_is_in_the_file(server: Server, open_page: OpenPage) -> None:
    path = server.root / "first.ipynb"
    notebooks.write(path, "print('Hello from', 6 * 7)", "1 + 1")
    page = await NotebookPage(await open_page(server, "notebooks/first.ipynb")).loaded()
    await page.cell(0).locator(".cell-source").click()
    await page.page.keyboard.press("Shift+Enter")
    await expect(page.cell(0)).to_contain_text("Hello from 42")
    await page.page.keyboard.press("Control+Enter")
    await expect(page.cell(1).locator(".cell-outputs")).to_have_text("2")
    await page.finished()
    saved = notebooks.read(path)
    assert notebooks.stream_text(saved["cells"][0]) == "Hello from 42\n"
    assert saved["cells"][1]["outputs"][0]["data"]["text/plain"] in ("2", ["2"])
    assert [cell["execution_count"] for cell in saved["cells"]] == [1, 2]


async def test_a_question_of_the_kernel_is_answered_on_the_page(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "ask.ipynb", "name = input('Who? ')\nprint('Hello', name)")
    page = await NotebookPage(await open_page(server, "notebooks/ask.ipynb")).loaded()
    await page.run_all()
    field = page.cell(0).get_by_role("textbox", name="Who?")
    await field.fill("Ada")
    await field.press("Enter")
    await expect(page.cell(0)).to_contain_text("Hello Ada")


async def test_the_answer_is_typed_right_after_shift_enter(server: Server, open_page: OpenPage) -> None:
    path = server.root / "ask.ipynb"
    notebooks.write(path, "name = input('Who? ')\nprint('Hello', name)", "1 + 1")
    page = await NotebookPage(await open_page(server, "notebooks/ask.ipynb")).loaded()
    await page.cell(0).locator(".cell-source").click()
    await page.page.keyboard.press("Shift+Enter")
    await expect(page.cell(0).get_by_role("textbox", name="Who?")).to_be_focused(timeout=60_000)
    # As keys of the notebook these would add and delete cells.
    await page.page.keyboard.type("abdd")
    await page.page.keyboard.press("Enter")
    await expect(page.cell(0)).to_contain_text("Hello abdd")
    await expect(page.cell(1)).to_be_focused()
    await page.finished()
    assert len(notebooks.read(path)["cells"]) == 2


async def test_a_question_takes_no_focus_from_whoever_works_and_is_found_again(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "ask.ipynb", "name = input('Who? ')", "\n" * 80, "2")
    page = await NotebookPage(await open_page(server, "notebooks/ask.ipynb")).loaded()
    await page.cell(0).locator(".cell-source").click()
    await page.page.keyboard.press("Shift+Enter")
    await page.cell(2).locator(".cell-source").click()
    await page.page.keyboard.type("0")
    answer = page.page.get_by_role("button", name="Answer")
    await answer.wait_for(timeout=60_000)
    await expect(page.cell(2).locator(".cm-content")).to_be_focused()
    await answer.click()
    field = page.cell(0).get_by_role("textbox", name="Who?")
    await expect(field).to_be_focused()
    await expect(field).to_be_in_viewport()
    await field.press("Enter")
    await expect(answer).to_have_count(0)
    await page.finished()


async def test_how_long_a_cell_took_stands_beside_it_also_when_it_printed(server: Server, open_page: OpenPage) -> None:
    code = "import time\nprint('begun', flush=True)\ntime.sleep(0.6)\nprint('done')"
    notebooks.write(server.root / "took.ipynb", code, "time.sleep(0.6)")
    page = await NotebookPage(await open_page(server, "notebooks/took.ipynb")).loaded()
    await page.run_all()
    for number in range(2):
        await expect(page.cell(number).locator(".run-note")).to_have_text(re.compile(r"^0\.[6-9] s$|^[1-9]"))
    await page.finished()
    for number in range(2):
        await expect(page.cell(number).locator(".run-note")).to_have_text(re.compile(r"^0\.[6-9] s$|^[1-9]"))


_RUNS = """
from IPython.display import HTML
HTML('''<p id=said></p><script>
let said; try { said = parent.document.cookie } catch { said = 'on its own' }
document.getElementById('said').textContent = said;
</script>''')
"""
_NEEDS = "HTML('<p>figure</p><script src=http://127.0.0.1:9/plot.js></script>')"
_FAILS = "HTML('<p>figure</p><script>Plotly.newPlot(1)</script>')"
_FIGURE = "display({'application/vnd.plotly.v1+json': {'data': [], 'layout': {}}}, raw=True)"


@pytest.mark.expect_console(r"Failed to load resource: net::\w+ \(http://127\.0\.0\.1:9/plot\.js\)|Plotly is not defined")
async def test_outputs_run_in_frames_of_their_own_and_say_what_they_lack(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "a.ipynb", _RUNS, _NEEDS, _FAILS, _FIGURE)
    page = await NotebookPage(await open_page(server, "notebooks/a.ipynb")).loaded()
    await page.run_all()
    await page.finished()
    inside = [page.cell(number).locator("iframe.output-frame").content_frame.locator("body") for number in range(3)]
    await expect(inside[0]).to_have_text("on its own")
    await expect(inside[1]).to_contain_text("This output needs http://127.0.0.1:9/plot.js, which this browser could not load.")
    await expect(inside[2]).to_contain_text("A script of this output failed: Plotly is not defined.")
    await expect(page.cell(3).locator(".cell-outputs")).to_contain_text("a Plotly figure, which this page cannot draw")


async def test_an_error_stops_what_waits_behind_it(server: Server, open_page: OpenPage) -> None:
    path = server.root / "error.ipynb"
    notebooks.write(path, "print('before')", "1 / 0", "print('after')")
    page = await NotebookPage(await open_page(server, "notebooks/error.ipynb")).loaded()
    await page.run_all()
    await expect(page.cell(1)).to_contain_text("ZeroDivisionError")
    await page.finished()
    # Whoever comes back later is told, also by another server, and led to the cell.
    await page.page.close()
    await server.kill()
    await server.start()
    page = await NotebookPage(await open_page(server, "notebooks/error.ipynb")).loaded()
    await expect(page.page.get_by_text("Stopped at cell 2: ZeroDivisionError. 1 cell was not run.")).to_be_visible()
    await page.page.get_by_role("button", name="Go to the cell").click()
    await expect(page.cell(1)).to_be_focused()
    assert [len(cell["outputs"]) for cell in notebooks.read(path)["cells"]] == [1, 1, 0]


async def test_a_growing_output_is_followed_to_its_end(server: Server, open_page: OpenPage) -> None:
    code = "import time\nfor n in range(300):\n    print('line', n)\n    time.sleep(0.005)\ninput('Go on?')\nprint('more\\n' * 30)"
    notebooks.write(server.root / "long.ipynb", code)
    page = await NotebookPage(await open_page(server, "notebooks/long.ipynb")).loaded()
    await page.run_all()
    field = page.cell(0).get_by_role("textbox", name="Go on?")
    await field.wait_for(timeout=60_000)
    box = page.cell(0).get_by_role("region", name="Long output")
    await expect(box).to_contain_text("line 299")
    handle = await box.element_handle()
    below = "box => box.scrollHeight - box.scrollTop - box.clientHeight"
    await page.page.wait_for_function(f"box => ({below})(box) < 8", arg=handle)
    # Who has scrolled up stays there.
    await box.hover()
    await page.page.mouse.wheel(0, -300)
    await page.page.wait_for_function(f"box => ({below})(box) > 200", arg=handle)
    await field.press("Enter")
    await page.finished()
    await expect(box).to_contain_text("more")
    assert await box.evaluate(below) > 200


async def test_above_below_and_a_selection_run_and_one_of_them_is_cancelled(server: Server, open_page: OpenPage) -> None:
    path = server.root / "parts.ipynb"
    cells = [f"print('ran {n}')" for n in range(5)]
    notebooks.write(path, *cells, "import time; time.sleep(300)")
    page = await NotebookPage(await open_page(server, "notebooks/parts.ipynb")).loaded()

    async def choose(item: str) -> None:
        await page.press("Run menu")
        await page.page.get_by_role("menuitem", name=item).click()

    async def ran() -> list[int]:
        await page.finished()
        return [number for number, cell in enumerate(notebooks.read(path)["cells"][:5]) if cell["outputs"]]

    async def click(number: int) -> None:
        await page.cell(number).locator(".cell-source").click()
        await page.page.keyboard.press("Escape")

    await click(2)
    await choose("Run all cells above")
    await expect(page.cell(1)).to_contain_text("ran 1")
    assert await ran() == [0, 1]
    await page.page.keyboard.press("Shift+ArrowDown")
    await choose("Run selected cells and stay")
    await expect(page.cell(3)).to_contain_text("ran 3")
    assert await ran() == [0, 1, 2, 3]
    await click(5)
    await choose("Run selected cells and stay")
    await click(3)
    await choose("Run all cells above")
    await page.state(queue="4")
    await page.press("Queue: 4 cells")
    await page.page.get_by_role("menuitem", name="Cell 2: print('ran 1')").click()
    await page.state(queue="3")
    await click(4)
    await choose("Run selected cell and all below")
    await page.state(queue="5")
    await page.press("Interrupt kernel")
    await page.state(queue="0")


async def test_an_endless_cell_is_interrupted(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "endless.ipynb", "import time\nprint('on my way')\nwhile True:\n    time.sleep(0.05)")
    page = await NotebookPage(await open_page(server, "notebooks/endless.ipynb")).loaded()
    await page.run_all()
    await expect(page.cell(0).locator(".cell-outputs")).to_contain_text("on my way")
    await page.page.get_by_role("toolbar").get_by_role("button", name="Interrupt kernel").click()
    await expect(page.cell(0)).to_contain_text("KeyboardInterrupt")


async def test_whoever_interrupts_several_cells_is_told_what_was_not_run(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "several.ipynb", "import time\nprint('on')\ntime.sleep(300)", "# Title", "2", "3")
    page = await NotebookPage(await open_page(server, "notebooks/several.ipynb")).loaded()
    await page.run_all()
    await expect(page.cell(0).locator(".cell-outputs")).to_contain_text("on")
    await page.press("Interrupt kernel")
    told = page.page.get_by_role("main").get_by_text("Interrupted at cell 1. 3 cells were not run.")
    await expect(told).to_be_visible()


async def test_an_interrupt_right_after_the_click_stops_what_has_not_begun(server: Server, open_page: OpenPage) -> None:
    """While the kernel still starts there is nothing to interrupt but the queue."""
    notebooks.write(server.root / "early.ipynb", "while True:\n    pass", "print('never')")
    page = await NotebookPage(await open_page(server, "notebooks/early.ipynb")).loaded()
    await page.run_all()
    await page.state(queue="2")
    await page.press("Interrupt kernel")
    await page.state(queue="0")
    await expect(page.cell(1).locator(".cell-outputs")).to_be_empty()


async def test_a_reopened_page_shows_what_was_printed_while_nobody_looked(server: Server, open_page: OpenPage) -> None:
    path = server.root / "long.ipynb"
    notebooks.write(path, "import time\nfor i in range(30):\n    print('line', i)\n    time.sleep(0.05)")
    page = await NotebookPage(await open_page(server, "notebooks/long.ipynb")).loaded()
    await page.run_all()
    await expect(page.cell(0)).to_contain_text("line 0")
    context = page.page.context
    await page.page.close()
    again = await NotebookPage(await open_page(server, "notebooks/long.ipynb", context=context)).loaded()
    await again.finished()
    wanted = "".join(f"line {i}\n" for i in range(30))
    assert (await again.stream_text(0)).rstrip("\n") == wanted.rstrip("\n")
    assert notebooks.stream_text(notebooks.read(path)["cells"][0]) == wanted


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.name, marks=_PORTRAIT) if path.name == "Probability.ipynb" else path.name
        for path in sorted(notebooks.VENDORED.glob("*.ipynb"))
    ],
)
async def test_run_all_with_the_tab_closed_right_after_the_click(
    name: str, make_server: MakeServer, open_page: OpenPage, tmp_path: Path
) -> None:
    """The outputs in the file are those of nbclient."""
    server = make_server(environment={"PYTHONHASHSEED": "0"})
    shutil.copy(notebooks.VENDORED / name, server.root / name)
    await server.start()
    page = await NotebookPage(await open_page(server, f"notebooks/{name}")).loaded()
    await page.press("Run all cells")
    await page.state(waiting="0")
    await page.page.close()
    elsewhere = tmp_path / "nbclient"
    elsewhere.mkdir()
    reference = await asyncio.to_thread(notebooks.nbclient_run, notebooks.VENDORED / name, elsewhere, seconds=120)
    ours = await notebooks.finished_on_disk(server.root / name, 120)
    if problems := notebooks.differences(ours, reference):
        again = await asyncio.to_thread(notebooks.nbclient_run, notebooks.VENDORED / name, elsewhere, seconds=120)
        problems = notebooks.differences(ours, reference, again)
    assert not problems, "\n".join(problems)
