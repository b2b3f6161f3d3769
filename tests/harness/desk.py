"""One document with its runner, real log, real supervisor and real kernels, without files and pages.

A :class:`Desk` is what a server has of one open notebook. Opening another one on the same home folder goes on where the
last one stopped, closed or killed. ``python -m harness.desk`` runs one in a process of its own, to be killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from pycrdt import Array, Doc, Map

from homeport.documents.blobs import Blobs, Inline
from homeport.documents.limits import Limits
from homeport.documents.log import Log
from homeport.documents.room import Room
from homeport.documents.runner import Runner
from homeport.documents.schema import new_cell, read
from homeport.folders import Folders, private
from homeport.kernels.client import SupervisorClient
from homeport.kernels.sessions import Sessions

PATH = "desk.ipynb"


def code(cell_id: str, source: str, **metadata: Any) -> dict[str, Any]:
    """A code cell."""
    return {"id": cell_id, "cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}


class Desk:
    """See the module. An asynchronous context manager.

    Args:
        cells: of the notebook, when the log does not know it yet.
        kernel: the kernelspec that the notebook names.
    """

    def __init__(self, *cells: dict[str, Any], kernel: str | None = "python3", limits: Limits | None = None) -> None:
        self._cells = cells
        self._kernel = kernel
        self.limits = limits or Limits()
        self.folders = Folders.from_environment()
        self.supervisor = SupervisorClient(self.folders, linger=5)

    async def __aenter__(self) -> Desk:
        await self.supervisor.start()
        root = Path(os.environ["HOME"]) / "notebooks"
        root.mkdir(exist_ok=True)
        self.sessions = Sessions(self.folders, self.supervisor, root)
        self.log = Log(private(self.folders.state) / "state.db")
        assert await self.log.open() is None
        row = await self.log.document(str(root / PATH), "desk", "epoch")
        history = await self.log.history(row.id)
        doc: Doc[Any] = Doc()
        cells, meta = doc.get("cells", type=Array), doc.get("meta", type=Map)
        if history.updates:
            for update in history.updates:
                doc.apply_update(update)
        self.room = Room(document=row.id, epoch=row.epoch, doc=doc, log=self.log)
        if not history.updates:
            with self.room.transaction("load"):
                spec = {"kernelspec": {"name": self._kernel, "display_name": "Python"}} if self._kernel else {}
                meta["nbformat"], meta["nbformat_minor"], meta["metadata"] = 4, 5, Map(spec)
                cells.extend([new_cell(cell) for cell in self._cells])
        self.room.loaded(history)
        self.blobs = Blobs(self.folders.state / "blobs", limits=self.limits)
        self.inline = Inline(self.limits.inline_document)
        self.runner = Runner(
            room=self.room,
            supervisor=self.supervisor,
            sessions=self.sessions,
            path=PATH,
            limits=self.limits,
            blobs=self.blobs,
            inline=self.inline,
            history=history,
        )
        self.runner.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.runner.close()
        self.room.close()
        self.sessions.close()
        await self.log.close()
        await self.supervisor.close()

    def run(self, *cell_ids: str, stop_on_error: bool = True) -> list[str]:
        """Queue cells. Returns the run ids."""
        runs = [(str(uuid.uuid4()), cell_id) for cell_id in cell_ids]
        self.runner.run(runs, stop_on_error=stop_on_error)
        return [run_id for run_id, _ in runs]

    async def results(self, run_ids: list[str], seconds: float = 30) -> list[str]:
        """Wait for runs to end."""
        async with asyncio.timeout(seconds):
            return [await self.runner.finished(run_id) for run_id in run_ids]

    async def done(self, *cell_ids: str, seconds: float = 30) -> list[str]:
        """Run cells and wait for them."""
        return await self.results(self.run(*cell_ids), seconds)

    def cell(self, cell_id: str) -> dict[str, Any]:
        """A cell as it is in the document."""
        cell = self.room.find_cell(cell_id)
        assert cell is not None
        return read(cell)  # type: ignore[return-value]

    def outputs(self, cell_id: str) -> list[dict[str, Any]]:
        """A cell's outputs as they are in the document."""
        return self.cell(cell_id)["outputs"]

    def text(self, cell_id: str) -> str:
        """The text of a cell's stream outputs, one behind the other."""
        return "".join(output.get("text", "") for output in self.outputs(cell_id))

    async def until(self, condition: Any, seconds: float = 30) -> None:
        """Wait until ``condition()`` holds; looked at after every change of the document, of its state or of a kernel."""
        changed = asyncio.Event()
        unsubscribe = self.room.subscribe(lambda change, by_page: changed.set()), self.supervisor.subscribe(lambda info: changed.set())
        set_state, self.room.set_state = self.room.set_state, lambda key, value: (set_state(key, value), changed.set())[0]  # type: ignore[method-assign]
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    changed.clear()
                    await changed.wait()
        finally:
            for each in unsubscribe:
                each()
            self.room.set_state = set_state  # type: ignore[method-assign]


async def main(run_id: str, cells: list[str]) -> None:
    """Run the cells once, however often this is started; says ``ready`` when the run is durable, and its results at the end."""
    async with Desk(*(code(f"c{n}", source) for n, source in enumerate(cells))) as desk:
        runs = [(f"{run_id}-{n}", f"c{n}") for n in range(len(cells))]
        desk.runner.run(runs)
        await desk.room.committed()
        print("ready", flush=True)
        for name, _ in runs:
            print(await desk.runner.finished(name), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
