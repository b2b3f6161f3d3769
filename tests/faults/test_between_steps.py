"""The server is killed between every two steps of a run: submit, apply, commit, broadcast, save. Each run once, each line once."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from harness import notebooks
from harness.document_client import OpenDocument
from harness.faults import Count, RecordFault, Story
from harness.kill_at import ARMED
from harness.rest import rest
from harness.server import MakeServer, Server

LINES = 300
ARMED_AT = 100
LINES_TYPED = ["first = 1", "second = 2", "third = 3"]
# The cell arms the points in the middle of its run; those of submitting are armed before it.
CELL = f"""\
import os, time
with open('ran', 'a') as ran: ran.write('x')
for number in range(1, {LINES} + 1):
    print(number)
    if number == {ARMED_AT} and os.path.exists('arm-on-the-way'):
        os.rename('arm-on-the-way', '{ARMED}')
    while number == {LINES} - 10 and not os.path.exists('was-killed'): time.sleep(0.01)
    time.sleep(0.002)
"""

DOCUMENT, RUNNER = "homeport.documents.document:Document", "homeport.documents.runner:Runner"
RUNS = "homeport.documents.cell_runs:CellRuns"
LOG, ROOM, SAVER = "homeport.documents.log:Log", "homeport.documents.room:Room", "homeport.documents.saver:Saver"
STORE = "homeport.stores.files:FileStore"
SUBMITTING = [
    f"{DOCUMENT}._operate:before",
    f"{RUNNER}.run:after",
    f"{DOCUMENT}._operate:after",
    f"{RUNNER}._submit:before",
    f"{RUNNER}._submit:after",
]
ON_THE_WAY = [
    f"{RUNS}.flush:before",
    f"{RUNS}.flush:after",
    "homeport.documents.tables:write:before",
    "homeport.documents.tables:_apply:before",
    "homeport.documents.tables:_apply:after",
    "homeport.documents.tables:write:after",
    f"{LOG}._finished:before",
    f"{ROOM}._on_committed:before",
    f"{ROOM}._on_committed:after",
    f"{STORE}.write:before",
    f"{STORE}._match:before",
    f"{STORE}._match:after",
    f"{STORE}.write:after",
    f"{SAVER}._write:after",
]


@pytest.mark.timeout(280)
@pytest.mark.parametrize("points", [SUBMITTING, ON_THE_WAY], ids=["submit", "apply-commit-broadcast-save"])
async def test_killed_between_two_steps(
    points: list[str], make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("The server is killed between two steps of a run")
    server = make_server(options=("--on-stop=keep",))
    file = server.root / "count.ipynb"
    notebooks.write(file, CELL)
    page = None
    for point in points:
        story.say(point)
        began = story.elapsed
        for left in ("ran", "was-killed"):
            (server.root / left).unlink(missing_ok=True)
        server.prefix = (sys.executable, "-m", "harness.kill_at", point)
        await server.start()
        page = page or await open_document(server, "count.ipynb")
        (server.root / (ARMED if points is SUBMITTING else "arm-on-the-way")).touch()
        running = asyncio.create_task(page.run("cell-0", seconds=120))
        assert server.process is not None
        assert await asyncio.wait_for(server.process.wait(), 60) == -signal.SIGKILL, point
        story.say("it was killed there")
        (server.root / ARMED).unlink()
        (server.root / "was-killed").touch()
        server.prefix = ()
        await server.start()
        await running
        await page.idle(seconds=90)
        await page.operate("save")
        disk = Count.of(notebooks.stream_text(notebooks.read(file)["cells"][0]), LINES)
        shown = Count.of(page.text(0), LINES)
        record_fault("the server goes", "killed between two steps of a run", disk=disk, page=shown, seconds=story.elapsed - began)
        assert (server.root / "ran").read_text() == "x", f"{point}: the run was submitted once"
        assert disk.whole, point
        assert shown.whole, point
        await server.kill()


CLIENT = "homeport.kernels.client:SupervisorClient"
RESTARTING = [f"{RUNNER}.restart:before", f"{CLIENT}.restart:before", f"{CLIENT}.restart:after", f"{RUNNER}.restart:after"]


@pytest.mark.timeout(280)
@pytest.mark.parametrize("point", RESTARTING)
async def test_killed_in_restart_and_run_all(
    point: str, make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("The server is killed between the restart and the queueing of restart and run all")
    server = make_server(options=("--on-stop=keep",))
    cells = [
        "import time\nonce = 'once' not in globals()",
        "open('ran', 'a').write(str(once))",
        "while not once: time.sleep(600)",
        "print('end')",
    ]
    notebooks.write(server.root / "all.ipynb", *cells)
    server.prefix = (sys.executable, "-m", "harness.kill_at", point)
    await server.start()
    page = await open_document(server, "all.ipynb")
    await page.ran("cell-0")
    await page.run("cell-0", "cell-1", "cell-2", "cell-3")
    await page.until(lambda: [entry["state"] for entry in page.state["queue"]] == ["running", "queued"], "the cell that does not end")
    (server.root / ARMED).touch()
    restarting = asyncio.create_task(page.operate("restart", run_all=True, seconds=120))
    assert server.process is not None
    assert await asyncio.wait_for(server.process.wait(), 60) == -signal.SIGKILL, point
    story.say(f"killed: {point}")
    (server.root / ARMED).unlink()
    server.prefix = ()
    if point != RESTARTING[0]:
        restarting.cancel()
        await page.close()  # nobody asks again for what was accepted
        await server.start()
        page = await open_document(server, "all.ipynb")
    else:
        await server.start()
        await restarting
    await page.idle(seconds=90)
    await page.operate("save")
    disk = notebooks.read(server.root / "all.ipynb")["cells"]
    found = Count.of_items([str(cell["execution_count"]) for cell in disk], ["1", "2", "3", "4"])
    shown = Count.of_items([page.text(3)], ["end\n"])
    record_fault("the server goes", "killed in restart and run all", disk=found, page=shown, seconds=story.elapsed)
    assert (server.root / "ran").read_text() == "FalseTrue", "each cell ran once after the restart"
    assert found.perfect
    assert shown.perfect


CHANGING = [(f"{CLIENT}.start_kernel:before", "old"), (f"{CLIENT}.start_kernel:after", "new"), (f"{CLIENT}.shutdown:before", "new")]


@pytest.mark.timeout(280)
@pytest.mark.parametrize(("point", "kept"), CHANGING)
async def test_killed_in_the_change_of_a_kernel(
    point: str, kept: str, make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("The server is killed while a notebook changes its kernel, and while its session is ended")
    server = make_server(options=("--on-stop=keep",))
    notebooks.write(server.root / "one.ipynb", "x = 1", "print('x' in globals())")
    server.prefix = (sys.executable, "-m", "harness.kill_at", point)
    await server.start()
    page = await open_document(server, "one.ipynb")
    await page.ran("cell-0")
    before = page.state["kernel"]["id"]
    (server.root / ARMED).touch()
    changing = asyncio.create_task(page.operate("start_kernel", name="python3", seconds=120))
    assert server.process is not None
    assert await asyncio.wait_for(server.process.wait(), 60) == -signal.SIGKILL, point
    story.say(f"killed: {point}")
    (server.root / ARMED).unlink()
    changing.cancel()
    await page.close()  # nobody asks again
    server.prefix = ()
    await server.start()
    [kernel] = await kernels(server, 1)
    assert (kernel == before) == (kept == "old")
    page = await open_document(server, "one.ipynb")
    await page.ran("cell-1")
    assert page.text(1) == f"{kept == 'old'}\n"
    record_fault(
        "the server goes", "killed while a notebook changes its kernel", disk=Count.of_items([kernel], [kernel]), seconds=story.elapsed
    )
    assert await kernels(server, 1) == [kernel]


@pytest.mark.timeout(120)
async def test_killed_at_the_end_of_a_session(make_server: MakeServer, open_document: OpenDocument) -> None:
    server = make_server(options=("--on-stop=keep",))
    notebooks.write(server.root / "one.ipynb", "x = 1")
    server.prefix = (sys.executable, "-m", "harness.kill_at", f"{CLIENT}.shutdown:before")
    await server.start()
    page = await open_document(server, "one.ipynb")
    await page.ran("cell-0")
    (server.root / ARMED).touch()
    ending = asyncio.create_task(page.operate("shutdown_kernel", seconds=120))
    assert server.process is not None
    assert await asyncio.wait_for(server.process.wait(), 60) == -signal.SIGKILL
    (server.root / ARMED).unlink()
    ending.cancel()
    await page.close()
    server.prefix = ()
    await server.start()
    assert await kernels(server, 0) == []
    assert (await rest(server, "GET", "api/sessions")).json() == []


async def kernels(server: Server, count: int) -> list[str]:
    """The ids of all kernels, as soon as there are so many."""
    async with asyncio.timeout(60):
        while True:
            found = [kernel["id"] for kernel in (await rest(server, "GET", "api/kernels")).json()]
            if len(found) == count:
                return found


@pytest.mark.timeout(280)
async def test_killed_after_one_save_and_before_the_next(
    make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    """What was written just before a kill is known to be ours, also when the next server is killed before it writes."""
    story = Story("The server is killed after it has replaced the file, and the next one before it does so")
    server = make_server(options=("--on-stop=keep",))
    file = server.root / "count.ipynb"
    notebooks.write(file, "print(n := globals().get('n', 0) + 1)")
    page = None
    for point in (f"{STORE}.write:after", f"{STORE}.write:before"):
        server.prefix = (sys.executable, "-m", "harness.kill_at", point)
        await server.start()
        page = page or await open_document(server, "count.ipynb")
        await page.ran("cell-0")
        (server.root / ARMED).touch()
        page.type("cell-0", " ")
        assert server.process is not None
        assert await asyncio.wait_for(server.process.wait(), 60) == -signal.SIGKILL, point
        story.say(f"killed: {point}")
        (server.root / ARMED).unlink()
    server.prefix = ()
    await server.start()
    assert page is not None
    await page.ran("cell-0")
    await page.operate("save")
    cells = notebooks.read(file)["cells"]
    disk = Count.of_items([cell["id"] for cell in cells], ["cell-0"])
    shown = Count.of_items(page.texts(), ["cell-0"])
    record_fault("the server goes", "killed after a save and before the next one", times=2, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole, "no conflict copy of what nobody else wrote"
    assert shown.whole


async def test_stopped_while_a_save_is_under_way(make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault) -> None:
    """What a save writes is ours, also when the server is asked to end while the disk is busy with it."""
    story = Story("The server gets SIGTERM while the disk is busy with a save that somebody asked for")
    server = make_server(options=("--on-stop=keep",))
    server.prefix = (sys.executable, "-m", "harness.kill_at", f"{STORE}._write:hold")
    file = server.root / "typed.ipynb"
    notebooks.write(file, "first = 1")
    await server.start()
    page = await open_document(server, "typed.ipynb")
    (server.root / ARMED).touch()
    page.type("cell-0", "\nsecond = 2")
    saving = asyncio.create_task(page.operate("save", seconds=120))
    held, before = server.root / "held-1", file.read_bytes()
    while not held.exists():
        assert story.elapsed < 60, "nothing is saved"
        await asyncio.sleep(0.01)  # a file of another process
    page.type("cell-0", "\nthird = 3")
    await page.committed()
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    await page.until(lambda: not page.linked, "the server to close its links")
    story.say("SIGTERM; its links are closed")
    held.unlink()
    while file.read_bytes() == before:
        assert story.elapsed < 60, "it is not written"
        await asyncio.sleep(0.01)  # a file of another process
    story.say("what was under way is written; the disk is free again")
    (server.root / ARMED).unlink()
    assert await asyncio.wait_for(server.process.wait(), 60) == 0
    cells = notebooks.read(file)["cells"]
    disk = Count.of_items([line for cell in cells for line in "".join(cell["source"]).splitlines()], LINES_TYPED)
    server.prefix = ()
    await server.start()
    await saving
    shown = Count.of_items([line for text in page.texts().values() for line in text.splitlines()], LINES_TYPED)
    record_fault("the server goes", "SIGTERM while the disk is busy with a save", disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
