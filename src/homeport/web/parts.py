"""What the web edge works with: the other rooms, as the composition root built them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from homeport.web.connections import Connections
from homeport.web.event_streams import EventStreams
from homeport.web.loop_watch import LoopWatch
from homeport.web.notebook_worker import NotebookWorker
from homeport.web.pieces import Pieces

if TYPE_CHECKING:
    from homeport.auth.access import Access
    from homeport.documents.registry import Documents
    from homeport.folders import Folders
    from homeport.kernels.client import SupervisorClient
    from homeport.kernels.sessions import Sessions
    from homeport.options import Settings
    from homeport.stores.base import Store


def _nothing_to_stop(kernels: bool) -> None:
    raise RuntimeError("this server was never started")


@dataclass
class Parts:
    """The other rooms. ``stop`` ends the server: with True its kernels as well."""

    settings: Settings
    documents: Documents
    supervisor: SupervisorClient
    sessions: Sessions
    store: Store
    auth: Access
    folders: Folders
    stop: Callable[[bool], None] = _nothing_to_stop
    loop_watch: LoopWatch = field(default_factory=LoopWatch)
    connections: Connections = field(default_factory=Connections)
    event_streams: EventStreams = field(default_factory=EventStreams)
    started: float = field(default_factory=time.time)
    notebook_worker: NotebookWorker = field(default_factory=NotebookWorker)
    pieces: Pieces = field(init=False)

    def __post_init__(self) -> None:
        self.pieces = Pieces(self.folders.state / "uploads")
