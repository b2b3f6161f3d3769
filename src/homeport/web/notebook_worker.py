"""Runs ``notebook_json.py`` on big notebooks in a process of its own: threads share the interpreter's lock, and the loop would stall."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import msgspec

from homeport.errors import BadRequest, HomeportError, InvalidNotebook
from homeport.kernels.environment import without_secrets
from homeport.web.notebook_json import Reply, Request, Saving

KEPT = 60.0
"""Seconds for which the process is kept after its last work."""

_ERRORS = {error.code: error for error in (InvalidNotebook, BadRequest)}


class NotebookWorker:
    """The process; started when first needed, one piece of work at a time. It leaves when the server is gone, however that went."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._leave: asyncio.TimerHandle | None = None

    async def work(self, work: str, source: Path, target: Path, name: str) -> Saving | None:
        """Do ``work`` (a key of ``notebook_json.WORK``) from file to file.

        Raises:
            InvalidNotebook, BadRequest: as that function does.
            HomeportError: the process died.
        """
        async with self._lock:
            reply = await self._ask(Request(work, str(source), str(target), name))
        if reply.code:
            raise _ERRORS.get(reply.code, HomeportError)(reply.message, path=name)
        return reply.saving

    async def close(self) -> None:
        """End the process."""
        async with self._lock:
            await self._end()

    async def _ask(self, request: Request) -> Reply:
        process = await self._running()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except BaseException:
            # Cut in the middle: the answer to this request must not be taken for that to the next.
            process.kill()
            await self._end()
            raise
        if not line:
            await self._end()
            raise HomeportError(f"“{request.name}” is too big to be worked on: the process that read it was killed.")
        self._leave = asyncio.get_running_loop().call_later(KEPT, self._retire)
        return msgspec.json.decode(line, type=Reply)

    async def _running(self) -> Process:
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None
        if self._process is None or self._process.returncode is not None:
            command = (sys.executable, "-P", "-m", "homeport.web.notebook_json")
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=without_secrets(os.environ), start_new_session=True
            )
        return self._process

    def _retire(self) -> None:
        self._leave = None
        if self._process is not None and self._process.stdin is not None and not self._lock.locked():
            self._process.stdin.close()  # it ends by itself
            self._process = None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:
                    process.kill()
            await process.wait()
