"""web/loop_watch.py: what keeps the loop is counted, what a callback only waits for is not."""

from __future__ import annotations

import asyncio
import time

from homeport.web.loop_watch import PERIOD, LoopWatch

STALL = 0.2


async def _beats(watch: LoopWatch, count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(PERIOD)


async def test_a_callback_that_keeps_the_loop_is_counted_once() -> None:
    watch = LoopWatch()
    watch.start()
    try:
        await _beats(watch, 3)
        watch.reset()
        time.sleep(STALL)  # noqa: ASYNC251 - the stall
        await _beats(watch, 3)
        # Another process may have taken a part of that time, which is not the loop's fault.
        assert STALL / 2 < watch.longest.seconds < 5 * STALL
        assert watch.reset().seconds > STALL / 2
        assert watch.longest.seconds == 0.0
    finally:
        watch.stop()


async def test_work_in_a_thread_is_nobodys_stall() -> None:
    watch = LoopWatch()
    watch.start()
    try:
        await _beats(watch, 3)
        watch.reset()
        await asyncio.to_thread(time.sleep, STALL)
        assert watch.longest.seconds < STALL / 2
    finally:
        watch.stop()
