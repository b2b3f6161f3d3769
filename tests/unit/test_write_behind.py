"""Small files that are written behind the event loop's back."""

from __future__ import annotations

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
