"""Writes small files in order, in one thread: the event loop does not wait for a disk that is busy (which may take a second).

What is written this way is to be right soon, not before an answer is given; whoever must know waits for :meth:`WriteBehind.done`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class WriteBehind:
    """Runs writes one after the other. Before :meth:`start` and after :meth:`close` each is done at once, by its caller.

    A write handles its own errors: nobody else hears of them.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[object] | None = None

    def start(self) -> None:
        """Leave writes to the thread from now on."""
        self._thread = ThreadPoolExecutor(1, "homeport-writes")

    def __call__(self, write: Callable[[], object]) -> None:
        """Do ``write`` after all that came before it."""
        if self._thread is None:
            write()
        else:
            self._last = self._thread.submit(write)

    async def done(self) -> None:
        """Returns when everything that came before is written."""
        if self._last is not None:
            # Whoever waits may be cancelled; the write is not.
            await asyncio.wait((asyncio.wrap_future(self._last),))

    async def close(self) -> None:
        """Finish what has come."""
        while self._last is not None and not self._last.done():
            await self.done()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()
