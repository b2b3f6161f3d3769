"""The process that runs cells is killed at random moments: every line is there once, and every cell ran once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from harness.desk import Desk, code
from harness.server import stop_supervisor
from homeport.kernels.client import Cursor, Ended, Entry, Truncated

LINES = 15_000
CELLS = [
    "import time\nran = open('ran', 'a')",
    f"for n in range(1, {LINES} + 1):\n    print(n)\n    if n % 30 == 0: time.sleep(0.008)",
    "ran.write('x'); ran.flush()\nfrom IPython.display import display\nh = display('0', display_id='d')",
    "for n in range(100):\n    h.update(str(n)); print(f'{n}%', end='\\r', flush=True); time.sleep(0.01)",
    "ran.write('y'); ran.flush(); len(open('ran').read())",
]


@pytest_asyncio.fixture(autouse=True)
async def no_supervisor_left(home: object) -> AsyncIterator[None]:
    yield
    await stop_supervisor()


async def start(run_id: str) -> asyncio.subprocess.Process:
    """A process that runs the cells, or goes on with them; it has said that the runs are durable."""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent / "src")])}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "harness.desk", run_id, *CELLS), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    return process


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_moments(seed: int) -> None:
    moments = random.Random(seed)
    for _ in range(8):
        process = await start("r")
        with_luck = moments.choice([0, 0.01, 0.05, 0.3, 0.6])
        await asyncio.sleep(with_luck)  # the random moment is the point; nothing is waited for
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
    async with Desk() as desk:
        results = await desk.results([f"r-{n}" for n in range(len(CELLS))], 60)
        assert results == ["ok"] * len(CELLS), [desk.outputs(f"c{n}") for n in range(len(CELLS))]
        await desk.until(lambda: "sha256" in str(desk.outputs("c1")))
        whole = desk.blobs.value(desk.outputs("c1")[0]["application/vnd.homeport.stream+json"]["sha256"])
        assert whole == "".join(f"{n}\n" for n in range(1, LINES + 1))
        assert [output["data"]["text/plain"] for output in desk.outputs("c2")] == ["'99'"]
        assert desk.text("c3") == "99%"
        assert desk.outputs("c4")[-1]["data"]["text/plain"] == "2"
        assert [desk.cell(f"c{n}")["execution_count"] for n in range(len(CELLS))] == [1, 2, 3, 4, 5]


class LateReply:
    """A cursor that gives the reply to an execute request behind its idle, as kernels now and then do: when it is told to."""

    def __init__(self, cursor: Cursor, held: list[Entry], *, told: bool) -> None:
        self._cursor, self._held, self._told = cursor, held, told
        self._next: list[Entry | Truncated | Ended] = [*held] if told else []
        self._idle = False
        self.idle_read = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    async def read(self) -> list[Entry | Truncated | Ended]:
        """As the cursor's own."""
        if self._idle:
            self.idle_read.set()
        items, self._next = self._next, []
        while not items:
            for item in await self._cursor.read():
                if not self._told and isinstance(item, Entry) and item.header.msg_type == "execute_reply":
                    self._held.append(item)
                else:
                    items.append(item)
                    if not self._told and isinstance(item, Entry) and item.parent.msg_type == "execute_request":
                        self._idle = self._idle or b'"idle"' in bytes(item.parts[3])
                        if self._idle and self._held and self._held[-1].seq < item.seq:
                            item.seq, self._held[-1].seq = self._held[-1].seq, item.seq
        return items


async def test_a_server_that_ends_between_idle_and_reply() -> None:
    held: list[Entry] = []
    cursors: list[LateReply] = []

    def hold(desk: Desk, *, told: bool) -> None:
        attach = desk.supervisor.attach

        def attach_late(kernel_id: str, *, generation: int, after: int | None, session: str | None = None) -> Any:
            cursor = attach(kernel_id, generation=generation, after=after, session=session)
            cursors.append(LateReply(cursor, held, told=told))
            return cursors[-1]

        desk.supervisor.attach = attach_late  # type: ignore[method-assign]

    async with Desk(code("c0", "print('once')"), code("c1", "print('next')")) as desk:
        hold(desk, told=False)
        runs = desk.run("c0", "c1")
        await desk.until(lambda: bool(cursors))
        await asyncio.wait_for(cursors[-1].idle_read.wait(), 30)
    later = Desk()
    hold(later, told=True)
    async with later as desk:
        assert await desk.results(runs, 30) == ["ok", "ok"]
        assert (desk.text("c0"), desk.text("c1")) == ("once\n", "next\n")


async def test_reading_that_stops_and_begins_in_one_turn_of_the_loop_goes_on_where_it_was() -> None:
    async with Desk(code("c0", "import time\nfor n in range(300):\n    print(n, flush=True)\n    time.sleep(0.003)")) as desk:
        runs = desk.run("c0")
        await desk.until(lambda: desk.text("c0").count("\n") > 50)
        reader = desk.runner._reader  # pyright: ignore[reportPrivateUsage]
        assert reader.target is not None
        target = reader.target
        reader.stop()
        reader.follow(target)
        assert await desk.results(runs, 60) == ["ok"]
        assert desk.text("c0") == "".join(f"{n}\n" for n in range(300))
