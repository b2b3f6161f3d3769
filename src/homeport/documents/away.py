"""What a page did to cells that others moved, deleted or changed before it arrived: nothing of it vanishes.

Yjs merges text that is typed into the same cell. But the schema has no moves: a moved cell is taken out and a copy put in, and
what somebody else types into the old one, or a deleted one, is gone; so is what others typed into the one that a page moves or
deletes. So a page tells, for the cells that it changed and has no acknowledgement for, their text before its changes and now
(op ``away``). It is compared with the document before and after the page's changes are in it, and merged by line; what
contradicts is kept beside, as a marked conflict copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pycrdt import Map, Text

from homeport.core.text_merge import merge_text
from homeport.documents.conflicts import conflict_copy, conflict_of
from homeport.documents.mirror import Change, MirrorCell
from homeport.documents.room import Room
from homeport.documents.schema import Cell, YCell, joined, new_cell, read_map
from homeport.documents.text_edit import replace_text
from homeport.errors import ProtocolError
from homeport.protocol.document import JSON

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Told:
    """One cell of a page's report."""

    id: str
    base: str
    """Its text before the page's changes."""
    text: str | None
    """Its text on the page; None: the page deleted it."""
    kind: str
    """Its type."""
    after: str
    """The id of the cell above it on the page; empty when it was the first."""


def told_by(fields: Mapping[str, JSON]) -> list[Told]:
    """The cells of an ``away`` op.

    Raises:
        ProtocolError: it is none.
    """
    cells = fields.get("cells")
    if not isinstance(cells, list) or len(cells) > _MOST:
        raise ProtocolError(f"`cells` is a list of at most {_MOST} cells.")
    return [_told(cell) for cell in cells]


def _told(cell: JSON) -> Told:
    if isinstance(cell, dict):
        identity, base, text = cell.get("id"), cell.get("base"), cell.get("text")
        kind, after = cell.get("type", "code"), cell.get("after", "")
        if isinstance(identity, str) and isinstance(base, str) and isinstance(text, str | None):
            kind = kind if kind in ("code", "markdown", "raw") else "code"
            return Told(identity, base, text, str(kind), after if isinstance(after, str) else "")
    raise ProtocolError("A cell of `away` has `id`, `base` and `text`.")


class Away:
    """A report, held against the document as it is before the page's changes are applied.

    Args:
        room: the document.
        cells: the report.
    """

    def __init__(self, room: Room, cells: list[Told]) -> None:
        self._room = room
        self._cells = cells
        self._before: dict[str, Cell] = {}
        self._order = room.cell_ids()
        for cell in cells:
            found = room.find_cell(cell.id)
            if found is not None:
                self._before[cell.id] = read_map(found)

    def settle(self, change: Change) -> None:
        """The page's changes have been applied, and did ``change``: put in what did not survive that."""
        with self._room.transaction("away"):
            # From below: the places of those above stay.
            for cell in self._cells:
                self._settle(cell, change)

    def _settle(self, cell: Told, change: Change) -> None:
        before = self._before.get(cell.id)
        there = joined(before.get("source", "")) if before is not None else None
        now = self._room.mirror.find(cell.id)
        if cell.text is None:
            if now is None and before is not None and there != cell.base:
                # One deleted it, others went on with it: it stays.
                self._insert(before, self._above(cell.id))
        elif now is None or not isinstance(now.shared.get("source"), Text):
            if cell.text != cell.base:
                self._insert(_copy(cell), cell.after)
        elif now in change.inserted:
            if there is not None:  # the page moved it: what others typed into the old one is to come along
                self._combine(cell, now, there)
        elif "source" not in change.touched.get(now, ()):
            # What the page typed went into one that is gone, or was here already.
            self._combine(cell, now, str(now.shared["source"]))

    def _combine(self, cell: Told, now: MirrorCell, theirs: str) -> None:
        assert cell.text is not None
        merged = merge_text(cell.base, cell.text, theirs)
        replace_text(cast("Text", now.shared["source"]), theirs if merged is None else merged)
        copies = [each for each in self._room.mirror if conflict_of(each.shared) == cell.id and str(each.shared.get("source")) == cell.text]
        if merged is None and not copies:
            self._insert(_copy(cell), cell.id)
        elif merged is not None:
            for copy in copies:
                self._delete(copy)

    def _delete(self, cell: MirrorCell) -> None:
        for index, shared in enumerate(self._room.cells):
            if isinstance(shared, Map) and cast("YCell", shared).get("id") == cell.id:
                del self._room.cells[index]
                return

    def _above(self, cell_id: str) -> str:
        """The nearest cell above the place of one that is gone."""
        place = self._order.index(cell_id)
        return next((each for each in reversed(self._order[:place]) if self._room.find_cell(each) is not None), "")

    def _insert(self, cell: Cell, after: str) -> None:
        ids = [cast("YCell", each).get("id") for each in self._room.cells if isinstance(each, Map)]
        index = ids.index(after) + 1 if after in ids else 0 if after == "" else len(ids)
        self._room.cells.insert(index, new_cell(cell, state=self._room.run_state(str(cell["id"]))))


def _copy(cell: Told) -> Cell:
    """What the page has, as a conflict copy without results."""
    made: Cell = {"cell_type": cell.kind, "source": cell.text}
    if cell.kind == "code":
        made |= {"outputs": [], "execution_count": None}
    return conflict_copy(made, cell.id)
