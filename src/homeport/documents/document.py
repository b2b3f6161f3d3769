"""One open notebook: its room, runner and saver together, and what a page may ask of it.

The registry opens and closes documents; what each part does is its own business. Here are the control ops of
docs/architecture.md, and how a page comes in.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

from pycrdt import Array, Doc, Map

from homeport.core.cell_merge import CellPrint
from homeport.core.comms import Comms
from homeport.documents.codec import Notebook
from homeport.documents.encoder import Encoder
from homeport.documents.limits import Limits
from homeport.documents.lock import DocumentLock
from homeport.documents.peer import Peer
from homeport.documents.room import Room
from homeport.documents.saver import Saver
from homeport.documents.schema import Cell, joined, read_map, whole_cell
from homeport.documents.sealing import stream_keys
from homeport.documents.serial import fingerprint, stream_rests
from homeport.errors import BadRequest, HomeportError, ProtocolError
from homeport.protocol.document import JSON, Control

log = logging.getLogger(__name__)

_MOST_UNDERWAY = 64
_KEPT_ANSWERS = 256
_LONGEST_ID = 64


class Runs(Protocol):
    """What a document needs of its runner (``runner.py``)."""

    @property
    def path(self) -> str:
        """The document's API path."""
        ...

    @path.setter
    def path(self, path: str) -> None: ...

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        ...

    def start(self) -> None:
        """Go on with what the log holds."""
        ...

    async def close(self) -> None:
        """Stop reading; the kernel and the queue stay."""
        ...

    def run(self, runs: Sequence[tuple[str, str]], *, stop_on_error: bool = True) -> None:
        """Queue cells: pairs of run id and cell id."""
        ...

    def cancel(self, run_id: str) -> None:
        """Take a run out of the queue."""
        ...

    def cancel_all(self) -> None:
        """Empty the queue."""
        ...

    async def interrupt(self) -> None:
        """Interrupt the kernel."""
        ...

    @property
    def comms(self) -> Comms:
        """The open comms of the kernel."""
        ...

    async def restart(self, *, run_all: str = "") -> None:
        """Restart the kernel."""
        ...

    async def start_kernel(self, name: str) -> None:
        """Use a new kernel of that name."""
        ...

    async def shutdown_kernel(self) -> None:
        """Shut the kernel down."""
        ...

    async def answer_input(self, request_id: str, value: str) -> None:
        """Answer ``input()``."""
        ...

    async def written(self) -> None:
        """Until the document has everything that the runs known to be over have said."""
        ...

    def result(self, run_id: str) -> str | None:
        """How a run ended; empty while it has not, None when it is not known."""
        ...


class Document:
    """An open notebook. Made by the registry.

    Args:
        room: its Yjs document and pages.
        runner: runs its cells.
        saver: keeps its file.
        encoder: serialises it; shared with the saver.
        lock: held while it is open.
        limits: of pages.
    """

    def __init__(self, *, room: Room, runner: Runs, saver: Saver, encoder: Encoder, lock: DocumentLock, limits: Limits) -> None:
        self.id = room.document
        self.epoch = room.epoch
        self.room = room
        self.runner = runner
        self.saver = saver
        self.looked_at = time.monotonic()
        """When the last page left; now, while there are pages."""
        self._encoder = encoder
        self._lock = lock
        self._limits = limits
        self._users = 0
        self._operations: dict[str, asyncio.Task[dict[str, JSON]]] = {}

    @property
    def path(self) -> str:
        """Its API path."""
        return self.saver.path

    @path.setter
    def path(self, path: str) -> None:
        self.saver.path = path
        self.runner.path = path

    @contextmanager
    def in_use(self) -> Generator[None]:
        """It is not idle meanwhile: something is done with it that no page asked for."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self.looked_at = time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since nobody looks at it; 0 while somebody does, or while it runs, or holds what its file does not.

        What is left of a file that is gone is in the log.
        """
        if self._users or self.room.peers or self.runner.busy or not (self.saver.clean or self.saver.gone):
            self.looked_at = time.monotonic()
        return time.monotonic() - self.looked_at

    def connect(self, send: Callable[[bytes], None], *, user: str) -> Peer:
        """Let a page in.

        Args:
            send: hands one frame to the page's transport; must not block.
            user: who it is, for logs.

        Returns:
            The page: give it its frames by ``receive``, and call ``close`` when its link is gone.
        """
        return Peer(
            self.room,
            send,
            user=user,
            path=lambda: self.path,
            limit=self._limits.peer_buffer,
            longest=self._limits.frame,
            control=self._control,
            stale=self.absorb,
        )

    async def stream_text(self, key: str) -> bytes | None:
        """The whole text of a long stream (UTF-8); None when no output of this document has that key."""
        for cell in self.room.mirror:
            if key in stream_keys(cell.shared):
                rest = stream_rests(read_map(cell.shared)).get(key, "")
                return b"".join(await self.room.log.stream(key)) + rest.encode()
        return None

    async def absorb(self, update: bytes) -> None:
        """Take in the state of a page whose document has another history: what it has differently goes beside.

        Raises:
            ProtocolError: it is not the state of a notebook.
        """
        try:
            other: Doc[Array[object] | Map[object]] = Doc()
            with other.transaction(origin="absorb"):
                other.apply_update(update)
            cells_there = cast("Array[object]", other.get("cells", type=Array))
            found = [whole_cell(read_map(cast("Map[object]", cell))) for cell in cells_there if isinstance(cell, Map)]
        except (ValueError, ExceptionGroup) as error:
            raise ProtocolError("A sync frame does not hold a Yjs update.") from error
        cells = {str(cell["id"]): cell for cell in found if _is_plain_cell(cell)}
        if not cells:
            return
        head = self._encoder.head()
        prints = [CellPrint(cell_id, *fingerprint(cell)) for cell_id, cell in cells.items()]
        await self.saver.unite(Notebook(head.minor, head.metadata, list(cells.values()), head.extra, prints, 0))

    async def close(self) -> bool:
        """Stop reading from the kernel, save, and let go.

        Returns:
            Whether the file holds all of it; when not, the log does.
        """
        for operation in self._operations.values():
            operation.cancel()
        await asyncio.gather(*self._operations.values(), return_exceptions=True)
        await self.runner.close()
        clean = await self.saver.close()
        self.room.compact(closing=True)
        durable = await self.room.committed()
        if clean and durable:
            await self.room.log.closed(self.id, self._stream_keys())
        self.room.close()
        self._encoder.close()
        await asyncio.to_thread(self._lock.release)
        return clean and durable

    def _stream_keys(self) -> list[str]:
        return [key for cell in self.room.mirror for key in stream_keys(cell.shared)]

    # ---- control ops --------------------------------------------------------------------------------------------------

    async def _control(self, peer: Peer, message: Control) -> None:
        """Begin what a page asks for, and reply when it is done: without an error, or with the one for which it cannot be.

        A kernel may take a minute to start: what else the page says is not to wait behind it. A page whose link was cut asks
        again for what it has no answer to: it gets the answer, and nothing is done twice.
        """
        asked = message.fields.get("id")
        known = asked if isinstance(asked, str) and len(asked) <= _LONGEST_ID else None
        operation = self._operations.get(known) if known else None
        if operation is None:
            while (underway := [each for each in self._operations.values() if not each.done()]) and len(underway) >= _MOST_UNDERWAY:
                await asyncio.wait(underway, return_when=asyncio.FIRST_COMPLETED)
            operation = asyncio.create_task(self._operate(message))
            self._operations[known or uuid.uuid4().hex] = operation
            self._forget_operations()

        def reply(done: asyncio.Task[dict[str, JSON]]) -> None:
            if not done.cancelled():
                peer.tell("reply", id=asked, **done.result())

        operation.add_done_callback(reply)

    def _forget_operations(self) -> None:
        """Only the last answers are kept: a page asks again within seconds, or not at all."""
        for key in list(self._operations)[: max(0, len(self._operations) - _KEPT_ANSWERS)]:
            if self._operations[key].done():
                del self._operations[key]

    async def _operate(self, message: Control) -> dict[str, JSON]:
        """Do what a page asks. The reply's fields: ``error``, for which it cannot be done, or None; and what was asked for."""
        try:
            operation = _OPERATIONS.get(message.op)
            if operation is None:
                raise BadRequest(f"There is no operation “{message.op[:40]}”.")
            answer = await operation(self, message.fields)
        except HomeportError as error:
            return {"error": {**error.data, "code": error.code, "message": error.message}}
        except Exception:  # whatever it is, the page hears of it, and the log says why
            log.exception("The operation %r failed.", message.op[:40])
            return {"error": {"code": "error", "message": "Something went wrong in the server; its log says more."}}
        return {**(answer or {}), "error": None}

    async def on_run(self, fields: Mapping[str, JSON]) -> None:
        """Queue cells."""
        runs = fields.get("runs")
        pairs = [(pair[0], pair[1]) for pair in runs if isinstance(pair, list) and len(pair) == 2] if isinstance(runs, list) else None
        if pairs is None or not isinstance(runs, list) or len(pairs) != len(runs):
            raise BadRequest("`runs` is a list of pairs: run id and cell id.")
        stop = fields.get("stop_on_error", True)
        self.runner.run([(_word(run), _word(cell)) for run, cell in pairs], stop_on_error=stop is not False)
        # The reply says that it will run whatever happens now.
        await self.room.committed()

    async def on_results(self, fields: Mapping[str, JSON]) -> dict[str, JSON]:
        """How runs ended."""
        runs = fields.get("runs")
        if not isinstance(runs, list):
            raise BadRequest("`runs` is a list of run ids.")
        await self.runner.written()
        found = {run: self.runner.result(run) for run in map(_word, runs)}
        await self.room.committed()
        return {"results": {run: result for run, result in found.items() if result is not None}}

    async def on_cancel(self, fields: Mapping[str, JSON]) -> None:
        """Take one run, or all, out of the queue."""
        if fields.get("all") is True:
            self.runner.cancel_all()
        else:
            self.runner.cancel(_word(fields.get("run")))
        await self.room.committed()

    async def on_interrupt(self, fields: Mapping[str, JSON]) -> None:
        """Interrupt the kernel."""
        await self.runner.interrupt()

    async def on_restart(self, fields: Mapping[str, JSON]) -> None:
        """Restart the kernel."""
        request = fields.get("id")
        named = request if isinstance(request, str) and 0 < len(request) <= _LONGEST_ID else uuid.uuid4().hex
        await self.runner.restart(run_all=named if fields.get("run_all") is True else "")

    async def on_start_kernel(self, fields: Mapping[str, JSON]) -> None:
        """Use another kernel."""
        await self.runner.start_kernel(_word(fields.get("name")))

    async def on_shutdown_kernel(self, fields: Mapping[str, JSON]) -> None:
        """Shut the kernel down."""
        await self.runner.shutdown_kernel()

    async def on_input(self, fields: Mapping[str, JSON]) -> None:
        """Answer ``input()``."""
        value = fields.get("value")
        if not isinstance(value, str):
            raise BadRequest("`value` is text.")
        await self.runner.answer_input(_word(fields.get("request")), value)

    async def on_save(self, fields: Mapping[str, JSON]) -> None:
        """Save now."""
        await self.saver.save()


def _word(value: JSON) -> str:
    if not isinstance(value, str) or not value or len(value) > 256:
        raise BadRequest("An id is a text of at most 256 characters.")
    return value


def _is_plain_cell(cell: Cell) -> bool:
    kind = cell.get("cell_type")
    return isinstance(cell.get("id"), str) and kind in ("code", "markdown", "raw") and joined(cell.get("source")) == cell.get("source")


_OPERATIONS: dict[str, Callable[[Document, Mapping[str, JSON]], Awaitable[dict[str, JSON] | None]]] = {
    "run": Document.on_run,
    "results": Document.on_results,
    "cancel": Document.on_cancel,
    "interrupt": Document.on_interrupt,
    "restart": Document.on_restart,
    "start_kernel": Document.on_start_kernel,
    "shutdown_kernel": Document.on_shutdown_kernel,
    "input": Document.on_input,
    "save": Document.on_save,
}
"""The control ops that are not the link's own."""
