"""The notebook page in a browser, in a person's words: run all, type into a cell, wait until it is saved.

What the page knows of itself stands as data attributes on its root element (link, waiting, kernel, save, queue, loaded).
"""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

SECONDS = 30.0
expect.set_options(timeout=SECONDS * 1000)


class NotebookPage:
    """One open notebook page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def loaded(self) -> NotebookPage:
        """Wait until the notebook is there; returns itself."""
        await self.state(loaded="true", link="online")
        return self

    async def state(self, *, seconds: float = SECONDS, **wanted: str) -> None:
        """Wait until all of the named data attributes of the page have these values, at one moment."""
        selector = "html" + "".join(f'[data-{name}="{value}"]' for name, value in wanted.items())
        await self.page.locator(selector).wait_for(state="attached", timeout=seconds * 1000)

    async def finished(self, *, seconds: float = SECONDS) -> None:
        """Wait until nothing runs or waits to run, and the file is written."""
        await self.state(queue="0", save="saved", waiting="0", link="online", seconds=seconds)

    async def press(self, name: str) -> None:
        """Press the button of this accessible name."""
        await self.page.get_by_role("button", name=name, exact=True).first.click()

    async def run_all(self) -> None:
        """Press "Run all cells"."""
        await self.press("Run all cells")

    def cell(self, number: int) -> Locator:
        """A cell by its place, from 0."""
        return self.page.locator("article[data-cell-id]").nth(number)

    async def type_into(self, number: int, text: str) -> None:
        """Click into a cell's editor, to its end, and type."""
        editor = self.cell(number).locator(".cm-content, .cell-source").first
        await editor.click()
        await expect(self.cell(number).locator(".cm-content")).to_be_focused()
        await self.page.keyboard.press("ControlOrMeta+End")
        await self.page.keyboard.insert_text(text)

    async def stream_text(self, number: int) -> str:
        """All that a cell's outputs show of what it printed."""
        return "".join(await self.cell(number).locator(".stream-text").all_text_contents())

    async def mark(self) -> None:
        """Leave a mark that a reload would take away."""
        await self.page.evaluate("() => { globalThis.homeportTestMark = true; }")

    async def reloaded(self) -> bool:
        """Whether the page was loaded again since :meth:`mark`."""
        return not await self.page.evaluate("() => globalThis.homeportTestMark === true")
