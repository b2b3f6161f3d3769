"""Pages that stop reading while a cell floods: the server's memory stays bounded, others notice nothing, and they catch up."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from urllib.parse import urlencode

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from harness import notebooks
from harness.document_client import CONTROL, PART, SYNC, DocumentClient, OpenDocument, varint
from harness.server import Server
from homeport.core.output_buffer import STREAM_KEY

READERS = 12
MIB = 1024 * 1024
# Random, so that no compression hides what is held; each line has the time at which it was printed.
FLOOD = """import os, time
number = globals().get("number", 0) + 1
end = time.time() + 8
while time.time() < end:
    print(time.time(), os.urandom(150).hex())
    time.sleep(0.0005)
print("flood", number, "is over")"""


class Stopped:
    """A page that says hello and then reads nothing until :meth:`read_on`."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link

    @classmethod
    async def open(cls, server: Server, ticket: str, *, marks: bool) -> Stopped:
        query = urlencode({"path": "a.ipynb", "ticket": ticket})
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # a browser's may grow to megabytes
        url = f"{server.url.replace('http', 'ws', 1)}api/documents/socket?{query}"
        link = await connect(url, sock=raw, origin=None, max_size=None, max_queue=1, compression=None, ping_interval=None)
        hello = {"op": "hello", "protocol": 1, "epoch": None, "client": "slow", "marks": marks}
        await link.send(varint(CONTROL) + json.dumps(hello).encode())
        await link.send(bytes((SYNC, 0, 1, 0)))
        return cls(link)

    async def read_on(self, until: bytes) -> int:
        """Read until ``until`` has come; the bytes that it took."""
        taken, frame = 0, b""
        async with asyncio.timeout(30):
            while True:
                message = await self.link.recv()
                assert isinstance(message, bytes)
                taken += len(message)
                if message[0] == CONTROL and (control := json.loads(message[1:]))["op"] == "mark":
                    await self.link.send(varint(CONTROL) + json.dumps({"op": "marked", "n": control["n"]}).encode())
                frame = frame + message[2:] if message[0] == PART else message
                if until in frame:
                    return taken


def memory(server: Server) -> float:
    """MiB that the server's process holds by itself."""
    return psutil.Process(server.pid).memory_full_info().uss / MIB


async def flooded(client: DocumentClient, server: Server) -> tuple[float, list[float]]:
    """Run the flood. The most memory meanwhile, and how old the newest line was each time that something came."""
    most, ages, begun = 0.0, [], time.time()
    await client.run("cell-0")
    while True:
        before = client.text("cell-0")
        await client.until(lambda before=before: client.text("cell-0") != before, "more lines")
        most = max(most, memory(server))
        *_, last = client.text("cell-0").rstrip().splitlines() or [""]
        age = last.split(" ")[0]
        if last.startswith("flood") and ages:
            return most, ages
        if age.replace(".", "", 1).isdecimal() and float(age) > begun:
            ages.append(time.time() - float(age))


@pytest.mark.parametrize("marks", [False, True], ids=["any Yjs client", "our page"])
async def test_readers_that_stop_cost_little_and_are_brought_up_to_date(server: Server, open_document: OpenDocument, marks: bool) -> None:
    notebooks.write(server.root / "a.ipynb", FLOOD)
    watcher = await open_document(server, "a.ipynb")
    without, _ = await flooded(watcher, server)
    # What it printed is put away in one piece, which takes memory for a moment that has nothing to do with readers.
    await watcher.until(lambda: "sha256" in watcher.outputs("cell-0")[0].get(STREAM_KEY, {}), "the text to be put away")
    stopped = [await Stopped.open(server, await watcher._ticket(), marks=marks) for _ in range(READERS)]
    with_them, ages = await flooded(watcher, server)
    ages.sort()
    print(
        f"{without:.0f} MiB without, {with_them:.0f} MiB with {READERS} stopped readers; lines reached the other page after "
        f"{1000 * ages[len(ages) // 2]:.0f} ms (median), {1000 * ages[-1]:.0f} ms (most)"
    )
    # The limit is 256 KiB a page, and as much again for what is on its way; all that they missed would be ten times as much.
    assert with_them - without < READERS * 1.5, "memory"
    assert ages[len(ages) // 2] < 0.5
    taken = [await each.read_on(b"flood 2 is over") for each in stopped]
    print(f"brought up to date with {min(taken) // 1024} to {max(taken) // 1024} KiB")
    assert max(taken) < 2 * MIB
    for each in stopped:
        each.link.transport.abort()


async def test_a_server_with_stopped_readers_stops_at_once(server: Server, open_document: OpenDocument) -> None:
    notebooks.write(server.root / "a.ipynb", FLOOD.replace("+ 8", "+ 2"))
    watcher = await open_document(server, "a.ipynb")
    stopped = [await Stopped.open(server, await watcher._ticket(), marks=False) for _ in range(3)]
    await flooded(watcher, server)
    await watcher.close()
    began = time.monotonic()
    assert await server.kill(signal.SIGTERM) == 0
    assert time.monotonic() - began < 8
    for each in stopped:
        each.link.transport.abort()
