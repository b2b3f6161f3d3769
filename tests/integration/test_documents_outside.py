"""Another program writes the file of an open notebook: what is clear is merged silently, and nobody's work is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Text

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.edge import serving
from harness.rest import rest
from harness.server import Server
from homeport.documents.document import Document


def shown(page: DocumentClient) -> list[str]:
    return [str(cell["source"]) for cell in page.cells]


def replace(file: Path, change: Callable[[list[dict[str, Any]]], object], *, in_place: bool = False) -> bytes:
    """Do what a program does that changes the cells of a file: write another one and rename it, or write over the old one."""
    notebook = notebooks.read(file)
    change(notebook["cells"])
    data = (json.dumps(notebook, indent=1, sort_keys=True) + "\n").encode()
    if in_place:
        file.write_bytes(data)
    else:
        new = file.with_name(f".{file.name}.new")
        new.write_bytes(data)
        os.replace(new, file)
    return data


def edit(document: Document) -> None:
    """Append a 1 to the first cell of a document of this process."""
    cell = document.room.find_cell(document.room.cell_ids()[0])
    assert cell is not None
    source = cell.get("source")
    assert isinstance(source, Text)
    with document.room.transaction("test"):
        source += "1"


def notices(page: DocumentClient) -> list[dict[str, Any]]:
    return page.state.get("notices", [])


@pytest.mark.parametrize("in_place", [False, True], ids=["by-rename", "in-place"])
async def test_different_cells_are_merged_silently(server: Server, open_document: OpenDocument, in_place: bool) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1", "b = 2", "c = 3", "d = 4")
    page = await open_document(server, "a.ipynb")
    page.type(0, "  # ours")
    page.insert(4, "e = 5")
    await page.committed()

    def change(cells: list[dict[str, Any]]) -> None:
        cells[1]["source"] = ["b = 22"]
        del cells[2]
        cells.insert(0, {**cells[1], "id": "new", "source": ["z = 0"]})

    replace(file, change, in_place=in_place)
    wanted = ["z = 0", "a = 1  # ours", "b = 22", "d = 4", "e = 5"]
    await page.until(lambda: shown(page) == wanted, "the merged notebook")
    await page.operate("save")
    assert notebooks.sources(file) == wanted
    assert notices(page) == []


async def test_a_look_changes_nothing(server: Server, open_document: OpenDocument) -> None:
    file, other = server.root / "a.ipynb", server.root / "b.ipynb"
    notebooks.write(file, "a = 1")
    notebooks.write(other, "b = 1")
    page = await open_document(server, "a.ipynb")
    second = await open_document(server, "b.ipynb")
    before = page.doc.get_state()
    os.utime(file)
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)
    # Files of one folder are looked at together: when the change of the other one is here, this one was looked at too.
    replace(other, lambda cells: cells.append({**cells[0], "id": "new"}))
    await second.until(lambda: len(second.cells) == 2, "the other file's change")
    await page.until(lambda: page.state["save"]["state"] == "saved", "peace")
    page.type(0, "2")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 12"]
    assert notices(page) == []
    assert len(page.doc.get_state()) >= len(before)


async def test_a_cell_changed_on_both_sides_is_kept_twice(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1", "b = 2")
    page = await open_document(server, "a.ipynb")
    page.type(0, "  # ours")
    await page.committed()
    replace(file, lambda cells: cells[0].update(source=["a = 1  # theirs"]))
    await page.until(lambda: shown(page) == ["a = 1  # ours", "a = 1  # theirs", "b = 2"], "the conflict copy")
    assert page.cells[0]["id"] == "cell-0"
    assert page.cells[1]["metadata"].to_py() == {"homeport": {"conflict": {"cell": "cell-0"}}}
    await page.until(lambda: [notice["key"] for notice in notices(page)] == ["conflicts"], "the notice")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 1  # ours", "a = 1  # theirs", "b = 2"]
    assert "homeport" not in file.read_text()
    # The same file once more, as some tools do: no second copy.
    replace(file, lambda cells: None, in_place=True)
    del page.cells[1]
    await page.until(lambda: notices(page) == [], "the end of the notice")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 1  # ours", "b = 2"]


@pytest.mark.needs("git")
async def test_git_checkout_of_an_older_version(server: Server, open_document: OpenDocument) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *name, *arguments], cwd=server.root, check=True, capture_output=True)

    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1", "b = 2")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    page = await open_document(server, "a.ipynb")
    page.type(1, "2")
    page.insert(2, "c = 3")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 1", "b = 22", "c = 3"]
    git("checkout", "-q", "a.ipynb")
    await page.until(lambda: shown(page) == ["a = 1", "b = 2"], "the older version")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 1", "b = 2"]
    assert notices(page) == []


async def test_outputs_from_another_program(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "print('a')", "print('b')")
    page = await open_document(server, "a.ipynb")
    output = {"output_type": "stream", "name": "stdout", "text": ["a\n"]}
    replace(file, lambda cells: cells[0].update(outputs=[output], execution_count=7))
    await page.until(lambda: page.text(0) == "a\n", "the other program's output")
    assert page.cells[0]["execution_count"] == 7
    await page.run("cell-1")
    await page.idle()
    await page.operate("save")
    cells = notebooks.read(file)["cells"]
    assert [notebooks.stream_text(cell) for cell in cells] == ["a\n", "b\n"]


async def test_what_was_done_while_the_server_was_down(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1", "b = 2", "c = 3")
    page = await open_document(server, "a.ipynb")
    await page.operate("save")
    page.type(0, "  # ours")
    del page.cells[2]
    await page.committed()
    await server.kill()  # before it is saved, or after: both have to do
    replace(file, lambda cells: cells[1].update(source=["b = 22"]))
    await server.start()
    await page.until(lambda: shown(page) == ["a = 1  # ours", "b = 22"], "the merged notebook")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 1  # ours", "b = 22"]
    assert notices(page) == []


async def test_a_deleted_or_moved_file_is_said_and_saved_again(server: Server, open_document: OpenDocument) -> None:
    folder = server.root / "deep" / "er"
    folder.mkdir(parents=True)
    file = folder / "a.ipynb"
    notebooks.write(file, "a = 1")
    page = await open_document(server, "deep/er/a.ipynb")
    file.rename(server.root / "moved.ipynb")
    await page.until(lambda: page.state["save"]["state"] == "failed", "the loss of the file")
    error = page.state["save"]["error"]
    assert (error["code"], "deleted or moved" in error["message"]) == ("not_found", True)
    page.type(0, "1")
    await page.committed()
    assert not file.exists()
    await page.operate("save")
    await page.until(lambda: page.state["save"]["state"] == "saved", "the save")
    assert notebooks.sources(file) == ["a = 11"]
    assert notebooks.sources(server.root / "moved.ipynb") == ["a = 1"]
    data = file.read_bytes()
    file.unlink()
    await page.until(lambda: page.state["save"]["state"] == "failed", "the loss of the file")
    file.write_bytes(data)
    await page.until(lambda: page.state["save"]["state"] == "saved", "its return")
    shutil.rmtree(folder.parent)
    await page.until(lambda: page.state["save"]["state"] == "failed", "the loss of the folder")
    await page.operate("save")
    assert file.read_bytes() == data


async def test_who_deletes_a_notebook_ends_its_kernel_and_open_pages_can_save_it_again(server: Server, open_document: OpenDocument) -> None:
    folder = server.root / "deep"
    folder.mkdir()
    for name in ("open.ipynb", "unwatched.ipynb"):
        notebooks.write(folder / name, "import time; print('begun', flush=True); time.sleep(600)")
    kernels: dict[str, str] = {}
    pages: dict[str, DocumentClient] = {}
    for name in ("open.ipynb", "unwatched.ipynb"):
        page = await open_document(server, f"deep/{name}")
        await page.run("cell-0")
        await page.until(lambda page=page: page.text(0) == "begun\n", "a run")
        kernels[name] = page.state["kernel"]["id"]
        pages[name] = page
    await pages["unwatched.ipynb"].close()
    shared = {"path": "elsewhere", "name": "", "type": "console", "kernel": {"id": kernels["unwatched.ipynb"]}}
    await rest(server, "POST", "api/sessions", json=shared)

    await rest(server, "DELETE", "api/contents/deep/unwatched.ipynb")
    running = (await rest(server, "GET", "api/kernels")).json()
    assert {kernel["id"] for kernel in running} == {*kernels.values()}, "a kernel that another session uses stays"
    await rest(server, "DELETE", "api/contents/deep")
    page = pages["open.ipynb"]
    await page.until(lambda: page.state["kernel"] is None and page.state["queue"] == [], "the end of its kernel")
    assert [kernel["id"] for kernel in (await rest(server, "GET", "api/kernels")).json()] == [kernels["unwatched.ipynb"]]
    assert [session["path"] for session in (await rest(server, "GET", "api/sessions")).json()] == ["elsewhere"]
    assert (
        page.state["save"]["error"]["message"] == "“deep/open.ipynb” was deleted to the trash from another page; save it to have it again."
    )
    page.type(0, "  # still here")
    await page.committed()
    assert not folder.exists()
    await page.operate("save")
    assert notebooks.sources(folder / "open.ipynb")[0].endswith("# still here")
    (folder / "open.ipynb").unlink()
    await page.until(lambda: page.state["save"]["state"] == "failed", "the loss of the file")
    assert "by another program" in page.state["save"]["error"]["message"]
    answer = await rest(server, "GET", "api/contents/deep/unwatched.ipynb", ok=False)
    assert answer.status_code == 404


async def test_a_save_that_a_rename_overtook_is_made_again_without_another_change(home: Path) -> None:
    async with serving(home) as edge:
        notebooks.write(edge.root / "a.ipynb", "a = 1")
        document = await edge.parts.documents.open("a.ipynb")
        write, begun, renamed, written = edge.parts.store.write, asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def overtaken(path: str, *args: Any, **more: Any) -> str:
            begun.set()
            await renamed.wait()
            digest = await write(path, *args, **more)
            written.set()
            return digest

        edge.parts.store.write = overtaken
        edit(document)
        await asyncio.wait_for(begun.wait(), 30)
        await edge.json("api/contents/a.ipynb", "PATCH", {"path": "b.ipynb"})
        renamed.set()
        await asyncio.wait_for(written.wait(), 30)
        assert notebooks.sources(edge.root / "b.ipynb") == ["a = 11"]
        assert not (edge.root / "a.ipynb").exists()


@pytest.mark.expect_log("no notebook; it is left alone|is not saved|a copy of the old file was kept")
async def test_what_is_no_notebook_is_not_overwritten(server: Server, home: Path, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1")
    good = file.read_bytes()
    page = await open_document(server, "a.ipynb")
    file.write_bytes(b"<<<<<<< HEAD\n")
    await page.until(lambda: page.state["save"]["state"] == "failed", "the complaint")
    assert page.state["save"]["error"]["code"] == "invalid_notebook"
    page.type(0, "1")
    await page.committed()
    assert file.read_bytes() == b"<<<<<<< HEAD\n"
    file.write_bytes(good)
    await page.until(lambda: page.state["save"]["state"] == "saved" and notebooks.sources(file) == ["a = 11"], "the end of the trouble")
    file.write_bytes(b"not a notebook")
    await page.until(lambda: page.state["save"]["state"] == "failed", "the complaint")
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 11"]
    (kept,) = home.glob("state/homeport/recovery/*/*.ipynb")
    assert kept.read_bytes() == b"not a notebook"
    assert [notice["level"] for notice in notices(page)] == ["warning"]
    assert str(kept) in notices(page)[0]["text"]


@pytest.mark.expect_log("a copy of the old file was kept, because 1 cells are missing")
async def test_a_notebook_that_nobody_shrank_is_kept_before_it_is_saved(server: Server, home: Path, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1")
    page = await open_document(server, "a.ipynb")
    page.insert(1, "b = 2")
    await page.operate("save")
    await page.close()
    before = file.read_bytes()
    await server.kill()
    # A failing disk took a piece out of the middle of what is known of the document.
    db = sqlite3.connect(home / "state/homeport/state.db")
    with db:
        assert db.execute("DELETE FROM updates WHERE seq = (SELECT max(seq) FROM updates)").rowcount == 1
    db.close()
    await server.start()
    page = await open_document(server, "a.ipynb")
    page.type(0, "1")
    await page.operate("save")
    (kept,) = home.glob("state/homeport/recovery/*/*.ipynb")
    assert kept.read_bytes() == before
    await page.until(lambda: any(str(kept) in notice["text"] for notice in notices(page)), "the notice")


async def test_known_deletions_shrink_it_without_a_word(server: Server, home: Path, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1", "b = 2", "c = 3")
    page = await open_document(server, "a.ipynb")
    del page.cells[0:2]
    await page.committed()
    await server.kill()
    await server.start()
    await page.until(
        lambda: page.links == 2 and page.state["save"]["state"] == "saved" and notebooks.sources(file) == ["c = 3"], "the save"
    )
    assert not list(home.glob("state/homeport/recovery/*/*"))
    assert notices(page) == []


async def test_a_page_from_before_the_state_was_lost_reverts_nothing(server: Server, home: Path, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "x = 1", "z = 0")
    old = await open_document(server, "a.ipynb")
    await old.go_offline()
    old.insert(2, "mine = 1")
    await server.kill()
    for each in (home / "state/homeport").glob("state.db*"):
        each.unlink()
    await server.start()
    page = await open_document(server, "a.ipynb")
    page.type(0, "0  # newer")
    page.insert(1, "y = 3  # new cell")
    page.delete("cell-1")
    await page.operate("save")
    assert notebooks.sources(file) == ["x = 10  # newer", "y = 3  # new cell"]
    old.go_online()
    wanted = ["x = 10  # newer", "x = 1", "z = 0", "mine = 1", "y = 3  # new cell"]
    for each in (page, old):
        await each.until(lambda each=each: shown(each) == wanted, "both of everything")
    assert page.cells[1]["metadata"].to_py() == {"homeport": {"conflict": {"cell": "cell-0"}}}
    await page.until(lambda: [notice["key"] for notice in notices(page)] == ["conflicts"], "the notice")
    await page.operate("save")
    assert notebooks.sources(file) == wanted


@pytest.mark.expect_log("its history is damaged")
async def test_a_damaged_history_doubles_nothing(server: Server, home: Path, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "a = 1", "b = 2")
    page = await open_document(server, "a.ipynb")
    page.type(0, "1")
    await page.operate("save")
    await server.kill()
    db = sqlite3.connect(home / "state/homeport/state.db")
    with db:
        assert db.execute("UPDATE updates SET data = x'ff00ff'").rowcount
    db.close()
    before = page.hello["epoch"]
    await server.start()
    other = await open_document(server, "a.ipynb")
    await page.until(
        lambda: page.hello["epoch"] != before and page.epoch == page.hello["epoch"] and len(page.cells) == 2, "the new history"
    )
    renewed = page.epoch
    page.type(1, "2")
    await other.until(lambda: shown(other) == ["a = 11", "b = 22"], "what the page typed")
    await page.operate("save")
    await server.kill()
    await server.start()
    page.type(1, "2")
    await other.until(lambda: shown(other) == ["a = 11", "b = 222"], "what the page typed")
    assert shown(page) == ["a = 11", "b = 222"]
    assert page.hello["epoch"] == renewed, "it goes on as the same history"
    assert notices(page) == []
    await page.operate("save")
    assert notebooks.sources(file) == ["a = 11", "b = 222"]


@pytest.mark.expect_log("a defect|could not be saved|is not saved")
async def test_an_error_of_the_server_is_shown_and_the_save_tried_again(home: Path) -> None:
    async with serving(home) as edge:
        file = edge.root / "a.ipynb"
        notebooks.write(file, "a = 1")
        document = await edge.parts.documents.open("a.ipynb")
        shown, saved = [], asyncio.Event()
        set_state = document.room.set_state

        def see(key: str, value: Any) -> None:
            set_state(key, value)
            if key == "save":
                shown.append(value)
                if value["state"] == "saved":
                    saved.set()

        document.room.set_state = see
        write = edge.parts.store.write

        async def broken(*arguments: object, **more: object) -> str:
            edge.parts.store.write = write
            raise RuntimeError("a defect")

        edge.parts.store.write = broken
        edit(document)
        await asyncio.wait_for(saved.wait(), 30)
        assert [value["error"]["code"] for value in shown if value["state"] == "failed"] == ["error"]
        assert notebooks.sources(file) == ["a = 11"]


async def test_a_notebook_that_is_being_replaced_is_not_idle(home: Path) -> None:
    async with serving(home) as edge:
        notebooks.write(edge.root / "a.ipynb", "a = 1")
        notebooks.write(edge.root / "b.ipynb", "a = 2")
        documents = edge.parts.documents
        document = await documents.open("a.ipynb")
        await document.saver.save()
        merge, begun, go_on = document.saver.merge, asyncio.Event(), asyncio.Event()

        async def slow(notebook: Any) -> None:
            begun.set()
            await go_on.wait()
            await merge(notebook)

        document.saver.merge = slow
        document.looked_at -= 3600
        assert document.idle >= 3600
        replacing = asyncio.create_task(documents.replace("a.ipynb", [(edge.root / "b.ipynb").read_bytes()]))
        await asyncio.wait_for(begun.wait(), 30)
        assert document.idle < 3600, "nothing closes it while it is worked on"
        go_on.set()
        await asyncio.wait_for(replacing, 30)
        assert documents.get("a.ipynb") is document
        assert notebooks.sources(edge.root / "a.ipynb") == ["a = 2"]
