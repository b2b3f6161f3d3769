"""The runs of a document's cells that may still get messages, and the writing of all that has come for them.

One transaction holds what a few hundred messages did: outputs, rows of runs, stored text and the journal's cursor behind
them. It is made at most every 50 ms, four times a second when much is replaced each time, and at once when a run
begins or ends. Big outputs become files before it, in a thread; no message is handled meanwhile. Which messages come is
``journal_reader.py``'s; the order of runs is ``runner.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from homeport.core.output_buffer import Output, OutputLimits
from homeport.core.run_queue import Run
from homeport.documents.blobs import SMALL
from homeport.documents.outputs import CellRun, chunks_of, row_of, run_of
from homeport.documents.room import Room
from homeport.documents.sealing import stream_keys
from homeport.documents.tables import Chunk, Drop, RunRow

log = logging.getLogger(__name__)

Target = tuple[str, int]
"""A kernel id and one generation of it."""

# Seconds from a change to its write: of the queue, of what is cheap to write, of what is not.
_SOON = 0.002
_OFTEN = 0.05
_HEAVY = 0.25
# Bytes of rich outputs that one write takes at most.
_BULK = 512 * 1024
# Messages of others after which the cursor is committed though nothing was written.
_SKIPPED = 2000


class CellRuns:
    """See the module.

    Args:
        room: the document.
        limits: of outputs.
        convert: makes an output fit for the document (large data become blobs); called in a thread where that can be waited for.
        run_state: the true run state of a cell.
        written: called after each write.
    """

    def __init__(
        self,
        room: Room,
        limits: OutputLimits,
        convert: Callable[[Output], Output],
        *,
        run_state: Callable[[str], str],
        written: Callable[[], None],
    ) -> None:
        self._room = room
        self._limits = limits
        self._convert = convert
        self._run_state = run_state
        self._written = written
        self._by_cell: dict[str, CellRun] = {}
        self._by_msg: dict[str, CellRun] = {}
        self._displays: dict[str, set[str]] = {}
        # What the next write holds.
        self._touched: dict[CellRun, None] = {}
        self._rows: dict[str, Run] = {}
        self._dropped: list[str] = []
        self._stale: dict[str, None] = {}
        self._position: tuple[str, int, int] | None = None
        self._committed: tuple[str, int, int] | None = None
        self._bulk = self._unstored = 0
        self._urgent = False
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._writing: asyncio.Task[None] | None = None

    # ---- which runs there are -----------------------------------------------------------------------------------------

    def restore(self, rows: Sequence[RunRow], read: Collection[Target]) -> None:
        """Take up the last run of each cell that is submitted, or that belongs to a generation whose journal was read last."""
        self._stale = dict.fromkeys(row.cell_id for row in rows)
        for row in sorted(rows, key=lambda row: row.ordinal):
            if row.detail and (row.state == "submitted" or (row.state == "finished" and (row.kernel_id, row.generation) in read)):
                try:
                    run = CellRun.restore(self._room, run_of(row), row.detail, self._limits, self._convert)
                except (msgspec.MsgspecError, KeyError, TypeError) as error:
                    log.warning("What was kept of run %s cannot be read: %s", row.run_id, error)
                else:
                    self._take(run)

    def begin(self, run: Run, code: str) -> CellRun:
        """A run is being submitted; it takes the place of the one that its cell had."""
        cell_run = CellRun(self._room, run, code, self._limits, self._convert)
        self._dropped.extend(stream_keys(self._room.find_cell(run.cell_id)))
        self._take(cell_run)
        self._rows.pop(run.run_id, None)
        self._touched[cell_run] = None
        return cell_run

    def by_msg(self, msg_id: str) -> CellRun | None:
        """The run whose request has that message id."""
        return self._by_msg.get(msg_id)

    def asking(self, request: str) -> CellRun | None:
        """The run that waits for that input."""
        return next((run for run in self._by_cell.values() if request in run.inputs), None)

    def showing(self, display: str) -> list[CellRun]:
        """The runs that have an output with that display id."""
        runs = (self._by_cell.get(cell_id) for cell_id in self._displays.get(display, ()))
        return [run for run in runs if run is not None and run.buffer.shows(display)]

    def shown(self, run: CellRun, display: str) -> None:
        """``run`` has an output with that display id now."""
        self._displays.setdefault(display, set()).add(run.cell_id)

    def sealed(self, cell_id: str, key: str) -> None:
        """The stored text of one of the cell's streams is in the blob store now: the run's row says so at once."""
        run = self._by_cell.get(cell_id)
        if run is None:
            return
        run.buffer.seal(key)
        if run in self._touched:
            self.write()
        else:
            self._room.record(runs=[run.row])

    def forget(self, cell_id: str) -> None:
        """The cell's last run gets no messages any more."""
        run = self._by_cell.pop(cell_id, None)
        if run is not None:
            self._by_msg.pop(run.run.msg_id, None)

    def forget_generation(self, target: Target) -> None:
        """A generation of the kernel is over."""
        for run in [run for run in self._by_cell.values() if (run.run.kernel_id, run.run.generation) == target]:
            self.forget(run.cell_id)

    def _take(self, run: CellRun) -> None:
        self.forget(run.cell_id)
        self._by_cell[run.cell_id] = run
        self._by_msg[run.run.msg_id] = run
        if not run.buffer.loaded:
            for display in run.buffer.state["displays"]:
                self.shown(run, display)

    # ---- writing --------------------------------------------------------------------------------------------------------

    def record(self, run: Run) -> None:
        """The queue changed a run: its row and its cell's state are written at the next :meth:`flush`."""
        self._stale[run.cell_id] = None
        cell_run = self._by_msg.get(run.msg_id) if run.msg_id else None
        if cell_run is None:
            self._rows[run.run_id] = run
        else:
            cell_run.run = run
            self._touched[cell_run] = None
            if run.state == "finished":
                cell_run.finish()
        self._urgent = True

    def touch(self, run: CellRun, *, bulk: int = 0, replaced: int = 0, urgent: bool = False) -> None:
        """A message did something to ``run``.

        Args:
            bulk: bytes of rich output that it brought.
            replaced: bytes of rich output that it brought in place of others.
            urgent: people wait for it (a question): do not wait with the write.
        """
        self._touched[run] = None
        self._bulk += bulk
        self._unstored += bulk + replaced
        self._urgent = self._urgent or urgent

    def begin_at(self, kernel_id: str, generation: int, seq: int) -> None:
        """From here on that journal is read, behind ``seq``; what came from another one is written first (not while :attr:`storing`)."""
        self.flush()
        self._position = self._committed = (kernel_id, generation, seq)

    def reach(self, seq: int) -> None:
        """All messages up to ``seq`` have been handed on."""
        if self._position is not None:
            self._position = (*self._position[:2], seq)

    @property
    def bulky(self) -> bool:
        """So much has come that it should be written now."""
        return self._bulk > _BULK

    async def ready(self) -> None:
        """Returns when no write is underway: what messages do is to wait for that."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))

    async def stored(self) -> None:
        """Returns when the big outputs that have come until now are files: :meth:`flush` writes the rest at once."""
        if self._unstored > SMALL:
            self.write()
        await self.ready()

    async def settled(self) -> None:
        """Returns when the document has what cannot wait: the ends of runs, and all that came before them."""
        if self._urgent:
            self.write()
        await self.ready()

    @property
    def storing(self) -> bool:
        """Whether big outputs wait to become files, or become that just now."""
        return self._unstored > SMALL or self._writing is not None

    @property
    def all_written(self) -> bool:
        """Whether the document has everything that has come."""
        return not self._touched

    def flush_soon(self) -> None:
        """A batch of messages has been read: write it, now or a little later."""
        if self.bulky:
            self.write()
        elif self._urgent:
            # Nearly always the next run begins in this turn, and its write takes this one along: one commit for both.
            self._write_in(_SOON)
        elif not self._touched:
            if self._position and self._committed and self._position[2] - self._committed[2] > _SKIPPED:
                self.write()
        elif self._timer is None:
            interval = _HEAVY if any(run.buffer.heavy for run in self._touched) else _OFTEN
            wait = self._last + interval - time.monotonic()
            if wait <= 0:
                self.write()
            else:
                self._write_in(wait)

    def _write_in(self, seconds: float) -> None:
        """Write in so many seconds, or earlier when that was said before."""
        due = time.monotonic() + seconds
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._timer, self._due = asyncio.get_running_loop().call_later(seconds, self.write), due

    def write(self) -> None:
        """Write everything that has come: at once, or when what is big has become files; :meth:`ready` waits for that."""
        if self._unstored <= SMALL:
            self.flush()
        elif self._writing is None:
            self._writing = asyncio.create_task(self._store_and_flush(), name="big outputs")

    async def _store_and_flush(self) -> None:
        """As :meth:`flush`, but what is too big for the document becomes files in a thread: the disk may be busy."""
        raw = [(run.buffer, output) for run in self._touched for output in run.buffer.raw]
        try:
            forms = await asyncio.to_thread(lambda: [self._convert(output) for _, output in raw])
        except RuntimeError as error:  # no thread to be had
            log.warning("Big outputs are written without a thread: %s", error)
        else:
            for (buffer, output), form in zip(raw, forms, strict=True):
                buffer.converted(output, form)
        finally:
            if self._writing is asyncio.current_task():
                self._writing = None
        self.flush()

    def flush_queue(self) -> None:
        """Write everything, and at once what the queue changed of cells that have not begun: they wait for no big output of others."""
        if not self.storing:
            self.flush()
            return
        running = {run.cell_id for run in self._touched}
        stale = [cell_id for cell_id in self._stale if cell_id not in running]
        rows, self._rows = [row_of(run) for run in self._rows.values()], {}
        self._stale = {cell_id: None for cell_id in self._stale if cell_id in running}
        with self._room.transaction("run", cursor=None, runs=rows, chunks=[]):
            for cell_id in stale:
                self._write_state(cell_id)
        self._written()
        self.write()

    def flush(self) -> None:
        """Write everything that has come, here and now: one transaction, with the cursor behind it. See :meth:`stored`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        touched, stale, rows = list(self._touched), list(self._stale), list(self._rows.values())
        self._touched, self._stale, self._rows = {}, {}, {}
        patches = [(run, run.prepare()) for run in touched]
        chunks: list[Chunk | Drop] = [Drop(key) for key in self._dropped]
        chunks += [chunk for _, patch in patches if patch is not None for chunk in chunks_of(patch)]
        self._dropped = []
        run_rows = [run.row for run in touched] + [row_of(run) for run in rows]
        cursor = self._position if self._position != self._committed else None
        self._committed = self._position
        if touched or stale:
            with self._room.transaction("run", cursor=cursor, runs=run_rows, chunks=chunks):
                for run, patch in patches:
                    run.write(patch)
                for cell_id in stale:
                    self._write_state(cell_id)
        elif run_rows or cursor:
            self._room.record(cursor=cursor, runs=run_rows, chunks=chunks)
        for run in touched:
            run.rest()
        self._bulk = self._unstored = 0
        self._urgent, self._last = False, time.monotonic()
        self._written()

    def _write_state(self, cell_id: str) -> None:
        cell, state = self._room.find_cell(cell_id), self._run_state(cell_id)
        if cell is not None and cell.get("cell_type") == "code" and cell.get("execution_state") != state:
            cell["execution_state"] = state
