"""Text typed while the link was down, in cells that others moved, deleted or changed meanwhile: nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.server import Server

PATH = "a.ipynb"


@pytest.fixture
async def pages(server: Server, open_document: OpenDocument) -> tuple[DocumentClient, DocumentClient]:
    """One that goes away and one that stays; cells 0, 1, 2 of two lines each."""
    notebooks.write(server.root / PATH, "a = 1\na = 2", "b = 1\nb = 2", "c = 1\nc = 2")
    away, here = await open_document(server, PATH), await open_document(server, PATH)
    away.type("cell-0", "")
    away.type("cell-2", "\nc = 3")
    await away.settled()
    await here.until(lambda: here.source("cell-2") == "c = 1\nc = 2\nc = 3", "what the other typed")
    return away, here


async def united(away: DocumentClient, here: DocumentClient) -> dict[str, str]:
    """The page comes back; both then hold the same. Returns the texts by id."""
    await here.committed()
    away.go_online()
    await away.settled()
    # A word of each behind all else: when both have both, both have everything.
    for page, word in ((away, "away"), (here, "here")):
        page.insert(len(page.cells), word, cell_type="raw")
    for page in (away, here):
        await page.until(lambda page=page: {"away", "here"} <= set(page.texts().values()), "the last words")
    assert away.texts() == here.texts()
    return {cell_id: text for cell_id, text in away.texts().items() if text not in ("away", "here")}


def copies(page: DocumentClient) -> dict[str, str]:
    """Texts of conflict copies by the id of the cell that they are a copy of."""
    found = {}
    for cell in page.cells:
        mark = cell["metadata"].to_py().get("homeport")
        if mark:
            found[mark["conflict"]["cell"]] = str(cell["source"])
    return found


Pages = tuple[DocumentClient, DocumentClient]


async def test_typed_into_a_cell_that_another_moved(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.type("cell-1", "mine = 1\n", at=0)
    here.move("cell-1", 0)
    here.type("cell-1", "\ntheirs = 1")
    texts = await united(away, here)
    assert texts["cell-1"] == "mine = 1\nb = 1\nb = 2\ntheirs = 1"
    assert list(texts) == ["cell-1", "cell-0", "cell-2"]
    assert not copies(here)


async def test_typed_into_a_cell_that_another_deleted(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.type("cell-1", "\nmine = 1")
    here.delete("cell-1")
    texts = await united(away, here)
    assert list(texts.values()) == ["a = 1\na = 2", "b = 1\nb = 2\nmine = 1", "c = 1\nc = 2\nc = 3"], "at its place"
    assert copies(here) == {"cell-1": "b = 1\nb = 2\nmine = 1"}


async def test_a_contradiction_is_kept_beside(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.type("cell-1", " # mine")
    here.move("cell-1", 2)
    here.type("cell-1", " # theirs")
    texts = await united(away, here)
    assert texts["cell-1"] == "b = 1\nb = 2 # theirs"
    assert copies(here) == {"cell-1": "b = 1\nb = 2 # mine"}


async def test_typed_by_another_into_a_cell_that_this_page_moved(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.move("cell-1", 0)
    away.type("cell-1", "mine = 1\n", at=0)
    here.type("cell-1", "\ntheirs = 1")
    texts = await united(away, here)
    assert texts["cell-1"] == "mine = 1\nb = 1\nb = 2\ntheirs = 1"
    assert list(texts) == ["cell-1", "cell-0", "cell-2"]
    assert not copies(here)


async def test_typed_by_another_into_a_cell_that_this_page_deleted(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.delete("cell-1")
    away.delete("cell-2")
    here.type("cell-1", "\ntheirs = 1")
    texts = await united(away, here)
    assert texts == {"cell-0": "a = 1\na = 2", "cell-1": "b = 1\nb = 2\ntheirs = 1"}, "what nobody went on with is gone"


async def test_moved_by_both(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.move("cell-1", 0)
    away.type("cell-1", "mine = 1\n", at=0)
    here.move("cell-1", 2)
    here.type("cell-1", "\ntheirs = 1")
    texts = await united(away, here)
    assert len(texts) == 3
    assert texts["cell-1"] == "mine = 1\nb = 1\nb = 2\ntheirs = 1"


async def test_typed_by_both_is_merged_by_yjs_alone(pages: Pages) -> None:
    away, here = pages
    await away.go_offline()
    away.type("cell-1", " # mine", at=5)
    here.type("cell-1", " # theirs")
    texts = await united(away, here)
    assert texts["cell-1"] == "b = 1 # mine\nb = 2 # theirs"
    assert not copies(here)


async def test_nothing_is_doubled_when_only_the_acknowledgement_was_lost(pages: Pages) -> None:
    away, here = pages
    away.type("cell-1", "\nmine = 1")
    await here.until(lambda: here.source("cell-1").endswith("mine = 1"), "what was typed")
    settled = dict(away._settled)  # as if the acknowledgement were still on its way
    await away.go_offline()
    away._settled = settled | {"cell-1": "b = 1\nb = 2"}
    texts = await united(away, here)
    assert texts["cell-1"] == "b = 1\nb = 2\nmine = 1"
    assert not copies(here)


async def test_a_cell_that_is_moved_keeps_what_its_run_has_printed(server: Server, open_document: OpenDocument, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    notebooks.write(
        server.root / PATH,
        "import pathlib, time\nfor n in range(200):\n    print(n, flush=True)\n    time.sleep(0.01)\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.01)\nprint('end')",
        "x = 1",
    )
    mover, watcher = await open_document(server, PATH), await open_document(server, PATH)
    await mover.run("cell-0")
    await watcher.until(lambda: "20\n" in watcher.text("cell-0"), "the first lines")
    mover.move("cell-0", 1)
    await mover.go_offline()
    mover.move("cell-0", 0)
    await watcher.until(lambda: "199\n" in watcher.text("cell-0"), "lines that the mover does not see")
    mover.go_online()
    await mover.settled()
    gate.touch()
    await watcher.until(lambda: "end\n" in watcher.text("cell-0"), "the end")
    await watcher.idle()
    assert watcher.text("cell-0").split() == [*map(str, range(200)), "end"]
    assert len(watcher.cells) == 2


async def test_the_same_cells_moved_by_both(pages: Pages) -> None:
    away, here = pages
    here.insert_cell(3, {"id": "cell-3", "cell_type": "code", "source": "d = 1"})
    await away.until(lambda: "cell-3" in away.texts(), "the fourth cell")
    await away.go_offline()
    for page in pages:
        with page.doc.transaction(origin="test"):
            page.move("cell-0", 3)
            page.move("cell-1", 3)
    texts = await united(away, here)
    assert sorted(texts.values()) == ["a = 1\na = 2", "b = 1\nb = 2", "c = 1\nc = 2\nc = 3", "d = 1"]
    assert not copies(here)
