"""What a page may do to a document, and the repair of what it may not.

The server is the only writer of the results of runs: a page may clear a cell's outputs, reset its execution count, and
insert cells that carry outputs (paste, undo). Whatever else it does to outputs, counts or run states of cells that are
there is put back. A moved cell (taken out and put in again, as the schema has no moves) keeps the results that it has here,
and the text too, unless the page could not know it. Elements that are not cells are taken out, and doubled ids (two pages
that move one cell at once both insert it) are collapsed. Looks only at the cells that one transaction changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import msgspec
from pycrdt import Array, Map, Text

from homeport.documents.mirror import RESULTS, Change, Mirror, MirrorCell
from homeport.documents.schema import YCell, YOutputs, is_cell, makes_cell, new_outputs, read_map
from homeport.documents.text_edit import replace_text
from homeport.protocol.document import JSON


@dataclass(slots=True)
class Guard:
    """Checks a page's transaction and repairs it.

    Args:
        mirror: in step with the document; its results were remembered before the page's transaction.
        run_state: the true run state (``idle``, ``queued``, ``running``) of a cell id.
        new_id: makes a cell id.
    """

    mirror: Mirror
    run_state: Callable[[str], str]
    new_id: Callable[[], str]

    def repairs(self, change: Change, *, missed: bool = False) -> list[Callable[[Array[object]], None]]:
        """What has to be done, inside one server transaction, after the page's ``change``. Empty nearly always.

        Args:
            missed: the page did not know what others did meanwhile, so that the text of what it moved may be its own.
        """
        todo: list[Callable[[Array[object]], None]] = []
        removed = {cell.id: cell for cell in change.removed if cell.id}
        for cell in change.inserted:
            # Read once: each look at a member costs microseconds, and a page may move a thousand cells.
            members = dict(cell.shared.items()) if isinstance(cast("object", cell.shared), Map) else {}
            if not makes_cell(members):
                todo.append(partial(self._take_out, cell=cell))
                continue
            todo.extend(self._inserted(cell, members))
            if cell.id in removed:
                todo.extend(self._moved(cell, members, removed[cell.id], missed=missed))
        for cell, names in change.touched.items():
            todo.extend(self._touched(cell, names))
        return todo

    def _inserted(self, cell: MirrorCell, members: Mapping[str, object]) -> list[Callable[[Array[object]], None]]:
        todo: list[Callable[[Array[object]], None]] = []
        if self.mirror.count(cell.id) > 1:
            todo.append(lambda cells: self._single(cells, cell))
        if members["cell_type"] == "code":
            state = self.run_state(cell.id)
            if members.get("execution_state") != state:
                todo.append(lambda _: cell.shared.__setitem__("execution_state", state))
        return todo

    def _moved(
        self, cell: MirrorCell, members: Mapping[str, object], old: MirrorCell, *, missed: bool
    ) -> list[Callable[[Array[object]], None]]:
        todo: list[Callable[[Array[object]], None]] = []
        source, known = members["source"], old.text
        if not missed and known is not None and isinstance(source, Text) and str(source) != known:
            todo.append(lambda _: replace_text(source, known))
        if old.results is None or members["cell_type"] != "code":
            return todo
        outputs, count, _ = old.results
        now = members["outputs"]
        if outputs and not (isinstance(now, Array) and msgspec.json.decode(str(cast("YOutputs", now))) == msgspec.json.decode(outputs)):
            todo.append(lambda _: _put_back(cell.shared, outputs))
        if count is not None and members.get("execution_count") != count:
            todo.append(lambda _: cell.shared.__setitem__("execution_count", count))
        return todo

    def _touched(self, cell: MirrorCell, names: set[str]) -> list[Callable[[Array[object]], None]]:
        if not _still_cell(cell.shared, names):
            return [partial(self._take_out, cell=cell)]
        todo: list[Callable[[Array[object]], None]] = []
        if "id" in names and cell.shared.get("id") != cell.id:
            todo.append(lambda _: cell.shared.__setitem__("id", cell.id))
        if not names & RESULTS or cell.results is None:
            return todo
        outputs, count, _ = cell.results
        if "outputs" in names and not self._same_or_cleared(cell.shared.get("outputs"), outputs):
            todo.append(lambda _: _put_back(cell.shared, outputs))
        if "execution_count" in names and cell.shared.get("execution_count") not in (
            None,
            count,
        ):
            todo.append(lambda _: cell.shared.__setitem__("execution_count", count))
        state = self.run_state(cell.id)
        if "execution_state" in names and cell.shared.get("execution_state") != state:
            todo.append(lambda _: cell.shared.__setitem__("execution_state", state))
        return todo

    def _same_or_cleared(self, now: object, before: str) -> bool:
        if not isinstance(now, Array):
            return False
        shared = cast("YOutputs", now)
        return len(shared) == 0 or (before != "" and msgspec.json.decode(str(shared)) == msgspec.json.decode(before))

    def _take_out(self, cells: Array[object], cell: MirrorCell) -> None:
        del cells[self.mirror.index(cell)]

    def _single(self, cells: Array[object], cell: MirrorCell) -> None:
        """Collapse ``cell`` with the other one of its id when both say the same; else make it a conflict copy."""
        others = [other for other in self.mirror if other.id == cell.id and other is not cell]
        if not others:
            return
        if _content(cell.shared) == _content(others[0].shared):
            del cells[self.mirror.index(cell)]
            return
        identity, original = self.new_id(), cell.id
        cell.shared["id"] = identity
        metadata = cell.shared.get("metadata")
        if isinstance(metadata, Map):
            cast("Map[object]", metadata)["homeport"] = {"conflict": {"cell": original}}
        self.mirror.renamed(cell, identity)


def _still_cell(cell: YCell, names: set[str]) -> bool:
    """Whether what was a cell is one after these members changed."""
    if names & {"id", "cell_type"}:
        return is_cell(cell)
    kinds = {"source": Text, "metadata": Map}
    return all(isinstance(cell.get(name), kinds[name]) for name in names & kinds.keys())


def _content(cell: YCell) -> dict[str, JSON]:
    return {name: value for name, value in read_map(cell).items() if name not in RESULTS}


def _put_back(cell: YCell, outputs: str) -> None:
    before = cast("list[dict[str, JSON]]", msgspec.json.decode(outputs or "[]"))
    now = cell.get("outputs")
    if not isinstance(now, Array):
        cell["outputs"] = Array(new_outputs(before))
        return
    shared = cast("YOutputs", now)
    shared.clear()
    shared.extend(new_outputs(before))
