"""The processes that read what is big: kept between two pieces of work, and replaced when one is killed or nobody waits for it any more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from harness import notebooks, supervisors
from homeport.errors import HomeportError, InvalidNotebook
from homeport.event_loop import kill
from homeport.web.notebook_worker import NotebookWorker


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[NotebookWorker]:
    worker = NotebookWorker()
    yield worker
    await worker.close()
    assert processes() == []


def processes() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "homeport.web.notebook_json" in child.cmdline()]


async def read(worker: NotebookWorker, folder: Path, name: str = "a.ipynb") -> list[str]:
    """The sources of the notebook's cells."""
    target = folder / "answer"
    await worker.work("for_api", folder / name, target, name)
    return [cell["source"] for cell in json.loads(target.read_bytes())["cells"]]


async def standing_still(worker: NotebookWorker, folder: Path) -> tuple[int, asyncio.Task[list[str]]]:
    """A process that does nothing any more, and somebody who waits for it."""
    notebooks.write(folder / "a.ipynb", "x")
    await read(worker, folder)
    (pid,) = processes()
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(read(worker, folder))
    await asyncio.sleep(0)  # it takes its turn
    return pid, waiting


async def test_one_process_does_all_and_says_what_is_wrong(worker: NotebookWorker, tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", "x = 1\nx")
    (tmp_path / "b.ipynb").write_text("no notebook")
    assert await read(worker, tmp_path) == ["x = 1\nx"]
    before = processes()
    with pytest.raises(InvalidNotebook, match="is not JSON"):
        await read(worker, tmp_path, "b.ipynb")
    assert await asyncio.gather(read(worker, tmp_path), read(worker, tmp_path)) == [["x = 1\nx"]] * 2
    assert processes() == before
    assert len(before) == 1


async def test_who_is_killed_is_named_and_replaced(worker: NotebookWorker, tmp_path: Path) -> None:
    pid, waiting = await standing_still(worker, tmp_path)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(HomeportError, match=r"“a\.ipynb” is too big to be worked on: the process that read it was killed\."):
        await waiting
    assert await read(worker, tmp_path) == ["x"]
    assert processes() != [pid]


async def test_what_nobody_waits_for_any_more_is_not_taken_for_the_next_answer(worker: NotebookWorker, tmp_path: Path) -> None:
    notebooks.write(tmp_path / "a.ipynb", "a")
    notebooks.write(tmp_path / "b.ipynb", "b")
    await read(worker, tmp_path)
    (pid,) = processes()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(worker, tmp_path), 0.2)
    await supervisors.gone(pid)
    assert await read(worker, tmp_path, "b.ipynb") == ["b"]


async def test_it_can_be_closed_while_it_stands_still(worker: NotebookWorker, tmp_path: Path) -> None:
    _, waiting = await standing_still(worker, tmp_path)
    async with asyncio.timeout(10):
        await worker.close()
        with pytest.raises(HomeportError, match="was killed"):
            await waiting


async def test_who_kills_does_not_take_the_exit_status_from_who_waits() -> None:
    for _ in range(100):  # with Process.kill(), one in fifteen
        process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        os.kill(process.pid, signal.SIGKILL)
        assert await process.stdout.read() == b""  # it is about to be gone
        kill(process)
        assert await process.wait() == -signal.SIGKILL
