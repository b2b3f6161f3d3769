"""The server is killed while Jupyter's clients listen to a cell: one that comes back gets what it missed, a new one all that runs.

What was on its way when the server died comes once more, under the same id, and is dropped by the clients here.
"""

from __future__ import annotations

import asyncio
import uuid

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from harness import faults, notebooks, supervisors
from harness.document_client import OpenDocument
from harness.faults import Count, Moments, RecordFault, Story
from harness.jupyter_client import client
from harness.server import Server

pytestmark = [pytest.mark.timeout(240), pytest.mark.expect_log("event loop stood still")]

LINES = 10_000 if faults.LONG else 3_000
KILLS = 10 if faults.LONG else 3
CELL = f"""\
import os, time
for number in range(1, {LINES} + 1):
    print(number, flush=True)
    if os.path.exists(f"break-{{number}}"):
        os.remove(f"break-{{number}}")
    while number == {LINES} - 100 and not os.path.exists("all-broken"):
        time.sleep(0.01)
    time.sleep(0.001)
"""


class Listener:
    """Somebody's client, which connects again whenever its link is gone, until the cell has ended."""

    def __init__(self, server: Server, kernel: str, session: str) -> None:
        self.text = ""
        self.links = 0
        self.statuses: set[int] = set()
        """HTTP's, with which it was refused."""
        self.twice = 0
        self._connected = asyncio.Event()
        self._server, self._kernel, self._session = server, kernel, session
        self._had: set[str] = set()

    async def listen(self) -> None:
        """To the end of the cell."""
        over = False
        while not over:
            over = await self._listen_once()
            await asyncio.sleep(0.02)  # the server is away: nobody says when it is back

    async def connected(self) -> None:
        """Wait for its first link."""
        await asyncio.wait_for(self._connected.wait(), 60)

    async def _listen_once(self) -> bool:
        link = None
        try:
            async with client(self._server.url, self._server.token, self._kernel, session=self._session, had=self._had) as link:
                self.links += 1
                self._connected.set()
                while True:
                    channel, kind, _, content = await link.next()
                    if kind == "stream":
                        self.text += content["text"]
                    elif channel == "iopub" and content.get("execution_state") == "idle" and self.text.endswith(f"\n{LINES}\n"):
                        return True
        except InvalidStatus as error:
            self.statuses.add(error.response.status_code)
            return False
        except (OSError, ConnectionClosed, InvalidHandshake):
            return False
        finally:
            if link is not None:
                self._had |= link.had
                self.twice += link.twice


async def test_clients_come_back_after_the_server_was_killed(
    server: Server, open_document: OpenDocument, record_fault: RecordFault
) -> None:
    story = Story(f"{KILLS} x SIGKILL to the server while Jupyter's clients listen to a cell")
    notebooks.write(server.root / "a.ipynb", CELL)
    moments = Moments(server.root, story, range(20, LINES - 200), KILLS)
    page = await open_document(server, "a.ipynb")
    await page.operate("start_kernel", name="python3", seconds=60)
    (kernel,) = await supervisors.kernels()
    old = Listener(server, kernel, "the-same")
    listening = [asyncio.create_task(old.listen())]
    await old.connected()
    await page.run()
    new = Listener(server, kernel, uuid.uuid4().hex)
    kills = 0
    async for line in moments:
        await server.kill()
        await asyncio.sleep(story.random.uniform(0, 0.3))
        await server.start()
        story.say(f"killed at line {line:,}, and back")
        kills += 1
        if kills == KILLS:
            listening.append(asyncio.create_task(new.listen()))
            await new.connected()
    await asyncio.wait_for(asyncio.gather(*listening), 90)
    await page.until(lambda: page.state.get("queue") == [] and page.state["save"]["state"] == "saved", "the end of the run", seconds=90)
    disk = Count.of(notebooks.stream_text(notebooks.read(server.root / "a.ipynb")["cells"][0]), LINES)
    for listener, who in (old, "its session id"), (new, "a new one, and gets all that runs"):
        shown = Count.of(listener.text, LINES)
        story.say(f"under {who}: {shown}, over {listener.links} links; {listener.twice} messages came twice")
        record_fault(
            "the server goes",
            f"SIGKILL; a Jupyter client that drops what it has comes back under {who}",
            times=KILLS,
            disk=disk,
            page=shown,
        )
        assert shown.whole
        assert listener.statuses <= {503}, "a server that has just started does not say that the kernel is gone"
    assert disk.whole
