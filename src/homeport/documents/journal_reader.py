"""Reading a kernel's journal for a document: which generation, from where, and which message is for whom.

A message of a request of ours goes to its run; of the messages of other clients' requests only updates of our displays and
comms matter. The reader hands on every message once and in order, and tells the position behind it to those who
write (``cell_runs.py``); what a message does to a cell is ``outputs.py``'s, what follows for the queue ``runner.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from pycrdt import Map

from homeport.core import run_queue as queue
from homeport.documents.cell_runs import CellRuns, Target
from homeport.documents.kept_comms import KeptComms
from homeport.documents.outputs import CellRun
from homeport.documents.room import Room
from homeport.documents.schema import JSON, may_fail, read_map
from homeport.documents.tables import CommRows, CursorRow
from homeport.errors import KernelGone, ProtocolError
from homeport.protocol import execution
from homeport.protocol.supervisor import RESULT_UNKNOWN, Ended, Entry, Truncated

if TYPE_CHECKING:
    from homeport.kernels.client import SupervisorClient

log = logging.getLogger(__name__)

# A turn of the loop longer than this lets others go first.
_TURN = 0.005
_OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error", "clear_output"})
_BEGINS_AND_ENDS = frozenset({"status", "execute_input"})
_RICH = frozenset({"display_data", "execute_result"})


class JournalReader:
    """See the module. Reads one generation at a time, to its end.

    Args:
        session: the session in our requests' headers; replies to it are given to us alone.
        cursors: where earlier readers of this document stopped.
        comms: what they knew of the kernel's comms.
        handle: takes the events that follow for the queue.
        begun: called when the kernel has begun with a run.
        gap: called when messages are missing.
        language: called with the ``language_info`` of a kernel that introduces itself.
        ended: called when a generation is over and all of its journal is read.
    """

    def __init__(
        self,
        *,
        room: Room,
        supervisor: SupervisorClient,
        runs: CellRuns,
        session: str,
        cursors: Sequence[CursorRow],
        comms: CommRows | None,
        handle: Callable[[queue.Event], object],
        begun: Callable[[CellRun], None],
        gap: Callable[[Truncated], None],
        language: Callable[[JSON], None],
        ended: Callable[[Target, Ended], None],
    ) -> None:
        self.comms = KeptComms(room, comms)
        """The open comms of the kernel."""
        self.target: Target | None = None
        """What is being read."""
        self.last_read = 0.0
        """When something came last, by the monotonic clock."""
        self._room = room
        self._supervisor = supervisor
        self._runs = runs
        self._session = session
        self._cursors = {row.kernel_id: (row.generation, row.seq) for row in cursors}
        self._handle = handle
        self._begun = begun
        self._gap = gap
        self._language = language
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._seq = 0

    def follow(self, target: Target) -> None:
        """Read ``target`` from now on, from where reading it stopped; what is read now is left."""
        self.stop()
        generation, seq = self._cursors.get(target[0], (0, 0))
        self._seq = seq if generation == target[1] else 0
        self._cursors[target[0]] = (target[1], self._seq)
        self.target = target
        self._runs.begin_at(*target, self._seq)
        after = self.comms.begin(target, self._seq)
        self._task = asyncio.create_task(self._read(target, after), name=f"journal of {target[0]}")

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self.target is not None:
            # Here, not when the task has ended: who follows at once goes on behind it.
            self._cursors[self.target[0]] = (self.target[1], self._seq)
        self.comms.flush()
        self.target = None

    async def _read(self, target: Target, after: int) -> None:
        cursor = self._supervisor.attach(target[0], generation=target[1], after=after, session=self._session)
        ended: Ended | None = None
        try:
            while ended is None:
                items = await cursor.read()
                await self._runs.ready()
                begun = time.perf_counter()
                for item in items:
                    if isinstance(item, Ended):
                        ended = item
                        break
                    self._on_item(item)
                    if self._runs.bulky:
                        self.comms.settle()
                        self._runs.flush_soon()
                        await asyncio.sleep(0)
                        await self._runs.ready()
                self.last_read = time.monotonic()
                self.comms.settle()
                self._runs.flush_soon()
                if time.perf_counter() - begun > _TURN:
                    await asyncio.sleep(0)
        except KernelGone:
            return  # the client was closed: the server ends, the kernel does not
        finally:
            cursor.close()
        await self._runs.ready()
        self._cursors[target[0]] = (target[1], self._seq)
        self._task = self.target = None
        self.comms.end()
        self._ended(target, ended)

    def _on_item(self, item: Entry | Truncated) -> None:
        if isinstance(item, Truncated):
            if item.last <= self._seq:
                return
            self._gap(item)
            self._seq = item.last
        else:
            try:
                if item.channel == "iopub":
                    self.comms.handle(item)
                if item.seq <= self._seq:
                    return  # read again for its comms only
                self._on_message(item)
            except ProtocolError as error:
                log.warning("Message %d of a kernel is skipped: %s", item.seq, error.message)
            self._seq = item.seq
        self._runs.reach(self._seq)

    def _on_message(self, entry: Entry) -> None:
        run, msg_type = self._runs.by_msg(entry.parent.msg_id), entry.header.msg_type
        if entry.channel == "iopub":
            if run is not None and msg_type not in _BEGINS_AND_ENDS and run.heard():
                self._runs.touch(run)
            if run is not None and msg_type in _OUTPUTS:
                display = run.on_output(msg_type, entry.parts)
                if display is not None:
                    self._runs.shown(run, display)
                self._runs.touch(run, bulk=len(entry.parts[3]) if msg_type in _RICH else 0)
            elif msg_type == "update_display_data":
                self._on_update(entry)
            elif run is not None:
                self._on_progress(run, msg_type, entry)
        elif entry.channel == "stdin":
            if run is not None and msg_type == "input_request" and not run.finished:
                run.on_input_request(entry.header.msg_id, entry.parts[0], entry.parts)
                self._runs.touch(run, urgent=True)
        elif msg_type == "execute_reply" and run is not None and not run.finished:
            self._on_reply(run, entry)
        elif msg_type == "kernel_info_reply":
            info = execution.content(entry.parts, execution.KernelInfoReply)
            if info.language_info:
                self._language(info.language_info)

    def _on_progress(self, run: CellRun, msg_type: str, entry: Entry) -> None:
        date = entry.header.date
        if msg_type == "execute_input":
            run.on_begun(entry.parts, date)
            self._runs.touch(run)
            self._begun(run)
        elif msg_type == "status":
            state = execution.content(entry.parts, execution.Status).execution_state
            run.on_status(state, date)
            if state == "idle":
                self._runs.touch(run)
                self._handle(queue.Idle(run.run.msg_id, time.time()))

    def _on_reply(self, run: CellRun, entry: Entry) -> None:
        reply = execution.content(entry.parts, execution.ExecuteReply)
        status, tolerated = reply.status, self.tolerated(run.cell_id)
        if status == "error" and reply.ename == RESULT_UNKNOWN:
            status, tolerated = "unknown", False
            run.add_error(RESULT_UNKNOWN, reply.evalue, [reply.evalue])
        run.on_reply(reply, status, tolerated, entry)
        self._runs.touch(run, bulk=len(entry.parts[3]) if reply.payload else 0)
        self._handle(queue.Replied(run.run.msg_id, status, tolerated, time.time()))

    def _on_update(self, entry: Entry) -> None:
        display = execution.content(entry.parts, execution.Display)
        for run in self._runs.showing(display.display_id or ""):
            run.on_update(display)
            self._runs.touch(run, replaced=len(entry.parts[3]))

    def tolerated(self, cell_id: str) -> bool:
        """Whether the cell may fail without stopping what comes after it."""
        cell = self._room.find_cell(cell_id)
        metadata = cell.get("metadata") if cell is not None else None
        return isinstance(metadata, Map) and may_fail(read_map(cast("Map[object]", metadata)))
