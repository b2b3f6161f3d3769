"""Takes docs/images/notebook.png from the real thing: a server, a kernel, a browser, a real notebook that has been run.

.venv/bin/python tools/screenshot.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from playwright.async_api import async_playwright  # noqa: E402  # after the path is set

from harness.browser import page_url  # noqa: E402
from harness.isolation import variables  # noqa: E402
from harness.needs import chromium  # noqa: E402
from harness.notebook_page import NotebookPage  # noqa: E402
from harness.server import Server, free_port  # noqa: E402

TARGET = ROOT / "docs" / "images" / "notebook.png"
NOTEBOOK = ROOT / "tests" / "notebooks" / "Sierpinski.ipynb"


async def take(home: Path) -> None:
    """Serve a folder with the notebook, run it, and keep what the window shows of its best plot."""
    root = home / "notebooks"
    root.mkdir()
    shutil.copyfile(NOTEBOOK, root / NOTEBOOK.name)
    server = Server(root=root, home=home, port=free_port())
    await server.start()
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"] if os.geteuid() == 0 else [])
            page = await browser.new_page(viewport={"width": 1200, "height": 880}, device_scale_factor=1.25)
            await page.goto(page_url(server, f"notebooks/{NOTEBOOK.name}"))
            notebook = await NotebookPage(page).loaded()
            await notebook.run_all()
            await notebook.finished()
            plot = notebook.cell(4)
            await plot.locator("img").wait_for()
            await plot.locator(".cell-source").click()
            await page.mouse.move(600, 20)
            await page.evaluate("() => scrollTo(0, document.querySelectorAll('article')[3].offsetTop - 110)")
            await plot.locator("img").evaluate("image => image.decode()")
            await page.screenshot(path=TARGET)
            await browser.close()
    finally:
        await server.stop()


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="hp-"))
    (home / "xdg-run").mkdir(mode=0o700)
    os.environ.update(variables(home, uuid.uuid4().hex))
    try:
        asyncio.run(take(home))
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
