"""web/loop_watch.py: what keeps the loop is counted, what a callback only waits for is not."""

from __future__ import annotations

import asyncio
import resource
import time

from homeport.web.loop_watch import PERIOD, RESTING, LoopWatch

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


async def test_the_heartbeat_rests_while_nothing_is_done() -> None:
    watch = LoopWatch(watchful=0.0)
    watch.start()
    try:
        await asyncio.sleep(2 * RESTING)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        await asyncio.sleep(1.0)
        wakeups = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
        assert wakeups < 0.5 / PERIOD, "an idle server should hardly ever wake up"
    finally:
        watch.stop()


async def test_a_reset_wakes_it_up() -> None:
    watch = LoopWatch(watchful=0.1)
    watch.start()
    try:
        await asyncio.sleep(0.1 + 2 * RESTING)
        watch.reset()
        time.sleep(RESTING / 2)  # noqa: ASYNC251 - the stall
        await _beats(watch, 3)
        assert watch.longest.seconds > RESTING / 4
    finally:
        watch.stop()


async def test_work_wakes_it_up() -> None:
    watch = LoopWatch(watchful=0.0)
    watch.start()
    try:
        await asyncio.sleep(2 * RESTING)
        ready = time.thread_time() + 0.01
        while time.thread_time() < ready:
            pass
        # By now one slow beat has seen that.
        await asyncio.sleep(2 * RESTING)
        time.sleep(RESTING / 2)  # noqa: ASYNC251 - a stall that could fall between two slow beats
        await _beats(watch, 3)
        assert watch.longest.seconds > RESTING / 4
    finally:
        watch.stop()
