"""A TCP proxy that makes a slow link: one rate per direction, shared by all connections, and a delay.

What it does: bytes of each direction pass one after the other at the rate, then travel for half the round trip. A new
connection waits a whole round trip more before its first bytes pass, as a TCP handshake would make it. At most what the
link holds is buffered, so the sender feels the slowness as on a real one. What it does not: loss, and TCP's slow start.

``python -m bench.proxy --to PORT`` prints the port that it listens on and runs until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import dataclass

_CHUNK = 2896
"""Two Ethernet packets' worth: connections take turns in steps of this size."""


@dataclass
class Direction:
    """One direction of the link. The only owner of when it is free again."""

    rate: float
    """Bytes per second."""
    delay: float
    """Seconds that a byte travels."""
    free_at: float = 0.0

    def take(self, size: int, now: float) -> float:
        """Put ``size`` bytes on the link; the time when the last of them has left this end."""
        self.free_at = max(self.free_at, now) + size / self.rate
        return self.free_at


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Direction, starts_at: float) -> None:
    loop = asyncio.get_running_loop()
    travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        while True:
            at, data = await travelling.get()
            await asyncio.sleep(at - loop.time())
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    arriving = asyncio.create_task(arrive())
    try:
        await asyncio.sleep(starts_at - loop.time())
        while data := await reader.read(_CHUNK):
            sent = link.take(len(data), loop.time())
            travelling.put_nowait((sent + link.delay, data))
            await asyncio.sleep(sent - loop.time())
        travelling.put_nowait((loop.time() + link.delay, b""))
        await arriving
    except OSError:
        arriving.cancel()


async def serve(to_port: int, *, rate: float, round_trip: float, port: int = 0) -> asyncio.Server:
    """Listen on 127.0.0.1 and pass on to ``to_port``.

    Args:
        rate: bits per second of each direction.
        round_trip: seconds.
        port: 0 lets the system choose.
    """
    loop = asyncio.get_running_loop()
    up, down = Direction(rate / 8, round_trip / 2), Direction(rate / 8, round_trip / 2)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", to_port)
        except OSError:
            writer.close()
            return
        begins = loop.time()
        try:
            await asyncio.gather(
                _pump(reader, server_writer, up, begins + round_trip),
                _pump(server_reader, writer, down, begins),
            )
        finally:
            for each in (writer, server_writer):
                each.close()

    return await asyncio.start_server(connected, "127.0.0.1", port, limit=_CHUNK * 4)


async def _main(arguments: argparse.Namespace) -> None:
    server = await serve(arguments.to, rate=arguments.rate, round_trip=arguments.rtt, port=arguments.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A TCP proxy that makes a slow link.")
    parser.add_argument("--to", type=int, required=True, metavar="PORT", help="the port on 127.0.0.1 to pass on to")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0: any")
    parser.add_argument("--rate", type=float, default=1.6e6, metavar="BITS", help="bits per second of each direction [1600000]")
    parser.add_argument("--rtt", type=float, default=0.15, metavar="SECONDS", help="round trip time [0.15]")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
