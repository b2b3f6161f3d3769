"""The notice that a run of several cells stopped at one that failed: for whoever comes back and finds that nothing runs."""

from __future__ import annotations

from typing import cast

from homeport.core.run_queue import Stopped
from homeport.documents.room import Room
from homeport.documents.schema import joined, read_map
from homeport.protocol.document import JSON

_KEY = "stopped"


class StoppedNotice:
    """Keeps the notice as the queue is; it stands until cells are run again.

    Args:
        room: the document, to whose pages it is shown.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._shown: Stopped | None = None

    def show(self, stopped: Stopped | None) -> None:
        """The queue stopped like this, or did not."""
        if stopped == self._shown:
            return
        self._shown = stopped
        text = self._text(stopped) if stopped is not None else ""
        if stopped is None or not text:
            self._room.drop_notice(_KEY)
            return
        self._room.notice(_KEY, "warning", text, action={"label": "Go to the cell", "cell": stopped.failed.cell_id})

    def _text(self, stopped: Stopped) -> str:
        """Empty when there is nothing to tell: the cell is gone, or what was left was no code."""
        cell_ids = self._room.cell_ids()
        cell_id = stopped.failed.cell_id
        name = self._error(cell_id)
        left = sum(self._has_code(run.cell_id) for run in stopped.aborted)
        if cell_id not in cell_ids or not left:
            return ""
        rest = "1 cell was not run" if left == 1 else f"{left} cells were not run"
        if name == "KeyboardInterrupt":
            return f"Interrupted at cell {cell_ids.index(cell_id) + 1}. {rest}."
        return f"Stopped at cell {cell_ids.index(cell_id) + 1}{f': {name}' if name else ''}. {rest}."

    def _error(self, cell_id: str) -> str:
        """The name of the exception that stands in the cell."""
        cell = self._room.find_cell(cell_id)
        outputs = cast("list[dict[str, JSON]]", (read_map(cell).get("outputs") if cell is not None else None) or [])
        return next((str(output.get("ename")) for output in reversed(outputs) if output.get("output_type") == "error"), "")

    def _has_code(self, cell_id: str) -> bool:
        cell = self._room.find_cell(cell_id)
        return cell is not None and cell.get("cell_type") == "code" and bool(joined(read_map(cell).get("source")).strip())
