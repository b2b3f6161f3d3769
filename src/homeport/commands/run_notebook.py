"""One notebook of ``homeport run``: its cells go into the server's queue, and what becomes of them is told."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from homeport.commands.progress import Progress, Row, clock, cut
from homeport.errors import HomeportError

if TYPE_CHECKING:
    from homeport.protocol.document import JSON
    from homeport.web.page_link import Place

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINES = 12
_LONGEST_TITLE = 60
_LONGEST_LINE = 300
"""Columns of a line that a log gets, of a cell's first line and of an error: some hold a megabyte. The notebook has all of it."""


@dataclass
class CellToRun:
    """A code cell with something in it."""

    number: int
    """Its place in the notebook, counted from 1, Markdown included."""
    cell_id: str
    title: str
    """The first line of its source that says something."""
    may_fail: bool
    run_id: str
    result: str = ""


class NotebookRun:
    """See the module.

    Args:
        name: for people.
        path: the notebook's API path.
        find: its server as it is now.
        progress: where to show what happens.
    """

    def __init__(self, name: str, path: str, find: Callable[[], Place | None], progress: Progress) -> None:
        from homeport.web.page_link import PageLink

        self.name = name
        self._find = find
        self._link = PageLink(find, path)
        self._progress = progress
        self._row = Row(name)
        self._cells: list[CellToRun] = []
        self._asked: set[str] = set()
        self._interrupted = False

    @property
    def kernel_id(self) -> str:
        """The kernel that it had last, as far as is known; empty when it had none. It may have ended since."""
        return str(self._kernel().get("id") or "")

    @property
    def queued(self) -> bool:
        """Whether the server has its cells."""
        return bool(self._cells)

    async def run(self, *, restart: bool, stop_on_error: bool, shut_down: bool) -> bool:
        """Run all cells and return whether none failed that may not; what happened is said.

        Args:
            restart: the kernel is restarted first when there is one.
            stop_on_error: whether cells after one that fails are not run.
            shut_down: whether the kernel is shut down afterwards, if it was not there before.
        """
        self._progress.add(self._row)
        try:
            await self._link.open()
            fresh = not self._kernel().get("id")
            if restart and not fresh:
                await self._link.operate("restart")
            if self._interrupted:
                return False
            await self._queue(stop_on_error)
            while any(not cell.result for cell in self._cells):
                await self._step()
            await self._link.operate("save")
            fine = self._verdict()
            if shut_down and fresh and self._kernel().get("id"):
                await self._link.operate("shutdown_kernel")
        except HomeportError as error:
            self._progress.say(f"{self.name}: {error.message}")
            return False
        finally:
            self._progress.remove(self._row)
            await self._link.close()
        return fine

    async def interrupt(self) -> None:
        """Take what waits out of the queue, and interrupt the kernel if it runs one of our cells."""
        self._interrupted = True
        mine = {cell.run_id for cell in self._cells if not cell.result}
        try:
            for entry in self._entries():
                if entry.get("run") in mine and entry.get("state") == "queued":
                    await self._link.operate("cancel", run=entry["run"])
            if any(entry.get("run") in mine and entry.get("state") == "running" for entry in self._entries()):
                await self._link.operate("interrupt")
        except HomeportError as error:
            self._progress.say(f"{self.name}: it could not be interrupted. {error.message}")

    # ---- on the way -----------------------------------------------------------------------------------------------

    async def _queue(self, stop_on_error: bool) -> None:
        from homeport.documents.schema import is_cell, joined, may_fail, read_map

        cells = [read_map(cell) for cell in self._link.cells if is_cell(cell)]
        for number, cell in enumerate(cells, 1):
            source = joined(cell.get("source"))
            if cell.get("cell_type") == "code" and source.strip():
                title = next(line for line in source.splitlines() if line.strip()).strip()
                metadata = cast("dict[str, JSON]", cell.get("metadata"))
                self._cells.append(CellToRun(number, str(cell["id"]), title, may_fail(metadata), str(uuid.uuid4())))
        self._row.total = len(self._cells)
        self._progress.tell(f"{self.name}: {_cells(len(self._cells))} to run")
        runs: list[JSON] = [[cell.run_id, cell.cell_id] for cell in self._cells]
        if runs:
            await self._link.operate("run", runs=runs, stop_on_error=stop_on_error)

    async def _step(self) -> None:
        """Show what has changed, and wait for the next change."""
        entries = {str(entry.get("run")): entry for entry in self._entries()}
        gone: list[JSON] = [cell.run_id for cell in self._cells if not cell.result and cell.run_id not in entries]
        if gone:
            results = cast("dict[str, str]", (await self._link.operate("results", runs=gone)).get("results", {}))
            for cell in self._cells:
                # A server whose state was deleted does not know the run any more.
                if cell.run_id in gone and (result := results.get(cell.run_id, "unknown")):
                    self._ended(cell, result)
        running = next((cell for cell in self._cells if entries.get(cell.run_id, {}).get("state") == "running"), None)
        self._row.doing = self._doing(running)
        self._tell_questions()
        if any(not cell.result for cell in self._cells):
            await self._link.change()

    def _ended(self, cell: CellToRun, result: str) -> None:
        cell.result = result
        self._row.done += 1
        if result in ("ok", "error"):
            self._progress.tell(
                f"{self.name}: {self._row.done}/{self._row.total}  {clock(self._row.seconds)}  {result}  {cut(cell.title, _LONGEST_LINE)}"
            )

    def _doing(self, running: CellToRun | None) -> str:
        if not self._link.connected:
            return "the server cannot be reached; trying again"
        if running is not None:
            return f"cell {running.number}: {running.title}"
        return "the kernel is starting" if self._kernel().get("state") in (None, "starting") else "waiting in the queue"

    def _tell_questions(self) -> None:
        asked = self._link.state.get("inputs")
        for question in cast("list[dict[str, JSON]]", asked if isinstance(asked, list) else []):
            cell = next((cell for cell in self._cells if cell.cell_id == question.get("cell")), None)
            request = str(question.get("request"))
            if cell is not None and request not in self._asked:
                self._asked.add(request)
                place = self._find()
                where = f"{place.url}notebooks/{quote(self._link.path)}" if place is not None else "the notebook's page"
                self._progress.say(f"{self.name}: cell {cell.number} asks “{question.get('prompt')}”; it is answered on {where}")

    def _entries(self) -> list[dict[str, JSON]]:
        return cast("list[dict[str, JSON]]", self._link.state.get("queue") or [])

    def _kernel(self) -> Mapping[str, JSON]:
        kernel = self._link.state.get("kernel")
        return kernel if isinstance(kernel, dict) else {}

    # ---- the end --------------------------------------------------------------------------------------------------

    def _verdict(self) -> bool:
        failed = [cell for cell in self._cells if cell.result in ("error", "unknown") and not (cell.may_fail and cell.result == "error")]
        left = [cell for cell in self._cells if cell.result in ("aborted", "cancelled")]
        for cell in failed:
            self._progress.say(self._failure(cell))
        if not failed and left:
            self._progress.say(f"{self.name}: {self._why()}")
        if left:
            self._progress.say(f"{self.name}: {_cells(len(left))} did not run")
        if not failed and not left:
            self._progress.say(f"{self.name}: done, {_cells(len(self._cells))} in {clock(self._row.seconds)}")
        return not failed and not left

    def _failure(self, cell: CellToRun) -> str:
        """Which cell, and the end of what it said."""
        errors = [output for output in self._outputs(cell) if output.get("output_type") == "error"]
        lines = [f"{self.name}: cell {cell.number}, “{cut(cell.title, _LONGEST_TITLE)}”, failed"]
        if errors:
            lines[0] += f" with {errors[-1].get('ename')}:"
            traceback = "\n".join(str(line) for line in cast("list[JSON]", errors[-1].get("traceback") or []))
            if not self._progress.live:
                traceback = _ANSI.sub("", traceback)
            lines += [f"    {_shortened(line)}" for line in traceback.splitlines()[-_LINES:]]
            summary = f"{errors[-1].get('ename')}: {errors[-1].get('evalue')}"
            if not traceback or str(errors[-1].get("ename")) not in traceback:
                lines.append(f"    {_shortened(summary)}")
        return "\n".join(lines)

    def _outputs(self, cell: CellToRun) -> list[dict[str, JSON]]:
        from homeport.documents.schema import read_map

        for shared in self._link.cells:
            if shared.get("id") == cell.cell_id:
                return [output for output in cast("list[JSON]", read_map(shared).get("outputs") or []) if isinstance(output, dict)]
        return []

    def _why(self) -> str:
        """Why cells did not run though none failed."""
        notices = self._link.state.get("notices")
        for notice in cast("list[dict[str, JSON]]", notices if isinstance(notices, list) else []):
            if notice.get("key") == "kernel":
                action = notice.get("action")
                choices = action.get("choices") if isinstance(action, dict) else None
                names = [str(choice.get("name")) for choice in cast("list[dict[str, JSON]]", choices or [])]
                return f"{notice.get('text')}" + (f" There are: {', '.join(names)}." if names else "")
        if any(cell.result == "cancelled" for cell in self._cells):
            return "the run was cancelled"
        kernel = self._kernel()
        return (
            f"the kernel ended: {kernel['reason']}"
            if kernel.get("reason")
            else "the run was stopped: the kernel was restarted or shut down"
        )


def _shortened(line: str) -> str:
    """As :func:`cut`, with the colours that short lines have."""
    return line if len(line) <= _LONGEST_LINE else cut(_ANSI.sub("", line), _LONGEST_LINE)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
