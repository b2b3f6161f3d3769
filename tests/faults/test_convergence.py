"""Several pages edit, move, delete and run at random while their links are cut: in the end all show what is on disk."""

from __future__ import annotations

import pytest

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import LONG, Story
from harness.server import Server

PAGES = 5
STEPS = 1500 if LONG else 150


async def step(story: Story, page: DocumentClient, number: int, online: set[DocumentClient]) -> None:
    """One thing that a person or a network does."""
    ids = list(page.texts())
    cell = story.random.choice(ids) if ids else ""
    deed = story.random.choice(["type"] * 8 + ["insert"] * 2 + ["move"] * 2 + ["delete", "run", "cut", "away", "back", "back"])
    if deed == "type" and cell:
        page.type(cell, f"\nline_{number} = {number}")
    elif deed == "insert":
        page.insert(story.random.randint(0, len(ids)), f"made_{number} = {number}")
    elif deed == "move" and cell:
        page.move(cell, story.random.randrange(len(ids)))
    elif deed == "delete" and len(ids) > 4:
        page.delete(cell)
    elif deed == "run" and cell and page in online:
        await page.run(cell, stop_on_error=False)
    elif deed == "cut" and page in online:
        await page.cut()
    elif deed == "away" and page in online and len(online) > 1:
        online.discard(page)
        await page.go_offline()
    elif deed == "back" and page not in online:
        online.add(page)
        page.go_online()


@pytest.mark.timeout(1800 if LONG else 180)
async def test_pages_converge(server: Server, open_document: OpenDocument) -> None:
    """Several pages edit, move, delete and run while their links are cut."""
    story = Story("convergence")
    path = server.root / "a.ipynb"
    notebooks.write(path, *(f"start_{number} = {number}" for number in range(6)))
    pages = [await open_document(server, "a.ipynb") for _ in range(PAGES)]
    for page in pages:
        page.type("cell-0", "")
        page.insert(len(page.cells), "# hello", cell_type="markdown")
    for page in pages:
        await page.settled()
    online = set(pages)
    for number in range(STEPS):
        await step(story, story.random.choice(pages), number, online)
    for page in pages:
        page.go_online()
    for page in pages:
        await page.settled(seconds=60)
    # A last word of each: who has them all has everything that was before.
    words = {page.insert(len(page.cells), f"# page {number}", cell_type="markdown") for number, page in enumerate(pages)}
    for page in pages:
        await page.until(lambda page=page: words <= set(page.texts()), "the last words of all", seconds=60)
        await page.settled()
    await pages[0].idle(seconds=120)
    await pages[0].operate("save")
    on_disk = {cell["id"]: notebooks.joined(cell["source"]) for cell in notebooks.read(path)["cells"]}
    for page in pages:
        await page.until(lambda page=page: page.texts() == on_disk, f"what is on disk; {story.seed}", seconds=30)
        assert len(page.cells) == len(on_disk), "a cell stands twice"
    assert list(pages[0].texts()) == list(on_disk)
    said = [line for text in on_disk.values() for line in text.splitlines()]
    story.say(f"{STEPS} steps, {sum(page.links for page in pages)} links, {len(on_disk)} cells, {len(said)} lines")
    cells = [text.splitlines() for text in on_disk.values()]
    assert all(len(lines) == len(set(lines)) for lines in cells), "a line stands twice in a cell"
