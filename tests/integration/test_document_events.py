"""Open documents over plain HTTP: the stream of events and the numbered POSTs, spoken byte by byte by a raw client."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse

from harness import notebooks
from harness.edge import Edge, serving
from homeport.web import event_streams


@pytest.fixture
async def edge(home: Path) -> AsyncIterator[Edge]:
    async with serving(home, base_url="/base/") as edge:
        notebooks.write(edge.root / "a.ipynb", "x = 1")
        notebooks.write(edge.root / "long.ipynb", "# " + "many words " * 400)
        yield edge


class Stream:
    """One browser's stream, read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader, self.writer = reader, writer
        self.status = int(head.split()[1])
        self.head = head.decode().lower()
        self.id = ""

    @classmethod
    async def open(cls, edge: Edge, browser: dict[str, str]) -> Stream:
        ticket = json.loads((await edge.fetch("api/documents/ticket", "POST", token=None, headers=browser)).body)["ticket"]
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
        writer.write(f"GET /base/api/documents/events?ticket={ticket} HTTP/1.1\r\nHost: {edge.authority}\r\n\r\n".encode())
        stream = cls(reader, writer, await reader.readuntil(b"\r\n\r\n"))
        if stream.status == 200:
            channel, kind, stream.id = await stream.event()
            assert (channel, kind) == ("-", "o")
        return stream

    async def event(self) -> tuple[str, str, str]:
        """The next event: channel, kind, body."""
        async with asyncio.timeout(10):
            while True:
                line = (await self.reader.readline()).decode()
                if line.startswith("data: "):
                    channel, kind, body = line[6:].strip().split(" ", 2)
                    return channel, kind, body
                assert line, "the stream has ended"

    async def frame(self, channel: str) -> bytes:
        """The next frame of a channel."""
        while True:
            name, kind, body = await self.event()
            if name == channel:
                assert kind in "fz", (kind, body)
                data = base64.b64decode(body)
                return zlib.decompress(data, -15) if kind == "z" else data

    async def control(self, channel: str, op: str) -> dict[str, object]:
        """The next control frame of that op."""
        while True:
            frame = await self.frame(channel)
            if frame[0] == 100 and (message := json.loads(frame[1:]))["op"] == op:
                return message

    def close(self) -> None:
        self.writer.close()


def piece(*messages: dict[str, object]) -> bytes:
    frames = [b"\x64" + json.dumps(message).encode() for message in messages]
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


async def post(edge: Edge, browser: dict[str, str], stream: str, channel: str, number: int, body: bytes) -> HTTPResponse:
    path = f"api/documents/events/{stream}/{channel}?number={number}"
    return await edge.fetch(path, "POST", token=None, headers=browser, raw=body)


async def opened(edge: Edge, browser: dict[str, str], stream: Stream, path: str = "a.ipynb", **more: object) -> str:
    channel = secrets.token_hex(8)
    answer = await post(edge, browser, stream.id, channel, 0, json.dumps({"path": path, **more}).encode())
    assert answer.code == 204, answer.body
    return channel


HELLO: dict[str, object] = {"op": "hello", "protocol": 1, "epoch": None, "client": "test"}


async def test_a_document_over_events_and_posts(edge: Edge) -> None:
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    for header in ("content-type: text/event-stream", "x-accel-buffering: no", "no-transform", "content-security-policy:"):
        assert header in stream.head
    channel = await opened(edge, browser, stream)
    assert (await stream.control(channel, "hello"))["path"] == "a.ipynb"
    assert (await post(edge, browser, stream.id, channel, 1, piece(HELLO))).code == 204
    assert (await post(edge, browser, stream.id, channel, 2, piece({"op": "ping", "t": 7}))).code == 204
    assert (await stream.control(channel, "pong"))["t"] == 7
    stream.close()


async def test_a_piece_counts_once_and_in_order(edge: Edge) -> None:
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    channel = await opened(edge, browser, stream)
    assert (await post(edge, browser, stream.id, channel, 0, b'{"path": "a.ipynb"}')).code == 204, "its answer may have been lost"
    await post(edge, browser, stream.id, channel, 1, piece(HELLO, {"op": "ping", "t": 1}))
    await post(edge, browser, stream.id, channel, 1, piece(HELLO, {"op": "ping", "t": 1}))
    whole = piece({"op": "ping", "t": 2})
    await post(edge, browser, stream.id, channel, 2, whole[:9])
    await post(edge, browser, stream.id, channel, 3, whole[9:])
    assert [(await stream.control(channel, "pong"))["t"] for _ in range(2)] == [1, 2]
    answer = await post(edge, browser, stream.id, channel, 5, piece({"op": "ping", "t": 5}))
    assert answer.code == 400
    assert "Piece 4 was to come" in json.loads(answer.body)["message"]
    while (event := await stream.event())[1] != "x":
        pass
    assert event[0] == channel
    assert (await post(edge, browser, stream.id, channel, 4, piece({"op": "ping", "t": 4}))).code == 404
    stream.close()


async def test_long_frames_are_packed_for_those_who_can_unpack(edge: Edge) -> None:
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    kinds: dict[bool, set[str]] = {}
    for packed in (True, False):
        channel = await opened(edge, browser, stream, "long.ipynb", packed=packed)
        step1 = b"\x00\x00\x01\x00"
        await post(edge, browser, stream.id, channel, 1, piece(HELLO) + struct.pack(">I", len(step1)) + step1)
        sizes: dict[str, int] = {}
        while "z" not in sizes and sizes.get("f", 0) < 4000:
            name, kind, body = await stream.event()
            if name == channel:
                sizes[kind] = max(sizes.get(kind, 0), len(body))
        kinds[packed] = set(sizes)
    assert "z" in kinds[True]
    assert kinds[False] == {"f"}
    stream.close()


async def test_two_tabs_share_a_stream_and_leave_alone(edge: Edge) -> None:
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    first, second = await opened(edge, browser, stream), await opened(edge, browser, stream)
    document = edge.parts.documents.get("a.ipynb")
    assert document is not None
    assert len(document.room.peers) == 2
    gone = await edge.fetch(f"api/documents/events/{stream.id}/{first}", "DELETE", token=None, headers=browser)
    assert gone.code == 204
    assert len(document.room.peers) == 1
    await post(edge, browser, stream.id, second, 1, piece(HELLO, {"op": "ping", "t": 3}))
    assert (await stream.control(second, "pong"))["t"] == 3
    stream.close()
    await stream.writer.wait_closed()
    assert (await post(edge, browser, stream.id, second, 2, b"")).code == 404
    assert not document.room.peers


async def test_a_stream_is_for_whoever_is_logged_in_as_its_user(edge: Edge) -> None:
    browser, again = dict(await edge.browser()), dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    first, second = await opened(edge, browser, stream), await opened(edge, again, stream)
    without = {"Cookie": browser["Cookie"]}
    assert (await post(edge, without, stream.id, first, 1, piece(HELLO))).code == 403, "XSRF"
    for wrong in ("short", "with%20space", "x" * 65):
        assert (await post(edge, browser, stream.id, wrong, 0, b"{}")).code in (400, 404)
    # The browser has logged in once more: what its tabs had begun goes on.
    assert (await post(edge, again, stream.id, first, 1, piece(HELLO))).code == 204
    for login, ended in ((again, second), (browser, first)):
        assert (await edge.fetch("logout", "POST", token=None, headers=login)).code in (200, 302)
        while (event := await stream.event())[1] != "x":
            pass
        assert event == (ended, "x", '"This login has ended."')
    assert (await post(edge, browser, stream.id, first, 2, b"")).code == 401
    assert edge.parts.connections.total == 0
    stream.close()


async def test_what_cannot_be_opened_says_why(edge: Edge) -> None:
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    for path, status in (("none.ipynb", 404), ("../a.ipynb", 403), (".hidden.ipynb", 404)):
        answer = await post(edge, browser, stream.id, secrets.token_hex(8), 0, json.dumps({"path": path}).encode())
        assert answer.code == status, (path, answer.body)
        assert json.loads(answer.body)["message"]
    stream.close()


async def test_garbage_ends_its_channel_only(edge: Edge) -> None:
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    bad, good = await opened(edge, browser, stream), await opened(edge, browser, stream)
    answer = await post(edge, browser, stream.id, bad, 1, b"\xff\xff\xff\xffgarbage")
    assert answer.code == 400
    answer = await post(edge, browser, stream.id, good, 1, piece(HELLO, {"op": "ping", "t": 9}))
    assert answer.code == 204
    assert (await stream.control(good, "pong"))["t"] == 9
    stream.close()


async def test_a_quiet_stream_says_that_it_is_there_and_forgets_silent_tabs(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "HEARTBEAT_EVERY", 0.05)
    monkeypatch.setattr(event_streams, "SILENT_CHANNEL", 0.2)
    monkeypatch.setattr(event_streams, "EMPTY_STREAM", 0.2)
    browser = dict(await edge.browser())
    stream = await Stream.open(edge, browser)
    channel = await opened(edge, browser, stream)
    async with asyncio.timeout(10):
        rest = (await stream.reader.readuntil(b"\r\n0\r\n\r\n")).decode()  # ends by itself: no tab is left
    assert "\n:\n" in rest
    assert f'data: {channel} x ""' in rest
    stream.close()
