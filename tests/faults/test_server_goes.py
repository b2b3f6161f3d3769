"""The server goes, together with its supervisor or without it: in a crash loop, for an upgrade, and with the whole machine.

Kernels keep their ids, the queue goes on, and every run happens once. One killed by one, page open all along: test_first_milestone.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

import homeport
from harness import faults, notebooks, supervisors
from harness.browser import OpenPage
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.server import Server

pytestmark = pytest.mark.timeout(240)

LINES = 3_000
CELLS = 4
ROUNDS = 2 if faults.LONG else 1
# Each cell prints its share of the lines, and notes in a file that it was run. It does not end while a supervisor is away: what ends
# unseen has an unknown result, and the queue stops there (test_supervisor_killed.py).
CELL = f"""\
import glob, os, time
with open("runs", "a") as file:
    file.write("{{cell}}\\n")
for number in range({{first}}, {{last}} + 1):
    print(number, flush=True)
    if os.path.exists(f"break-{{{{number}}}}"):
        os.rename(f"break-{{{{number}}}}", f"broken-{{{{number}}}}")
    while number == {{last}} and glob.glob("broken-*"):
        time.sleep(0.01)
    while number == {LINES - 100} and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.001)
"""


async def begin(
    server: Server, open_document: OpenDocument, story: Story, lines: range, breaks: int
) -> tuple[Path, DocumentClient, Moments]:
    """Run a notebook of cells that together print 1 to LINES; its file, a page of it, and the moments to break something."""
    share = LINES // CELLS
    path = server.root / "queue.ipynb"
    notebooks.write(path, *(CELL.format(cell=n, first=n * share + 1, last=(n + 1) * share) for n in range(CELLS)))
    moments = Moments(server.root, story, lines, breaks)
    page = await open_document(server, path.name)
    await page.run()
    return path, page, moments


async def judge(
    path: Path, page: DocumentClient, story: Story, record_fault: RecordFault, fault: str, *, times: int, whole: bool = True
) -> None:
    """Wait for the end of the queue; count the lines on disk and in the client, and the runs of cells."""
    await page.until(lambda: page.state.get("queue") == [] and page.state["save"]["state"] == "saved", "the end of the queue", seconds=120)
    disk = Count.of("".join(notebooks.all_text(cell) for cell in notebooks.read(path)["cells"]), LINES)
    shown = Count.of("".join(notebooks.all_text({"outputs": page.outputs(n)}) for n in range(CELLS)), LINES)
    record_fault("the server goes", fault, times=times, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole if whole else disk.perfect
    assert shown.whole if whole else shown.perfect
    runs = (path.parent / "runs").read_text().split()
    assert Count.of_items(runs, [str(n) for n in range(CELLS)]).whole, f"each cell runs once, in order; they ran {runs}"


def mended(server: Server, line: int) -> None:
    """Let the cell end that prints now, as far as what broke at that line is concerned: the next may have broken meanwhile."""
    (server.root / f"broken-{line}").unlink()


async def kernel_of(page: DocumentClient) -> tuple[str, int]:
    """Id and pid of the only kernel."""
    (info,) = (await supervisors.kernels()).values()
    await page.until(lambda: (page.state.get("kernel") or {}).get("id") == info.kernel_id, "the kernel on the page", seconds=60)
    assert info.pid is not None
    return info.kernel_id, info.pid


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_crash_loop(attempt: int, server: Server, open_document: OpenDocument, record_fault: RecordFault) -> None:
    kills = 5
    story = Story(f"a server that is killed {kills} times while it starts, under a queue of {CELLS} cells")
    path, page, moments = await begin(server, open_document, story, range(20, LINES // 2), 1)
    async for line in moments:
        kernel = await kernel_of(page)
        await server.kill()
        mended(server, line)
        story.say(f"killed at line {line:,}")
        for _ in range(kills):
            starting = asyncio.create_task(server.start())
            await asyncio.wait([starting], timeout=story.random.uniform(0.02, 1.2))
            story.say("killed when it answered" if starting.done() else "killed while it was starting")
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await server.kill()
        await server.start()
        story.say("left in peace")
    await judge(path, page, story, record_fault, "crash loop: SIGKILL at random moments of its start", times=kills + 1)
    assert await kernel_of(page) == kernel


async def test_server_killed_while_a_kernel_starts(server: Server, open_document: OpenDocument, record_fault: RecordFault) -> None:
    story = Story("SIGKILL to the server as soon as the supervisor has begun to start a kernel")
    notebooks.write(server.root / "a.ipynb", "print('once')")
    page = await open_document(server, "a.ipynb")
    await page.run()
    while not (starting := await supervisors.kernels()):
        assert story.elapsed < 60, "no kernel is started"
        await asyncio.sleep(0.01)  # the supervisor tells its servers only
    await server.kill()
    story.say(f"killed; the kernel is {next(iter(starting.values())).state}")
    await server.start()
    await page.until(lambda: page.text("cell-0") == "once\n" and page.state.get("queue") == [], "the run", seconds=60)
    await page.until(lambda: page.state["save"]["state"] == "saved", "the file")
    disk = Count.of_items([notebooks.stream_text(notebooks.read(server.root / "a.ipynb")["cells"][0])], ["once\n"])
    kernels = Count.of_items(await supervisors.kernels(), list(starting))
    record_fault("the server goes", "SIGKILL while a kernel starts", disk=disk, page=kernels)
    assert disk.whole
    assert kernels.whole, "the same kernel, and no second one"


@pytest.mark.expect_log("No supervisor can be reached")
@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_server_and_supervisor_killed_at_once(
    attempt: int, server: Server, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("SIGKILL to server and supervisor at once")
    path, page, moments = await begin(server, open_document, story, range(20, LINES - 200), 2)
    kernel = None
    async for line in moments:
        kernel = kernel or await kernel_of(page)
        os.kill(supervisors.pid(), signal.SIGKILL)
        await server.kill()
        story.say(f"both killed at line {line:,}")
        await server.start()
        await supervisors.kernels()
        mended(server, line)
    await judge(path, page, story, record_fault, "SIGKILL together with the supervisor", times=2, whole=False)
    assert await kernel_of(page) == kernel


def other_release(folder: Path, version: str, protocol: tuple[int, ...]) -> dict[str, str]:
    """Another release: a copy of this one under another version number, whose supervisor protocol has other numbers.

    Returns:
        The environment in which ``python -m homeport`` is that one.
    """
    ours = Path(homeport.__file__).parent
    tree = folder / version
    shutil.copytree(ours, tree / "homeport", ignore=shutil.ignore_patterns("static", "__pycache__"))
    (tree / "homeport" / "static").symlink_to(ours / "static")
    for name, pattern, new in (
        ("__init__.py", r"__version__ = .*", f'__version__ = "{version}"'),
        ("protocol/supervisor.py", r"VERSIONS: Final = .*", f"VERSIONS: Final = {protocol}"),
    ):
        file = tree / "homeport" / name
        text, changes = re.subn(pattern, new, file.read_text(), count=1)
        assert changes == 1, f"{name} has no {pattern}"
        file.write_text(text)
    return {"PYTHONPATH": os.pathsep.join([str(tree), *(path for path in sys.path if path and Path(path) != ours.parent)])}


async def test_upgrade_to_a_release_that_speaks_this_protocol_too(
    server: Server, tmp_path: Path, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("upgrade in the middle of a run: the supervisor stays one of the release before")
    path, page, moments = await begin(server, open_document, story, range(20, LINES - 200), 1)
    async for line in moments:
        mended(server, line)
        kernel, supervisor = await kernel_of(page), supervisors.pid()
        await server.kill(signal.SIGTERM)
        server.environment = other_release(tmp_path, "99.0", (2, 1))
        await server.start()
        story.say(f"stopped at line {line:,}; 99.0 answers")
        await page.until(lambda: page.hello.get("version") == "99.0", "the new release")
    await judge(path, page, story, record_fault, "upgrade; the supervisor speaks the protocol before", times=1)
    assert await kernel_of(page) == kernel
    assert supervisors.pid() == supervisor


@pytest.mark.expect_log("The supervisor that runs here is Homeport .* and speaks version", "No supervisor can be reached")
async def test_upgrade_to_a_release_that_cannot_speak_with_the_supervisor(
    server: Server, tmp_path: Path, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("upgrade by two versions of the protocol at once")
    path, page, moments = await begin(server, open_document, story, range(20, LINES // 2), 1)
    async for line in moments:
        (kernel_id, kernel_pid), supervisor = await kernel_of(page), supervisors.pid()
        await server.kill(signal.SIGTERM)
        server.environment = other_release(tmp_path, "99.0", (3, 2))
        await server.start()
        story.say(f"stopped at line {line:,}; 99.0 answers")
        await page.until(lambda: bool(page.state["link"].get("reason")), "the reason")
        reason = page.state["link"]["reason"]
        story.say(reason)
        assert f"Homeport {homeport.__version__}" in reason
        assert "Homeport 99.0" in reason
        assert f"kill {supervisor}" in reason
        assert reason in server.output()
        assert psutil.pid_exists(supervisor)
        assert psutil.pid_exists(kernel_pid), "the kernels are left alone"
        os.kill(supervisor, signal.SIGTERM)
        story.say("done as it says")
        await page.until(lambda: page.state["link"]["supervisor"] and not page.state["link"]["reason"], "the next supervisor")
        mended(server, line)
    await judge(path, page, story, record_fault, "upgrade; the supervisor must be ended first", times=1, whole=False)
    assert page.state["kernel"]["id"] == kernel_id
    assert psutil.pid_exists(kernel_pid)

    await server.kill(signal.SIGTERM)
    os.kill(await supervisors.only_one(), signal.SIGTERM)
    server.environment = {}
    await server.start()
    story.say("and back to the release before")
    assert await kernel_of(page) == (kernel_id, kernel_pid)


def pretend_reboot(kernel_pid: int) -> None:
    """Make it look as after a reboot: no process of ours is left, sockets are gone, and what was written down is of another boot.

    A real reboot would end the test. What differs is the host's boot id, and there is but one: so the one in the file is changed.
    """
    os.kill(kernel_pid, signal.SIGKILL)
    folder = supervisors.lock_file().parent
    (file,) = folder.glob("kernels/*/kernel.json")
    saved = json.loads(file.read_bytes())
    saved["identity"]["boot"] = "00000000-0000-0000-0000-000000000000"
    file.write_text(json.dumps(saved))
    shutil.rmtree(supervisors.socket_folder())


@pytest.mark.expect_log("No supervisor can be reached")
@pytest.mark.needs("chromium")
@pytest.mark.expect_console(r"net::ERR_|WebSocket connection to .* failed|Failed to load resource")
async def test_machine_rebooted(server: Server, open_page: OpenPage, record_fault: RecordFault) -> None:
    story = Story("a reboot, simulated: everything killed, and the boot id in the kernel's file is another one")
    path = server.root / "a.ipynb"
    wait = "import os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
    notebooks.write(path, "print('first')", wait, "print('last')")
    page = await NotebookPage(await open_page(server, "notebooks/a.ipynb")).loaded()
    await page.mark()
    await page.run_all()
    await page.cell(1).locator(".stream-text", has_text="begun").wait_for()
    (kernel,) = (await supervisors.kernels()).values()
    await server.kill()
    await supervisors.kill()
    assert kernel.pid is not None
    pretend_reboot(kernel.pid)
    story.say("the machine is off")
    await server.start()
    story.say("and on again")
    banner = page.page.locator(".banners")
    await banner.get_by_text("ended when this machine was restarted").wait_for()
    await page.cell(1).get_by_text("ended when this machine was restarted").first.wait_for()
    await page.finished()
    found = [notebooks.stream_text(cell).strip() for cell in notebooks.read(path)["cells"]]
    disk = Count.of_items(found, ["first", "begun", ""])
    (server.root / "go").touch()
    await banner.get_by_role("button", name="Restart and run all", exact=True).click()
    await page.cell(2).locator(".stream-text", has_text="last").wait_for()
    await page.finished()
    again = [notebooks.stream_text(cell) for cell in notebooks.read(path)["cells"]]
    shown = Count.of_items(again, ["first\n", "begun\ndone\n", "last\n"])
    record_fault("the server goes", "the machine is rebooted (simulated)", disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole
    assert not await page.reloaded()
