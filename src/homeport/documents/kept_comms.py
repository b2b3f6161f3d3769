"""The comms of a document's kernel, kept in the log: a server that was killed knows every widget, also those of long ago.

What opens and closes is written at once, so that the journal's cursor never passes it; what changes is written once a second,
with the place in the journal up to which it is known. The next server reads the journal again from there, for comms
only. How comms follow from messages is ``core/comms.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

import msgspec

from homeport.core.comms import Comm, Comms
from homeport.documents.room import Room
from homeport.documents.tables import Commit, CommRows
from homeport.protocol import execution
from homeport.protocol.supervisor import Entry

log = logging.getLogger(__name__)

_EVERY = 1.0
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of all comms of a kernel. When they are more, the largest are kept no longer."""
_BEHIND = 2000
"""Messages without comms after which their place is written all the same."""
_CAPTURED = frozenset({"stream", "display_data", "execute_result", "error", "clear_output"})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, str | None, bytes, list[tuple[list[str | int], bytes]]]).decode


class KeptComms:
    """See the module.

    Args:
        room: whose log has them.
        kept: what the log holds, if it does.
    """

    def __init__(self, room: Room, kept: CommRows | None) -> None:
        self.open = Comms()
        """The open comms."""
        self._room = room
        self._target = (kept.kernel_id, kept.generation) if kept is not None else ("", 0)
        self._seq = self._written = kept.seq if kept is not None else 0
        self._urgent = False
        self._timer: asyncio.TimerHandle | None = None
        for _, _, data in sorted(kept.changed, key=lambda row: row[1]) if kept is not None else ():
            comm_id, target, module, state, buffers = _decode(data)
            self.open.restore(Comm(comm_id, target, module, msgspec.json.decode(state), {tuple(path): value for path, value in buffers}))
        self._sizes: dict[str, int] = {comm_id: len(data) for comm_id, _, data in kept.changed} if kept is not None else {}
        self._ordinals = {comm.comm_id: place for place, comm in enumerate(self.open)}

    def begin(self, target: tuple[str, int], seq: int) -> int:
        """The journal of ``target`` is to be read behind ``seq``: from where it is to be read so that no comm is missed."""
        if target != self._target:
            self.end()
            # Of a journal that was read before, and of which no comm is known, there was none.
            self._target, self._seq, self._written = target, seq, seq
        return min(self._seq, seq) if len(self.open) else seq

    def end(self) -> None:
        """The generation is over."""
        if len(self.open):
            self.open.clear()
            self._urgent = True
            self.settle()

    def handle(self, entry: Entry) -> None:
        """A message on iopub."""
        if entry.seq <= self._seq:
            return
        self._seq = entry.seq
        msg_type = entry.header.msg_type
        if msg_type.startswith("comm_"):
            try:
                content: object = msgspec.json.decode(entry.parts[3])
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            if isinstance(content, dict):
                self.open.handle(msg_type, cast("dict[str, Any]", content), entry.parts[4:])
                self._urgent = self._urgent or msg_type != "comm_msg"
                self._soon()
        elif msg_type in _CAPTURED and len(self.open):
            for comm in self.open.capturing(entry.parent.msg_id):
                self.open.capture(comm, _output(msg_type, entry), wait=msg_type == "clear_output" and _waits(entry))
                self._soon()

    def settle(self) -> None:
        """What opened or closed is to be in the log before the cursor passes it."""
        if self._urgent or (len(self.open) and self._seq - self._written > _BEHIND):
            self.flush()

    def flush(self) -> None:
        """Write what has changed."""
        self._urgent = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed: list[tuple[str, int, bytes]] = []
        closed: list[str] = []
        for comm_id, comm in self.open.take().items():
            if comm is None:
                closed.append(comm_id)
                self._ordinals.pop(comm_id, None)
                self._sizes.pop(comm_id, None)
            else:
                ordinal = self._ordinals.setdefault(comm_id, max(self._ordinals.values(), default=-1) + 1)
                row = _encoded(comm)
                self._sizes[comm_id] = len(row)
                changed.append((comm_id, ordinal, row))
        self._make_room()
        if not (changed or closed or self._seq > self._written):
            return
        self._written = self._seq
        self._room.log.append(Commit(self._room.document, comms=CommRows(*self._target, self._seq, changed, closed)))

    def _make_room(self) -> None:
        """Memory has an end: forget the largest comms; the next turn takes them out of the log."""
        while sum(self._sizes.values()) > LARGEST:
            comm_id = max(self._sizes, key=lambda each: self._sizes[each])
            log.warning(
                "The widget or comm %s of %s is not kept: with it they would be more than %d bytes", comm_id, self._room.document, LARGEST
            )
            del self._sizes[comm_id]
            self.open.forget(comm_id)
            self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self.flush)


def _encoded(comm: Comm) -> bytes:
    # JSON: msgpack has no whole numbers beyond 64 bits.
    buffers = [([*path], data) for path, data in comm.buffers.items()]
    return _encode((comm.comm_id, comm.target, comm.module, msgspec.json.encode(comm.state), buffers))


def _waits(entry: Entry) -> bool:
    return execution.content(entry.parts, execution.Clear).wait


def _output(msg_type: str, entry: Entry) -> dict[str, Any] | None:
    """An output message as nbformat has it; None for ``clear_output``."""
    if msg_type == "stream":
        stream = execution.content(entry.parts, execution.Stream)
        return {"output_type": "stream", "name": stream.name, "text": stream.text}
    if msg_type == "error":
        error = execution.content(entry.parts, execution.Error)
        return {"output_type": "error", "ename": error.ename, "evalue": error.evalue, "traceback": error.traceback}
    if msg_type == "clear_output":
        return None
    display = execution.content(entry.parts, execution.Display)
    output: dict[str, Any] = {"output_type": msg_type, "data": display.data, "metadata": display.metadata or {}}
    return {**output, "execution_count": display.execution_count} if msg_type == "execute_result" else output
