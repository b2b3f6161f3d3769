"""A client of a real supervisor: starts kernels, runs code in them, and reads all that a cursor gives."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from homeport.errors import SupervisorUnavailable
from homeport.folders import Folders
from homeport.kernels.client import Cursor, Ended, Entry, KernelInfo, SupervisorClient, Truncated
from homeport.protocol.jupyter import Parts, make

SESSION = "the-test"


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[SupervisorClient]:
    """A client with a supervisor, which ends with its kernels at the end."""
    client = SupervisorClient(Folders.from_environment(), linger=5)
    await client.start()
    try:
        yield client
    finally:
        with contextlib.suppress(SupervisorUnavailable):
            await client.shutdown_supervisor(kernels=True)
        await client.close()


async def start(client: SupervisorClient, home: Path, name: str = "python3") -> KernelInfo:
    """A kernel that works in ``home``."""
    return await client.start_kernel(name, cwd=str(home), env=dict(os.environ))


def request(msg_type: str, content: dict[str, object], msg_id: str | None = None, session: str = SESSION) -> Parts:
    """A message of a client."""
    return make(msg_type, content, session=session, msg_id=msg_id or uuid.uuid4().hex, date=datetime.datetime.now(datetime.UTC).isoformat())


async def run(client: SupervisorClient, kernel: KernelInfo, code: str, msg_id: str | None = None) -> str:
    """Have a kernel run code; the id of the request."""
    msg_id = msg_id or uuid.uuid4().hex
    await client.submit(
        kernel.kernel_id, kernel.generation, "shell", request("execute_request", {"code": code, "allow_stdin": True}, msg_id)
    )
    return msg_id


class Log:
    """Everything that a cursor has given."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.items: list[Entry | Truncated | Ended] = []

    async def until(self, there: Callable[[Log], bool], seconds: float = 30) -> Log:
        """Read on until something is there."""
        async with asyncio.timeout(seconds):
            while not there(self):
                self.items += await self.cursor.read()
        return self

    @property
    def entries(self) -> list[Entry]:
        return [item for item in self.items if isinstance(item, Entry)]

    @property
    def ended(self) -> Ended | None:
        return next((item for item in self.items if isinstance(item, Ended)), None)

    def text(self, parent: str | None = None) -> str:
        """What was printed; of one request, if named."""
        found = [entry for entry in self.entries if entry.header.msg_type == "stream" and parent in (None, entry.parent.msg_id)]
        return "".join(json.loads(entry.parts[3])["text"] for entry in found)

    def of(self, msg_type: str, parent: str) -> list[dict[str, object]]:
        """The contents of the messages of a type that belong to a request."""
        return [json.loads(entry.parts[3]) for entry in self.entries if (entry.header.msg_type, entry.parent.msg_id) == (msg_type, parent)]

    def over(self, parent: str) -> bool:
        """Reply and idle of a request are in."""
        return bool(self.of("execute_reply", parent)) and {"execution_state": "idle"} in self.of("status", parent)


async def becomes(client: SupervisorClient, there: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true that changes with an event of the client."""
    changed = asyncio.Event()
    stop = client.subscribe(lambda _: changed.set())
    try:
        async with asyncio.timeout(seconds):
            while not there():
                await changed.wait()
                changed.clear()
    finally:
        stop()
