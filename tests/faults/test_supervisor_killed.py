"""The supervisor is killed: its kernels live on, idle, busy and waiting for input, and the next supervisor takes them over.

Nobody but the server launches that one. What a kernel said while no supervisor lived is lost, and the cell says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import faults, notebooks, supervisors
from harness.browser import OpenPage
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import Count, Moments, RecordFault, Story
from harness.notebook_page import NotebookPage
from harness.processes import at_rest
from harness.server import MakeServer, Server
from homeport.folders import Folders
from homeport.protocol.supervisor import UNANSWERED, KernelInfo
from homeport.supervisor.server import state_folder

pytestmark = [pytest.mark.timeout(180), pytest.mark.expect_log("No supervisor can be reached")]

LINES = 2_000


@dataclass(frozen=True)
class Language:
    """The same cells in one language. ``ask`` is empty where a kernel has no ``input()``."""

    name: str
    kernel: str
    define: str
    show: str
    count: str
    ask: str


PYTHON = Language(
    "ipykernel", "python3", "x = 41", "print(x + 1)",
    f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number, flush=True)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {LINES - 100} and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.001)
""",
    "name = input('Who? ')\nprint('Hello', name)",
)  # fmt: skip
BASH = Language(
    "Bash", "bash", "x=41", "echo $((x + 1))",
    f"""\
for number in $(seq 1 {LINES}); do
    echo $number
    [ -e break-$number ] && rm break-$number
    while [ $number = {LINES - 100} ] && [ ! -e all-broken ]; do sleep 0.01; done
    [ $((number % 20)) = 0 ] && sleep 0.02
done; true
""",
    "",
)  # fmt: skip
R = Language(
    "IRkernel", "ir", "x <- 41", "cat(x + 1, '\\n', sep='')",
    f"""\
for (number in 1:{LINES}) {{
    cat(number, '\\n', sep='')
    flush.console()
    file <- paste0('break-', number)
    if (file.exists(file)) file.remove(file) -> gone
    while (number == {LINES - 100} && !file.exists('all-broken')) Sys.sleep(0.01)
    Sys.sleep(0.001)
}}
""",
    "name <- readline('Who? ')\ncat('Hello', name)",
)  # fmt: skip


def install_bash(home: Path) -> None:
    """What `python -m bash_kernel.install` writes, into the test's own Jupyter folder."""
    folder = home / "jdata" / "kernels" / "bash"
    folder.mkdir(parents=True)
    spec = {"argv": [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"], "display_name": "Bash", "language": "bash"}
    (folder / "kernel.json").write_text(json.dumps(spec))


@pytest.mark.parametrize(
    "language",
    [
        pytest.param(PYTHON, id="python"),
        pytest.param(BASH, id="bash", marks=pytest.mark.long),
        pytest.param(R, id="r", marks=pytest.mark.needs("irkernel")),
    ],
)
async def test_supervisor_killed_under_kernels_of_each_kind(
    language: Language, home: Path, server: Server, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    install_bash(home)
    story = Story(f"SIGKILL to the supervisor of three kernels ({language.name})")
    sources = {"idle": (language.define, language.show), "busy": (language.count,), "asking": (language.ask,)}
    pages: dict[str, DocumentClient] = {}
    for name, cells in sources.items():
        if all(cells):
            notebooks.write(server.root / f"{name}.ipynb", *cells, kernel=language.kernel)
            pages[name] = await open_document(server, f"{name}.ipynb")
    moments = Moments(server.root, story, range(20, LINES - 200), 2)

    await pages["idle"].ran("cell-0")
    if "asking" in pages:
        await pages["asking"].run()
        await pages["asking"].until(lambda: bool(pages["asking"].state.get("inputs")), "the question")
    await pages["busy"].run()
    before = None
    async for line in moments:
        before = before or {info.kernel_id: info for info in (await supervisors.kernels()).values()}
        killed = await supervisors.kill()
        story.say(f"supervisor {killed} killed at line {line:,}")
        after = await supervisors.kernels()
        story.say(f"the next one is {supervisors.pid()}: {', '.join(info.state for info in after.values())}")
        assert {key: (info.pid, info.generation) for key, info in after.items()} == {
            key: (info.pid, info.generation) for key, info in before.items()
        }, "the same processes under the same ids"

    await pages["idle"].ran("cell-1")
    assert pages["idle"].text("cell-1") == "42\n", "its variables are there"
    if "asking" in pages:
        (asked,) = pages["asking"].state["inputs"]
        await pages["asking"].operate("input", request=asked["request"], value="Ada")
        await pages["asking"].until(lambda: "Hello Ada" in pages["asking"].text("cell-0"), "the answer")
    busy = pages["busy"]
    await busy.until(lambda: busy.state.get("queue") == [] and busy.state["save"]["state"] == "saved", "the end of the run", seconds=60)
    assert not [output for output in busy.outputs("cell-0") if output["output_type"] == "error"], "its end was seen"
    disk = Count.of(notebooks.all_text(notebooks.read(server.root / "busy.ipynb")["cells"][0]), LINES)
    shown = Count.of(notebooks.all_text({"outputs": busy.outputs("cell-0")}), LINES)
    fault = f"SIGKILL under kernels that idle, print and ask ({language.name})"
    record_fault("the supervisor goes", fault, times=2, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.perfect
    assert shown.perfect
    assert busy.state["kernel"]["lost"] or shown.whole


class _NoSupervisor:
    """Keeps the place of the supervisor: while it is held, the next one waits for it."""

    async def __aenter__(self) -> None:
        self._lock = supervisors.lock_file().open("rb")
        waiting = asyncio.create_task(asyncio.to_thread(fcntl.flock, self._lock, fcntl.LOCK_EX))
        await supervisors.kill()
        await waiting

    async def __aexit__(self, *error: object) -> None:
        self._lock.close()


@pytest.mark.needs("chromium")
async def test_page_says_that_a_result_is_unknown(server: Server, open_page: OpenPage, record_fault: RecordFault) -> None:
    story = Story("a cell ends while no supervisor lives")
    wait = "import os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)\nx = 42\nopen('done', 'w').close()"
    notebooks.write(server.root / "a.ipynb", wait, "print('never')", "print(x)")
    page = await NotebookPage(await open_page(server, "notebooks/a.ipynb")).loaded()
    await page.mark()
    await page.run_all()
    await page.cell(0).locator(".stream-text", has_text="begun").wait_for()
    (kernel,) = (await supervisors.kernels()).values()
    banner = page.page.locator(".banners")
    async with _NoSupervisor():
        story.say("the supervisor is killed, and no other may begin")
        await banner.get_by_text("has lost its supervisor").wait_for()
        (server.root / "go").touch()
        await asyncio.to_thread(at_rest, kernel.pid)
        assert (server.root / "done").exists()
        story.say("the cell has ended, and nobody heard it")
    await page.finished(seconds=60)
    story.say("the next supervisor has settled the run")
    await banner.get_by_text("some of what it printed in between may be missing").wait_for()
    await banner.get_by_text("has lost its supervisor").wait_for(state="detached")
    await page.cell(0).get_by_text("whether it succeeded is unknown").first.wait_for()
    await page.cell(2).locator(".cm-content, .cell-source").first.click()
    await page.page.keyboard.press("ControlOrMeta+Enter")
    await page.cell(2).locator(".stream-text", has_text="42").wait_for()
    await page.finished()
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    disk = Count.of_items([notebooks.stream_text(cell).strip() for cell in cells], ["begun", "", "42"])
    record_fault("the supervisor goes", "SIGKILL, and a cell ends before the next one is there", disk=disk)
    assert disk.whole
    assert not await page.reloaded()


LATE = """\
import os, sys, time
def late():
    open("printed", "w").close()
    while not os.path.exists("go"): time.sleep(0.01)
    time.sleep(1)
    publish = thread._really_send
    thread._really_send = lambda *args, **more: (publish(*args, **more), time.sleep(0.05))
thread = get_ipython().kernel.iopub_thread
for number in range(1, 11): print(number, flush=True)
while not os.path.exists("alone"): time.sleep(0.01)
for number in range(11, 101): print(number, flush=True)
thread.schedule(late)
sys.stdout.flush = sys.stderr.flush = lambda: None
while not os.path.exists("go"): time.sleep(0.01)
"""
"""Prints where nobody hears it. Then the thread that publishes what a kernel says stands still and is slow, as on a busy machine,
and the kernel does not wait for it: its replies, also that to the next request, come before the end of the cell is published."""


async def test_a_gap_is_told_before_what_came_behind_it(server: Server, open_document: OpenDocument, record_fault: RecordFault) -> None:
    story = Story("lines are lost, and the replies of the kernel overtake what it publishes")
    notebooks.write(server.root / "a.ipynb", LATE, "import sys; del sys.stdout.flush, sys.stderr.flush, thread._really_send; print('next')")
    page = await open_document(server, "a.ipynb")
    await page.run()
    await page.until(lambda: "10" in page.text("cell-0"), "the beginning")
    async with _NoSupervisor():
        (server.root / "alone").touch()
        while not (server.root / "printed").exists():
            assert story.elapsed < 60, "the cell does not print"
            await asyncio.sleep(0.01)  # the kernel can say it in no other way while nothing listens to it
    await supervisors.kernels()
    story.say("the next supervisor is there; the cell goes on and ends")
    (server.root / "go").touch()
    await page.idle(seconds=60)
    await page.operate("save")
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    disk, shown = Count.of(notebooks.all_text(cells[0]), 100), Count.of(notebooks.all_text({"outputs": page.outputs("cell-0")}), 100)
    fault = "SIGKILL, and what a kernel publishes comes after its replies"
    record_fault("the supervisor goes", fault, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.perfect
    assert shown.perfect
    assert disk.said == 90
    assert page.text("cell-1") == "next\n"


async def test_two_servers_launch_one_supervisor(make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault) -> None:
    rounds = 10 if faults.LONG else 2
    story = Story(f"{rounds} x SIGKILL to the supervisor of two servers")
    servers = [make_server("one"), make_server("two")]
    pages: list[DocumentClient] = []
    for server in servers:
        await server.start()
        notebooks.write(server.root / "a.ipynb", "n = 0", "n += 1; print(n)")
        pages.append(await open_document(server, "a.ipynb"))
        await pages[-1].ran("cell-0")
    shown: list[tuple[str, str, str]] = []
    for _ in range(rounds):
        old = await supervisors.kill()
        for page in pages:
            await page.ran("cell-1")
            shown.append((page.path, page.server.root.name, page.text("cell-1")))
        alone = await supervisors.only_one()
        assert alone != old
        story.say(f"supervisor {old} killed; {alone} is the only one")
    wanted = [("a.ipynb", name, f"{number}\n") for number in range(1, rounds + 1) for name in ("one", "two")]
    count = Count.of_items(shown, wanted)
    record_fault("the supervisor goes", "SIGKILL, and two servers launch the next one", times=rounds, page=count)
    assert count.whole, "the same kernels, and each run once"


ASKING = """\
import os, threading, time
print("begun")
while not os.path.exists("go"): time.sleep(0.01)
threading.Timer(0.5, lambda: open("done", "w").close()).start()
print(input("Who? "))
"""
"""Says that it has asked from another thread, a while after it has."""


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "before-it-said-that-it-begins"])
async def test_a_question_that_nobody_heard_can_be_answered(
    begun: bool, server: Server, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("a cell asks while no supervisor lives")
    notebooks.write(server.root / "a.ipynb", ASKING, "print('next')")
    page = await open_document(server, "a.ipynb")
    await page.ran("cell-1")
    (kernel,) = (await supervisors.kernels()).values()
    assert kernel.pid is not None
    if not begun:
        # The request lies before a kernel that does not look.
        os.kill(kernel.pid, signal.SIGSTOP)
    await page.run()
    if begun:
        await page.until(lambda: "begun" in page.text("cell-0"), "the cell")
    else:
        await page.until(lambda: page.state["queue"][0]["state"] == "running", "the submission")
        requests = state_folder(Folders.from_environment()) / "kernels" / kernel.kernel_id / "1" / "requests"
        while page.state["queue"][0]["run"].encode() not in requests.read_bytes():
            assert story.elapsed < 60, "the supervisor does not take it"
            await asyncio.sleep(0.01)  # a file of another process
        await asyncio.to_thread(at_rest, supervisors.pid())
    async with _NoSupervisor():
        os.kill(kernel.pid, signal.SIGCONT)
        (server.root / "go").touch()
        while not (server.root / "done").exists():
            assert story.elapsed < 60, "the cell does not ask"
            await asyncio.sleep(0.01)  # the kernel can say it in no other way while nothing listens to it
    story.say("the next supervisor is there")
    await page.until(lambda: bool(page.state.get("inputs")), "an offer to answer", seconds=60)
    (asked,) = page.state["inputs"]
    assert "not heard" in asked["prompt"]
    del page.state["inputs"]
    await server.restart()
    await page.until(lambda: page.links == 2 and bool(page.state.get("inputs")), "the same offer of the next server", seconds=60)
    await page.operate("input", request=asked["request"], value="Ada")
    await page.idle(seconds=60)
    await page.operate("save")
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    # What was typed is not shown: for all that is known it is a password.
    wanted = ["begun\nAda\n" if begun else "Ada\n", "next\n"]
    disk = Count.of_items([notebooks.stream_text(cell) for cell in cells], wanted)
    shown = Count.of_items([page.text("cell-0"), page.text("cell-1")], wanted)
    fault = f"SIGKILL{'' if begun else ' before a cell is heard to begin'}, and it asks before the next one is there"
    record_fault("the supervisor goes", fault, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole


async def _asked(source: str, server: Server, open_document: OpenDocument) -> tuple[DocumentClient, KernelInfo, str]:
    """A page whose first cell has asked, its kernel, which does not look any more, and the name of the question."""
    notebooks.write(server.root / "a.ipynb", source, "print('next')")
    page = await open_document(server, "a.ipynb")
    await page.ran("cell-1")
    (kernel,) = (await supervisors.kernels()).values()
    assert kernel.pid is not None
    await page.run()
    await page.until(lambda: bool(page.state.get("inputs")), "the question")
    os.kill(kernel.pid, signal.SIGSTOP)
    (asked,) = page.state["inputs"]
    return page, kernel, asked["request"]


ASKING_TWICE = """\
import os, time
name = input("Who? ")
print("Hello", name)
while not os.path.exists("go"): time.sleep(0.01)
print("again", input("Who? "))
"""


@pytest.mark.parametrize("told", [True, False], ids=["the-page-was-told", "the-server-goes-too"])
async def test_an_answer_that_is_lost_can_be_given_again(
    told: bool, server: Server, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("a supervisor is killed with an answer in its hands")
    page, kernel, asked = await _asked(ASKING_TWICE, server, open_document)
    assert kernel.pid is not None
    # More than the system takes for a kernel that does not look: what is sent behind it stays with the supervisor.
    await supervisors.send_answer(kernel, "filler", "x" * (8 << 20))
    if told:
        await page.operate("input", request=asked, value="Bob")
        await supervisors.kill()
    else:
        # What a server has done that is killed before the answer is durable with it.
        await supervisors.send_answer(kernel, f"{asked}-answer", "Bob")
        await supervisors.kill()
        await server.kill(signal.SIGKILL)
        await server.start()
    os.kill(kernel.pid, signal.SIGCONT)
    story.say("the next supervisor is there")
    await page.until(lambda: _doubted(page), "an offer to answer again", seconds=60)
    (again,) = page.state["inputs"]
    assert again["prompt"].endswith("Who? ")
    await page.operate("input", request=again["request"], value="Ada")
    await page.until(lambda: "Hello Ada" in page.text("cell-0"), "the answer")
    (server.root / "go").touch()
    await page.until(lambda: bool(page.state["inputs"]), "the next question")
    (second,) = page.state["inputs"]
    assert second["prompt"] == "Who? ", "no doubt stays behind"
    await page.operate("input", request=second["request"], value="Grace")
    await page.idle(seconds=60)
    await page.operate("save")
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    wanted = [*(["Who? Bob"] if told else []), "[...]", "Who? Ada", "Hello Ada", "Who? Grace", "again Grace", "next"]

    def lines(cells: list[notebooks.Notebook]) -> list[str]:
        text = "".join(map(notebooks.all_text, cells)).replace(UNANSWERED, "@")
        return ["[...]" if "@" in line else line for line in text.splitlines()]

    disk = Count.of_items(lines(cells), wanted)
    shown = Count.of_items(lines([{"outputs": page.outputs(cell)} for cell in ("cell-0", "cell-1")]), wanted)
    fault = f"SIGKILL{'' if told else ', and to the server,'} while it holds an answer to `input()`"
    record_fault("the supervisor goes", fault, disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole


PASSWORD = """\
import getpass, threading
name = input("User: ")
threading.Timer(0.5, lambda: open("done", "w").close()).start()
print(name, len(getpass.getpass("Password: ")))
"""
"""Says that it has asked for the second time from another thread, a while after it has."""


async def test_another_question_behind_an_answer_is_not_taken_for_the_same(
    server: Server, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story("a cell gets an answer, and asks for more while no supervisor lives")
    page, kernel, asked = await _asked(PASSWORD, server, open_document)
    assert kernel.pid is not None
    await page.operate("input", request=asked, value="ada")
    # The answer has left it, and lies before a kernel that does not look.
    await asyncio.to_thread(at_rest, supervisors.pid())
    async with _NoSupervisor():
        os.kill(kernel.pid, signal.SIGCONT)
        while not (server.root / "done").exists():
            assert story.elapsed < 60, "the cell does not ask"
            await asyncio.sleep(0.01)  # the kernel can say it in no other way while nothing listens to it
    story.say("the next supervisor is there")
    await page.until(lambda: any("not heard" in asked["prompt"] for asked in page.state["inputs"]), "an offer to answer", seconds=60)
    (second,) = page.state["inputs"]
    assert "User" not in second["prompt"]
    await page.operate("input", request=second["request"], value="secret")
    await page.idle(seconds=60)
    await page.operate("save")
    assert b"secret" not in (server.root / "a.ipynb").read_bytes()
    cells = notebooks.read(server.root / "a.ipynb")["cells"]
    wanted = ["User: ada\nada 6\n", "next\n"]
    disk = Count.of_items([notebooks.stream_text(cell) for cell in cells], wanted)
    shown = Count.of_items([page.text("cell-0"), page.text("cell-1")], wanted)
    record_fault("the supervisor goes", "SIGKILL behind an answer, and the cell asks again", disk=disk, page=shown, seconds=story.elapsed)
    assert disk.whole
    assert shown.whole


def _doubted(page: DocumentClient) -> bool:
    return any("may not have reached" in asked["prompt"] for asked in page.state.get("inputs", ()))
