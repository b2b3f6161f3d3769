"""Saving: by itself, atomically, only when there is something to save, and without changing what nobody changed."""

from __future__ import annotations

import asyncio
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from pycrdt import Text

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.rest import rest
from harness.server import MakeServer, Server
from homeport.documents.exact import EXACT

REAL = sorted(Path(os.environ.get("HOMEPORT_NOTEBOOKS") or notebooks.VENDORED).glob("*.ipynb"))


def look(path: Path) -> tuple[bytes, int, int]:
    """What must not change when a file is left alone."""
    facts = path.stat()
    return path.read_bytes(), facts.st_mtime_ns, facts.st_ino


def no_litter(folder: Path) -> bool:
    return all(not entry.name.startswith(".") for entry in folder.iterdir())


async def saved(page: DocumentClient, since: float) -> float:
    """Wait until the server says that it has saved after ``since``, and all of it; returns when that was."""
    await page.until(lambda: page.state["save"]["state"] == "saved" and (page.state["save"]["at"] or 0) > since, "a save")
    return page.state["save"]["at"]


async def test_a_change_is_saved_by_itself_a_second_after_the_last_one(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "x = 1")
    page = await open_document(server, "a.ipynb")
    page.type(0, "\ny")
    await page.committed()
    last = time.time()
    page.type(0, " = 2")
    at = await saved(page, last)
    assert 0.9 <= at - last < 10
    assert notebooks.joined(notebooks.read(file)["cells"][0]["source"]) == "x = 1\ny = 2"
    assert no_litter(server.root)


async def test_who_keeps_typing_is_saved_all_the_same(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "")
    page = await open_document(server, "a.ipynb")
    await page.until(lambda: "save" in page.state, "the state of the file")
    began = time.time()
    while (page.state["save"]["at"] or 0) < began:
        page.type(0, "x")
        await page.committed()
        await asyncio.sleep(0.1)  # somebody's typing
        assert time.time() - began < 40
    assert notebooks.joined(notebooks.read(file)["cells"][0]["source"]).startswith("xxx")


async def test_a_reader_never_sees_half_a_file(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, *["x = 1\n" * 500] * 40)
    file.chmod(0o640)
    page = await open_document(server, "a.ipynb")
    stop = asyncio.Event()

    def read_on() -> int:
        seen: set[int] = set()
        while not stop.is_set():
            with open(file, "rb") as opened:
                seen.add(os.fstat(opened.fileno()).st_ino)
                assert len(json.loads(opened.read())["cells"]) == 40
        return len(seen)

    reading = asyncio.create_task(asyncio.to_thread(read_on))
    for number in range(20):
        page.type(number, "y = 2\n")
        await page.committed()
        await page.operate("save")
    stop.set()
    assert await reading > 1, "the reader saw no replacement at all"
    assert file.stat().st_mode & 0o777 == 0o640
    assert no_litter(server.root)


async def test_a_link_stays_a_link(server: Server, open_document: OpenDocument) -> None:
    (server.root / "deep").mkdir()
    file = server.root / "deep" / "a.ipynb"
    notebooks.write(file, "x = 1")
    link = server.root / "link.ipynb"
    link.symlink_to("deep/a.ipynb")
    page = await open_document(server, "link.ipynb")
    other = await open_document(server, "deep/a.ipynb")
    page.type(0, "\ny = 2")
    await other.until(lambda: other.source(0) == "x = 1\ny = 2", "one document under two names")
    await page.operate("save")
    assert link.is_symlink()
    assert notebooks.joined(notebooks.read(file)["cells"][0]["source"]) == "x = 1\ny = 2"


UNKNOWN: dict[str, Any] = {
    "cells": [
        {
            "attachments": {"a.png": {"image/png": "iVBORw0KGgo="}},
            "cell_type": "markdown",
            "id": "m",
            "metadata": {"slideshow": {"slide_type": "skip"}, "tags": ["é", "𝄞"]},
            "source": ["# title\n", "![a](attachment:a.png)"],
        },
        {
            "cell_type": "code",
            "execution_count": 7,
            "id": "c",
            "metadata": {"collapsed": False, "number": 1.5, "nothing": None, "deep": {"er": [1, {"x": []}]}},
            "outputs": [
                {
                    "data": {
                        "application/json": {"b": 1, "a": [True, None, 0.1]},
                        "application/vnd.own+json": {"z": "\n"},
                        "text/html": ["<b>\n", "</b>"],
                        "text/plain": ["x"],
                    },
                    "execution_count": 7,
                    "metadata": {"own": {"kept": True}},
                    "output_type": "execute_result",
                },
                {"ename": "E", "evalue": "v", "output_type": "error", "traceback": ["\u001b[31mE\u001b[0m"]},
            ],
            "source": ["x = 1\n", "x"],
            "unknown_member": {"of": "a cell"},
        },
        {"cell_type": "raw", "id": "r", "metadata": {"raw_mimetype": "text/latex"}, "source": []},
    ],
    "metadata": {"kernelspec": {"display_name": "P", "language": "python", "name": "python3"}, "own": {"tool": [1, 2]}, "title": "é"},
    "nbformat": 4,
    "nbformat_minor": 5,
    "own_member": {"of": "the notebook"},
}


def as_nbformat(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


async def test_what_nobody_knows_is_kept_to_the_byte(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    file.write_text(as_nbformat(UNKNOWN))
    page = await open_document(server, "a.ipynb")
    page.type(1, "\ny")
    await page.committed()
    await page.operate("save")
    wanted = json.loads(json.dumps(UNKNOWN))
    wanted["cells"][1]["source"] = ["x = 1\n", "x\n", "y"]
    assert file.read_text() == as_nbformat(wanted)


INEXACT: Any = json.loads('{"big": 12345678901234567890, "none": [NaN, -Infinity], "one": 1.0, "same": 1, "text": "\\ud83d"}')


def inexact() -> dict[str, Any]:
    """A notebook with values in every place that a Yjs document cannot hold."""
    notebook = json.loads(json.dumps(UNKNOWN))
    result = notebook["cells"][1]["outputs"][0]
    for place in (notebook["metadata"], notebook["own_member"], result["metadata"], result, result["data"]["application/json"]):
        place["exact"] = INEXACT
    for cell in notebook["cells"]:
        cell["metadata"]["exact"] = cell["exact"] = INEXACT
    return cast("dict[str, Any]", notebook)


def with_escapes(notebook: dict[str, Any]) -> bytes:
    return as_nbformat(notebook).replace("\ud83d", "\\ud83d").encode()


async def test_what_a_document_cannot_hold_is_kept_to_the_byte(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    wanted = inexact()
    file.write_bytes(with_escapes(wanted))
    page = await open_document(server, "a.ipynb")
    page.type(1, "\ny")
    page.move("r", 0)
    await page.committed()
    await page.operate("save")
    wanted["cells"][1]["source"] = ["x = 1\n", "x\n", "y"]
    wanted["cells"].insert(0, wanted["cells"].pop())
    assert file.read_bytes() == with_escapes(wanted)
    await server.kill()
    # Another program's changes of nothing but such values; then a page's of what stands beside them.
    for place in (wanted["metadata"], *wanted["cells"], *(cell["metadata"] for cell in wanted["cells"]), wanted["cells"][2]["outputs"][0]):
        place["exact"] = {**INEXACT, "same": 1.0, "one": 1}
    file.write_bytes(with_escapes(wanted))
    await server.start()
    page = await open_document(server, "a.ipynb")
    # In the document the numbers look as before: what they were written as stands beside them.
    await page.until(lambda: all("same" in cell["metadata"][EXACT]["exact"] for cell in page.cells), "the merged file")
    page.cells[1]["metadata"]["exact"] = {**page.cells[1]["metadata"]["exact"], "same": 2}
    page.type(2, "z")
    await page.committed()
    await page.operate("save")
    wanted["cells"][1]["metadata"]["exact"] = {**INEXACT, "same": 2, "one": 1}
    wanted["cells"][2]["source"] = ["x = 1\n", "x\n", "yz"]
    assert file.read_bytes() == with_escapes(wanted)


async def test_what_a_server_left_that_was_killed_in_a_save_is_taken_away(server: Server, open_document: OpenDocument) -> None:
    left, young, foreign = (server.root / name for name in (".~homeport-0123456789ab.tmp", ".~homeport-ba9876543210.tmp", ".~lock.tmp"))
    for file in (left, young, foreign):
        file.write_text("half of a notebook")
    for file in (left, foreign):
        os.utime(file, (time.time() - 7200,) * 2)
    notebooks.write(server.root / "a.ipynb", "1")
    page = await open_document(server, "a.ipynb")
    page.type(0, "2")
    await page.operate("save")
    assert sorted(file.name for file in server.root.glob(".~*")) == sorted((young.name, foreign.name)), "another server may be writing"
    os.utime(young, (time.time() - 7200,) * 2)
    page.type(0, "3")
    await page.operate("save")
    assert [file.name for file in server.root.glob(".~*")] == [foreign.name], "it was looked at again"


async def test_a_file_keeps_its_minor(server: Server, open_document: OpenDocument) -> None:
    for minor in (0, 2, 4, 5, 6):
        file = server.root / f"{minor}.ipynb"
        cells: list[dict[str, Any]] = [
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": [source]}
            for source in ("a = 1", "b = 2")
        ]
        if minor >= 5:
            cells = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
        file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": minor}, indent=4))
        page = await open_document(server, file.name)
        page.type(0, "1")
        await page.operate("save")
        wanted = [{**cells[0], "source": ["a = 11"]}, cells[1]]
        assert file.read_text() == as_nbformat({"cells": wanted, "metadata": {}, "nbformat": 4, "nbformat_minor": minor})


async def test_a_file_that_did_not_change_is_not_rewritten(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    file.write_text(json.dumps(inexact(), indent=4))  # not as we would write it
    before = look(file)
    page = await open_document(server, "a.ipynb")
    await page.operate("save")
    assert look(file) == before
    source: Text = page.cells[1]["source"]
    source.insert(len(source), "!")
    await page.committed()
    del source[len("x = 1\nx")]
    await page.committed()
    await page.operate("save")
    await page.until(lambda: page.state["save"]["state"] == "saved", "the state of the file")
    assert look(file) == before
    await page.close()
    await server.restart()
    page = await open_document(server, "a.ipynb")
    await page.operate("save")
    assert look(file) == before


OLD = {
    "metadata": {"name": "old"},
    "nbformat": 3,
    "nbformat_minor": 0,
    "worksheets": [
        {
            "cells": [
                {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["Title"]},
                {
                    "cell_type": "code",
                    "collapsed": False,
                    "input": ["print('old')"],
                    "language": "python",
                    "metadata": {},
                    "outputs": [{"output_type": "stream", "stream": "stdout", "text": ["old\n"]}],
                    "prompt_number": 3,
                },
            ],
            "metadata": {},
        }
    ],
}


async def test_nbformat_3_opens_and_becomes_4_when_it_is_changed(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "old.ipynb"
    file.write_text(json.dumps(OLD))
    before = look(file)
    page = await open_document(server, "old.ipynb")
    assert [page.source(0), page.source(1)] == ["## Title", "print('old')"]
    assert page.text(1) == "old\n"
    await page.operate("save")
    assert look(file) == before
    page.type(1, "  # new")
    await page.committed()
    await page.operate("save")
    notebook = notebooks.read(file)
    assert (notebook["nbformat"], notebook["cells"][1]["source"]) == (4, ["print('old')  # new"])
    nbformat.validate(nbformat.read(file, 4))  # type: ignore[no-untyped-call]


def content(notebook: Any) -> Any:
    """A notebook as nbformat reads it, text joined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old notebooks without ids
        found = nbformat.reads(notebook if isinstance(notebook, str) else json.dumps(notebook), nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    return json.loads(json.dumps(found))


async def test_real_notebooks_survive_a_change(server: Server, open_document: OpenDocument) -> None:
    assert REAL
    for original in REAL:
        file = server.root / original.name
        file.write_bytes(original.read_bytes())
        before = look(file)
        page = await open_document(server, original.name)
        await page.operate("save")
        assert look(file) == before, f"{original.name} was rewritten without a change"
        page.insert(len(page.cells), "changed = True")
        await page.committed()
        await page.operate("save")
        after = content(file.read_text())
        added = after["cells"].pop()
        assert added["source"] == "changed = True"
        assert after == content(original.read_text()), original.name
        await page.close()


@pytest.mark.expect_log("is open in another Homeport server")
async def test_two_servers_cannot_hold_one_notebook(make_server: MakeServer, open_document: OpenDocument) -> None:
    first, second = make_server(), make_server()
    await first.start()
    await second.start()
    notebooks.write(first.root / "a.ipynb", "x = 1")
    notebooks.write(first.root / "b.ipynb", "x = 1")
    page = await open_document(first, "a.ipynb")
    # A server's first document may take longer than a page waits for an answer; then the page's socket tells why not.
    await open_document(second, "b.ipynb")
    answer = await rest(second, "GET", "notebooks/a.ipynb", ok=False)
    assert answer.status_code == 423
    body = answer.json()
    assert (body["code"], body["url"].rstrip("/").rpartition(":")[2]) == ("locked", str(first.port))
    assert "open in another Homeport server" in body["message"]
    page.type(0, "\ny = 2")
    await page.committed()
    await page.close()
    await first.kill()
    # Its lock went with it; what it had not written is in the log that both share.
    other = await open_document(second, "a.ipynb")
    assert other.source(0) == "x = 1\ny = 2"


async def test_an_open_notebook_is_downloaded_whole_and_in_ranges(server: Server, open_document: OpenDocument) -> None:
    notebooks.write(server.root / "a.ipynb", *(f"x = {number}" for number in range(50)))
    page = await open_document(server, "a.ipynb")
    page.insert(0, "# é and more")
    await page.committed()
    await page.operate("save")
    whole = (server.root / "a.ipynb").read_bytes()
    assert (await rest(server, "GET", "files/a.ipynb")).content == whole
    head = await rest(server, "HEAD", "files/a.ipynb")
    assert (head.headers["Content-Length"], head.content) == (str(len(whole)), b"")
    for first, last in (
        (0, 0),
        (0, len(whole) - 1),
        (7, 1000),
        (len(whole) - 3, len(whole) - 1),
        *((at, at + 90) for at in range(0, 3000, 61)),
    ):
        answer = await rest(server, "GET", "files/a.ipynb", headers={"Range": f"bytes={first}-{last}"})
        assert answer.status_code == 206
        assert answer.content == whole[first : last + 1], (first, last)
