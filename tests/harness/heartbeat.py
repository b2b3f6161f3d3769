"""How long this machine keeps a process that only wants to wake up from waking up: what a stall of the server is compared with.

A process of its own, so that what the test itself computes is not in it. Run as a program, this file is that process.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from types import TracebackType

PERIOD = 0.01


class Heartbeat:
    """``async with Heartbeat() as beat: ...; await beat.longest()``: seconds of the longest lateness meanwhile."""

    async def __aenter__(self) -> Heartbeat:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(sys.executable, __file__, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"beating\n"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def longest(self) -> float:
        """Seconds of the longest lateness since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"?\n")
        await self._process.stdin.drain()
        return float(await self._process.stdout.readline())


def main() -> None:
    """Beat until the input ends; each line of input is answered with the longest lateness."""
    longest = 0.0
    ended = threading.Event()

    def beat() -> None:
        nonlocal longest
        while not ended.is_set():
            due = time.monotonic() + PERIOD
            time.sleep(PERIOD)
            longest = max(longest, time.monotonic() - due)

    threading.Thread(target=beat, daemon=True).start()
    print("beating", flush=True)
    for _ in sys.stdin:
        answer, longest = longest, 0.0
        print(answer, flush=True)
    ended.set()


if __name__ == "__main__":
    main()
