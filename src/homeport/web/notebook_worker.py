"""Runs ``notebook_json.py`` on big notebooks in a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from homeport.documents.worker_process import WorkerProcess
from homeport.errors import BadRequest, HomeportError, InvalidNotebook
from homeport.web.notebook_json import Reply, Request, Saving

_ERRORS = {error.code: error for error in (InvalidNotebook, BadRequest)}


class NotebookWorker:
    """One piece of work at a time."""

    def __init__(self) -> None:
        self._process = WorkerProcess("homeport.web.notebook_json")

    async def close(self) -> None:
        """End the process."""
        await self._process.close()

    async def work(self, work: str, source: Path, target: Path, name: str) -> Saving | None:
        """Do ``work`` (a key of ``notebook_json.WORK``) from file to file.

        Raises:
            InvalidNotebook, BadRequest: as that function does.
            HomeportError: the process died.
        """
        request = Request(work, str(source), str(target), name)
        try:
            async with self._process.turn() as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(msgspec.json.encode(request) + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readuntil()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise HomeportError(f"“{name}” is too big to be worked on: the process that read it was killed.") from None
        reply = msgspec.json.decode(line, type=Reply)
        if reply.code:
            raise _ERRORS.get(reply.code, HomeportError)(reply.message, path=name)
        return reply.saving
