"""``--idle-shutdown`` with real kernels: only what nobody looks at and what does not run is stopped, and the page says so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from websockets.asyncio.client import connect

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.kernel_client import becomes
from harness.server import MakeServer
from homeport.folders import Folders
from homeport.kernels.client import SupervisorClient

ALLOWED = 4
"""Seconds; several times what a busy machine takes to tell that somebody looks."""


@pytest_asyncio.fixture
async def supervisor(make_server: MakeServer) -> AsyncIterator[SupervisorClient]:
    client = SupervisorClient(Folders.from_environment())
    await client.start()
    yield client
    await client.close()


async def test_only_what_is_left_alone_is_stopped(
    supervisor: SupervisorClient, make_server: MakeServer, open_document: OpenDocument
) -> None:
    server = make_server(options=(f"--idle-shutdown={ALLOWED}",))
    for name in ("looked", "left", "busy", "client"):
        notebooks.write(server.root / f"{name}.ipynb", "x = 1", "import time; time.sleep(300)")
    await server.start()
    pages: dict[str, DocumentClient] = {}
    kernels: dict[str, str] = {}
    for name in ("looked", "busy", "client", "left"):
        page = pages[name] = await open_document(server, f"{name}.ipynb")
        await page.ran("cell-0")
        kernels[name] = page.state["kernel"]["id"]

    def state(name: str) -> str:
        return supervisor.kernels[kernels[name]].state

    await pages["busy"].run("cell-1")
    await becomes(supervisor, lambda: state("busy") == "busy", seconds=60)
    address = f"{server.url.replace('http', 'ws', 1)}api/kernels/{kernels['client']}/channels"
    async with connect(address, additional_headers=server.headers):
        for name in ("busy", "client", "left"):
            await pages[name].close()
        await becomes(supervisor, lambda: state("left") == "dead", seconds=60)
        assert supervisor.kernels[kernels["left"]].reason == f"was stopped: idle for {ALLOWED} s"
        # These have been idle for longer than that one.
        assert [state(name) for name in ("looked", "client", "busy")] == ["idle", "idle", "busy"]
    page = await open_document(server, "left.ipynb")
    assert page.state["kernel"]["state"] == "dead"
    assert page.state["kernel"]["reason"] == f"was stopped: idle for {ALLOWED} s"
    await becomes(supervisor, lambda: state("client") == "dead", seconds=60)
    assert [state(name) for name in ("looked", "busy")] == ["idle", "busy"]
    await page.ran("cell-0")
    assert "The kernel had ended (was stopped: idle" in str(page.state["notices"])
