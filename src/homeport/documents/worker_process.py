"""A Python process of ours that does for the server what would hold up its loop.

Threads would not do: they share the interpreter's lock, and 30 MB of JSON hold it for 50 ms at a time. The process is started when first
needed and kept for a while: starting Python costs more than most work. It leaves at the end of its standard input, and so with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from typing import Final

from homeport.event_loop import kill
from homeport.kernels.environment import without_secrets

KEPT: Final = 60.0
"""Seconds for which the process is kept after its last work."""


class WorkerProcess:
    """See the module. What is said on standard input and output is its users' own.

    Args:
        module: what ``python -m`` runs.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._leave: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[Process]:
        """The process, for one exchange; others wait. An exchange that is cut short ends it: what it answers then belongs to nobody."""
        async with self._turn:
            process = await self._running()
            try:
                yield process
            except BaseException:
                self._kill()
                raise
            self._leave = asyncio.get_running_loop().call_later(KEPT, self._dismiss)

    async def close(self) -> None:
        """End the process, whatever it does."""
        process = self._process
        self._kill()
        if process is not None:
            await process.wait()

    async def _running(self) -> Process:
        self._stay()
        if self._process is None or self._process.returncode is not None:
            # -P: the current folder holds notebooks and whatever else; none of it is to be imported. A session of its own:
            # Ctrl-C on the terminal is the server's to answer.
            command = (sys.executable, "-P", "-m", self._module)
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=without_secrets(os.environ), start_new_session=True
            )
        return self._process

    def _stay(self) -> None:
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None

    def _kill(self) -> None:
        self._stay()
        process, self._process = self._process, None
        if process is not None:
            kill(process)

    def _dismiss(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
