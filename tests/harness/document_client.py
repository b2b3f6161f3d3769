"""A page without a browser: the document socket, spoken by pycrdt and a plain WebSocket client.

It reads docs/architecture.md ("a page and the server") on its own account and shares no code with the server, so that a
mistake there is not made twice. It reconnects when the link is cut, as a page does, and keeps its Yjs document meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest_asyncio
from pycrdt import Array, Doc, Map, Text, TransactionEvent
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from harness.server import Server
from homeport.protocol.document import merge_state

SYNC, AWARENESS, CONTROL, PART = 0, 1, 100, 101
STEP1, STEP2, UPDATE = 0, 1, 2


def varint(number: int) -> bytes:
    """lib0's unsigned variable-length integer."""
    out = bytearray()
    while number > 0x7F:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The integer at ``at`` and where the next byte is."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


class OpFailed(Exception):
    """The server answered an operation with an error; ``error`` is what it said."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error


class DocumentClient:
    """One page's worth of a notebook."""

    def __init__(self, server: Server, path: str) -> None:
        self.server, self.path = server, path
        self.state: dict[str, Any] = {}
        self.hello: dict[str, Any] = {}
        self.acknowledged = 0
        self.sent = 0
        """Sync frames sent over the present link."""
        self.links = 0
        """How many links there have been."""
        self.updates = 0
        """How many updates of the document have come, besides first syncs."""
        self.epoch: str | None = None
        """Of the history that this page holds; None while it holds none."""
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._unanswered: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._synced = False
        self._linked = False
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._applying = False
        self._reachable = asyncio.Event()
        self._reachable.set()
        self._reading = asyncio.Event()
        self._reading.set()
        self._told: dict[str, str] = {}
        """Text of each cell of which the server was told before a sync."""
        self._settled: dict[str, str] = {}
        """Text of each cell when the server last had everything."""
        self._moved: set[str] = set()
        self._outbox: list[bytes] = []
        self._sending = asyncio.Lock()
        self._fresh_document()

    def _fresh_document(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.cells: Array[Any] = self.doc.get("cells", type=Array)
        self.meta: Map[Any] = self.doc.get("meta", type=Map)
        self.doc.observe(self._local_change)

    # -- the link

    async def open(self) -> None:
        """Connect, and return when the document and its state are there."""
        self._task = asyncio.create_task(self._run())
        await self.until(lambda: self._synced and "save" in self.state, "the first sync")

    async def close(self) -> None:
        """Leave. The server keeps the document."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def cut(self) -> None:
        """Cut the link as a network does: no close handshake. It comes back by itself."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def go_offline(self) -> None:
        """Cut the link, and stay away until :meth:`go_online`. Changes go on."""
        self._reachable.clear()
        await self.cut()
        await self.until(lambda: self._socket is None, "the link to be gone")

    def go_online(self) -> None:
        """Come back."""
        self._reachable.set()

    def stop_reading(self) -> None:
        """Stay connected, and read nothing any more until :meth:`read_on`."""
        self._reading.clear()

    def read_on(self) -> None:
        """Read what has come."""
        self._reading.set()

    @property
    def linked(self) -> bool:
        """Whether there is a link, and its first sync is done."""
        return self._linked

    async def settled(self, *, seconds: float = 30) -> None:
        """Wait until this page is online, has sent everything and has it acknowledged."""
        await self.until(lambda: self._linked and self.acknowledged >= self.sent > 0, "everything to be acknowledged", seconds=seconds)

    async def _ticket(self) -> str:
        import requests

        url = f"{self.server.url}api/documents/ticket"
        answer = await asyncio.to_thread(requests.post, url, headers=self.server.headers, timeout=10)
        answer.raise_for_status()
        return answer.json()["ticket"]

    async def _run(self) -> None:
        import requests

        while True:
            await self._reachable.wait()
            try:
                await self._one_link()
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, requests.ConnectionError, requests.Timeout):
                self._socket = None
                self._linked = False
                self._notify()
                await asyncio.sleep(0.05)  # a page's back-off, shortened

    async def _one_link(self) -> None:
        query = urlencode({"path": self.path, "ticket": await self._ticket()})
        url = f"{self.server.url.replace('http', 'ws', 1)}api/documents/socket?{query}"
        async with connect(url, additional_headers=self.server.headers, max_size=None, origin=None) as socket:
            self._socket = socket
            self.links += 1
            # What was not sent yet is in the step 2 that the server asks for.
            self.sent = self.acknowledged = 0
            self._outbox.clear()
            self._parts = b""
            async for message in socket:
                await self._reading.wait()
                assert isinstance(message, bytes), "frames are binary"
                await self._receive(message)

    async def _receive(self, frame: bytes) -> None:
        kind, at = read_varint(frame, 0)
        if kind == PART:
            self._parts += frame[2:]
            if frame[1] == 0:
                return
            frame, self._parts = self._parts, b""
            kind, at = read_varint(frame, 0)
        if kind == SYNC:
            await self._receive_sync(frame, at)
        elif kind == CONTROL:
            await self._receive_control(json.loads(frame[at:]))
        self._notify()

    async def _receive_sync(self, frame: bytes, at: int) -> None:
        kind, at = read_varint(frame, at)
        length, at = read_varint(frame, at)
        payload = frame[at : at + length]
        if kind == STEP1:
            self._linked = True
            update = self.doc.get_update(payload)
            # Both are of this moment: what is typed from now on comes behind them.
            self._tell_away()
            self._outbox.append(varint(SYNC) + varint(STEP2) + varint(len(update)) + update)
            self.sent += 1
            # Behind the changes that came before them: a run is a run of what was typed.
            self._outbox += [_control(operation) for operation in self._unanswered.values()]
            await self._send()
        else:
            before = self.texts()
            self._applying = True
            try:
                self.doc.apply_update(payload)
            finally:
                self._applying = False
            await self._tell_taken(before)
            if kind == STEP2:
                self._synced = True
            else:
                self.updates += 1
            self._settle()

    async def _receive_control(self, message: dict[str, Any]) -> None:
        op = message.pop("op")
        if op == "hello":
            self.hello = message
            if message.get("reload"):
                self._fresh_document()
                self._synced, self.epoch = False, None
                self._settled, self._moved = {}, set()
                await self.cut()  # and afresh on a new link
                return
            if not self._synced:
                self.epoch = message["epoch"]
            await self._send_control({"op": "hello", "protocol": 1, "epoch": self.epoch if self._synced else None, "client": "test"})
            await self._send_sync(STEP1, self.doc.get_state(), counted=False)
        elif op == "ack":
            self.acknowledged = message["count"]
            self._settle()
        elif op == "state":
            merge_state(self.state, message)
        elif op == "reply":
            self._unanswered.pop(message["id"], None)
            waiting = self._replies.pop(message["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def _settle(self) -> None:
        """The server has everything, unless an acknowledgement is owed: what others changed is no change of this page."""
        if self.acknowledged >= self.sent:
            self._settled = self.texts()
            self._told.clear()
            self._moved.clear()

    def _tell_away(self) -> None:
        """What was changed without an acknowledgement, before the step 2 that brings it."""
        now = self.texts()
        changed = [each for each, text in self._settled.items() if now.get(each) != text or each in self._moved]
        above = dict(zip(now, ["", *now], strict=False))
        cells = [{"id": each, "base": self._settled[each], "text": now.get(each), "after": above.get(each, "")} for each in changed]
        self._told = {each: now.get(each, "") for each in changed}
        if cells and self.epoch == self.hello.get("epoch"):
            self._outbox.append(_control({"op": "away", "cells": cells}))

    async def _tell_taken(self, before: dict[str, str]) -> None:
        """Others have just deleted or moved a cell in which something of this page is not acknowledged, and it is gone."""
        now = self.texts()
        unsettled = {each: text for each, text in before.items() if text not in (self._settled.get(each, text), self._told.get(each))}
        taken = [
            each for each, text in unsettled.items() if not _new_lines(self._settled[each], text) <= set(now.get(each, "").splitlines())
        ]
        above = dict(zip(before, ["", *before], strict=False))
        cells = [{"id": each, "base": self._settled[each], "text": before[each], "after": above[each]} for each in taken]
        if cells and self._linked:
            await self._send_control({"op": "away", "now": True, "cells": cells})

    async def _send(self, frame: bytes = b"") -> None:
        """Send what was written to the document so far, then ``frame``: the server gets everything in the order in which it was done."""
        async with self._sending:
            frames, self._outbox = [*self._outbox, *([frame] if frame else [])], []
            for each in frames:
                if self._socket is not None:
                    with contextlib.suppress(ConnectionClosed):
                        await self._socket.send(each)

    async def _send_sync(self, kind: int, payload: bytes, *, counted: bool = True) -> None:
        if counted:
            self.sent += 1
        await self._send(varint(SYNC) + varint(kind) + varint(len(payload)) + payload)

    async def _send_control(self, message: dict[str, Any]) -> None:
        await self._send(_control(message))

    def _local_change(self, event: TransactionEvent) -> None:
        if not self._applying and self._synced:
            update = bytes(event.update)
            self.sent += 1
            self._outbox.append(varint(SYNC) + varint(UPDATE) + varint(len(update)) + update)
            self._outgoing = asyncio.ensure_future(self._send())

    # -- what a person does

    async def operate(self, op: str, *, seconds: float = 30, **fields: Any) -> dict[str, Any]:
        """Send an operation, again after each cut, and return the reply.

        Raises:
            OpFailed: the server answered with an error.
        """
        number = uuid.uuid4().hex
        message = {"op": op, "id": number, **fields}
        self._replies[number] = asyncio.get_running_loop().create_future()
        self._unanswered[number] = message
        answer = self._replies[number]
        if self._linked:
            await self._send_control(message)
        reply = await asyncio.wait_for(answer, seconds)
        if reply.get("error"):
            raise OpFailed(reply["error"])
        return reply

    async def run(self, *cell_ids: str, stop_on_error: bool = True, seconds: float = 30) -> list[str]:
        """Put cells (all code cells when none is named) into the queue; returns the run ids."""
        wanted = cell_ids or tuple(cell["id"] for cell in self.cells if cell["cell_type"] == "code")
        runs = [[str(uuid.uuid4()), str(cell_id)] for cell_id in wanted]
        await self.operate("run", runs=runs, stop_on_error=stop_on_error, seconds=seconds)
        return [run for run, _ in runs]

    async def ran(self, *cell_ids: str, seconds: float = 60) -> None:
        """Run cells, and wait until this run of each has ended and the document says so."""
        before = {cell_id: self._ended(cell_id) for cell_id in cell_ids}
        await self.run(*cell_ids)
        await self.until(
            lambda: self.state.get("queue") == [] and all(self._ended(cell_id) not in ("", at) for cell_id, at in before.items()),
            f"the end of {', '.join(cell_ids)}",
            seconds=seconds,
        )

    def _ended(self, cell_id: str) -> str:
        return self.cell(cell_id)["metadata"].to_py().get("execution", {}).get("shell.execute_reply", "")

    async def idle(self, *, seconds: float = 60) -> None:
        """Wait until the queue is empty and no cell waits for anything."""
        await self.until(lambda: self.state.get("queue") == [], "an empty queue", seconds=seconds)

    def insert(self, at: int, source: str, *, cell_type: str = "code") -> str:
        """Insert a cell and return its id."""
        cell_id = str(uuid.uuid4())
        self.insert_cell(at, {"id": cell_id, "cell_type": cell_type, "source": source})
        return cell_id

    def texts(self) -> dict[str, str]:
        """The text of each cell by id, in order; what is no cell is left out."""
        return {str(cell["id"]): str(cell["source"]) for cell in self.cells if isinstance(cell, Map) and "source" in cell}

    def _place(self, cell_id: str) -> int:
        return next(index for index, cell in enumerate(self.cells) if cell["id"] == cell_id)

    def delete(self, cell_id: str) -> None:
        """Delete a cell."""
        with self.doc.transaction(origin="test"):
            del self.cells[self._place(cell_id)]

    def move(self, cell_id: str, to: int) -> None:
        """Move a cell, as the schema has it: out, and a copy in."""
        place = self._place(cell_id)
        old = self.cells[place].to_py()
        cell = {**old, "source": Text(old["source"]), "metadata": Map(old["metadata"])}
        if "outputs" in old:
            cell["outputs"] = Array([Map(output) for output in old["outputs"]])
        self._moved.add(cell_id)
        with self.doc.transaction(origin="test"):
            del self.cells[place]
            self.cells.insert(to, Map(cell))

    def type(self, which: str | int, text: str, at: int | None = None) -> None:
        """Type ``text`` (ASCII) into a cell, at its end unless told where; in the transaction that is open, if one is."""
        source = self.cell(which)["source"]
        with self.doc.transaction(origin="test"):
            source.insert(len(str(source).encode()) if at is None else at, text)

    def insert_cell(self, at: int, cell: dict[str, Any]) -> None:
        """Insert a cell given as nbformat has it; outputs, if any, must not be streams."""
        members = {"metadata": Map({}), **cell, "source": Text(cell["source"])}
        if cell["cell_type"] == "code":
            members |= {"outputs": Array(cell.get("outputs", [])), "execution_count": None, "execution_state": "idle"}
        with self.doc.transaction(origin="test"):
            self.cells.insert(at, Map(members))

    def cell(self, which: str | int) -> Map[Any]:
        """A cell by its id or place."""
        if isinstance(which, int):
            return self.cells[which]
        return next(cell for cell in self.cells if cell["id"] == which)

    def source(self, which: str | int) -> str:
        """The text of a cell."""
        return str(self.cell(which)["source"])

    def outputs(self, which: str | int) -> list[dict[str, Any]]:
        """The outputs of a cell as plain data."""
        return self.cell(which)["outputs"].to_py()

    def text(self, which: str | int) -> str:
        """The stream text of a cell, all of it."""
        return "".join(_joined(output["text"]) for output in self.outputs(which) if output["output_type"] == "stream")

    async def committed(self, *, seconds: float = 30) -> None:
        """Wait until the server has acknowledged everything that this page sent."""
        await self.until(lambda: self._socket is not None and self.acknowledged >= self.sent, "acknowledgement", seconds=seconds)

    # -- waiting

    def _notify(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
        """Wait until ``condition()`` holds; looked at after each frame.

        Raises:
            AssertionError: it did not hold within ``seconds``; says ``what`` was waited for.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self._task is not None and self._task.done():
                self._task.result()
            self._changed.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{what}: not within {seconds} s; state {self.state}; server's log:\n{self.server.output()[-3000:]}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, 1.0))


def _control(message: dict[str, Any]) -> bytes:
    return varint(CONTROL) + json.dumps(message).encode()


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


OpenDocument = Callable[[Server, str], Awaitable[DocumentClient]]


@pytest_asyncio.fixture
async def open_document(home: object) -> AsyncIterator[OpenDocument]:
    """``await open_document(server, "a.ipynb")``: a :class:`DocumentClient` that has synced; closed at the end."""
    clients: list[DocumentClient] = []

    async def open_one(server: Server, path: str) -> DocumentClient:
        client = DocumentClient(server, path)
        clients.append(client)
        await client.open()
        return client

    yield open_one
    for client in clients:
        await client.close()


def _new_lines(before: str, after: str) -> set[str]:
    return set(after.splitlines()) - set(before.splitlines())
