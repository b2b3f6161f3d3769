"""How long a server's event loop stalls, seen from outside: small requests in a row on one connection while something big happens.

A stall is the longest that a small request took, less what such requests take on the quiet server.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from types import TracebackType

from bench.servers import RunningServer

_BEFORE = 20

# The big request's own process: its client must not take time from the small ones.
_FETCH = """
import http.client, sys
method, port, token, path, body = sys.argv[1:6]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=300)
data = open(body, "rb").read() if body else None
headers = {"Authorization": "token " + token}
if data: headers["Content-Type"] = "application/json"
sys.stdin.readline()
connection.request(method, path, data, headers)
answer = connection.getresponse()
content = answer.read()
sys.stdout.buffer.write(str(answer.status).encode() + b"\\n" + content)
"""


class Stall:
    """Sends small requests from entering to leaving. Use it as an asynchronous context manager."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._times: list[float] = []
        self.longest = 0.0
        """Seconds; known when the context has been left."""

    async def __aenter__(self) -> Stall:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        quiet = [await self._ask() for _ in range(_BEFORE)]
        self._usual = statistics.median(quiet)
        self._asking = asyncio.create_task(self._ask_on())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._asking
        self._writer.close()
        self.longest = max(max(self._times, default=0.0) - self._usual, 0.0)

    async def _ask_on(self) -> None:
        while True:
            self._times.append(await self._ask())
            await asyncio.sleep(0.002)

    async def _ask(self) -> float:
        began = time.perf_counter()
        self._writer.write(
            f"GET /api HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\nAuthorization: token {self._server.token}\r\n\r\n".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length"))
        await self._reader.readexactly(length)
        return time.perf_counter() - began

    async def fetch(self, method: str, path: str, body: str = "") -> tuple[int, bytes]:
        """One big request from a process of its own, with the content of the file ``body``; status and answer."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _FETCH, method, str(self._server.port), self._server.token, path, body,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate(b"go\n")
        status, _, content = output.partition(b"\n")
        return int(status or 0), content
