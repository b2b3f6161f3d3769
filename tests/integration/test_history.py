"""The history of saves: what is kept, what changed since, going back; and Jupyter's checkpoints, which are the same states."""

from __future__ import annotations

import json
from typing import Any

from harness import notebooks
from harness.document_client import OpenDocument
from harness.rest import rest
from harness.server import MakeServer, Server


async def versions(server: Server, path: str) -> list[dict[str, Any]]:
    return (await rest(server, "GET", f"api/history/{path}")).json()


async def test_saves_are_kept_compared_and_brought_back(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a b.ipynb"
    notebooks.write(file, "a = 1", "b = 2", "print('x' * 20_000)")
    original = file.read_bytes()
    page = await open_document(server, "a b.ipynb")
    assert await versions(server, "a%20b.ipynb") == []
    page.type(0, "1")
    await page.operate("save")
    await page.run("cell-2")
    await page.idle()
    await page.operate("save")
    del page.cells[1]
    page.insert(2, "c = 3")
    await page.operate("save")
    kept = await versions(server, "a%20b.ipynb")
    assert kept[-1]["size"] == len(original)
    assert kept[0]["size"] == file.stat().st_size
    oldest = kept[-1]["id"]
    address = f"api/history/a%20b.ipynb/versions/{oldest}"
    assert [cell["source"] for cell in (await rest(server, "GET", address)).json()["cells"]][:2] == ["a = 1", "b = 2"]

    found = (await rest(server, "GET", f"{address}/diff")).json()
    assert [(cell["action"], cell.get("before"), cell.get("after"), cell.get("outputs", False)) for cell in found] == [
        ("changed", "a = 1", "a = 11", False),
        ("removed", "b = 2", None, False),
        ("changed", None, None, True),
        ("added", None, "c = 3", False),
    ]

    page.type(0, "1")  # not saved yet: it is, before anything is brought back
    await page.committed()
    await rest(server, "POST", address)
    await page.until(lambda: page.source(0) == "a = 1" and len(page.cells) == 3, "the old state on the page")
    assert [page.source(number) for number in range(3)] == ["a = 1", "b = 2", "print('x' * 20_000)"]
    assert page.outputs(2) == []
    assert json.loads(file.read_bytes()) == json.loads(original)
    newest = (await versions(server, "a%20b.ipynb"))[1]["id"]
    await rest(server, "POST", f"api/history/a%20b.ipynb/versions/{newest}")
    await page.until(lambda: page.source(0) == "a = 111", "the state of before on the page")
    assert notebooks.stream_text(notebooks.read(file)["cells"][1]) == "x" * 20_000 + "\n"
    assert page.state.get("notices", []) == []
    missing = await rest(server, "POST", "api/history/a%20b.ipynb/versions/0000000000000-0000000000000000", ok=False)
    assert (missing.status_code, "not kept any more" in missing.json()["message"]) == (404, True)


async def test_a_client_that_writes_a_notebook_nobody_has_open_loses_nothing(server: Server) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1")
    original = file.read_bytes()
    notebook = notebooks.read(file)
    for source in ("a = 2", "a = 3"):
        notebook["cells"][0]["source"] = source
        await rest(server, "PUT", "api/contents/a.ipynb", json={"type": "notebook", "format": "json", "content": notebook})
    new, middle, oldest = await versions(server, "a.ipynb")
    for version, source in ((new, "a = 3"), (middle, "a = 2"), (oldest, "a = 1")):
        found = (await rest(server, "GET", f"api/history/a.ipynb/versions/{version['id']}")).json()
        assert [notebooks.joined(cell["source"]) for cell in found["cells"]] == [source]
    await rest(server, "POST", f"api/contents/a.ipynb/checkpoints/{oldest['id']}")
    assert file.read_bytes() == original
    await rest(server, "PUT", "api/contents/new.ipynb", json={"type": "notebook", "format": "json", "content": notebook})
    assert len(await versions(server, "new.ipynb")) == 1


async def test_a_state_of_an_old_format_is_compared(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "old.ipynb"
    cells = [{"cell_type": "code", "input": [source], "language": "python", "metadata": {}, "outputs": []} for source in ("a = 1", "b = 2")]
    file.write_text(json.dumps({"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}))
    page = await open_document(server, "old.ipynb")
    page.type(1, "2")
    page.insert(2, "c = 3")
    await page.operate("save")
    oldest = (await versions(server, "old.ipynb"))[-1]["id"]
    found = (await rest(server, "GET", f"api/history/old.ipynb/versions/{oldest}/diff")).json()
    assert [(cell["action"], cell.get("before"), cell.get("after")) for cell in found] == [
        ("same", None, None),
        ("changed", "b = 2", "b = 22"),
        ("added", None, "c = 3"),
    ]


async def test_checkpoints_as_jupyter_has_them(server: Server, open_document: OpenDocument) -> None:
    text = server.root / "notes.txt"
    text.write_text("first")
    address = "api/contents/notes.txt/checkpoints"
    assert (await rest(server, "GET", address)).json() == []
    made = await rest(server, "POST", address)
    assert made.status_code == 201
    assert sorted(made.json()) == ["id", "last_modified"]
    assert (await rest(server, "POST", address)).json() == made.json()
    text.write_text("second")
    assert (await rest(server, "GET", address)).json() == [made.json()]
    assert (await rest(server, "POST", f"{address}/{made.json()['id']}")).status_code == 204
    assert text.read_text() == "first"
    await rest(server, "PATCH", "api/contents/notes.txt", json={"path": "renamed.txt"})
    address = "api/contents/renamed.txt/checkpoints"
    assert (await rest(server, "GET", address)).json() == [made.json()]
    assert (await rest(server, "DELETE", f"{address}/{made.json()['id']}")).status_code == 204
    assert (await rest(server, "GET", address)).json() == []

    notebooks.write(server.root / "a.ipynb", "a = 1")
    page = await open_document(server, "a.ipynb")
    page.type(0, "1")
    await page.committed()
    made = await rest(server, "POST", "api/contents/a.ipynb/checkpoints")
    assert notebooks.sources(server.root / "a.ipynb") == ["a = 11"]
    page.type(0, "1")
    await page.operate("save")
    await rest(server, "POST", f"api/contents/a.ipynb/checkpoints/{made.json()['id']}")
    await page.until(lambda: page.source(0) == "a = 11", "the checkpoint on the page")
    assert (await versions(server, "a.ipynb"))[0]["size"] == (server.root / "a.ipynb").stat().st_size


async def test_how_much_is_kept_can_be_set(make_server: MakeServer, open_document: OpenDocument) -> None:
    server = make_server(options=("--history-count=2",))
    await server.start()
    notebooks.write(server.root / "a.ipynb", "a = 1")
    page = await open_document(server, "a.ipynb")
    for _ in range(4):
        page.type(0, "1")
        await page.operate("save")
    assert len(await versions(server, "a.ipynb")) == 2
    await server.kill()
    server.options = ("--history-count=0",)
    await server.start()
    await page.until(lambda: page.links == 2, "the link")
    await page.committed()
    page.type(0, "1")
    await page.operate("save")
    assert notebooks.sources(server.root / "a.ipynb") == ["a = 111111"]
    refused = await rest(server, "POST", "api/contents/b.txt/checkpoints", ok=False)
    assert refused.status_code == 404
