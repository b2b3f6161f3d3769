"""The process that runs cells is killed at random moments: every line is there once, and every cell ran once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from harness.desk import Desk
from harness.server import stop_supervisor

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
