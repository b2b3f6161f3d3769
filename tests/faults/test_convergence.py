"""Two people with five tabs edit, move, delete and run at random while their links are cut: in the end all show what is on disk.

Two of the tabs are real pages, each in a browser of its own; the others speak the protocol without one. Every line that somebody
typed stands there once, unless somebody deleted it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from playwright.async_api import Error as BrowserError

from harness import notebooks
from harness.bad_link import BadLink, MakeLink
from harness.browser import OpenPage
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import LONG, Count, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server

CLIENTS, BROWSERS = 3, 2
STEPS = 600 if LONG else 80
BROWSER_STEPS = 0.2
"""Of the steps, how many are done in a browser, which takes its time."""
DEEDS = ["type"] * 8 + ["insert"] * 2 + ["move"] * 2 + ["delete", "run", "cut", "away", "back", "back"]
# The texts of all cells by id, as the page shows them. An editor that was not needed yet, or is not in view, is a plain text.
TEXTS = """() => [...document.querySelectorAll("article[data-cell-id]")].map((cell) => {
    const lines = [...cell.querySelectorAll(".cm-line, .painted-line")].map((line) => {
        const own = line.cloneNode(true);
        own.querySelectorAll(".remote-caret").forEach((caret) => caret.remove());
        return own.textContent.replace(/\\n$/, "");
    });
    return [cell.dataset.cellId, lines.length ? lines.join("\\n") : cell.querySelector(".cell-source")?.textContent ?? ""];
})"""


# Cells that were never near the view are not drawn.
LOOK_THROUGH = """async () => {
    for (const cell of document.querySelectorAll("article[data-cell-id]")) {
        cell.scrollIntoView();
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    }
}"""


@dataclass
class Ledger:
    """What was typed where, and what somebody deleted."""

    typed: dict[str, str] = field(default_factory=dict)
    """Line to cell."""
    deleted: set[str] = field(default_factory=set)
    cuts: int = 0

    def delete(self, cell_id: str, text: str) -> None:
        """Somebody deletes a cell that has this text there."""
        self.deleted |= set(text.splitlines()) | {line for line, cell in self.typed.items() if cell == cell_id}

    @property
    def lines(self) -> list[str]:
        """All lines that should be there, in the order in which they were typed."""
        return [line for line in self.typed if line not in self.deleted]

    def count(self, notebook: dict[str, str], copies: set[str]) -> Count:
        """Count them in a notebook (text by cell). What stands in conflict copies too is not doubled: it is shown beside."""
        proper = [line for cell, text in notebook.items() if cell not in copies for line in text.splitlines()]
        beside = {line for cell in copies for line in notebook.get(cell, "").splitlines()} - set(proper)
        times = Counter([*proper, *beside])
        wanted = self.lines
        return Count.of_items([line for line in wanted for _ in range(times[line])], wanted)

    def wrong(self, notebook: dict[str, str]) -> dict[str, list[str]]:
        """Lines that do not stand in one cell, the one where they were typed: where they were typed, and where they stand."""
        places = {line: [cell for cell, text in notebook.items() if line in text.splitlines()] for line in self.lines}
        return {line: [self.typed[line], *cells] for line, cells in places.items() if cells != [self.typed[line]]}


class Tab(Protocol):
    """A tab of somebody."""

    online: bool

    async def texts(self) -> dict[str, str]:
        """The text of each cell, in order."""
        ...

    async def type(self, cell_id: str, line: str) -> str:
        """Add a line; the cell that it has come to, "" when that cell was taken away in between."""
        ...

    async def insert(self, after: str, line: str) -> str:
        """Make a cell of this line; its id."""
        ...

    async def move(self, cell_id: str, down: bool) -> None: ...

    async def delete(self, cell_id: str) -> None: ...

    async def run(self, cell_id: str) -> None: ...

    async def cut(self) -> None:
        """The link is cut, and may come back at once."""
        ...

    async def leave(self) -> None:
        """The link is gone until :meth:`come_back`."""
        ...

    async def come_back(self) -> None: ...

    async def settled(self) -> None:
        """Wait until it is online and the server has everything."""
        ...


class ClientTab:
    """One without a browser."""

    def __init__(self, page: DocumentClient) -> None:
        self.page, self.online = page, True

    def __str__(self) -> str:
        return f"client {id(self.page) % 1000}{'' if self.online else ', away'}"

    async def texts(self) -> dict[str, str]:
        return self.page.texts()

    async def type(self, cell_id: str, line: str) -> str:
        self.page.type(cell_id, f"\n{line}")
        await self._told()
        return cell_id

    async def insert(self, after: str, line: str) -> str:
        made = self.page.insert(list(self.page.texts()).index(after) + 1, line)
        await self._told()
        return made

    async def _told(self) -> None:
        # This client cannot tell of a cell that is taken from it before its changes have arrived there; pages can.
        if self.online:
            await self.page.committed()

    async def move(self, cell_id: str, down: bool) -> None:
        place = list(self.page.texts()).index(cell_id)
        self.page.move(cell_id, min(max(place + (1 if down else -1), 0), len(self.page.cells) - 1))

    async def delete(self, cell_id: str) -> None:
        self.page.delete(cell_id)

    async def run(self, cell_id: str) -> None:
        if self.online:
            await self.page.run(cell_id, stop_on_error=False)

    async def cut(self) -> None:
        await self.page.cut()

    async def leave(self) -> None:
        await self.page.go_offline()

    async def come_back(self) -> None:
        self.page.go_online()

    async def settled(self) -> None:
        await self.page.settled(seconds=90)


class BrowserTab:
    """A real page, over a link of its own."""

    def __init__(self, page: NotebookPage, link: BadLink) -> None:
        self.page, self.link, self.online = page, link, True

    def __str__(self) -> str:
        return f"browser {self.link.port}{'' if self.online else ', away'}"

    async def texts(self) -> dict[str, str]:
        return dict(await self.page.page.evaluate(TEXTS))

    async def shows(self, wanted: dict[str, str]) -> None:
        """Look through the page until it shows these texts, for some time."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            await self.page.page.evaluate(LOOK_THROUGH)
            if await self.texts() == wanted:
                return

    async def _focus(self, cell_id: str) -> bool:
        """Click into a cell; False when somebody took it away."""
        try:
            await self.page.page.locator(f"article[data-cell-id='{cell_id}'] :is(.cm-content, .cell-source)").first.click(timeout=5000)
        except BrowserError:
            return False
        return True

    async def _where(self, line: str) -> str:
        return next((cell for cell, text in (await self.texts()).items() if line in text.splitlines()), "")

    async def type(self, cell_id: str, line: str) -> str:
        if not await self._focus(cell_id):
            return ""
        await self.page.page.keyboard.press("ControlOrMeta+End")
        await self.page.page.keyboard.insert_text(f"\n{line}")
        return await self._where(line)

    async def insert(self, after: str, line: str) -> str:
        if not await self._focus(after):
            return ""
        for key in ("Escape", "b", "Enter"):
            await self.page.page.keyboard.press(key)
        await self.page.page.keyboard.insert_text(line)
        return await self._where(line)

    async def _press(self, cell_id: str, *keys: str) -> None:
        if await self._focus(cell_id):
            for key in keys:
                await self.page.page.keyboard.press(key)

    async def move(self, cell_id: str, down: bool) -> None:
        await self._press(cell_id, "Escape", "Alt+ArrowDown" if down else "Alt+ArrowUp")

    async def delete(self, cell_id: str) -> None:
        await self._press(cell_id, "Escape", "d", "d")

    async def run(self, cell_id: str) -> None:
        await self._press(cell_id, "ControlOrMeta+Enter", "Escape")

    async def cut(self) -> None:
        self.link.cut()

    async def leave(self) -> None:
        self.link.take_down()

    async def come_back(self) -> None:
        self.link.bring_up()

    async def settled(self) -> None:
        await self.page.state(link="online", waiting="0", seconds=90)


async def step(story: Story, tab: Tab, number: int, ledger: Ledger, away: list[Tab]) -> None:
    """One thing that a person or a network does."""
    texts = await tab.texts()
    cell, deed = story.random.choice(list(texts)), story.random.choice(DEEDS)
    story.say(f"{number}: {tab}: {deed} {cell}")
    match deed:
        case "type":
            if place := await tab.type(cell, line := f"line_{number} = {number}"):
                ledger.typed[line] = place
        case "insert":
            if place := await tab.insert(cell, line := f"made_{number} = {number}"):
                ledger.typed[line] = place
        case "move":
            await tab.move(cell, story.random.random() < 0.5)
        case "delete" if len(texts) > 4:
            await tab.delete(cell)
            after = await tab.texts()
            for gone in texts.keys() - after.keys():
                ledger.delete(gone, texts[gone])
        case "run":
            await tab.run(cell)
        case "cut" if tab.online:
            ledger.cuts += 1
            await tab.cut()
        case "away" if tab.online and len(away) < CLIENTS + BROWSERS - 1:
            ledger.cuts += 1
            tab.online = False
            away.append(tab)
            await tab.leave()
        case "back" if away:
            back = away.pop(story.random.randrange(len(away)))
            await back.come_back()
            back.online = True
        case _:
            pass


@pytest.mark.needs("chromium")
@pytest.mark.expect_console(r"net::ERR_|WebSocket connection to .* failed|Failed to load resource")
@pytest.mark.expect_log("event loop stood still")
@pytest.mark.timeout(3600 if LONG else 300)
async def test_tabs_converge(
    server: Server, bad_link: MakeLink, open_page: OpenPage, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story, ledger = Story("two people, five tabs"), Ledger()
    path = server.root / "a.ipynb"
    notebooks.write(path, *(f"start_{number} = {number}" for number in range(6)))
    ledger.typed.update({f"start_{number} = {number}": f"cell-{number}" for number in range(6)})
    clients = [ClientTab(await open_document(server, "a.ipynb")) for _ in range(CLIENTS)]
    browsers: list[BrowserTab] = []
    for _ in range(BROWSERS):
        link = await bad_link(server)
        page = NotebookPage(await open_page(link, "notebooks/a.ipynb", size=(1280, 4000)))  # type: ignore[arg-type]
        browsers.append(BrowserTab(await page.loaded(), link))
        await page.mark()
    tabs: list[Tab] = [*clients, *browsers]
    away: list[Tab] = []
    for number in range(STEPS):
        among = browsers if story.random.random() < BROWSER_STEPS else clients
        await step(story, story.random.choice(among), number, ledger, away)
    story.say(f"{STEPS} steps, {ledger.cuts} cuts; {len(away)} tabs come back now")
    for tab in away:
        await tab.come_back()
        tab.online = True
    for tab in tabs:
        await tab.settled()
    first = clients[0].page
    # A last word of each: who has them all has everything that was before.
    words = {tab.page.insert(len(tab.page.cells), f"# tab {number}") for number, tab in enumerate(clients)}
    for tab in clients:
        await tab.page.until(lambda tab=tab: words <= set(tab.page.texts()), "the last words of all", seconds=60)
        await tab.settled()
    await first.idle(seconds=120)
    await first.operate("save")
    on_disk = {cell["id"]: notebooks.joined(cell["source"]) for cell in notebooks.read(path)["cells"]}
    # The mark of a conflict copy is for those who have the notebook open; the file has it not.
    copies = {str(cell["id"]) for cell in first.cells if "conflict" in cell["metadata"].to_py().get("homeport", {})}
    for tab in browsers:
        await tab.page.finished(seconds=60)
        await tab.shows(on_disk)
    seen = [await tab.texts() for tab in tabs]
    counts = [ledger.count(texts, copies) for texts in seen]
    disk = ledger.count(on_disk, copies)
    said = sum(len(text.splitlines()) for text in on_disk.values())
    story.say(f"{len(on_disk)} cells, {len(copies)} of them conflict copies, {said} lines; {len(ledger.deleted)} lines were deleted")
    worst = next((count for count in counts if not count.whole), counts[0])
    record_fault(
        "two people, five tabs",
        f"{STEPS:,} steps; two of the tabs are browsers",
        times=ledger.cuts,
        disk=disk,
        page=worst,
        seconds=story.elapsed,
    )
    assert disk.whole, f"{ledger.wrong(on_disk)}; on disk: {on_disk}"
    for texts, tab in zip(seen, tabs, strict=True):
        shown = {cell: text for cell, text in texts.items() if cell in on_disk and on_disk[cell] != text}
        assert not shown, f"{type(tab).__name__} shows {shown}, on disk is { ({cell: on_disk[cell] for cell in shown}) }"
        assert list(texts) == list(on_disk), "the same cells in the same order"
    for tab in clients:
        assert len(tab.page.cells) == len(on_disk), "a cell stands twice"
    assert all(len(lines) == len(set(lines)) for lines in (text.splitlines() for text in on_disk.values())), "a line stands twice in a cell"
    for tab in browsers:
        assert not await tab.page.reloaded()
