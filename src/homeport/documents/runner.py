"""Runs of one document's cells: the queue, the kernel's messages, and what of both survives.

Nothing here is lost or done twice, whatever is killed between two steps. The steps of a run, each durable before the next:

1. *Accepted.* A row ``queued`` is committed; then the page is answered. Killed before: the page sends the run again under
   the same run id. Killed after: the queue is read back, and goes on.
2. *Submitted.* The row becomes ``submitted`` with its message id, kernel, generation and code, in one commit with the emptied
   cell. Killed after: the code was sent or not; step 3 is done again.
3. *Sent.* The supervisor takes a message id once per generation: sending again does nothing. When the generation is over
   it was sent before or never will be, and its journal says which.
4. *Applied.* The journal is read from the committed cursor. Outputs, the run's state (terminal line, display ids, pending
   ``input()``, the reply), stored text and the new cursor are one commit. Killed before: the same messages are read again and
   applied to the same document. Killed after: reading goes on behind them.
5. *Finished.* Reply and idle were both seen (or the generation is over): the row becomes ``finished`` in the commit that
   holds the last output. The next run's step 2 follows.

"Restart and run all" is one step: its runs are committed before the restart begins, and wait for the end of the kernel's generation.
An answer to ``input()`` has a message id made from its request's, and is sent before the request is taken away: killed in
between, the page asks again and the second answer is not taken. When the supervisor is killed too, that answer may be lost: the
next one says so, and the question is asked again under another name. A new generation's journal is read from its beginning.

What the kernel is, and getting one, is ``kernel_link.py``'s; reading its journal ``journal_reader.py``'s; writing
``cell_runs.py``'s; what a message does to a cell ``outputs.py``'s; what becomes of a long stream ``sealing.py``'s; what pages
see of it ``run_status.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pycrdt import Text

from homeport.core import run_queue as queue
from homeport.core.coalesce import StreamLimits
from homeport.core.comms import Comms
from homeport.core.output_buffer import OutputLimits
from homeport.core.run_queue import Run, RunQueue, RunResult
from homeport.documents.blobs import Blobs, Inline
from homeport.documents.cell_runs import CellRuns, Target
from homeport.documents.journal_reader import JournalReader
from homeport.documents.kernel_link import KernelLink
from homeport.documents.limits import Limits
from homeport.documents.outputs import CellRun, clear, run_of
from homeport.documents.room import Room
from homeport.documents.run_status import RunStatus
from homeport.documents.schema import YCell
from homeport.documents.sealing import Sealer
from homeport.documents.tables import History
from homeport.errors import HomeportError, KernelGone, NotFound, SupervisorUnavailable
from homeport.protocol import execution, jupyter
from homeport.protocol.supervisor import NOT_THERE, RESULT_UNKNOWN, UNANSWERED, UNCOUNTED, Channel, Ended, Truncated

if TYPE_CHECKING:
    from homeport.kernels.client import KernelInfo, SupervisorClient
    from homeport.kernels.sessions import Sessions

log = logging.getLogger(__name__)

_GAP = 2.0
_RUN_ALL = uuid.UUID("5d0ad1b5-6d5f-4a53-9b0e-4f2f1d3c8a6e")


class Runner:
    """See the module. Belongs to the event loop; :meth:`start` begins, :meth:`close` ends.

    Args:
        room: the document.
        path: its API path; kept up to date through :attr:`path`.
        limits: of outputs.
        blobs: where large outputs go at once, and long streams when their run is over.
        inline: the document's budget of what may stand in it.
        history: what the log holds of the document.
    """

    def __init__(
        self,
        *,
        room: Room,
        supervisor: SupervisorClient,
        sessions: Sessions,
        path: str,
        limits: Limits,
        blobs: Blobs,
        inline: Inline,
        history: History,
    ) -> None:
        self._room = room
        self._supervisor = supervisor
        self._session = f"homeport-{room.document}"
        self._queue = RunQueue([run_of(row) for row in history.runs])
        self._link = KernelLink(room=room, supervisor=supervisor, sessions=sessions, path=path, changed=self._on_kernel)
        streams = StreamLimits(limits.stream_head, limits.stream_tail, limits.stream)
        outputs = OutputLimits(stream=streams, outputs=limits.outputs)
        self._runs = CellRuns(
            room, outputs, lambda output: blobs.externalise(output, inline), run_state=self.run_state, written=self._on_written
        )
        self._reader = JournalReader(
            room=room,
            supervisor=supervisor,
            runs=self._runs,
            session=self._session,
            cursors=history.cursors,
            comms=history.comms,
            handle=self._do,
            begun=self._on_begun,
            gap=self._on_gap,
            language=lambda info: self._link.set_metadata("language_info", info),
            ended=self._on_ended,
        )
        self._status = RunStatus(room, self._queue, self._runs)
        self._sealer = Sealer(room, blobs, (row.cell_id for row in history.runs), self._runs.sealed)
        # Cells whose runs are over; what they said last may not be in the document yet.
        self._over_cells: list[str] = []
        self._over: set[Target] = set()
        self._ending: set[Target] = set()
        self._introduced: set[Target] = {(row.kernel_id, row.generation) for row in history.cursors}
        self._wake = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._gap: asyncio.TimerHandle | None = None
        self._held = 0
        self._closed = False
        self._resend = self._queue.running
        self._restart = self._queue.after
        self._turns: list[asyncio.Future[None]] = []
        self._results: dict[str, list[asyncio.Future[RunResult]]] = {}
        self._answering: set[str] = set()
        # Interrupted before the kernel had begun with it.
        self._interrupt_begun: CellRun | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        room.run_state = self.run_state
        # Whether a kernel still lives may not be known yet; what it says late must find its cell.
        self._runs.restore(history.runs, {(row.kernel_id, row.generation) for row in history.cursors})
        run = self._running()
        if run is not None and run.reply is not None:
            self._do(queue.Replied(run.run.msg_id, *run.reply, now=time.time()))
        if run is not None and run.idle:
            self._do(queue.Idle(run.run.msg_id, time.time()))

    def start(self) -> None:
        """Go on with what the log holds, and be ready for more."""
        self._driver = asyncio.create_task(self._drive(), name=f"runs of {self.path}")
        self._link.show()
        self._checking = asyncio.create_task(self._check_kernel(), name=f"kernel of {self.path}")
        self._runs.flush()
        self._follow()
        run = self._running()
        if run is not None and run.gap:
            self._look_again(run)
        self._wake.set()

    async def close(self) -> None:
        """Write what has come, and stop reading. The kernel and the queue stay, for the next time the document is opened."""
        self._held += 1
        self._closed = True
        self._reader.stop()
        if self._gap is not None:
            self._gap.cancel()
        for task in (self._driver, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._sealer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runs.stored()
        self._runs.flush()
        await self._status.close()
        self._link.close()
        for waiter in [*(waiter for waiters in self._results.values() for waiter in waiters), *self._turns]:
            waiter.cancel()

    # ---- what others see ----------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The document's API path; its session has it."""
        return self._link.path

    @path.setter
    def path(self, path: str) -> None:
        self._link.path = path
        self._link.show()

    @property
    def comms(self) -> Comms:
        """The open comms of the kernel."""
        return self._reader.comms.open

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return bool(self._queue.runs)

    def run_state(self, cell_id: str) -> str:
        """``running``, ``queued`` or ``idle``: the true run state of a cell."""
        return self._queue.state(cell_id)

    def result(self, run_id: str) -> RunResult | None:
        """How a run ended; empty while it has not, None when no such run is known. Durable after :meth:`written`, ``room.committed()``."""
        return self._queue.result(run_id)

    async def finished(self, run_id: str) -> RunResult:
        """Wait until a run has ended and that is durable.

        Raises:
            NotFound: no such run is known.
        """
        result = self.result(run_id)
        if result is None:
            raise NotFound(f"There is no run {run_id}.", run=run_id)
        if not result:
            waiter: asyncio.Future[RunResult] = asyncio.get_running_loop().create_future()
            self._results.setdefault(run_id, []).append(waiter)
            result = await waiter
        await self.written()
        await self._room.committed()
        return result

    async def written(self) -> None:
        """Until the document has everything that the runs known to be over have said."""
        await self._runs.settled()

    # ---- what people do -------------------------------------------------------------------------------------------------

    def run(self, runs: Sequence[tuple[str, str]], *, stop_on_error: bool = True) -> None:
        """Queue cells: pairs of run id and cell id. A run id that is known is ignored. Durable after ``room.committed()``."""
        self._handle(queue.Enqueue(runs, stop_on_error, time.time()))

    def cancel(self, run_id: str) -> None:
        """Take a run out of the queue; one that runs already goes on."""
        self._handle(queue.Cancel(run_id, time.time()))

    def cancel_all(self) -> None:
        """Take everything that waits out of the queue."""
        self._handle(queue.Cancel(None, time.time()))

    async def interrupt(self) -> None:
        """Interrupt what runs; when the cell fails of it, the queue stops. What waits for a kernel that starts is aborted.

        Raises:
            KernelGone: there is no kernel, and nothing waited for one.
        """
        stopped = self._handle(queue.Interrupt(time.time()))
        run = self._running()
        if run is not None and run.code is not None:
            # The kernel has the request, and has not said that it began: it may not hear the signal yet.
            self._interrupt_begun = run
        info = self._link.info
        if stopped and (info is None or info.state in ("starting", "restarting")):
            return
        await self._link.interrupt()

    def _on_begun(self, run: CellRun) -> None:
        """The kernel says that it runs the cell."""
        if run is self._interrupt_begun:
            self._interrupt_begun = None
            self._spawn(self._interrupt_again(), f"interrupt of {self.path}")

    async def _interrupt_again(self) -> None:
        with suppress(KernelGone, SupervisorUnavailable):
            await self._link.interrupt()

    async def restart(self, *, run_all: str = "") -> None:
        """Restart the kernel: what runs is interrupted, and ends as it says or as aborted; what waits ends as aborted.

        Args:
            run_all: then all cells are run: names this request. It is durable before the restart begins, so that a server which is killed
                on the way is followed by one that goes on; the same request again does nothing.

        Raises:
            KernelGone: there is no kernel (without ``run_all``; with it one is started).
        """
        runs = [(str(uuid.uuid5(_RUN_ALL, f"{run_all} {cell}")), cell) for cell in self._room.cell_ids()] if run_all else []
        if any(self._queue.result(run_id) is not None for run_id, _ in runs):
            await self._room.committed()
            return
        info = self._link.info
        with self._hold():
            self._do(queue.Abort(time.time()))
            after = (info.kernel_id, info.generation) if info is not None else None
            self._handle(queue.Enqueue(runs, stop_on_error=True, now=time.time(), after=after))
            await self._room.committed()
            if info is None and run_all:
                return
            try:
                await self._end(self._link.restart)
            except HomeportError:
                self._handle(queue.Abort(time.time()))
                raise

    async def _restart_again(self, after: Target) -> None:
        """A server that was killed had queued what is to run after a restart: the kernel may have had it, or not."""
        while not self._link.connected:
            await self._link.change()
        info = self._link.info
        if info is not None and (info.kernel_id, info.generation) == after:
            with self._hold():
                await self._end(self._link.restart)

    async def start_kernel(self, name: str) -> None:
        """Change to a new kernel of another kernelspec; the old one is shut down unless another session uses it.

        Raises:
            NotFound: no such kernelspec.
            KernelFailed: it died at start.
        """
        with self._hold():
            self._handle(queue.Abort(time.time()))
            try:
                await self._end(lambda: self._link.start(name))
                info = self._link.info
                if info is not None:
                    self._follow()
                    await self._introduce(info)
            except HomeportError as error:
                self._link.failed(error)
                raise

    async def shutdown_kernel(self) -> None:
        """Shut the kernel down; what runs and what waits ends as in :meth:`restart`. Raises KernelGone without a kernel."""
        with self._hold():
            self._handle(queue.Abort(time.time()))
            await self._end(self._link.shutdown)

    async def answer_input(self, request_id: str, value: str) -> None:
        """Answer an ``input()``; the first answer counts.

        Raises:
            NotFound: it was answered already, or the run is over.
        """
        run = self._runs.asking(request_id)
        if run is None or request_id in self._answering:
            raise NotFound("That question has been answered, or its cell does not run any more.", request=request_id)
        asked = run.inputs[request_id]
        header = asked.header.encode() or b"{}"
        content = {"status": "ok", "value": value}
        parts = jupyter.make("input_reply", content, session=self._session, msg_id=f"{request_id}-answer", date=_now(), parent=header)
        self._answering.add(request_id)
        try:
            await self._submit(run, "stdin", parts)
        finally:
            self._answering.discard(request_id)
        run.answered(asked, value)
        self._runs.touch(run)
        self._runs.write()

    @contextmanager
    def _hold(self) -> Generator[None]:
        """Nothing is submitted meanwhile."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._wake.set()

    async def _end(self, how: Callable[[], Awaitable[object]]) -> None:
        """Do ``how``, which ends the kernel's generation, and wait until all of that is read and written."""
        info = self._link.info
        target = (info.kernel_id, info.generation) if info is not None and info.state != "dead" else None
        if target is not None:
            self._ending.add(target)
        try:
            await how()
            if target is not None and target == self._reader.target:
                # A kernel that another session goes on using does not end: its run stays its own.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._turn(), 5)
        finally:
            if target is not None:
                self._ending.discard(target)
        await self.written()
        await self._room.committed()

    # ---- the queue ------------------------------------------------------------------------------------------------------

    def _handle(self, event: queue.Event) -> list[Run]:
        """Give the queue an event, and write what follows from it. Returns the runs that changed."""
        changed = self._do(event)
        if changed:
            self._runs.flush_queue()
        return changed

    def _do(self, event: queue.Event) -> list[Run]:
        """Give the queue an event; what follows is written with the next flush."""
        changed = self._queue.handle(event)
        for run in changed:
            self._runs.record(run)
            if run.state == "finished":
                self._over_cells.append(run.cell_id)
                for waiter in self._results.pop(run.run_id, ()):
                    if not waiter.done():
                        waiter.set_result(run.result)
        if changed:
            self._wake.set()
        return changed

    def _running(self) -> CellRun | None:
        running = self._queue.running
        return self._runs.by_msg(running.msg_id) if running is not None else None

    def _on_written(self) -> None:
        """What has changed is on its way to the log."""
        if self._runs.all_written:
            over, self._over_cells = self._over_cells, []
            for cell_id in over:
                self._sealer.add(cell_id)
            self._sealer.go_on()
        self._status.show()
        if self._reader.target is None:
            # It may have waited for this.
            self._follow()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check_kernel(self) -> None:
        with suppress(SupervisorUnavailable):
            await self._link.check()

    async def _drive(self) -> None:
        """Bring the head of the queue to the kernel, one at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                restart, self._restart = self._restart, None
                if restart is not None:
                    await self._restart_again(restart)
                resend, self._resend = self._resend, None
                if resend is not None:
                    await self._send_again(resend)
                while not self._held and (head := self._queue.head) is not None:
                    await self._advance(head)
            except HomeportError as error:
                log.warning("%s: %s", self.path, error.message)
                self._link.failed(error)
                self._handle(queue.Abort(time.time()))
            except Exception:  # nobody else brings the queue on
                log.exception("%s: the queue was stopped", self.path)
                self._stumbled()

    def _stumbled(self) -> None:
        """After an error of ours: what waits is not to wait for ever, and the next run is worth a try."""
        text = "Something went wrong in the server, and the cells that waited do not run; its log says more. Run them again."
        self._room.notice("runs", "error", text)
        # It may not have been sent; sending it twice does nothing.
        self._resend = self._queue.running
        try:
            self._handle(queue.Abort(time.time()))
        except Exception:  # the task that runs cells is to live on
            log.exception("%s: the queue could not be emptied", self.path)

    async def _advance(self, head: Run) -> None:
        cell = self._room.find_cell(head.cell_id)
        if cell is None:
            self._handle(queue.Skip("cancelled", time.time()))
            return
        code = _source(cell)
        if cell.get("cell_type") != "code" or not code.strip():
            await self._runs.stored()
            if self._held or self._queue.head is not head:
                return
            if cell.get("cell_type") == "code":
                self._runs.forget(head.cell_id)
                with self._room.transaction("run"):
                    clear(cell)
            self._handle(queue.Skip("ok", time.time()))
            return
        info = await self._link.ensure()
        target = (info.kernel_id, info.generation)
        if target in self._over:
            await self._link.change()
            return
        await self._runs.stored()
        self._follow()
        if target != self._reader.target:
            await self._turn()  # the end of another generation comes first
            return
        await self._introduce(info)
        await self._runs.stored()
        if self._held or self._queue.head is not head or self._reader.target != target:
            return
        msg_id = f"{self._session}_{head.run_id}"
        self._do(queue.Start(msg_id, *target, now=time.time()))
        running = self._queue.running
        assert running is not None
        run = self._runs.begin(running, code)
        self._runs.flush()
        await self._send(run)

    async def _turn(self) -> None:
        """Wait until a generation is over."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(waiter)
        await waiter

    async def _send(self, run: CellRun) -> None:
        await self._room.committed()
        if run.finished or run.code is None:
            return
        stop = run.run.stop_on_error and not self._reader.tolerated(run.cell_id)
        content = execution.execute_request(run.code, stop_on_error=stop)
        parts = jupyter.make(
            "execute_request", content, session=self._session, msg_id=run.run.msg_id, date=_now(), metadata={"cellId": run.cell_id}
        )
        try:
            await self._submit(run, "shell", parts)
        except KernelGone:
            target = (run.run.kernel_id, run.run.generation)
            if target != self._reader.target:
                self._on_ended(target, Ended(target[1], NOT_THERE))

    async def _send_again(self, submitted: Run) -> None:
        """After a restart of the server: the request may have been sent, or not."""
        run = self._runs.by_msg(submitted.msg_id)
        while not self._link.connected:
            await self._link.change()
        if submitted.kernel_id not in self._supervisor.kernels:
            self._on_ended((submitted.kernel_id, submitted.generation), Ended(submitted.generation, NOT_THERE))
        elif run is not None:
            await self._send(run)

    async def _submit(self, run: CellRun, channel: Channel, parts: jupyter.Parts) -> None:
        while True:
            try:
                await self._supervisor.submit(run.run.kernel_id, run.run.generation, channel, parts)
            except SupervisorUnavailable:
                # The same message id again, when the link is back: it is taken once.
                while not self._link.connected:
                    await self._link.change()
                await asyncio.sleep(0)
            else:
                return

    async def _introduce(self, info: KernelInfo) -> None:
        """The first words to a generation: what language it speaks, for the notebook's metadata."""
        target = (info.kernel_id, info.generation)
        if target in self._introduced:
            return
        self._introduced.add(target)
        await self._link.describe(info)
        msg_id = f"{self._session}_info_{info.generation}"
        parts = jupyter.make("kernel_info_request", {}, session=self._session, msg_id=msg_id, date=_now())
        with suppress(KernelGone, SupervisorUnavailable):
            await self._supervisor.submit(*target, "shell", parts)

    # ---- reading --------------------------------------------------------------------------------------------------------

    def _on_kernel(self) -> None:
        """The kernel, its state, its session or the link changed."""
        self._follow()
        self._wake.set()

    def _follow(self) -> None:
        """Read the journal that matters now: that of the running run, else that of the kernel. What came from another is written first."""
        if self._closed or self._runs.storing:
            return
        running, info, reading = self._queue.running, self._link.info, self._reader.target
        if running is not None:
            target = (running.kernel_id, running.generation)
        elif info is not None and info.state != "dead":
            target = (info.kernel_id, info.generation)
        else:
            return
        if target == reading or target in self._over or target[0] not in self._supervisor.kernels:
            return
        if reading is not None and reading[0] == target[0]:
            return  # a restart: the end of the old generation comes first
        self._reader.follow(target)

    def _on_gap(self, item: Truncated) -> None:
        run = self._running()
        if run is None:
            return
        run.add_note(_missing(item))
        if item.reason == UNANSWERED:
            run.doubt_answers()
        else:
            run.forget_answer()
        self._runs.touch(run)
        self._look_again(run)

    def _look_again(self, run: CellRun) -> None:
        if self._gap is not None:
            self._gap.cancel()
        self._gap = asyncio.get_running_loop().call_later(_GAP, self._after_gap, run)

    def _after_gap(self, run: CellRun) -> None:
        """The end of a run may have been among what is missing: when the kernel idles and says no more, it was. Or a question."""
        if run.finished or self._queue.running != run.run:
            return
        info = self._link.info
        state = info.state if info is not None and (info.kernel_id, info.generation) == self._reader.target else ""
        if state == "idle" and time.monotonic() - self._reader.last_read > _GAP:
            self._do(queue.Replied(run.run.msg_id, "unknown", False, time.time()))
            self._handle(queue.Idle(run.run.msg_id, time.time()))
            return
        if state == "busy" and run.gap and not run.inputs:
            run.may_ask()
            self._runs.touch(run)
            self._runs.write()
        self._look_again(run)

    def _on_ended(self, target: Target, ended: Ended) -> None:
        """A generation of the kernel is over and its journal is read, or it is nowhere to be found."""
        self._over.add(target)
        run = self._running()
        if run is not None and (run.run.kernel_id, run.run.generation) != target:
            run = None
        result = self._how(target, ended)
        if run is not None and run.reply is None and result != "aborted":
            _explain(run, ended, result)
            self._runs.touch(run)
        self._do(queue.Lost(*target, result=result, now=time.time()))
        if target not in self._ending:
            self._do(queue.Abort(time.time(), target))
        self._runs.write()
        self._runs.forget_generation(target)
        turns, self._turns = self._turns, []
        for waiter in turns:
            if not waiter.done():
                waiter.set_result(None)
        self._follow()
        self._wake.set()

    def _how(self, target: Target, ended: Ended) -> RunResult:
        """How a run that was cut short by the end of its generation ended."""
        if ended.reason == NOT_THERE:
            return "unknown"
        return "error" if ended.died and target not in self._ending else "aborted"


def _missing(item: Truncated) -> str:
    if item.reason == UNANSWERED:
        return f"[... {item.reason} ...]"
    if item.reason == UNCOUNTED:
        return f"[... messages of the kernel may be missing here: {item.reason} ...]"
    count = item.last - item.first + 1
    return f"[... {count:,} {'message' if count == 1 else 'messages'} of the kernel left out: {item.reason} ...]"


def _explain(run: CellRun, ended: Ended, result: RunResult) -> None:
    if result == "unknown":
        text = "The kernel is gone (the machine was restarted, or its supervisor lost it) while this cell ran; its result is not known."
        run.add_error(RESULT_UNKNOWN, text, [text])
        return
    text = f"The kernel died while this cell ran: {ended.reason}." if ended.reason else "The kernel died while this cell ran."
    run.add_error("KernelDied", text, [text, *ended.stderr.splitlines()])


def _source(cell: YCell) -> str:
    source = cell.get("source")
    return str(source) if isinstance(source, Text) else ""


def _now() -> str:
    return datetime.now(UTC).isoformat()
