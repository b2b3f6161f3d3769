"""A client for ``/api/kernels/ID/channels`` with the sub-protocol ``v1.kernel.websocket.jupyter.org``: the same for all servers."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType

import websockets.asyncio.client
from websockets.typing import Subprotocol

from bench.servers import RunningServer

SUBPROTOCOL = Subprotocol("v1.kernel.websocket.jupyter.org")


def encode(channel: str, header: dict[str, object], content: dict[str, object]) -> bytes:
    """One message as this sub-protocol has it: number of offsets, offsets, channel, header, parent, metadata, content."""
    parts = [channel.encode(), json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def decode(frame: bytes) -> tuple[str, list[bytes]]:
    """Channel, and the parts from the header on."""
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    parts = [frame[start:end] for start, end in pairwise(offsets)]
    return parts[0].decode(), parts[1:]


class KernelSocket:
    """A connection to one kernel. Use it as an asynchronous context manager."""

    def __init__(self, server: RunningServer, kernel_id: str) -> None:
        self._session = uuid.uuid4().hex
        url = server.url.replace("http", "ws", 1)
        self._connecting = websockets.asyncio.client.connect(
            f"{url}/api/kernels/{kernel_id}/channels?session_id={self._session}&token={server.token}",
            subprotocols=[SUBPROTOCOL],
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
        )
        self._socket: websockets.asyncio.client.ClientConnection | None = None

    async def __aenter__(self) -> KernelSocket:
        self._socket = await self._connecting
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._socket is not None
        await self._socket.close()

    async def execute(self, code: str, count: Callable[[str], None] = lambda _: None) -> None:
        """Run ``code`` and wait for its reply and for idle; ``count`` is called with the type of every iopub message of it.

        Raises:
            RuntimeError: the code failed.
        """
        assert self._socket is not None
        msg_id = uuid.uuid4().hex
        header = {
            "msg_id": msg_id, "msg_type": "execute_request", "session": self._session, "username": "bench", "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        await self._socket.send(encode("shell", header, content))
        replied = idle = False
        mine = msg_id.encode()
        while not (replied and idle):
            frame = await self._socket.recv()
            assert isinstance(frame, bytes)
            channel, parts = decode(frame)
            if mine not in parts[1]:
                continue
            kind = json.loads(parts[0])["msg_type"]
            if channel == "iopub":
                count(kind)
                idle = idle or (kind == "status" and json.loads(parts[3])["execution_state"] == "idle")
            elif kind == "execute_reply":
                replied = True
                if json.loads(parts[3])["status"] != "ok":
                    raise RuntimeError(f"the code failed: {parts[3][:500]!r}")
