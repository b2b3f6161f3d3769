"""Others write the file of an open notebook again and again; a store that lost a piece; going back in the history."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import LONG, Count, RecordFault, Story
from harness.rest import rest
from harness.server import Server

ROUNDS = 100 if LONG else 12


def change_file(file: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Another program's change: read, write beside, rename; done again when the file was saved by somebody in between."""
    while True:
        before = file.read_bytes()
        notebook = json.loads(before)
        change(notebook["cells"])
        new = file.with_name("new")
        new.write_text(json.dumps(notebook, indent=1))
        if hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(before).digest():
            os.replace(new, file)
            return


def marks(texts: list[str], wanted: list[str]) -> list[str]:
    """The marks as often as they stand in the texts, in the order in which they are wanted."""
    whole = "\n".join(texts)
    return [mark for mark in wanted for _ in range(whole.count(mark))]


def shown(page: DocumentClient) -> list[str]:
    return [str(cell["source"]) for cell in page.cells]


async def test_two_writers(server: Server, open_document: OpenDocument, record_fault: RecordFault) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "", "", "")
    page = await open_document(server, "a.ipynb")
    story = Story(f"{ROUNDS} rounds of two writers")
    wanted: list[str] = []

    def theirs(number: int, conflict: bool, cells: list[dict[str, Any]]) -> None:
        named = {cell["id"]: cell for cell in cells}
        named["cell-1"]["source"] = f"{notebooks.joined(named['cell-1']['source'])}<theirs {number}>\n"
        cells.insert(story.random.randrange(len(cells) + 1), {**named["cell-0"], "id": f"t{number}", "source": f"<their cell {number}>"})
        if conflict:
            named["cell-2"]["source"] = f"<their side {number}>"

    for number in range(ROUNDS):
        conflict = number % 4 == 3
        page.type("cell-0", f"<ours {number}>\n")
        page.insert(story.random.randrange(len(page.cells) + 1), f"<our cell {number}>")
        if conflict:
            page.type("cell-2", f"<our side {number}>\n")
        await page.committed()
        change_file(file, lambda cells, number=number, conflict=conflict: theirs(number, conflict, cells))
        wanted += [f"<ours {number}>", f"<our cell {number}>", f"<theirs {number}>", f"<their cell {number}>"]
        await page.until(lambda number=number: f"<their cell {number}>" in shown(page), "the other program's cell")
        if conflict:
            side = f"<their side {number}>"
            wanted += [f"<our side {number}>", side]
            await page.until(lambda side=side: any(side in text for text in shown(page)), "the other program's side of the conflict")
            copy = next(cell for cell in page.cells if side in str(cell["source"]))
            if "homeport" in copy["metadata"]:  # kept under a line of its own, as somebody does who wants both
                page.delete(copy["id"])
                page.type("cell-2", f"{side}\n")
    await page.committed()
    await page.operate("save")
    disk, on_page = (Count.of_items(marks(texts, wanted), wanted) for texts in (notebooks.sources(file), shown(page)))
    record_fault("somebody else writes the file", "both write, sometimes into one cell", times=ROUNDS, disk=disk, page=on_page)
    assert disk.whole
    assert on_page.whole


@pytest.mark.expect_log("a copy of the old file was kept, because")
async def test_a_store_that_lost_a_piece(server: Server, home: Path, open_document: OpenDocument, record_fault: RecordFault) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1")
    page = await open_document(server, "a.ipynb")
    for number in range(ROUNDS):
        page.insert(1 + number, f"<cell {number}>")
        await page.committed()
    await page.operate("save")
    await page.close()
    wanted = notebooks.sources(file)
    await server.kill()
    db = sqlite3.connect(home / "state/homeport/state.db")
    with db:
        middle = db.execute("SELECT seq FROM updates ORDER BY seq").fetchall()[ROUNDS // 2][0]
        db.execute("DELETE FROM updates WHERE seq = ?", (middle,))
    db.close()
    await server.start()
    page = await open_document(server, "a.ipynb")
    page.type("cell-0", "1")
    await page.operate("save")
    kept = [source for copy in home.glob("state/homeport/recovery/*/*.ipynb") for source in notebooks.sources(copy)]
    counts = Count.of_items(kept, wanted)
    record_fault("a save shrinks nothing", "a piece of the store is lost", disk=counts)
    assert counts.whole
    await page.until(lambda: any("recovery" in notice["text"] for notice in page.state["notices"]), "the notice")


async def test_every_save_can_be_brought_back(server: Server, open_document: OpenDocument, record_fault: RecordFault) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "0\n")
    page = await open_document(server, "a.ipynb")
    saves = min(ROUNDS, 19)
    for number in range(1, saves + 1):
        page.type(0, f"{number}\n")
        await page.operate("save")
    kept = (await rest(server, "GET", "api/history/a.ipynb")).json()[::-1]
    found: list[str] = []
    for version in kept:
        await rest(server, "POST", f"api/history/a.ipynb/versions/{version['id']}")
        found.append(notebooks.sources(file)[0])
    wanted = ["".join(f"{line}\n" for line in range(number + 1)) for number in range(saves + 1)]
    counts = Count.of_items(found, wanted)
    record_fault("history", "each of the last saves is brought back", times=len(kept), disk=counts)
    assert counts.whole
