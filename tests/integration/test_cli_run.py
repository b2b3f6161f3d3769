"""``homeport run`` in processes of its own: real servers, kernels and terminals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest
import pytest_asyncio

from harness import notebooks
from harness.document_client import OpenDocument
from harness.server import AS_ROOT, MakeServer, Server, environment, stop_supervisor
from homeport.commands.running import running_servers
from homeport.folders import Folders

SLOW = "import time\nfor n in range(1, 101):\n    print(n, flush=True); time.sleep(0.05)"
LINES = "".join(f"{n}\n" for n in range(1, 101))


@pytest_asyncio.fixture(autouse=True)
async def no_supervisor_left(home: object) -> AsyncIterator[None]:
    yield
    await stop_supervisor()


async def begin(*arguments: str | Path, cwd: Path) -> asyncio.subprocess.Process:
    """A command that has no terminal."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "homeport", *map(str, arguments)),
        cwd=cwd, env=environment(PYTHONWARNINGS="default"),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def homeport(*arguments: str | Path, cwd: Path) -> tuple[int, str]:
    """Run such a command; exit status and all that it printed."""
    process = await begin(*arguments, cwd=cwd)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, output.decode()


def terminal(*arguments: str, cwd: Path) -> pexpect.spawn[str]:
    """The command on a terminal."""
    return pexpect.spawn(
        *(sys.executable, ["-m", "homeport", *arguments]),
        cwd=str(cwd), env=environment(TERM="xterm"),
        encoding="utf-8", codec_errors="replace",  # the echo of ^C may stand within a character
        timeout=30, dimensions=(24, 100),
    )  # fmt: skip


def text(file: Path, cell: int) -> str:
    """What a code cell printed, as the file has it."""
    return notebooks.stream_text(notebooks.code_cells(notebooks.read(file))[cell])


async def printed(file: Path, cell: int, words: str) -> None:
    """Wait until the file says that a cell printed ``words``."""
    deadline = time.monotonic() + 30
    while words not in text(file, cell):
        assert time.monotonic() < deadline, text(file, cell)
        await asyncio.sleep(0.02)  # a file tells nobody that it changed


async def test_a_server_is_started_and_ends_with_its_kernels(tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", "x = 6", ("markdown", "# seven"), "print(x * 7)", " \n")
    (tmp_path / "below").mkdir()
    notebooks.write(tmp_path / "below" / "b.ipynb", "import os; print(os.getcwd())")
    status, said = await homeport("run", "a.ipynb", "below/b.ipynb", "--jobs=2", *AS_ROOT, cwd=tmp_path)
    assert status == 0, said
    assert "a.ipynb: done, 2 cells in 0:" in said
    assert "a.ipynb: 2/2" in said
    assert "below/b.ipynb: done, 1 cell in" in said
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert "homeport kernels" not in said, "no kernel runs on"
    assert text(tmp_path / "a.ipynb", 1) == "42\n"
    assert text(tmp_path / "below" / "b.ipynb", 0) == f"{tmp_path / 'below'}\n"
    assert (await homeport("list", cwd=tmp_path))[1] == "No server is running. 'homeport' starts one.\n"
    assert (await homeport("kernels", cwd=tmp_path))[1] == "No kernel is running.\n"


async def test_what_cannot_run_is_said_and_the_others_run(tmp_path: Path) -> None:
    notebooks.write(tmp_path / "fails.ipynb", "print('before')", "def f():\n    1/0\nf()", "print('after')")
    notebooks.write(tmp_path / "lost.ipynb", "1", kernel="lost")
    (tmp_path / "text.ipynb").write_text("not a notebook")
    notebooks.write(tmp_path / "good.ipynb", "print('good')")
    names = ("fails.ipynb", "lost.ipynb", "text.ipynb", "good.ipynb")
    status, said = await homeport("run", *names, *AS_ROOT, cwd=tmp_path)
    assert status == 1
    assert "fails.ipynb: cell 2, “def f():”, failed with ZeroDivisionError:\n" in said
    assert "    ZeroDivisionError: division by zero\n" in said
    assert "fails.ipynb: 1 cell did not run" in said
    assert "lost.ipynb: The kernel 'lost', which the notebook wants, is not installed" in said
    assert "There are: python3" in said
    assert "text.ipynb: “text.ipynb” is not JSON" in said
    assert "good.ipynb: done, 1 cell" in said
    assert [len(cell["outputs"]) for cell in notebooks.read(tmp_path / "fails.ipynb")["cells"]] == [1, 1, 0]
    assert (tmp_path / "text.ipynb").read_text() == "not a notebook"


async def test_a_notebook_that_does_not_fit_into_one_frame(tmp_path: Path) -> None:
    """The first sync, the queue and what a cell prints come in parts each; only the command puts them together here."""
    notebooks.write(tmp_path / "long.ipynb", "print('x' * 100_000)", *[f"n = {n}  # {'-' * 200}" for n in range(1, 300)], "print(n)")
    status, said = await homeport("run", "long.ipynb", *AS_ROOT, cwd=tmp_path)
    assert status == 0, said
    assert "long.ipynb: done, 301 cells in 0:" in said
    assert text(tmp_path / "long.ipynb", 0) == "x" * 100_000 + "\n"
    assert text(tmp_path / "long.ipynb", 300) == "299\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ipynb"], "There is no notebook none.ipynb. Nothing was run.\n"),
        (["."], ". is a folder; name the notebooks in it. Nothing was run.\n"),
        (["a.ipynb", "--jobs=none"], "--jobs none is not a number of notebooks"),
    ],
)
async def test_what_is_not_there_is_refused_before_anything_runs(tmp_path: Path, arguments: list[str], words: str) -> None:
    notebooks.write(tmp_path / "a.ipynb", "print('ran')")
    status, said = await homeport("run", "a.ipynb", *arguments, *AS_ROOT, cwd=tmp_path)
    assert status in (1, 2)
    assert words in said
    assert text(tmp_path / "a.ipynb", 0) == ""


async def test_on_a_running_server_a_page_sees_it_and_the_kernel_stays(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "import os; print(globals().get('x')); x = 1", "name = input('Name? ')", "1/0", "print(name)")
    notebook = notebooks.read(file)
    notebook["cells"][2]["metadata"]["tags"] = ["raises-exception"]
    file.write_text(json.dumps(notebook))
    page = await open_document(server, "a.ipynb")
    process = await begin("run", file, cwd=server.home)
    assert process.stdout is not None
    said = ""
    while "cell 2 asks “Name? ”; it is answered on http://" not in said:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, said
        said += line.decode()
    await page.until(lambda: bool(page.state.get("inputs")), "the question")
    await page.operate("input", request=page.state["inputs"][0]["request"], value="Ada")
    rest, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, rest
    await page.until(lambda: page.text(3) == "Ada\n", "the last output")
    assert "Starting a server" not in said
    assert page.state["kernel"]["state"] in ("idle", "busy")
    kernel = page.state["kernel"]["id"][:8]
    assert rest.decode().endswith(f"1 kernel runs on: 'homeport kernels' lists it, 'homeport kernels stop {kernel}' ends it.\n")


async def test_only_kernels_that_still_run_are_said_to_run_on(server: Server) -> None:
    for name in ("a.ipynb", "b.ipynb"):
        notebooks.write(server.root / name, "1")
    notebooks.write(server.root / "c.ipynb", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    _, said = await homeport("run", "a.ipynb", "b.ipynb", "c.ipynb", cwd=server.root)
    assert said.endswith("2 kernels run on: 'homeport kernels' lists them, 'homeport kernels stop ID' ends one.\n")


async def test_a_kernel_of_before_outlives_the_server_that_was_started(server: Server) -> None:
    notebooks.write(server.root / "a.ipynb", "print(globals().get('x')); x = 1")
    await homeport("run", "a.ipynb", cwd=server.root)
    await server.kill(signal.SIGTERM)
    status, said = await homeport("run", "a.ipynb", *AS_ROOT, cwd=server.root)
    assert status == 0, said
    assert text(server.root / "a.ipynb", 0) == "1\n"
    assert "Starting a server" in said
    assert "\n1 kernel runs on: 'homeport kernels' lists it, " in said
    assert "python3" in (await homeport("kernels", cwd=server.root))[1]


async def test_kernels_that_a_server_that_was_killed_could_not_end_are_named(tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", "import time; print('on', flush=True); time.sleep(60)")
    running = asyncio.create_task(homeport("run", "a.ipynb", *AS_ROOT, cwd=tmp_path))
    await printed(tmp_path / "a.ipynb", 0, "on\n")
    (started,) = running_servers(Folders.from_environment().runtime)
    os.kill(started.pid, signal.SIGKILL)
    status, said = await running
    assert status == 1
    assert "The server that was started was ended by SIGKILL." in said
    assert started.token not in said
    assert "1 kernel runs on: 'homeport kernels' lists it, " in said


async def test_keep_going_and_restart(server: Server) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "print(globals().get('x')); x = 1", "1/0", "print('on')")
    status, said = await homeport("run", "a.ipynb", "--keep-going", cwd=server.root)
    assert status == 1
    assert "did not run" not in said
    assert (text(file, 0), text(file, 2)) == ("None\n", "on\n")
    await homeport("run", "a.ipynb", cwd=server.root)
    assert text(file, 0) == "1\n"
    await homeport("run", "a.ipynb", "--restart", cwd=server.root)
    assert text(file, 0) == "None\n"


async def test_the_server_is_killed_on_the_way(server: Server) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, SLOW, "print('end')")
    running = asyncio.create_task(homeport("run", "a.ipynb", cwd=server.root))
    await printed(file, 0, "5\n")
    await server.restart()
    status, said = await running
    assert status == 0, said
    assert "a.ipynb: done, 2 cells" in said
    assert (text(file, 0), text(file, 1)) == (LINES, "end\n")


async def test_a_notebook_that_outgrows_the_limit_on_the_way_goes_on(make_server: MakeServer) -> None:
    """The limit is for files that come from elsewhere: what grew here is opened again, by another server, too."""
    server = make_server()
    server.options = ("--notebook-limit=100000",)
    await server.start()
    file = server.root / "a.ipynb"
    notebooks.write(file, "for n in range(3000): print('x' * 80, n)", SLOW, "print('end')")
    running = asyncio.create_task(homeport("run", "a.ipynb", cwd=server.root))
    await printed(file, 1, "5\n")
    assert file.stat().st_size > 200_000
    await server.restart()
    status, said = await running
    assert status == 0, said
    assert (text(file, 1), text(file, 2)) == (LINES, "end\n")
    await server.kill(signal.SIGTERM)
    await server.start()
    assert (await homeport("run", "a.ipynb", cwd=server.root))[0] == 0
    (server.root / "b.ipynb").write_bytes(file.read_bytes())
    status, said = await homeport("run", "b.ipynb", cwd=server.root)
    assert status == 1
    # More than a close frame holds.
    assert "b.ipynb: “b.ipynb” has 0 MB; notebooks up to 0 MB are opened (option --notebook-limit). " in said
    assert "Clear its outputs with another program, or raise the limit.\n" in said


async def test_what_is_printed_is_short_though_cells_and_errors_are_not(tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", f"s = '{'z' * 100_000}'", "raise ValueError('y' * 100_000)")
    status, said = await homeport("run", "a.ipynb", *AS_ROOT, cwd=tmp_path)
    assert status == 1
    assert "ok  s = 'zzz" in said
    assert "ValueError: yyy" in said
    assert max(map(len, said.splitlines())) < 400


async def test_a_file_with_two_names_runs_once_and_its_question_has_an_address(server: Server) -> None:
    name = "Q #1 50%?.ipynb"
    notebooks.write(server.root / name, "print(input('Name? '))")
    (server.root / "link").symlink_to(".")
    running = await begin("run", name, f"link/{name}", cwd=server.root)
    assert running.stdout is not None
    said = ""
    while "asks" not in said:
        said = (await asyncio.wait_for(running.stdout.readline(), 30)).decode()
    assert said.endswith(f"it is answered on {server.url.replace('127.0.0.1', 'localhost')}notebooks/Q%20%231%2050%25%3F.ipynb\n")
    running.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(running.communicate(), 60)
    assert "link/" not in rest.decode()


async def test_a_server_that_was_started_and_is_killed_is_told_of(tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", "import time\nprint('on', flush=True)\ntime.sleep(60)")
    running = await begin("run", "a.ipynb", *AS_ROOT, cwd=tmp_path)
    await printed(tmp_path / "a.ipynb", 0, "on\n")
    (server,) = running_servers(Folders.from_environment().runtime)
    os.kill(server.pid, signal.SIGUSR1)
    said, _ = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == 1
    assert "The server that was started was ended by SIGUSR1." in said.decode()


async def test_ctrl_c_interrupts(server: Server) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "x = 1", "import time\nprint('on', flush=True)\ntime.sleep(60)", "print('never')")
    child = terminal("run", "a.ipynb", cwd=server.root)
    await asyncio.to_thread(child.expect, "a.ipynb  ████████░+  1/3  0:.. +cell 2: import time")
    await printed(file, 1, "on\n")
    child.sendintr()
    await asyncio.to_thread(child.expect, r"\[i\]nterrupt the run, \[l\]eave it to the server, or \[c\]ontinue")
    child.send("c\r")
    await asyncio.to_thread(child.expect, "cell 2: import time")
    child.sendintr()
    await asyncio.to_thread(child.expect, "Ctrl-C again: leave")
    child.send("i\r")
    await asyncio.to_thread(child.expect, "a.ipynb: cell 2, “import time”, failed")
    await asyncio.to_thread(child.expect, "KeyboardInterrupt")
    await asyncio.to_thread(child.expect, "a.ipynb: 1 cell did not run")
    await asyncio.to_thread(child.expect, pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


async def test_ctrl_c_leaves_it_to_the_server(server: Server) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, SLOW, "print('end')")
    child = terminal("run", "a.ipynb", cwd=server.root)
    await asyncio.to_thread(child.expect, "cell 1: import time")
    child.sendintr()
    await asyncio.to_thread(child.expect, "Ctrl-C again: leave")
    child.sendintr()
    await asyncio.to_thread(child.expect, "Left to the server: a.ipynb")
    await asyncio.to_thread(child.expect, pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    await printed(file, 1, "end\n")
    assert text(file, 0) == LINES


async def test_a_closed_terminal_leaves_it_to_the_server_that_was_started(tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", SLOW, "print('end')")
    child = terminal("run", "a.ipynb", *AS_ROOT, cwd=tmp_path)
    await printed(tmp_path / "a.ipynb", 0, "5\n")
    child.close(force=False)  # SIGHUP, as of a terminal that is closed
    await printed(tmp_path / "a.ipynb", 1, "end\n")
    assert text(tmp_path / "a.ipynb", 0) == LINES
    status, said = await homeport("stop", cwd=tmp_path)
    assert (status, str(tmp_path) in said) == (0, True), said
