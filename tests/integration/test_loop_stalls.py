"""The event loop never stands still for long: not at the first notebook, and not while a big one is read, edited and written."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from pycrdt import Array, Map, Text

from harness import notebooks
from harness.document_client import OpenDocument
from harness.heartbeat import Heartbeat
from harness.rest import rest
from harness.server import Server

LONGEST_MS = 50.0
"""What is allowed, on top of what this machine takes away from everybody at the same time."""


class Stalls:
    """Asks the server for its longest stall, and holds it against the machine's."""

    def __init__(self, server: Server, beat: Heartbeat) -> None:
        self._server, self._beat = server, beat

    async def _longest(self) -> tuple[float, str]:
        ours = (await rest(self._server, "GET", "api/status?reset_stall=1")).json()["homeport"]
        why = f"{ours['longest_stall_work_ms']:.0f} ms of them at work, {ours['longest_stall_page_reads']} pages read from disk"
        return ours["longest_stall_ms"], why

    async def forget(self) -> None:
        """Begin anew."""
        await self._longest()
        await self._beat.longest()

    async def check(self, what: str) -> None:
        """Fail when the loop stood still for too long since the last call."""
        (stall, why), machine = await self._longest(), await self._beat.longest() * 1000
        told = f"{what}: the loop stood still for {stall:.0f} ms at most ({why}), the machine for {machine:.0f} ms"
        print(told)
        assert stall <= LONGEST_MS + machine, told


@pytest_asyncio.fixture
async def stalls(server: Server) -> AsyncIterator[Stalls]:
    async with Heartbeat() as beat:
        found = Stalls(server, beat)
        await found.forget()
        yield found


def big_notebook(path: Path, megabytes: int = 30) -> None:
    """Images of all sizes, tables, long texts and a thousand small cells."""
    draw = random.Random(7)
    cells: list[dict[str, Any]] = []

    def code(source: str, *outputs: dict[str, Any]) -> None:
        number = len(cells)
        cell = {"cell_type": "code", "id": f"c{number}", "metadata": {}, "execution_count": number, "outputs": list(outputs)}
        cells.append({**cell, "source": source.splitlines(keepends=True)})

    for _ in range(1000):
        text = [f"line {line}: {draw.random()}\n" for line in range(20)]
        code("x = 1\nprint(x)\n", {"output_type": "stream", "name": "stdout", "text": text})
    for _ in range(20):
        rows = ["<table>\n", *(f"<tr><td>{draw.random()}</td><td>é {row}</td></tr>\n" for row in range(4000)), "</table>\n"]
        code("table", {"output_type": "display_data", "data": {"text/html": rows, "text/plain": ["a table"]}, "metadata": {}})
    plot = {"data": [{"x": [draw.random() for _ in range(20_000)], "type": "scatter"}], "layout": {}}
    code("plot", {"output_type": "display_data", "data": {"application/vnd.plotly.v1+json": plot}, "metadata": {}})
    code("log", {"output_type": "stream", "name": "stdout", "text": [f"{line} {draw.random()}\n" for line in range(100_000)]})
    size = sum(len(json.dumps(cell)) for cell in cells)
    while size < megabytes * 1_000_000:
        image = base64.b64encode(draw.randbytes(draw.choice((20_000, 200_000, 1_500_000)))).decode()
        size += len(image)
        code("plot()", {"output_type": "display_data", "data": {"image/png": image, "text/plain": ["<Figure>"]}, "metadata": {}})
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


async def test_the_first_notebook(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    notebooks.write(server.root / "first.ipynb", "print('hello')")
    page = await open_document(server, "first.ipynb")
    await stalls.check("the first notebook is opened")
    page.insert(1, "x = 1")
    await page.committed()
    await page.operate("save")
    await stalls.check("it is edited and saved")
    await page.run()
    await page.idle()
    await stalls.check("it runs, with the first kernel")


async def test_thirty_megabytes_in_a_page(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    file = server.root / "big.ipynb"
    await asyncio.to_thread(big_notebook, file)
    await stalls.forget()
    before = await asyncio.to_thread(notebooks.read, file)
    page = await open_document(server, "big.ipynb")
    await stalls.check("it is opened")
    page.insert(0, "first = 1")
    await page.committed()
    await page.operate("save")
    await stalls.check("it is edited and saved")
    with page.doc.transaction(origin="test"):
        for number in range(1, 201):
            page.type(number, "# edited\n")
    await page.committed()
    await page.operate("save")
    await stalls.check("two hundred cells are edited and saved")
    after = await asyncio.to_thread(notebooks.read, file)
    assert [cell["outputs"] for cell in after["cells"][1:]] == [cell["outputs"] for cell in before["cells"]]
    await page.close()
    second = await open_document(server, "big.ipynb")
    assert second.source(0) == "first = 1"
    await stalls.check("another page opens it")


async def test_a_thousand_cells_changed_at_once(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    text = "".join(f"line {line}\n" for line in range(20))
    output = {"output_type": "stream", "name": "stdout", "text": text}
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": 1, "outputs": [output], "source": "x = 1\nprint(x)"}
    cells = [{**cell, "id": f"c{number}"} for number in range(1000)]
    (server.root / "many.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    page = await open_document(server, "many.ipynb")
    await stalls.forget()
    with page.doc.transaction(origin="test"):
        for each in page.cells:
            each["source"].insert(0, "# edited\n")
    await page.committed()
    await stalls.check("a thousand cells are edited")
    with page.doc.transaction(origin="test"):
        for each in page.cells:
            each["metadata"]["collapsed"] = True
    await page.committed()
    await stalls.check("a thousand cells are collapsed")
    moved = [Map({**each.to_py(), **_fresh(each)}) for each in list(page.cells)[:500]]
    with page.doc.transaction(origin="test"):
        del page.cells[:500]
        page.cells.extend(moved)
    await page.committed()
    await stalls.check("half of them are moved")
    assert [page.text(place) for place in (0, 999)] == [text, text]
    with page.doc.transaction(origin="test"):
        for each in page.cells:
            each["outputs"].clear()
            each["execution_count"] = None
    await page.committed()
    await stalls.check("the outputs of a thousand cells are cleared")
    await page.operate("save")
    saved = notebooks.read(server.root / "many.ipynb")["cells"]
    assert [each["id"] for each in saved] == [f"c{number}" for number in (*range(500, 1000), *range(500))]
    assert not any(each["outputs"] for each in saved)


def _fresh(cell: Map[Any]) -> dict[str, Any]:
    """New shared types with what those of ``cell`` hold."""
    outputs = [Map({**output, "text": Text(output["text"])}) for output in cell["outputs"].to_py()]
    return {"source": Text(str(cell["source"])), "metadata": Map(cell["metadata"].to_py()), "outputs": Array(outputs)}


async def test_thirty_megabytes_from_the_log(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    await asyncio.to_thread(big_notebook, server.root / "big.ipynb")
    page = await open_document(server, "big.ipynb")
    page.insert(0, "first = 1")
    await page.committed()
    await page.close()
    await server.restart()
    await stalls.forget()
    page = await open_document(server, "big.ipynb")
    await page.operate("save")
    await stalls.check("it is opened from what the log holds, and saved")


async def test_thirty_megabytes_changed_by_another_program(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    file = server.root / "big.ipynb"
    await asyncio.to_thread(big_notebook, file)
    page = await open_document(server, "big.ipynb")
    notebook = await asyncio.to_thread(notebooks.read, file)
    for cell in notebook["cells"][:500]:
        cell["source"] = ["changed"]
    new = file.with_suffix(".new")
    new.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    await stalls.forget()
    os.replace(new, file)
    await page.until(lambda: page.source(499) == "changed", "the change of the file")
    await stalls.check("another program's change is merged")


async def test_thirty_megabytes_over_rest(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    await asyncio.to_thread(big_notebook, server.root / "big.ipynb")
    await stalls.forget()
    model = (await rest(server, "GET", "api/contents/big.ipynb")).json()
    await stalls.check("a closed notebook is read over REST")
    body = json.dumps({"type": "notebook", "format": "json", "content": model["content"]}).encode()
    await rest(server, "PUT", "api/contents/copy.ipynb", data=body)
    await stalls.check("it is written over REST")
    assert notebooks.read(server.root / "copy.ipynb")["cells"] == notebooks.read(server.root / "big.ipynb")["cells"]
    page = await open_document(server, "big.ipynb")
    await stalls.forget()
    open_model = (await rest(server, "GET", "api/contents/big.ipynb")).json()
    await stalls.check("an open notebook is read over REST")
    assert open_model["content"] == model["content"]
    open_model["content"]["cells"][0]["source"] = "changed = 1"
    body = json.dumps({"type": "notebook", "format": "json", "content": open_model["content"]}).encode()
    await rest(server, "PUT", "api/contents/big.ipynb", data=body)
    await page.until(lambda: page.source(0) == "changed = 1", "the change over REST")
    await stalls.check("an open notebook is written over REST")


async def test_thirty_megabytes_of_text_over_rest(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    text = "".join(f"{number},é,{number * 7}\n" for number in range(1_800_000))
    await asyncio.to_thread((server.root / "table.csv").write_text, text)
    await stalls.forget()
    answer = await rest(server, "GET", "api/contents/table.csv")
    await stalls.check("a text file is read over REST")
    model = await asyncio.to_thread(answer.json)
    assert (model["format"], model["mimetype"], model["content"] == text) == ("text", "text/csv", True)
    raw = random.Random(7).randbytes(30_000_000)
    await asyncio.to_thread((server.root / "raw.bin").write_bytes, raw)
    await stalls.forget()
    answer = await rest(server, "GET", "api/contents/raw.bin")
    await stalls.check("a binary file is read over REST")
    model = await asyncio.to_thread(answer.json)
    assert (model["format"], base64.b64decode(model["content"]) == raw) == ("base64", True)
    refused = await rest(server, "GET", "api/contents/raw.bin?format=text", ok=False)
    assert (refused.status_code, refused.json()["reason"], "not UTF-8" in refused.json()["message"]) == (400, "bad format", True)
    await asyncio.to_thread(big_notebook, server.root / "big.ipynb")
    page = await open_document(server, "big.ipynb")
    page.type(0, "# edited\n")
    await page.committed()
    await stalls.forget()
    answer = await rest(server, "GET", "api/contents/big.ipynb?type=file&format=text")
    await stalls.check("an open notebook is read as text")
    cells = json.loads((await asyncio.to_thread(answer.json))["content"])["cells"]
    assert "# edited\n" in cells[0]["source"]


async def test_thirty_megabytes_of_history(server: Server, stalls: Stalls, open_document: OpenDocument) -> None:
    await asyncio.to_thread(big_notebook, server.root / "big.ipynb")
    before = (await rest(server, "GET", "api/contents/big.ipynb")).json()["content"]
    await stalls.forget()
    kept = (await rest(server, "POST", "api/contents/big.ipynb/checkpoints")).json()["id"]
    await stalls.check("a state of a closed notebook is kept")
    assert (await rest(server, "GET", f"api/history/big.ipynb/versions/{kept}")).json() == before
    await stalls.check("it is read")
    page = await open_document(server, "big.ipynb")
    page.type(0, "# edited\n")
    await page.committed()
    await page.operate("save")
    await stalls.forget()
    changes = (await rest(server, "GET", f"api/history/big.ipynb/versions/{kept}/diff")).json()
    assert changes
    await stalls.check("it is compared with the open notebook")
    await rest(server, "POST", f"api/history/big.ipynb/versions/{kept}")
    await page.until(lambda: page.source(0) == "x = 1\nprint(x)\n", "the old state")
    await stalls.check("the open notebook goes back to it")
