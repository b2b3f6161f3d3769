"""The disk is full, read-only or failing: the old file stays, work goes on, and all of it is saved when the trouble is over."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import LONG, Count, RecordFault, Story
from harness.server import MakeServer, Server

LINES = 400 if LONG else 60


def on_tmpfs(folder: Path, options: str) -> tuple[str, ...]:
    """A command that runs another with a small disk of its own at ``folder``, seen by nobody else, gone with it."""
    script = f'mount -t tmpfs -o {options} tmpfs "{folder}" && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def inside(server: Server, path: Path) -> Path:
    """``path`` as the server sees it."""
    return Path(f"/proc/{server.pid}/root{path}")


async def execute(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command


def fill(folder: Path) -> None:
    """Take all that is free in ``folder``."""
    with open(folder / "filling", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            pass


def use_up_names(folder: Path) -> None:
    """Take all inodes."""
    (folder / "names").mkdir()
    try:
        for number in range(100_000):
            (folder / "names" / str(number)).touch()
    except OSError:
        pass


async def remount(server: Server, folder: Path, how: str) -> None:
    await execute("nsenter", f"--target={server.pid}", "--mount", "mount", "-o", f"remount,{how}", str(folder))


@dataclass
class Trouble:
    """One kind of trouble: how it is made and mended in ``folder`` (as the server sees it), and what the page says of it."""

    name: str
    says: str
    tmpfs: str = ""

    async def begin(self, server: Server, folder: Path) -> None:
        if self.name == "full":
            fill(inside(server, folder))
        elif self.name == "no more inodes":
            use_up_names(inside(server, folder))
        elif self.name == "read-only":
            await remount(server, folder, "ro")
        else:
            await self._control(server, "enable")

    async def end(self, server: Server, folder: Path) -> None:
        if self.name == "full":
            (inside(server, folder) / "filling").unlink()
        elif self.name == "no more inodes":
            for file in (inside(server, folder) / "names").iterdir():
                file.unlink()
        elif self.name == "read-only":
            await remount(server, folder, "rw")
        else:
            await self._control(server, "disable")

    async def _control(self, server: Server, verb: str) -> None:
        points = ("sync/fsync", "sync/fdatasync") if self.name == "errors at fsync" else ("rw/pwrite", "rw/pwrite64")
        for point in points:
            info = f"name=posix/io/{point}" + (",failinfo=5" if verb == "enable" else "")
            await execute("fiu-ctrl", "-f", str(server.home / "fiu"), "-c", f"{verb} {info}", str(server.pid))

    def prefix(self, home: Path, folder: Path) -> tuple[str, ...]:
        return on_tmpfs(folder, self.tmpfs) if self.tmpfs else ("fiu-run", "-x", "-f", str(home / "fiu"))


SMALL = "size=2m,mode=0755"
FULL = Trouble("full", "No space left on device", SMALL)
NO_INODES = Trouble("no more inodes", "No space left on device", f"{SMALL},nr_inodes=64")
READ_ONLY = Trouble("read-only", "Read-only file system", SMALL)
FSYNC = Trouble("errors at fsync", "Input/output error")
TROUBLES = [
    *(pytest.param(each, id=each.name, marks=pytest.mark.needs("unshare")) for each in (FULL, NO_INODES, READ_ONLY)),
    pytest.param(FSYNC, id=FSYNC.name, marks=pytest.mark.needs("libfiu")),
]


def state_of(page: DocumentClient) -> str:
    return page.state["save"]["state"]


def edited(page: DocumentClient) -> str:
    return page.source("edited")


@pytest.mark.expect_log("is not saved: ")
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_with_the_file(
    trouble: Trouble, home: Path, make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    server = make_server()
    server.prefix = trouble.prefix(home, server.root)
    await server.start()
    story = Story(f"the disk of the notebooks: {trouble.name}")
    file = inside(server, server.root) / "a.ipynb"
    notebooks.write(file, f"import time\nfor number in range(1, {LINES + 1}):\n    print(number, flush=True)\n    time.sleep(0.02)")
    page, other = await open_document(server, "a.ipynb"), await open_document(server, "a.ipynb")
    page.insert_cell(1, {"id": "edited", "cell_type": "raw", "source": ""})
    await page.operate("save")
    before, facts = file.read_bytes(), os.stat(file)

    await trouble.begin(server, server.root)
    story.say("the trouble begins")
    await page.run("cell-0")
    for number in range(1, LINES + 1):
        page.type("edited", f"{number}\n")
        if number == LINES // 2:
            await page.until(lambda: state_of(page) == "failed", "the complaint", seconds=60)
    error = page.state["save"]["error"]
    assert (error["code"], trouble.says in error["message"]) == ("store_failed", True), error
    story.say(f"the page says: {error['message']}")
    await page.committed()
    await other.until(lambda: edited(other) == edited(page), "the edits in another page")
    await page.idle()
    await other.until(lambda: Count.of(other.text("cell-0"), LINES).whole, "what was printed in another page")
    assert state_of(page) == "failed"
    assert (file.read_bytes(), os.stat(file).st_ino) == (before, facts.st_ino)
    names = {entry.name for entry in file.parent.iterdir()}
    assert names - {"filling", "names"} == {"a.ipynb"}, "what a save that failed leaves behind"

    await trouble.end(server, server.root)
    story.say("the trouble is over")
    await page.until(lambda: state_of(page) == "saved", "the save by itself", seconds=60)
    story.say("it is saved")
    cells = notebooks.read(file)["cells"]
    printed, typed = notebooks.stream_text(cells[0]), notebooks.joined(cells[1]["source"])
    counts = [Count.of(text, LINES) for text in (printed, typed, other.text("cell-0"), edited(other))]
    for disk, shown in zip(counts[:2], counts[2:], strict=True):
        record_fault("the disk is full or fails", f"the notebook's disk: {trouble.name}", disk=disk, page=shown)
    assert all(count.whole for count in counts), counts


PICTURE = f"""\
import base64
from IPython.display import display
display({{"image/png": base64.b64encode(bytes(range(256)) * 200).decode()}}, raw=True)
for number in range(1, {LINES + 1}): print(number)
"""


STATE_LOG = "state database|disk that holds Homeport's state|is not saved|journal|stays in the log for now"


@pytest.mark.expect_log(STATE_LOG)
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Trouble("full", "", "size=12m,mode=0700"), id="full", marks=pytest.mark.needs("unshare")),
        pytest.param(Trouble("errors at writing", ""), id="eio", marks=pytest.mark.needs("libfiu")),
    ],
)
async def test_trouble_with_the_state(
    trouble: Trouble, home: Path, make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    state = home / "state" / "homeport"
    state.mkdir(parents=True, mode=0o700)
    server = make_server(prefix=trouble.prefix(home, state))
    await server.start()
    story = Story(f"the disk of the state: {trouble.name}")
    file = server.root / "a.ipynb"
    notebooks.write(file, PICTURE)
    page, other = await open_document(server, "a.ipynb"), await open_document(server, "a.ipynb")
    page.insert_cell(1, {"id": "edited", "cell_type": "raw", "source": ""})
    await page.run()
    await page.idle()
    await page.committed()

    await trouble.begin(server, state)
    story.say("the trouble begins")
    for number in range(1, LINES + 1):
        page.type("edited", f"{number}\n")
    await page.until(lambda: any(notice["key"] == "log" for notice in page.state.get("notices", [])), "the notice", seconds=60)
    (notice,) = [notice for notice in page.state["notices"] if notice["key"] == "log"]
    story.say(f"the page says: {notice['text']}")
    assert "only in memory" in notice["text"]
    await other.until(lambda: edited(other) == edited(page), "the edits in another page")
    assert page.acknowledged < page.sent, "nothing is called durable that is not"
    await page.operate("save")
    assert notebooks.joined(notebooks.read(file)["cells"][1]["source"]) == edited(page)

    await trouble.end(server, state)
    story.say("the trouble is over")
    await page.committed(seconds=60)
    await page.until(lambda: not page.state.get("notices"), "the end of the notice", seconds=60)
    story.say("everything is durable")
    await page.run()
    await page.idle()
    await page.operate("save")
    cells = notebooks.read(file)["cells"]
    kept = kept_source(inside(server, state) / "state.db", home / "copy.db", "edited")
    counts = [Count.of(text, LINES) for text in (kept, edited(other), notebooks.stream_text(cells[0]))]
    record_fault("the disk is full or fails", f"the state's disk: {trouble.name}", disk=counts[0], page=counts[1])
    assert all(count.whole for count in counts), counts
    picture: Any = next(output for output in cells[0]["outputs"] if output["output_type"] == "display_data")
    assert base64.b64decode(picture["data"]["image/png"]) == bytes(range(256)) * 200


def kept_source(database: Path, copy: Path, cell_id: str) -> str:
    """The text of a cell as the log has it."""
    for ending in ("", "-wal"):
        shutil.copyfile(f"{database}{ending}", f"{copy}{ending}")
    db = sqlite3.connect(copy)
    doc: Doc[Any] = Doc()
    cells = doc.get("cells", type=Array)
    for (update,) in db.execute("SELECT data FROM updates ORDER BY seq"):
        doc.apply_update(update)
    db.close()
    return next(str(cell["source"]) for cell in cells if cell["id"] == cell_id)


@pytest.mark.needs("unshare")
@pytest.mark.expect_log(STATE_LOG)
async def test_a_picture_while_the_state_is_full(
    home: Path, make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    state = home / "state" / "homeport"
    state.mkdir(parents=True, mode=0o700)
    server = make_server(prefix=on_tmpfs(state, "size=12m,mode=0700"))
    await server.start()
    file = server.root / "a.ipynb"
    notebooks.write(file, "", PICTURE)
    page = await open_document(server, "a.ipynb")
    await page.run("cell-0")
    await page.idle()
    page.type("cell-0", "import os")
    await page.run("cell-0")
    await page.idle()
    fill(inside(server, state))
    await page.run("cell-1", seconds=60)
    await page.until(lambda: Count.of(page.text("cell-1"), LINES).seen == LINES, "the outputs on the page")
    (inside(server, state) / "filling").unlink()
    await page.idle()
    await page.committed(seconds=60)
    await page.operate("save")
    cells = notebooks.read(file)["cells"]
    counts = Count.of(notebooks.stream_text(cells[1]), LINES), Count.of(page.text("cell-1"), LINES)
    record_fault("the disk is full or fails", "the state's disk: full, while a cell runs", disk=counts[0], page=counts[1])
    assert all(count.whole for count in counts)
    picture: Any = next(output for output in cells[1]["outputs"] if output["output_type"] == "display_data")
    assert base64.b64decode(picture["data"]["image/png"]) == bytes(range(256)) * 200
