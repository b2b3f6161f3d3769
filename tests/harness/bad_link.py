"""A proxy between a browser and a server that does what bad networks and bad proxies do: a real one, on real sockets.

It can refuse WebSockets in each of the ways that are seen, delay, slow down, close idle connections, cut them, and go silent
with all connections left open (a half-open link). Everything can be changed while it runs.
What it cannot do, loss of packets and another address of the client, is done with network namespaces (``harness/bad_line.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Literal

import pytest_asyncio

from harness.server import Server

Upgrade = Literal["pass", "400", "403", "strip", "hang"]
_CHUNK = 4096
_ANSWERS = {"400": b"400 Bad Request", "403": b"403 Forbidden"}


@dataclass
class BadLink:
    """A server as it is seen through a bad link; stands in for a :class:`Server` where only its address matters."""

    server: Server
    upgrade: Upgrade = "pass"
    """What becomes of requests to upgrade to a WebSocket. "strip": they arrive as plain requests; "hang": they are never answered."""
    delay: float = 0.0
    """Seconds, each way."""
    rate: float = 0.0
    """Bytes per second of each direction, shared by all connections; 0: as fast as it goes."""
    idle: float = 0.0
    """Seconds without a byte after which a connection is closed; 0: never."""
    port: int = 0
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, without the query."""
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _listening: asyncio.Server | None = None
    _passing: asyncio.Event = field(default_factory=asyncio.Event)
    _down: bool = False
    _free: dict[str, float] = field(default_factory=lambda: {"up": 0.0, "down": 0.0})

    # ---- as a Server ----

    @property
    def url(self) -> str:
        """With a slash at its end."""
        return f"http://127.0.0.1:{self.port}{self.server.base_url}"

    @property
    def token(self) -> str:
        return self.server.token

    @property
    def headers(self) -> dict[str, str]:
        return self.server.headers

    def output(self) -> str:
        """What the server printed."""
        return self.server.output()

    # ---- faults ----

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._open)

    def cut(self) -> None:
        """Cut every connection, as a network does that is gone; new ones are possible."""
        for writer in list(self._open):
            writer.transport.abort()

    def take_down(self) -> None:
        """Cut, and refuse new connections until :meth:`bring_up`."""
        self._down = True
        self.cut()

    def bring_up(self) -> None:
        """New connections are possible again; a silent link speaks again."""
        self._down = False
        self._passing.set()

    def go_silent(self) -> None:
        """Half-open: connections stay, and nothing passes, not even a goodbye."""
        self._passing.clear()

    # ---- its life ----

    async def start(self) -> None:
        self._passing.set()
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._listening is not None
        self._listening.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self._down:
                return
            answers, upstream = await asyncio.open_connection("127.0.0.1", self.server.port)
            life = _Life()
            ways = [self._up(reader, upstream, writer, life), self._pump("down", answers, writer, life)]
            await self._first_of(*ways, *([life.over(self.idle)] if self.idle else []))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, upstream):
                if each is not None:
                    each.transport.abort() if self._down else each.close()
            self._open.discard(writer)
            self._tasks.discard(task)

    async def _first_of(self, *ways: Coroutine[None, None, None]) -> None:
        """Until one of them ends; then the others end too."""
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, client: asyncio.StreamWriter, life: _Life) -> None:
        """Requests: read one by one, because those for an upgrade get something else."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            life.touch()
            request, *lines = head.split(b"\r\n")
            self.requests.append(b" ".join(request.split(b" ")[:2]).split(b"?")[0].decode())
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            if headers.get(b"upgrade", b"").lower() == b"websocket":
                if self.upgrade == "pass":
                    upstream.write(head)
                    await self._pump("up", reader, upstream, life)
                    return
                if self.upgrade == "hang":
                    await reader.read()
                    return
                if self.upgrade in _ANSWERS:
                    client.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % _ANSWERS[self.upgrade])
                    await client.drain()
                    return
                head = b"\r\n".join([request, *(each for each in lines if not each.lower().startswith((b"upgrade:", b"connection:")))])
            await self._pass("up", head, upstream)
            left = int(headers.get(b"content-length", b"0"))
            while left:
                piece = await reader.read(min(left, _CHUNK))
                if not piece:
                    return
                left -= len(piece)
                await self._pass("up", piece, upstream)

    async def _pump(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, life: _Life) -> None:
        """Bytes of one direction, in order: at the rate, then the delay. Ends when the last one has arrived."""
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def leave() -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(_CHUNK):
                    life.touch()
                    await self._leave_end(way, len(data))
                    await travelling.put((time.monotonic() + self.delay, data))
            await travelling.put((0.0, b""))

        leaving = asyncio.create_task(leave())
        try:
            while True:
                at, data = await travelling.get()
                await asyncio.sleep(at - time.monotonic())
                await self._passing.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        finally:
            leaving.cancel()

    async def _pass(self, way: str, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._leave_end(way, len(data))
        await asyncio.sleep(self.delay)
        await self._passing.wait()
        writer.write(data)
        await writer.drain()

    async def _leave_end(self, way: str, size: int) -> None:
        if self.rate:
            now = time.monotonic()
            self._free[way] = max(self._free[way], now) + size / self.rate
            await asyncio.sleep(self._free[way] - now)


class _Life:
    """When a connection was last used, either way."""

    def __init__(self) -> None:
        self.touch()

    def touch(self) -> None:
        """Now."""
        self._used = time.monotonic()

    async def over(self, idle: float) -> None:
        """Wait until it was not used for ``idle`` seconds."""
        while True:
            left = self._used + idle - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)


MakeLink = Callable[..., Coroutine[None, None, BadLink]]


@pytest_asyncio.fixture
async def bad_link(home: object) -> AsyncIterator[MakeLink]:
    """``await bad_link(server, upgrade="403", delay=0.15)``: a running :class:`BadLink`; stopped at the end."""
    links: list[BadLink] = []

    async def make(server: Server, **faults: object) -> BadLink:
        link = BadLink(server, **faults)  # type: ignore[arg-type]
        await link.start()
        links.append(link)
        return link

    yield make
    for link in links:
        await link.stop()
