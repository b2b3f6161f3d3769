"""Reaching the supervisor from a command that works without a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homeport.folders import Folders
    from homeport.kernels.client import SupervisorClient


@asynccontextmanager
async def the_supervisor(folders: Folders) -> AsyncGenerator[SupervisorClient | None]:
    """A connection to the supervisor of this user and host; None when there is none, and so no kernel.

    A supervisor that left takes its socket along. One that was killed leaves the socket, and kernels that live: then another one is
    started, which adopts them.

    Raises:
        SupervisorUnavailable: there is one, and it does not answer or speaks another protocol.
    """
    from homeport.kernels.client import SupervisorClient

    if not (folders.sockets / "supervisor.sock").exists():
        yield None
        return
    supervisor = SupervisorClient(folders)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.close()
