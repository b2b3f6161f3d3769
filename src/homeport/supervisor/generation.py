"""One life of a kernel, from a start to its end: its journal, its requests, its sockets, and those who read along.

Messages come in from the sockets, go into the journal, and from there to every reader; only headers are read, and of contents
that of ``status``. This module does not know how a kernel is started or why it ended; kernel.py does.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, Protocol

import zmq

from homeport.core import journal as journals
from homeport.core import requests as runs
from homeport.core.counter import GRACE, Judge, MessageCounter, Missed, Seen, Tick, Told
from homeport.core.journal import KEPT, OUTPUTS, STREAMS, Append, Lane, Limits, Lost, Piece
from homeport.core.requests import Finished, MakeIdle, MakeReply, Remember, Reply, Requests, Settle, StateIs, Status, Submit
from homeport.errors import KernelGone
from homeport.protocol.jupyter import Parts, execution_state, header_of, make
from homeport.protocol.supervisor import (
    RESULT_UNKNOWN,
    SUPERVISOR_SESSION,
    UNANSWERED,
    UNCOUNTED,
    Channel,
    Ended,
    Entry,
    Truncated,
    decode_item,
    encode_item,
)
from homeport.supervisor.channels import Connection, KernelChannels, Received
from homeport.supervisor.journal_files import JournalFiles, RequestFile

log = logging.getLogger(__name__)

# How long the idle of an answered probe may take: a kernel whose iopub we had not reached yet published it to nobody.
_PROBE_PATIENCE = 0.5
_LEFT_OUT = "it could not be read back from the journal's disk"


class Reader(Protocol):
    """Somebody who reads a journal; woken whenever there is more."""

    def wake(self) -> None:
        """There may be more to read."""
        ...


MOST_CLIENTS: Final = 1000
"""Sessions of which it is remembered how far they have come; the ones that came first are forgotten first."""


class Generation:
    """See the module.

    Args:
        number: counts the lives of the kernel from 1.
        folder: holds the journal and the list of requests; what an earlier supervisor left there is taken up.
        changed: called when :attr:`state` or :attr:`lost` changed.
    """

    def __init__(self, number: int, folder: Path, limits: Limits, changed: Callable[[], None]) -> None:
        self.number = number
        self.folder = folder
        self.last_activity = time.time()
        self.lost = False
        self._changed = changed
        self._files = JournalFiles(folder)
        self._journal = self._files.recover(limits, _read_end(folder))
        self._request_file = RequestFile(folder / "requests")
        self._requests = Requests.recovered(*self._request_file.recover())
        self._counter = MessageCounter()
        self._early: list[Received] = []
        self._early_since = 0.0
        self._channels: KernelChannels | None = None
        self._readers: set[Reader] = set()
        self._clients: dict[str, tuple[Reader, int]] = {}
        self._left: asyncio.Future[None] | None = None
        self._probes: dict[str, asyncio.Future[None]] = {}
        self._replied: dict[str, asyncio.Event] = {}
        self._fetch_running()

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> Ended | None:
        """How it ended; ``None`` while it lives."""
        return self._journal.ended

    @property
    def last(self) -> int:
        """The newest seq."""
        return self._journal.last

    @property
    def running(self) -> int | None:
        """The seq of the first message of the execute request that runs now."""
        return self._requests.running

    @property
    def state(self) -> Literal["idle", "busy"] | None:
        """What the kernel does; ``None`` before its first status."""
        return self._requests.state

    @property
    def occupied(self) -> bool:
        """Whether the kernel is busy, or will be as soon as it reads what it was sent."""
        return self._requests.occupied

    # --- the kernel's side --------------------------------------------------------------------------------------------

    def connect(self, context: zmq.Context[zmq.Socket[bytes]], connection: Connection, routing_id: bytes) -> None:
        """Begin to listen. Messages that the kernel sent to a supervisor before us may be missing: :meth:`adopt` first."""
        self._channels = KernelChannels(context, connection, routing_id, self._received)

    @property
    def opening(self) -> asyncio.Future[None] | None:
        """Done when the kernel can be reached; ``None`` when it can be now, or never again."""
        return None if self._channels is None or self._channels.opened.done() else self._channels.opened

    def submit(self, channel: Channel, parts: Parts) -> None:
        """Send a message to the kernel, unless one with this msg_id was sent to this generation before.

        Raises:
            KernelGone: the generation is over.
            ProtocolError: the message has no header that can be read.
        """
        header = header_of(parts[0])
        if self._channels is None or self.ended is not None:
            raise KernelGone("This kernel has ended or was restarted in the meantime; run the cell again", generation=self.number)
        self.last_activity = time.time()
        # Not while the idle of another request is due: who waits for that one waits already.
        answered = channel != "stdin" and header.msg_type.endswith("_request") and not self._requests.awaiting_idle
        commands = self._requests.handle(
            Submit(header.msg_id, header.msg_type, channel, parts[0], self._journal.last, header.subshell_id is None)
        )
        for command in commands:
            if isinstance(command, Remember):
                # Before it is sent: whoever dies in between, it is sent at most once.
                self._request_file.sent(command.request)
                self._channels.send(channel, parts, answered=answered)
        if self._request_file.long:
            answer = self._requests.answer
            self._request_file.compact([*self._requests.open, *([answer] if answer else [])], self._requests.remembered)

    async def probe(self, channel: Channel = "shell") -> None:
        """Wait until the kernel has handled everything that was submitted on ``channel`` before, and said all it had to say about it.

        Requests that are open even then are settled: the journal gets the replies and idles that never came. Never returns while the
        kernel is busy with something that does not end; raises KernelGone when the generation ends.
        """
        while True:
            msg_id = f"{SUPERVISOR_SESSION}_{uuid.uuid4().hex}"
            finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            replied = asyncio.Event()
            self._probes[msg_id], self._replied[msg_id] = finished, replied
            try:
                self.submit(channel, message("kernel_info_request", {}, msg_id=msg_id))
                await replied.wait()
                await asyncio.wait([finished], timeout=_PROBE_PATIENCE)
            finally:
                del self._probes[msg_id], self._replied[msg_id]
            if finished.done():
                return finished.result()

    def adopt(self) -> None:
        """An earlier supervisor listened until it died; find out from here on what nobody heard."""
        if self._unanswered():
            self._keep(Lost(1, UNANSWERED))
        since, back = self._journal.last, 500
        while not self._counter.met and since > 0:
            # Further back when all of that is gone, or never came.
            since, back = max(0, since - back), 4 * back
            for item in self._items(since, streams=True):
                self._recall(item)
        self._counter.adopt()
        if not self._counter.counts and self._requests.open:
            self.lost = True
            self._keep(Lost(1, UNCOUNTED))

    def _recall(self, item: Entry | Truncated | Ended) -> None:
        """Count what an earlier supervisor had counted."""
        if isinstance(item, Entry) and item.header.session != SUPERVISOR_SESSION:
            self._counter.handle(Seen([item.header.msg_id], time.monotonic(), _in_order(item)))
        elif isinstance(item, Truncated) and item.reason not in (UNANSWERED, UNCOUNTED):
            self._counter.handle(Told())

    def _unanswered(self) -> bool:
        """Whether nothing shows that the last answer to an ``input_request`` reached the kernel: no execution has said anything since."""
        answer = self._requests.answer
        if answer is None:
            return False
        for item in self._items(answer.after, streams=True):
            if isinstance(item, Truncated):
                # Said already, by the supervisor before.
                if item.reason == UNANSWERED:
                    return False
            elif isinstance(item, Entry) and item.parent.msg_type == "execute_request" and item.header.session != SUPERVISOR_SESSION:
                return False
        return True

    def tick(self, *, quiet: bool) -> None:
        """To be called every second or so; ``quiet``: nothing has happened for a while."""
        if self._early and time.monotonic() - self._early_since > GRACE:
            self._let_in()
        self._note_missed(self._counter.handle(Tick(time.monotonic())))
        if self._journal.failing:
            self._keep(journals.Retry())
        if quiet:
            self._keep(journals.Release())

    def drain(self) -> None:
        """Take in everything that has arrived."""
        if self._channels is not None:
            self._channels.drain()
        self._let_in()

    def end(self, reason: str, stderr: str = "", *, died: bool = False) -> None:
        """It is over: take in what has arrived, and tell every reader."""
        if self.ended is not None:
            return
        self.drain()
        self.disconnect()
        ended = Ended(self.number, reason, stderr, died)
        self._keep(journals.End(ended))
        with contextlib.suppress(OSError):
            (self.folder / "ended").write_bytes(encode_item(ended))
        gone = KernelGone(f"The kernel {reason}", generation=self.number)
        for waiting, replied in zip(self._probes.values(), self._replied.values(), strict=True):
            if not waiting.done():
                waiting.set_exception(gone)
            replied.set()
        self._wake()

    def disconnect(self) -> None:
        """Stop listening; the kernel itself is not touched."""
        if self._channels is not None:
            self._channels.close()
            self._channels = None

    def close(self) -> None:
        """Let go of everything; the files stay."""
        self.disconnect()
        self._files.close()
        self._request_file.close()

    # --- the readers' side ----------------------------------------------------------------------------------------------

    def attach(self, reader: Reader) -> None:
        """Wake the reader whenever there is more."""
        self._readers.add(reader)

    def detach(self, reader: Reader) -> None:
        """Wake it no more."""
        self._readers.discard(reader)
        if not self._readers and self._left is not None and not self._left.done():
            self._left.set_result(None)
            self._left = None

    def reached(self, session: str) -> int | None:
        """How far the client of that session has come; ``None`` when it was never here."""
        return self._clients[session][1] if session in self._clients else None

    def follow(self, session: str, reader: Reader, after: int) -> None:
        """From now on it is this reader, which begins behind ``after``, that tells how far the client of its session has come."""
        self._clients.pop(session, None)
        self._clients[session] = reader, after
        while len(self._clients) > MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]

    def note_reached(self, session: str, reader: Reader, seq: int) -> None:
        """The client of a session has come so far; told by an older reader, it is ignored."""
        if session in self._clients and self._clients[session][0] is reader:
            self._clients[session] = reader, seq

    async def unread(self) -> None:
        """Wait until nobody is attached."""
        if self._readers:
            self._left = self._left or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._left)

    def read(self, after: int, budget: int, session: str | None) -> tuple[bytes, int, int, bool]:
        """What a reader gets next: items that stand one behind the other as encoded bytes, how many, the seq up to which
        this goes, and whether it is the end. Replies that belong to another session are left out."""
        chunks: list[bytes] = []
        count, over = 0, False
        for item in self._journal.read(after, budget):
            if isinstance(item, Piece):
                more, number = self._piece(item, after, session)
                chunks += more
                count += number
                after = item.last
                continue
            chunks.append(encode_item(item))
            count += 1
            if isinstance(item, Truncated):
                after = item.last
            else:
                over = True
        return b"".join(chunks), count, after, over

    def _piece(self, piece: Piece, after: int, session: str | None) -> tuple[list[bytes], int]:
        data = piece.data if piece.data is not None else self._files.read(piece.name, piece.offset, piece.size)
        if data is None:
            return [encode_item(Truncated(after + 1, piece.last, _LEFT_OUT))], 1
        if piece.name.lane != KEPT:
            return [data], piece.count
        starts = [0, *piece.cuts[:-1]]
        items = [data[start:stop] for start, stop in zip(starts, piece.cuts, strict=True)]
        mine = [item for item in items if _is_for(item, session)]
        return mine, len(mine)

    # --- messages --------------------------------------------------------------------------------------------------------

    def _received(self, batch: list[Received]) -> bool:
        self.last_activity = time.time()
        if self._counter.adopted:
            # What was lost before all of this has its place before it. How much that is, the first message on iopub will tell.
            if not self._early:
                self._early_since = time.monotonic()
            self._early += batch
            if any(_in_order(message) and self._counter.numbers(message.header.msg_id) for message in batch):
                if self._channels is not None:
                    # Replies that have arrived are not missing; they come here, too.
                    self._channels.drain_replies()
                self._let_in()
        else:
            self._count(batch)
            self._append(batch)
        return self._requests.state == "busy" and not self._requests.awaiting_idle

    def _let_in(self) -> None:
        """Take in what has come since the adoption: now it is known what was lost before, or it never will be."""
        early, self._early = self._early, []
        if early:
            # A message that is not in order tells nothing about what came before it.
            self._count(sorted(early, key=_in_order))
            self._note_missed(self._counter.handle(Judge()))
            self._append(early)

    def _count(self, batch: list[Received]) -> None:
        now = time.monotonic()
        for in_order, messages in groupby(batch, _in_order):
            self._note_missed(self._counter.handle(Seen([message.header.msg_id for message in messages], now, in_order)))

    def _note_missed(self, missed: Iterable[Missed]) -> None:
        for each in missed:
            self.lost = True
            self._keep(Lost(each.count, "sent when nobody could listen"))
            self._changed()
            self._wake()

    def _append(self, batch: list[Received]) -> None:
        seq = self._journal.last
        messages: list[tuple[Lane, Channel, Parts]] = []
        events: list[runs.Event] = []
        for message in batch:
            seq += 1
            lane, event = _classify(message, seq)
            messages.append((lane, message.channel, message.parts))
            if event is not None:
                events.append(event)
        self._keep(Append(messages))
        self._wake()
        for event in events:
            self._follow(event)

    def _keep(self, event: journals.Event) -> None:
        self._files.carry_out(self._journal, self._journal.handle(event))

    def _follow(self, event: runs.Event) -> None:
        """Let the requests know, and do what they say. What is made for them goes through the journal as if the kernel had sent it."""
        if isinstance(event, Reply) and event.msg_id in self._replied:
            self._replied[event.msg_id].set()
        for command in self._requests.handle(event):
            match command:
                case Finished(request):
                    self._request_file.over(request)
                    if (probe := self._probes.get(request.msg_id)) is not None and not probe.done():
                        probe.set_result(None)
                        self._follow(Settle(request))
                case MakeReply(request):
                    self._append([_unknown_reply(request)])
                case MakeIdle(request):
                    self._append([_idle(request)])
                case StateIs():
                    self._changed()
                case Remember():
                    raise AssertionError("requests are submitted through submit()")

    def _wake(self) -> None:
        for reader in list(self._readers):
            reader.wake()

    def _fetch_running(self) -> None:
        """After the death of a supervisor: bring the requests that it left open up to what its journal holds."""
        unfinished = self._requests.open
        if not unfinished or self.ended is not None:
            return
        for item in self._items(min(request.after for request in unfinished)):
            if isinstance(item, Entry):
                _, event = _classify(Received(item.channel, item.header, item.parent, item.parts), item.seq)
                if event is not None:
                    for command in self._requests.handle(event):
                        if isinstance(command, Finished):
                            self._request_file.over(command.request)

    def _items(self, after: int, *, streams: bool = False) -> Iterable[Entry | Truncated | Ended]:
        """Everything behind ``after``, decoded; stream chunks only if they are wanted."""
        while after < self._journal.last:
            for found in self._journal.read(after, 1 << 20):
                if isinstance(found, Piece):
                    after = found.last
                    if streams or found.name.lane != STREAMS:
                        data = found.data if found.data is not None else self._files.read(found.name, found.offset, found.size)
                        yield from _decoded(found, data)
                elif isinstance(found, Truncated):
                    after = found.last


def _decoded(piece: Piece, data: bytes | None) -> Iterable[Entry | Truncated | Ended]:
    if data is None:
        return
    start = 0
    for stop in journals.scan(piece.name, data).ends:
        yield decode_item(data[start:stop])
        start = stop


def _is_for(item: bytes, session: str | None) -> bool:
    """Whether a reader with this session gets an item of the lane KEPT."""
    entry = decode_item(item)
    return not isinstance(entry, Entry) or entry.channel == "iopub" or (session is not None and entry.parent.session == session)


def _in_order(message: Received | Entry) -> bool:
    """Whether what the kernel had numbered before it has been sent before it: it was published, and not by way of a greeting, which
    overtakes what waits to be published."""
    return message.channel == "iopub" and message.header.msg_type != "iopub_welcome"


def _classify(message: Received, seq: int) -> tuple[Lane, runs.Event | None]:
    """In which lane of the journal a message goes, and what it tells about a request."""
    kind = message.header.msg_type
    if message.channel != "iopub":
        return KEPT, None if message.channel == "stdin" else Reply(message.parent.msg_id)
    if kind == "stream":
        return STREAMS, None
    if kind == "status":
        state = execution_state(message.parts)
        return KEPT if state == "idle" else OUTPUTS, Status(message.parent.msg_id, message.parent.msg_type, state, seq)
    return KEPT if kind == "error" else OUTPUTS, None


def message(msg_type: str, content: object, *, msg_id: str | None = None, parent: bytes | None = None) -> Parts:
    """A message of the supervisor's own."""
    return make(
        msg_type,
        content,
        session=SUPERVISOR_SESSION,
        msg_id=msg_id or uuid.uuid4().hex,
        date=datetime.datetime.now(datetime.UTC).isoformat(),
        parent=parent,
    )


def _unknown_reply(request: runs.Request) -> Received:
    reason = "The supervisor was killed while this ran, and its end was not seen: whether it succeeded is unknown."
    content: dict[str, object] = {"status": "error", "ename": RESULT_UNKNOWN, "evalue": reason, "traceback": [], "execution_count": None}
    return _made(request.channel, message(request.msg_type.removesuffix("_request") + "_reply", content, parent=request.header))


def _idle(request: runs.Request) -> Received:
    return _made("iopub", message("status", {"execution_state": "idle"}, parent=request.header))


def _made(channel: Channel, parts: Parts) -> Received:
    return Received(channel, header_of(parts[0]), header_of(parts[1]), parts)


def _read_end(folder: Path) -> Ended | None:
    with contextlib.suppress(OSError):
        item = decode_item((folder / "ended").read_bytes())
        if isinstance(item, Ended):
            return item
    return None
