"""The server's side of the worker process that reads big notebooks (``worker_main.py``).

The process is started when first needed and kept a while: starting Python costs more than most notebooks. Threads would
not do: they share the interpreter's lock, and 30 MB of JSON hold it for 50 ms at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import msgspec

from homeport.documents.blobs import Blobs
from homeport.documents.codec import Notebook, OldFormat, decode
from homeport.documents.ids import new_cell_id
from homeport.documents.schema import Cell
from homeport.documents.worker_main import Answer, Begin, Cells, End, Failed, Task, pack, unread
from homeport.errors import HomeportError, InvalidNotebook, StoreFailed, TooLarge
from homeport.kernels.environment import without_secrets

_KEPT = 60.0
"""Seconds that an idle worker process stays."""
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
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._leave: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """End the process."""
        if self._leave is not None:
            self._leave.cancel()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

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
        async with self._turn:
            process = await self._running()
            try:
                return await _exchange(process, task, data)
            except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionError) as error:
                self._process = None
                await process.wait()
                raise StoreFailed(
                    f"“{task.name}” could not be read: the process that reads big notebooks ended ({process.returncode}); "
                    "the machine may be short of memory.",
                    path=task.name,
                ) from error
            except asyncio.CancelledError:
                # What it answers now belongs to nobody.
                self._process = None
                process.kill()
                raise
            finally:
                self._rest()

    async def _running(self) -> Process:
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None
        if self._process is None or self._process.returncode is not None:
            # -P: the current folder holds notebooks and whatever else; none of it is to be imported. A session of its own:
            # Ctrl-C on the terminal is the server's to answer.
            command = (sys.executable, "-P", "-m", "homeport.documents.worker_main")
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=without_secrets(os.environ), start_new_session=True
            )
        return self._process

    def _rest(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            self._leave = asyncio.get_running_loop().call_later(_KEPT, self._dismiss)

    def _dismiss(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()


async def _exchange(process: Process, task: Task, data: Sequence[bytes]) -> tuple[Notebook, str]:
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
            raise _error(answer)
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
