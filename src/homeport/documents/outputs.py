"""What one run of a cell does to the document: outputs, execution count, times and run state.

A :class:`CellRun` takes the kernel's messages of one request and writes the cell a few times a second; it remembers, in the
run's row, all that going on after a crash needs. Which run comes next, the kernel and the journal's cursor are
``documents/runner.py``'s; what patches look like is ``core/output_buffer.py``'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, cast

import msgspec
from pycrdt import Array, Map, Text

from homeport.core.output_buffer import STREAM_KEY, BufferState, Output, OutputBuffer, OutputLimits, Patch
from homeport.core.run_queue import Run
from homeport.documents.room import Room, new_cell_id
from homeport.documents.schema import JSON, YCell, new_cell, new_outputs, plain, read, whole_output
from homeport.documents.tables import Chunk, Drop, RunRow
from homeport.protocol import execution
from homeport.protocol.jupyter import Parts
from homeport.protocol.supervisor import Entry

STREAM_URL = "api/documents/streams/"
"""Where a page finds the whole text of a long stream; the stream's key follows."""

_HIDDEN_PASSWORD = "········"


class PendingInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """An ``input()`` that waits for an answer. ``header`` is the request's, for the answer's parent; empty for one that nobody heard.
    ``doubt`` says why it may not wait; empty when it does."""

    request: str
    prompt: str
    password: bool
    header: str
    doubt: str = ""


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run's row holds beside the queue's own columns."""

    buffer: msgspec.Raw
    code: str | None = None
    """The code, until the kernel has begun: a request that may have to be sent again must be the same."""
    count: int | None = None
    times: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    inputs: list[PendingInput] = msgspec.field(default_factory=list[PendingInput])
    answered: PendingInput | None = None
    """The last that was answered, until the kernel says something."""
    reply: tuple[str, bool] | None = None
    """Status and whether a failure is tolerated, once the reply has come."""
    idle: bool = False
    """The kernel has said idle after it. That and the reply come in either order, and each but once."""
    gap: bool = False
    """The last that is known of the run is that something is missing."""


_UNHEARD = "If this cell waits for an answer: its question was not heard. "
_UNANSWERED = "If this cell still waits: the answer may not have reached it. "
_encode = msgspec.json.Encoder().encode
_detail = msgspec.json.Decoder(Detail).decode


class CellRun:
    """One run, from its submission until another run of its cell takes its place.

    Args:
        room: the document.
        run: the run as the queue has it; kept up to date by the runner.
        code: what is sent to the kernel.
        limits: of its outputs.
        convert: makes an output fit for the document (large data become blobs).
    """

    def __init__(self, room: Room, run: Run, code: str, limits: OutputLimits, convert: Callable[[Output], Output]) -> None:
        self.run = run
        self.code: str | None = code
        self.buffer = OutputBuffer(run.run_id, limits)
        self.inputs: dict[str, PendingInput] = {}
        self._answered: PendingInput | None = None
        self.reply: tuple[str, bool] | None = None
        self.idle = False
        self.gap = False
        self.finished = False
        self._room = room
        self._convert = convert
        self._count: int | None = None
        self._times: dict[str, str] = {}
        self._inserts: list[tuple[str, bool]] = []
        self._head_dirty = True

    @classmethod
    def restore(cls, room: Room, run: Run, detail: str, limits: OutputLimits, convert: Callable[[Output], Output]) -> CellRun:
        """Go on with a run whose row says ``detail``."""
        known = _detail(detail)
        self = cls(room, run, known.code or "", limits, convert)
        self.code = known.code
        self.buffer = OutputBuffer.restore(run.run_id, limits, msgspec.json.decode(known.buffer, type=BufferState))
        self.inputs = {pending.request: pending for pending in known.inputs}
        self._answered = known.answered
        self.reply, self.idle, self.gap = known.reply, known.idle, known.gap
        self.finished = run.state == "finished"
        self._count, self._times = known.count, dict(known.times)
        self._head_dirty = False
        return self

    @property
    def cell_id(self) -> str:
        """The cell that it is a run of."""
        return self.run.cell_id

    @property
    def row(self) -> RunRow:
        """Its row, as of the last write."""
        buffer, inputs = msgspec.Raw(_encode(self.buffer.state)), list(self.inputs.values())
        detail = Detail(buffer, self.code, self._count, self._times, inputs, self._answered, self.reply, self.idle, self.gap)
        return row_of(self.run, _encode(detail).decode())

    # ---- messages -------------------------------------------------------------------------------------------------

    def on_output(self, msg_type: str, parts: Parts) -> str | None:
        """An output message, or ``clear_output``. Returns its display id if it has one. Raises ProtocolError."""
        self._load()
        if msg_type == "stream":
            stream = execution.content(parts, execution.Stream)
            self.buffer.stream("stderr" if stream.name == "stderr" else "stdout", stream.text)
        elif msg_type == "clear_output":
            self.buffer.clear(execution.content(parts, execution.Clear).wait)
        elif msg_type == "error":
            error = execution.content(parts, execution.Error)
            self.add_error(error.ename, error.evalue, error.traceback)
        else:
            return self._on_display(msg_type, execution.content(parts, execution.Display))
        return None

    def _on_display(self, msg_type: str, display: execution.Display) -> str | None:
        output: Output = {"output_type": msg_type, "data": display.data, "metadata": display.metadata or {}}
        if msg_type == "execute_result":
            output["execution_count"] = display.execution_count
        self.buffer.add(output, display.display_id)
        return display.display_id

    def on_update(self, display: execution.Display) -> None:
        """``update_display_data`` for a display that this run has."""
        self._load()
        if display.display_id is not None:
            self.buffer.update(display.display_id, display.data, display.metadata or {})

    def on_begun(self, parts: Parts, date: str) -> None:
        """``execute_input``."""
        self.code = None
        self._count = execution.content(parts, execution.Input).execution_count
        self._time("iopub.execute_input", date)

    def on_status(self, state: str, date: str) -> None:
        """``status`` on iopub: busy or idle."""
        if state == "busy":
            self.code = None
        self.idle = self.idle or state == "idle"
        if state in ("busy", "idle") and not self.finished:
            self._time(f"iopub.status.{state}", date)

    def on_reply(self, reply: execution.ExecuteReply, status: str, tolerated: bool, entry: Entry) -> None:
        """``execute_reply`` on shell: ``reply`` is the content of ``entry``, and ``status`` what it comes down to."""
        self.reply = (status, tolerated)
        self._count = reply.execution_count or self._count
        started = execution.started(entry.parts)
        if started:
            self._time("shell.execute_reply.started", started)
        self._time("shell.execute_reply", entry.header.date)
        for payload in reply.payload or ():
            self._on_payload(payload)

    def _on_payload(self, payload: dict[str, Any]) -> None:
        source, text, data = payload.get("source"), payload.get("text"), payload.get("data")
        if source == "set_next_input" and isinstance(text, str):
            self._inserts.append((text, bool(payload.get("replace"))))
        elif source == "page" and isinstance(data, dict):
            self._load()
            self.buffer.add({"output_type": "display_data", "data": data, "metadata": {}})

    def add_error(self, ename: str, evalue: str, traceback: list[str]) -> None:
        """An exception, the kernel's or our own (the kernel died)."""
        self._load()
        self.buffer.add({"output_type": "error", "ename": ename, "evalue": evalue, "traceback": traceback})

    def add_note(self, text: str) -> None:
        """A remark of ours among the outputs: something is missing here."""
        self._load()
        self.buffer.add({"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}})
        self.gap = True

    def may_ask(self) -> None:
        """What is missing may be a question or its answer, for the cell says no more and goes on: offer to answer it."""
        if self._answered is not None:
            self._ask(self._answered, _UNANSWERED)
        else:
            self._ask(PendingInput("", "", False, ""), _UNHEARD)

    def doubt_answers(self) -> None:
        """An answer may not have reached the kernel. What waits for one here may be what was answered, by a server that was killed
        before that was durable."""
        for pending in [each for each in self.inputs.values() if not each.doubt]:
            del self.inputs[pending.request]
            self._ask(pending, _UNANSWERED)

    def forget_answer(self) -> None:
        """The kernel has said more, which nobody heard: if it waits, then for the answer to another question."""
        self._answered = None
        self.inputs = {request: pending for request, pending in self.inputs.items() if pending.doubt != _UNANSWERED}

    def _ask(self, question: PendingInput, doubt: str) -> None:
        # Under another name: its answer is to be sent, also if one was sent before.
        asked = msgspec.structs.replace(question, request=f"{self.run.run_id}-{uuid.uuid4().hex}", doubt=doubt)
        self.inputs[asked.request] = asked

    def heard(self) -> bool:
        """The run goes on behind what is missing: it does not wait there. Whether that is news."""
        self._answered = None
        news, self.gap = self.gap, False
        if news:
            self.inputs = {request: pending for request, pending in self.inputs.items() if not pending.doubt}
        return news

    def on_input_request(self, request: str, header: bytes, parts: Parts) -> None:
        """``input_request`` on stdin."""
        self.heard()
        asked = execution.content(parts, execution.InputRequest)
        self.inputs[request] = PendingInput(request, asked.prompt, asked.password, header.decode())

    def answered(self, asked: PendingInput, value: str) -> None:
        """An input was answered: it is shown as a terminal shows it. Not so where nobody knows whether it is a password."""
        if self.finished:
            return
        # It may be asked under another name by now.
        if self.inputs.pop(asked.request, None) is not None:
            self.gap = False
            self._answered = asked
        if asked.header:
            self._load()
            self.buffer.stream("stdout", f"{asked.prompt}{_HIDDEN_PASSWORD if asked.password else value}\n")

    def finish(self) -> None:
        """The run is over; late outputs of its threads may still come."""
        self.finished = True
        self.inputs.clear()
        self._answered = None
        self.code = None

    def _time(self, name: str, date: str) -> None:
        self._times[name] = execution.zulu(date)
        self._head_dirty = True

    # ---- the document -----------------------------------------------------------------------------------------------

    def prepare(self) -> Patch | None:
        """What to change of the outputs; :attr:`row` is right afterwards. To be followed by :meth:`write` at once."""
        cell = self._room.find_cell(self.cell_id)
        outputs = _outputs(cell)
        if outputs is None:
            if self.finished:
                self.buffer = OutputBuffer(self.run.run_id, OutputLimits())  # the cell is gone, and its outputs with it
            return None
        if not self.buffer.loaded:
            return None
        count = len(outputs)
        last = outputs[count - 1] if count else None
        text = cast("Map[object]", last).get("text") if isinstance(last, Map) else None
        return self.buffer.take(count, len(text) if isinstance(text, Text) else -1, self._convert)

    def write(self, patch: Patch | None) -> None:
        """Write the cell; inside a transaction of the room."""
        cell = self._room.find_cell(self.cell_id)
        if cell is None or cell.get("cell_type") != "code":
            self._head_dirty, self._inserts = False, []
            return
        if patch is not None:
            _apply(cell, patch)
        if self._head_dirty:
            self._head_dirty = False
            if cell.get("execution_count") != self._count:
                cell["execution_count"] = self._count
            metadata = cell.get("metadata")
            if self._times and isinstance(metadata, Map):
                cast("Map[object]", metadata)["execution"] = dict(sorted(self._times.items()))
        for text, replace in self._inserts:
            self._next_input(cell, text, replace)
        self._inserts = []

    def _next_input(self, cell: YCell, text: str, replace: bool) -> None:
        """``set_next_input``: %load replaces the cell, %recall and the like put a new one below it."""
        source = cell.get("source")
        if replace and isinstance(source, Text):
            source.clear()
            source.insert(0, str(plain(text)))
            return
        below = self._room.cell_ids().index(self.cell_id) + 1
        self._room.cells.insert(below, new_cell({"id": new_cell_id(), "cell_type": "code", "metadata": {}, "source": text, "outputs": []}))

    def _load(self) -> None:
        if not self.buffer.loaded:
            outputs = _outputs(self._room.find_cell(self.cell_id))
            there = cast("list[dict[str, JSON]]", read(outputs)) if outputs is not None else []
            self.buffer.load([cast("Output", whole_output(output)) for output in there])

    def rest(self) -> None:
        """Nothing more is expected soon: give the memory back."""
        if self.finished and self.buffer.loaded and not self.buffer.pending:
            self.buffer.unload()


def row_of(run: Run, detail: str = "") -> RunRow:
    """A run as a row."""
    return RunRow(
        run_id=run.run_id,
        cell_id=run.cell_id,
        ordinal=run.ordinal,
        state=run.state,
        result=run.result,
        msg_id=run.msg_id,
        kernel_id=run.kernel_id,
        generation=run.generation,
        stop_on_error=run.stop_on_error,
        queued=run.queued,
        submitted=run.submitted,
        finished=run.finished,
        detail=detail,
    )


def run_of(row: RunRow) -> Run:
    """A row as a run."""
    return Run(
        run_id=row.run_id,
        cell_id=row.cell_id,
        ordinal=row.ordinal,
        stop_on_error=row.stop_on_error,
        queued=row.queued,
        state=cast("Any", row.state),
        result=cast("Any", row.result),
        msg_id=row.msg_id,
        kernel_id=row.kernel_id,
        generation=row.generation,
        submitted=row.submitted,
        finished=row.finished,
    )


def chunks_of(patch: Patch) -> list[Chunk | Drop]:
    """The rows of stored text that belong to ``patch``."""
    return [
        *(Drop(key) for key in patch.dropped),
        *(Chunk(key, number, text.encode(errors="replace")) for key, number, text in patch.stored),
    ]


def clear(cell: YCell) -> None:
    """Empty a code cell's results; inside a transaction of the room."""
    outputs = _outputs(cell)
    if outputs:
        outputs.clear()
    if cell.get("execution_count") is not None:
        cell["execution_count"] = None


def _outputs(cell: YCell | None) -> Array[object] | None:
    outputs = cell.get("outputs") if cell is not None else None
    return cast("Array[object]", outputs) if isinstance(outputs, Array) else None


def _apply(cell: YCell, patch: Patch) -> None:
    outputs = _outputs(cell)
    if outputs is None:
        return
    count = len(outputs)
    if patch.append and count:
        text = cast("Map[object]", outputs[count - 1]).get("text")
        if isinstance(text, Text):
            text.insert(len(text), str(plain(patch.append)))
    if patch.cut is not None and patch.cut < count:
        del outputs[patch.cut : count]
    if patch.insert:
        for output in patch.insert:
            long = output.get(STREAM_KEY)
            if isinstance(long, dict):
                output[STREAM_KEY] = {**cast("dict[str, Any]", long), "url": STREAM_URL + str(cast("dict[str, Any]", long)["key"])}
        outputs.extend(new_outputs(patch.insert))
