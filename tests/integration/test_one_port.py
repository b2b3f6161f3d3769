"""A firewall has one port to open: what listens while ten kernels run."""

from __future__ import annotations

import asyncio
import os

import psutil
import pytest

from harness import processes
from harness.rest import rest
from harness.server import MakeServer

pytestmark = pytest.mark.needs("linux")
KERNELS = 10
LOOPBACK = ("127.0.0.1", "::1")


def listening() -> list[tuple[int, str, int]]:
    """Every socket of this test's processes to which somebody could connect or send: process, address, port."""
    return [
        (each.pid, socket.laddr.ip, socket.laddr.port)
        for each in processes.marked(os.environ[processes.VARIABLE])
        for socket in psutil.Process(each.pid).net_connections("inet")
        if socket.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)  # UDP has no state
    ]


@pytest.mark.expect_log("without TLS")
async def test_one_port_whatever_the_number_of_kernels(make_server: MakeServer) -> None:
    server = make_server(options=("--ip=*", "--insecure"))
    await server.start()
    kernels = await asyncio.gather(*(rest(server, "POST", "api/kernels", json={"name": "python3"}) for _ in range(KERNELS)))
    assert len({kernel.json()["id"] for kernel in kernels}) == KERNELS
    sockets = listening()
    others = [socket for socket in sockets if socket[1] not in LOOPBACK]
    assert {(pid, port) for pid, _, port in others} == {(server.pid, server.port)}, "one process, one port"
    # IPython's kernel opens one for its own forked children, reachable from this machine alone. Nothing else listens, not even there.
    inside = [pid for pid, address, _ in sockets if address in LOOPBACK]
    assert all("ipykernel_launcher" in psutil.Process(pid).cmdline() for pid in inside)
    assert len(inside) == len(set(inside)) <= KERNELS
