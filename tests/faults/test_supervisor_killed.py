"""The supervisor is killed: its kernels live on, idle, busy and waiting for input, and the next supervisor takes them over.

Nobody but the server launches that one. What a kernel said while no supervisor lived is lost, and the cell says so.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import notebooks, supervisors
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import Count, Moments, RecordFault, Story
from harness.server import Server

pytestmark = [pytest.mark.timeout(180), pytest.mark.expect_log("supervisor")]

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


async def ran(page: DocumentClient, cell_id: str) -> None:
    """Run a cell and wait until its end stands in the document."""
    await page.run(cell_id)
    await page.until(lambda: "shell.execute_reply" in page.cell(cell_id)["metadata"].to_py().get("execution", {}), f"the end of {cell_id}")


@pytest.mark.parametrize(
    "language",
    [pytest.param(PYTHON, id="python"), pytest.param(BASH, id="bash"), pytest.param(R, id="r", marks=pytest.mark.needs("irkernel"))],
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

    await ran(pages["idle"], "cell-0")
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

    await ran(pages["idle"], "cell-1")
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
