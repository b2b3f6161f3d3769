"""Small files that are written behind the event loop's back."""

from __future__ import annotations

import asyncio
import threading

from homeport.write_behind import WriteBehind


async def test_writes_are_done_in_order_and_nobody_waits() -> None:
    writes, done, go = WriteBehind(), [], threading.Event()
    writes.start()
    try:
        writes(lambda: done.append(("first", go.wait(10))))
        for number in range(100):
            writes(lambda number=number: done.append(number))
        assert done == [], "the caller does not wait"
        go.set()
        await writes.done()
        assert done == [("first", True), *range(100)]
    finally:
        await writes.close()


async def test_without_a_thread_a_write_is_done_at_once() -> None:
    writes, done = WriteBehind(), []
    writes(lambda: done.append(threading.current_thread()))
    writes.start()
    writes(lambda: done.append(threading.current_thread()))
    await writes.close()
    writes(lambda: done.append(threading.current_thread()))
    await writes.done()
    assert [thread is threading.current_thread() for thread in done] == [True, False, True]


async def test_what_comes_while_it_is_closed_keeps_its_place() -> None:
    writes, done, go = WriteBehind(), [], threading.Event()
    writes.start()
    writes(lambda: done.append(("first", go.wait(10))))
    closing = asyncio.create_task(writes.close())
    await asyncio.sleep(0)
    writes(lambda: done.append("second"))
    go.set()
    await closing
    writes(lambda: done.append("third"))
    assert done == [("first", True), "second", "third"]


async def test_who_waits_may_be_cancelled_and_the_write_is_not() -> None:
    writes, done, go = WriteBehind(), [], threading.Event()
    writes.start()
    writes(lambda: go.wait(10))
    writes(lambda: done.append("written"))
    waiter = asyncio.create_task(writes.done())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    go.set()
    await writes.close()
    assert done == ["written"]
