"""Clients that leave in the middle of an answer: nobody is told of an error, and the server goes on."""

from __future__ import annotations

import asyncio
import socket
import struct

from harness.server import Server


async def test_a_client_that_leaves_while_it_is_answered(server: Server) -> None:
    (server.root / "big.bin").write_bytes(bytes(8 << 20))

    async def ask(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"GET /{path} HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: token {server.token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        return reader, writer

    async def whole(path: str) -> bytes:
        reader, writer = await ask(path)
        answer = await reader.read()
        writer.close()
        return answer

    await whole("api/kernelspecs")  # the supervisor is there
    for path in ("files/big.bin", "api/contents/big.bin", "api/kernelspecs"):
        reader, writer = await ask(path)
        if path != "api/kernelspecs":
            await reader.readexactly(1)
        # SO_LINGER of no time: a reset, not a goodbye.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    assert b" 200 OK" in await whole("api/kernelspecs")
    # The log is looked at when the server has been stopped.
