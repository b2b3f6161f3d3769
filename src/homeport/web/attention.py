"""Tells the supervisor which kernels are looked at, so that ``--idle-shutdown`` leaves them alone.

A kernel is looked at while a page has its notebook open or a Jupyter client is attached to it. Whoever has just left is told once more:
the time that a kernel is left alone begins when the last one leaves. How long that may last is the supervisor's to watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from homeport.errors import KernelGone, SupervisorUnavailable

if TYPE_CHECKING:
    from homeport.documents.registry import Documents
    from homeport.kernels.client import SupervisorClient
    from homeport.kernels.sessions import Sessions
    from homeport.web.connections import Connections

_LONGEST = 60.0


class Attention:
    """See the module. Nothing is told while no kernel is ever stopped for being idle.

    Args:
        documents: whose pages look at kernels.
        connections: of Jupyter clients.
        sessions: which notebook has which kernel.
        supervisor: is told.
        idle_shutdown: seconds; None: never.
    """

    def __init__(
        self,
        *,
        documents: Documents,
        connections: Connections,
        sessions: Sessions,
        supervisor: SupervisorClient,
        idle_shutdown: float | None,
    ) -> None:
        self._documents = documents
        self._connections = connections
        self._sessions = sessions
        self._supervisor = supervisor
        # Several times within what is allowed: a late answer must not cost anybody their variables.
        self._period = None if idle_shutdown is None else min(_LONGEST, idle_shutdown / 4)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        if self._period is not None:
            self._task = asyncio.create_task(self._tell(self._period), name="who looks at which kernel")

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    def looked_at(self) -> set[str]:
        """Ids of the kernels that somebody looks at now."""
        found = set(self._connections.kernels)
        for document in self._documents.all():
            session = self._sessions.by_path(document.path)
            if session is not None and (document.room.peers or document.runner.busy):
                found.add(session.kernel_id)
        return found

    async def _tell(self, period: float) -> None:
        before: Collection[str] = ()
        while True:
            now = self.looked_at()
            for kernel_id in now.union(before):
                if kernel_id in self._supervisor.kernels:
                    with suppress(KernelGone, SupervisorUnavailable):
                        await self._supervisor.touch(kernel_id)
            before = now
            await asyncio.sleep(period)
