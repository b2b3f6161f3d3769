"""What pages see of a document's runs: the queue, the kernel's questions, and how the last runs stopped."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from homeport.core.run_queue import Run, RunQueue
from homeport.documents.cell_runs import CellRuns
from homeport.documents.outputs import CellRun
from homeport.documents.room import Room
from homeport.documents.stopped import StoppedNotice
from homeport.protocol.document import JSON


class RunStatus:
    """Keeps the room's state as the queue and the running run are.

    Args:
        room: the document, to whose pages it is shown.
    """

    def __init__(self, room: Room, queue: RunQueue, runs: CellRuns) -> None:
        self._room = room
        self._queue = queue
        self._runs = runs
        self._stopped = StoppedNotice(room)
        self._tasks: set[asyncio.Task[None]] = set()
        # The runs of the queue, by identity, with what is shown of them: the queue is as long as the notebook, and one of them changes.
        self._shown: dict[int, tuple[Run, dict[str, JSON]]] = {}

    def show(self) -> None:
        """Something may have changed; it is on its way to the log."""
        shown = self._shown
        self._shown = {id(run): shown.get(id(run)) or (run, _entry(run)) for run in self._queue.runs}
        entries: list[JSON] = [entry for _, entry in self._shown.values()]
        self._room.set_state("queue", entries)
        run = self._running()
        if run is not None and any(asked.doubt for asked in run.inputs.values()):
            task = asyncio.create_task(self._show_made_up(), name=f"questions of {self._room.document}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._show_questions()
        self._stopped.show(self._queue.stopped)

    async def close(self) -> None:
        """Show what is still to be shown."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _running(self) -> CellRun | None:
        running = self._queue.running
        return self._runs.by_msg(running.msg_id) if running is not None else None

    async def _show_made_up(self) -> None:
        """A question that the kernel is only believed to ask has a name of ours: the next server must know it before a page does."""
        await self._runs.ready()
        await self._room.committed()
        self._show_questions()

    def _show_questions(self) -> None:
        run = self._running()
        asked = [
            {"request": asked.request, "cell": run.cell_id, "prompt": asked.doubt + asked.prompt, "password": asked.password}
            for asked in (run.inputs.values() if run is not None else ())
            if run is not None
        ]
        self._room.set_state("inputs", cast("Any", asked))


def _entry(run: Run) -> dict[str, JSON]:
    """What pages see of a run in the queue."""
    return {
        "run": run.run_id,
        "cell": run.cell_id,
        "state": "running" if run.state == "submitted" else "queued",
        "at": run.submitted or run.queued,
    }
