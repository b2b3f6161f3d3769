"""Only the server writes results of runs: what a page may not do to a notebook is put back, in one cell or in hundreds at once."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Array, Map, Text

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.server import Server

PATH = "a.ipynb"


def made(count: int) -> dict[str, Any]:
    """A notebook of cells that have run, ``c0`` and on."""
    output = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": 1, "outputs": [output], "source": ["print(1)"]}
    cells = [{**cell, "id": f"c{number}"} for number in range(count)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def results(page: DocumentClient) -> list[tuple[str, str, object]]:
    """Id, printed text and execution count of each cell."""
    return [(str(cell["id"]), page.text(place), cell.get("execution_count")) for place, cell in enumerate(page.cells)]


@pytest.fixture(params=[1, 300], ids=["one-cell", "hundreds"])
async def page(request: pytest.FixtureRequest, server: Server, open_document: OpenDocument) -> DocumentClient:
    """What many cells need is done in more than one turn of the server's loop."""
    notebooks.save(server.root / PATH, made(request.param))
    return await open_document(server, PATH)


async def _right(page: DocumentClient, open_document: OpenDocument, expected: list[tuple[str, str, object]]) -> None:
    """This page, another one and the file hold ``expected``."""
    await page.until(lambda: results(page) == expected, "the repair")
    other = await open_document(page.server, PATH)
    assert results(other) == expected
    await page.operate("save")
    cells = notebooks.read(page.server.root / PATH)["cells"]
    assert [
        (each["id"], "".join("".join(output["text"]) for output in each["outputs"]), each["execution_count"]) for each in cells
    ] == expected


async def test_forged_results_are_put_back(page: DocumentClient, open_document: OpenDocument) -> None:
    true = results(page)
    with page.doc.transaction(origin="test"):
        for cell in page.cells:
            cell["outputs"][0]["text"].insert(0, "forged")
            cell["execution_count"] = 7
            cell["execution_state"] = "running"
    await page.committed()
    await _right(page, open_document, true)
    assert {cell["execution_state"] for cell in page.cells} == {"idle"}


async def test_forged_results_are_put_back_before_the_next_change(page: DocumentClient, open_document: OpenDocument) -> None:
    true = results(page)
    for text in ("forged", "again"):  # two frames, one behind the other
        with page.doc.transaction(origin="test"):
            for cell in page.cells:
                cell["outputs"][0]["text"].insert(0, text)
    await page.committed()
    await _right(page, open_document, true)


async def test_cleared_results_stay_cleared(page: DocumentClient, open_document: OpenDocument) -> None:
    with page.doc.transaction(origin="test"):
        for cell in page.cells:
            cell["outputs"].clear()
            cell["execution_count"] = None
    await page.committed()
    await _right(page, open_document, [(str(cell["id"]), "", None) for cell in page.cells])


async def test_moved_cells_keep_their_results(page: DocumentClient, open_document: OpenDocument) -> None:
    true = results(page)
    with page.doc.transaction(origin="test"):
        moved = [each.to_py() for each in page.cells]
        del page.cells[:]
        for cell in moved:
            lie: dict[str, Any] = {"output_type": "stream", "name": "stdout", "text": Text("forged")}
            types = {"source": Text(cell["source"]), "metadata": Map({}), "outputs": Array([Map(lie)]), "execution_count": 7}
            page.cells.insert(0, Map({**cell, **types}))
    await page.committed()
    await _right(page, open_document, true[::-1])


async def test_what_is_no_cell_is_taken_out(page: DocumentClient, open_document: OpenDocument) -> None:
    true = results(page)
    with page.doc.transaction(origin="test"):
        for _ in true:
            page.cells.append("no cell")
            page.cells.append(Map({"cell_type": "code"}))
    await page.committed()
    await page.until(lambda: len(page.cells) == len(true), "what is no cell to be gone")
    await _right(page, open_document, true)


async def test_a_cell_inserted_twice_is_one(page: DocumentClient, open_document: OpenDocument) -> None:
    true = results(page)
    with page.doc.transaction(origin="test"):
        for cell in [each.to_py() for each in page.cells]:
            types = {"source": Text(cell["source"]), "metadata": Map({}), "outputs": Array([])}
            page.cells.append(Map({**cell, **types}))
    await page.committed()
    await page.until(lambda: len(page.cells) == len(true), "the copies to be gone")
    await _right(page, open_document, true)
