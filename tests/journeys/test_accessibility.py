"""Every page is usable by everybody: axe-core finds nothing, in light and dark, on a wide screen and a phone's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.needs("chromium")

AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

# WCAG 2.2 AA, and what axe's authors hold to be good practice besides.
_LOOK = """async () => {
    const result = await axe.run(document, { resultTypes: ["violations"], iframes: false,
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return result.violations.map((found) => ({ rule: found.id, help: found.help,
        where: found.nodes.slice(0, 4).map((node) => `${node.target.join(" ")}: ${node.any.concat(node.all)[0]?.message ?? ""}`) }));
}"""


_SETTLE = """async () => {
    // What begins to fade does so with the next frame.
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    document.getAnimations()
        .filter((animation) => animation.effect.getComputedTiming().endTime !== Infinity)
        .forEach((animation) => animation.finish());
}"""


async def nothing_wrong(page: Page, sizes: tuple[dict[str, int], ...] = (WIDE, PHONE)) -> None:
    """Axe finds nothing on the page as it stands, in each size and colour scheme."""
    # A test's tool need not pass the page's security policy: evaluated by the browser's debugger, as playwright's own scripts.
    await page.evaluate(AXE.read_text())
    found: list[Any] = []
    for size in sizes:
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            # Colours fade for a moment; what is looked at is where they arrive.
            await page.evaluate(_SETTLE)
            found += [{"size": size["width"], "scheme": scheme, **each} for each in await page.evaluate(_LOOK)]
            width = await page.evaluate("() => document.documentElement.scrollWidth")
            if width > size["width"]:
                found.append({"size": size["width"], "scheme": scheme, "rule": "no sideways scrolling", "width": width})
    assert not found, "\n".join(str(each) for each in found)


def with_outputs(path: Path) -> None:
    """A notebook with every kind of output, as if it had run."""
    table = "<table><thead><tr><th>row</th><th>city</th></tr></thead><tbody><tr><th>0</th><td>Oslo</td></tr></tbody></table>"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40"><rect width="80" height="40" fill="teal"/></svg>'
    colours = "".join(
        f"\x1b[{code}mcolour {code}\x1b[0m " for code in (30, 31, 32, 33, 34, 35, 36, 37, 90, 91, 92, 93, 94, 95, 96, 97, 41, 103)
    )
    outputs: list[dict[str, Any]] = [
        {"output_type": "stream", "name": "stdout", "text": f"plain\n{colours}\n"},
        {"output_type": "stream", "name": "stderr", "text": f"a warning {colours}\n"},
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": table, "text/plain": "table"}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": svg, "text/plain": "<SVG>"}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/latex": "$x^2$", "text/plain": "x^2"}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": "# A *title*\n\n[link](#here)", "text/plain": "t"}},
        {"output_type": "display_data", "metadata": {}, "data": {"application/json": {"a": [1, None, True]}, "text/plain": "{}"}},
        {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["\x1b[31mValueError\x1b[0m: no"]},
    ]
    prose = (
        "# Title\n\nWords, `code`, $a^2$, [a link](https://example.org).\n\n```python\nfor i in range(3):  # why\n    f('x', 1.5)\n```\n"
    )
    notebooks.write(path, ("markdown", prose), "import os  # why\nfor i in range(3):\n    print(f'{i}', None, 1.5)", ("raw", "raw"))
    notebook = notebooks.read(path)
    notebook["cells"][1] |= {"outputs": outputs, "execution_count": 3}
    notebooks.save(path, notebook)


async def test_the_notebook(server: Server, open_page: OpenPage) -> None:
    with_outputs(server.root / "all.ipynb")
    page = await NotebookPage(await open_page(server, "notebooks/all.ipynb")).loaded()
    await page.cell(1).locator(".cm-content").wait_for()
    await page.page.locator(".katex").first.wait_for()
    await nothing_wrong(page.page)
    # It is dark now: plots are drawn in black on nothing, and need paper.
    paper = "(image) => getComputedStyle(image).backgroundColor"
    assert await page.cell(1).locator(".output-image").evaluate(paper) == "rgb(255, 255, 255)"
    await page.cell(1).locator(".cm-content").click()
    await nothing_wrong(page.page, (WIDE,))
    await page.page.keyboard.press("Escape")
    await page.page.keyboard.press("h")
    await page.page.get_by_role("dialog").wait_for()
    await nothing_wrong(page.page)
    await page.page.keyboard.press("Escape")
    await page.press("More actions")
    await page.page.get_by_role("menu").wait_for()
    await nothing_wrong(page.page)


async def test_the_notebook_while_it_runs_and_asks(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "ask.ipynb", "input('Name? ')", "1 + 1")
    page = await NotebookPage(await open_page(server, "notebooks/ask.ipynb")).loaded()
    await page.run_all()
    await page.cell(0).get_by_role("textbox", name="Name?").wait_for(timeout=60_000)
    await nothing_wrong(page.page)


@pytest.mark.expect_log(r"The kernel 'nobody-has-this', which the notebook wants, is not installed")
async def test_a_dead_kernel_and_the_choice_of_others(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "unknown.ipynb", "1 + 1", kernel="nobody-has-this")
    page = await NotebookPage(await open_page(server, "notebooks/unknown.ipynb")).loaded()
    await page.run_all()
    await page.state(kernel="dead")
    await nothing_wrong(page.page)
    await page.press("Choose another kernel")
    await page.page.get_by_role("dialog", name="Choose a kernel").wait_for()
    await nothing_wrong(page.page)


async def test_the_files(server: Server, open_page: OpenPage) -> None:
    page = await open_page(server, "tree")
    await page.get_by_text("This folder is empty").wait_for()
    await nothing_wrong(page)
    notebooks.write(server.root / "one.ipynb", "1")
    (server.root / "folder").mkdir()
    (server.root / "lost").symlink_to("nowhere")
    (server.root / "table.csv").write_text("a,b\n")
    await page.reload()
    await page.get_by_text("Broken link").wait_for()
    await nothing_wrong(page)
    await page.get_by_role("checkbox").nth(1).check()
    await nothing_wrong(page)
    await page.get_by_role("link", name="Running").click()
    await page.get_by_role("heading", name="No kernel is running").wait_for()
    await nothing_wrong(page)


@pytest.mark.expect_console(r"status of 4\d\d")
async def test_the_login_and_the_errors(server: Server, open_page: OpenPage) -> None:
    page = await open_page(server, "login", login=False)
    await page.get_by_label("Token").wait_for()
    await nothing_wrong(page)
    await page.get_by_label("Token").fill("0" * 48)
    await page.keyboard.press("Enter")
    await page.get_by_role("alert").wait_for()
    await nothing_wrong(page)
    (server.root / "broken.ipynb").write_text('{"cells": [')
    page = await open_page(server, "notebooks/broken.ipynb")
    await page.get_by_role("heading").first.wait_for()
    await nothing_wrong(page)
    page = await open_page(server, "tree/not/there")
    await page.get_by_role("heading").first.wait_for()
    await nothing_wrong(page)
