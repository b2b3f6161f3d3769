"""A client for ``/api/kernels/ID/channels`` with the sub-protocol ``v1.kernel.websocket.jupyter.org``: the same for all servers."""

from __future__ import annotations

import json
import socket
import struct
import uuid
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import TracebackType

import websockets.asyncio.client
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from bench.servers import RunningServer

SUBPROTOCOL = Subprotocol("v1.kernel.websocket.jupyter.org")


def encode(channel: str, header: Mapping[str, object], content: Mapping[str, object]) -> bytes:
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


class Execution:
    """One execute request of the session ``session``: its frame, and what has come of it."""

    def __init__(self, session: str, code: str, count: Callable[[str], None]) -> None:
        msg_id = uuid.uuid4().hex
        header = {
            "msg_id": msg_id, "msg_type": "execute_request", "session": session, "username": "bench", "version": "5.3",
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
        self.frame = encode("shell", header, content)
        self._mine = msg_id.encode()
        self._count = count
        self._replied = self._idle = False

    @property
    def over(self) -> bool:
        """Whether both its reply and its idle are here."""
        return self._replied and self._idle

    def take(self, frame: bytes) -> None:
        """A frame has come.

        Raises:
            RuntimeError: the code failed.
        """
        channel, parts = decode(frame)
        if self._mine not in parts[1]:
            return
        kind = json.loads(parts[0])["msg_type"]
        if channel == "iopub":
            self._count(kind)
            self._idle = self._idle or (kind == "status" and json.loads(parts[3])["execution_state"] == "idle")
        elif kind == "execute_reply":
            self._replied = True
            if json.loads(parts[3])["status"] != "ok":
                raise RuntimeError(f"the code failed: {parts[3][:500]!r}")


def _address(server: RunningServer, kernel_id: str, session: str) -> str:
    url = server.url.replace("http", "ws", 1)
    return f"{url}/api/kernels/{kernel_id}/channels?session_id={session}&token={server.token}"


class KernelSocket:
    """A connection to one kernel. Use it as an asynchronous context manager."""

    def __init__(self, server: RunningServer, kernel_id: str) -> None:
        self._session = uuid.uuid4().hex
        self._connecting = websockets.asyncio.client.connect(
            _address(server, kernel_id, self._session),
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
        execution = Execution(self._session, code, count)
        await self._socket.send(execution.frame)
        while not execution.over:
            frame = await self._socket.recv()
            assert isinstance(frame, bytes)
            execution.take(frame)


class PlainKernelSocket:
    """The same on a blocking socket, without any framework, as the direct client is: it is the server that is measured.

    Use it as a context manager.
    """

    def __init__(self, server: RunningServer, kernel_id: str) -> None:
        self._session = uuid.uuid4().hex
        self._protocol = ClientProtocol(parse_uri(_address(server, kernel_id, self._session)), subprotocols=[SUBPROTOCOL], max_size=None)
        self._address = ("127.0.0.1", server.port)

    def __enter__(self) -> PlainKernelSocket:
        self._socket = socket.create_connection(self._address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol.send_request(self._protocol.connect())
        self._send()
        while not self._events():
            pass
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def _send(self) -> None:
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)

    def _events(self) -> list[Event]:
        """Waits for something; what came of it."""
        self._protocol.receive_data(self._socket.recv(1 << 16))
        self._send()
        return self._protocol.events_received()

    def execute(self, code: str, count: Callable[[str], None] = lambda _: None) -> None:
        """As :meth:`KernelSocket.execute`."""
        execution = Execution(self._session, code, count)
        self._protocol.send_binary(execution.frame)
        self._send()
        while not execution.over:
            for event in self._events():
                if isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                    execution.take(bytes(event.data))
