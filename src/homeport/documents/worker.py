"""The server's side of the process that reads big notebooks (``worker_main.py``)."""

from __future__ import annotations

import asyncio
import errno
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path

import msgspec

from homeport.documents.blobs import Blobs
from homeport.documents.codec import Notebook, OldFormat, decode
from homeport.documents.ids import new_cell_id
from homeport.documents.schema import Cell
from homeport.documents.worker_main import Answer, Begin, Cells, End, Failed, Task, pack, unread
from homeport.documents.worker_process import WorkerProcess
from homeport.errors import HomeportError, InvalidNotebook, StoreFailed, TooLarge

_STEP = 256 * 1024
"""Bytes that are given to the process at a time."""
_decoder = msgspec.msgpack.Decoder(Answer)


class Worker:
    """Reads notebooks: small ones in a thread, others in the worker process, one after the other.

    Args:
        blobs: takes the outputs that are too big for a document.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._process = WorkerProcess("homeport.documents.worker_main")

    async def close(self) -> None:
        """End the process."""
        await self._process.close()

    async def read(self, content: Sequence[bytes], name: str) -> Notebook:
        """Read a notebook from the pieces of its file.

        Raises:
            InvalidNotebook: see ``codec.decode``.
            StoreFailed: its big outputs cannot be put into the blob store.
        """
        size = sum(map(len, content))
        if size <= self._blobs.limits.worker_above:
            raw = b"".join(content)
            try:
                return await asyncio.to_thread(decode, raw, name=name, blobs=self._blobs, new_id=new_cell_id, upgrade=False)
            except OldFormat:
                pass
            except OSError as error:
                raise StoreFailed(unread(name, error), path=name, errno=errno.errorcode.get(error.errno or 0, "EIO")) from error
        return (await self._ask(self._task(name, size=size), content))[0]

    async def open(self, file: Path, name: str) -> tuple[Notebook, str]:
        """Read the notebook in a file, and the sha256 of the file. The content never passes through this process.

        Raises:
            InvalidNotebook: see ``codec.decode``.
            TooLarge: the file is above the limit.
            StoreFailed: it cannot be read.
        """
        return await self._ask(self._task(name, file=str(file)))

    def _task(self, name: str, *, file: str = "", size: int = 0) -> Task:
        blobs = self._blobs
        return Task(name, str(blobs.folder), blobs.base_url, blobs.limits, file, size)

    async def _ask(self, task: Task, data: Sequence[bytes] = ()) -> tuple[Notebook, str]:
        process: Process | None = None
        try:
            async with self._process.turn() as process:
                found = await _exchange(process, task, data)
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionError) as error:
            status = await process.wait() if process is not None else None
            raise StoreFailed(
                f"“{task.name}” could not be read: the process that reads big notebooks ended ({status}); "
                "the machine may be short of memory.",
                path=task.name,
            ) from error
        if isinstance(found, Failed):
            raise _error(found)
        return found


async def _exchange(process: Process, task: Task, data: Sequence[bytes]) -> tuple[Notebook, str] | Failed:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pack(task))
    for piece in map(memoryview, data):
        for start in range(0, len(piece), _STEP):
            # What the pipe does not take is copied: never all of it at once.
            process.stdin.write(piece[start : start + _STEP])
            await process.stdin.drain()
    begin: Begin | None = None
    cells: list[Cell] = []
    while True:
        head = await process.stdout.readexactly(4)
        answer = _decoder.decode(await process.stdout.readexactly(int.from_bytes(head, "big")))
        if isinstance(answer, Failed):
            return answer
        if isinstance(answer, Begin):
            begin = answer
        elif isinstance(answer, Cells):
            cells.extend(answer.cells)
        elif begin is not None:
            assert isinstance(answer, End)
            notebook = Notebook(begin.minor, begin.metadata, cells, begin.extra, begin.prints, begin.inline, begin.made_ids, begin.upgraded)
            return notebook, begin.sha256
        # Batches that are there already would otherwise be decoded without letting anybody in between.
        await asyncio.sleep(0)


def _error(failed: Failed) -> HomeportError:
    for kind in (InvalidNotebook, TooLarge):
        if kind.code == failed.code:
            return kind(failed.message, **failed.data)
    return StoreFailed(failed.message, **failed.data)
