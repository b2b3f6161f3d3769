"""A client that speaks Jupyter's protocol over ``/api/kernels/<id>/channels``, in either sub-protocol."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from typing import Any

from bench.kernel_socket import SUBPROTOCOL, decode, encode
from websockets.asyncio.client import ClientConnection, connect


class Client:
    """One of Jupyter's clients, in either sub-protocol; ``session`` is what it calls itself in the address and in its headers.

    ``had``: the ids of the messages that it has. What was on its way when a server died comes once more, under the same id.
    """

    def __init__(self, link: ClientConnection, session: str, had: Set[str]) -> None:
        self._link = link
        self._session = session
        self._had_before = frozenset(had)
        self.had = set(had)
        self.twice = 0

    async def execute(self, code: str) -> str:
        """Send an execute request; its msg_id."""
        msg_id = uuid.uuid4().hex
        header: dict[str, object] = {
            "msg_id": msg_id,
            "msg_type": "execute_request",
            "session": self._session,
            "username": "",
            "version": "5.3",
        }
        content: dict[str, object] = {"code": code, "silent": False, "allow_stdin": False}
        if self._link.subprotocol == SUBPROTOCOL:
            await self._link.send(encode("shell", header, content))
        else:
            message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
            await self._link.send(json.dumps(message))
        return msg_id

    async def next(self) -> tuple[str, str, str, dict[str, Any]]:
        """Channel, type, msg_id of the request, and content of the next message that it does not have yet."""
        while True:
            frame = await asyncio.wait_for(self._link.recv(), 60)
            if isinstance(frame, bytes):
                channel, parts = decode(frame)
                header, parent, content = (json.loads(parts[number]) for number in (0, 1, 3))
            else:
                message = json.loads(frame)
                channel, header, parent, content = (message[key] for key in ("channel", "header", "parent_header", "content"))
            if header["msg_id"] not in self._had_before:
                break
            self.twice += 1
        assert header["msg_id"] not in self.had, "over one link, nothing comes twice"
        self.had.add(header["msg_id"])
        return channel, header["msg_type"], parent.get("msg_id", ""), content

    async def text(self, request: str, *, until: str = "") -> str:
        """What the request printed, up to its end, or until ``until`` is in it."""
        text, missing = "", {"execute_reply", "idle"}
        while missing and not (until and until in text):
            _, kind, parent, content = await self.next()
            if parent != request:
                continue
            text += content["text"] if kind == "stream" else ""
            missing -= {kind, content.get("execution_state", "")}
        return text


@asynccontextmanager
async def client(
    url: str, token: str, kernel: str, *, session: str = "", v1: bool = True, had: Set[str] = frozenset()
) -> AsyncIterator[Client]:
    """A link to a kernel, as jupyter_server's clients open it."""
    session = session or uuid.uuid4().hex
    address = f"{url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?session_id={session}&token={token}"
    async with connect(address, subprotocols=[SUBPROTOCOL] if v1 else None, max_size=None) as link:
        assert (link.subprotocol == SUBPROTOCOL) == v1
        yield Client(link, session, had)
