"""What a page may do to a document, and the repair of what it may not.

The server is the only writer of the results of runs: a page may clear a cell's outputs, reset its execution count, and
insert cells that carry outputs (paste, undo). Whatever else it does to outputs, counts or run states of cells that are
there is put back. A moved cell (taken out and put in again, as the schema has no moves) keeps the results that it has here,
and the text too, unless the page could not know it. Elements that are not cells are taken out, and doubled ids (two pages
that move one cell at once both insert it) are collapsed. Looks only at the cells that one transaction changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import msgspec
from pycrdt import Array, Map, Text

from homeport.documents.mirror import RESULTS, Change, Mirror, MirrorCell
from homeport.documents.schema import YCell, YOutputs, is_cell, makes_cell, new_outputs, read_map
from homeport.documents.text_edit import replace_text
from homeport.protocol.document import JSON

Repair = Callable[[set[MirrorCell]], None]
"""Mends one thing, or adds to the set what is to be taken out of the document."""


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

    def repairs(self, change: Change, *, missed: bool = False) -> list[Repair]:
        """What has to be done, by :meth:`mend`, after the page's ``change``. Empty nearly always.

        Args:
            missed: the page did not know what others did meanwhile, so that the text of what it moved may be its own.
        """
        todo: list[Repair] = []
        removed = {cell.id: cell for cell in change.removed if cell.id}
        for cell in change.inserted:
            # Read once: each look at a member costs microseconds, and a page may move a thousand cells.
            members = dict(cell.shared.items()) if isinstance(cast("object", cell.shared), Map) else {}
            if not makes_cell(members):
                todo.append(_taking_out(cell))
                continue
            todo.extend(self._inserted(cell, members))
            if cell.id in removed:
                todo.extend(self._moved(cell, members, removed[cell.id], missed=missed))
        for cell, names in change.touched.items():
            todo.extend(self._touched(cell, names))
        return todo

    def mend(self, repairs: Sequence[Repair], cells: Array[object]) -> None:
        """Do what :meth:`repairs` found; inside a transaction of the server, which tells the mirror only when it ends."""
        out: set[MirrorCell] = set()
        for repair in repairs:
            repair(out)
        if out:
            places = {cell: place for place, cell in enumerate(self.mirror)}
            for place in sorted((places[cell] for cell in out), reverse=True):
                del cells[place]

    def _inserted(self, cell: MirrorCell, members: Mapping[str, object]) -> list[Repair]:
        todo: list[Repair] = []
        if len(self.mirror.named(cell.id)) > 1:
            todo.append(partial(self._single, cell))
        if members["cell_type"] == "code":
            state = self.run_state(cell.id)
            if members.get("execution_state") != state:
                todo.append(lambda _: cell.shared.__setitem__("execution_state", state))
        return todo

    def _moved(self, cell: MirrorCell, members: Mapping[str, object], old: MirrorCell, *, missed: bool) -> list[Repair]:
        todo: list[Repair] = []
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

    def _touched(self, cell: MirrorCell, names: set[str]) -> list[Repair]:
        if not _still_cell(cell.shared, names):
            return [_taking_out(cell)]
        todo: list[Repair] = []
        if "id" in names and cell.shared.get("id") != cell.id:
            todo.append(lambda _: cell.shared.__setitem__("id", cell.id))
        if not names & RESULTS or cell.results is None:
            return todo
        outputs, count, _ = cell.results
        if "outputs" in names and not self._same_or_cleared(_member(cell.shared, "outputs"), outputs):
            todo.append(lambda _: _put_back(cell.shared, outputs))
        if "execution_count" in names and _member(cell.shared, "execution_count") not in (None, count):
            todo.append(lambda _: cell.shared.__setitem__("execution_count", count))
        if "execution_state" in names and cell.shared.get("execution_state") != (state := self.run_state(cell.id)):
            todo.append(lambda _: cell.shared.__setitem__("execution_state", state))
        return todo

    def _same_or_cleared(self, now: object, before: str) -> bool:
        if not isinstance(now, Array):
            return False
        shared = cast("YOutputs", now)
        return len(shared) == 0 or (before != "" and msgspec.json.decode(str(shared)) == msgspec.json.decode(before))

    def _single(self, cell: MirrorCell, out: set[MirrorCell]) -> None:
        """Collapse ``cell`` with the other one of its id when both say the same; else make it a conflict copy."""
        other = next((each for each in self.mirror.named(cell.id) if each is not cell and each not in out and is_cell(each.shared)), None)
        if other is None:
            return
        if _content(cell.shared) == _content(other.shared):
            out.add(cell)
            return
        identity, original = self.new_id(), cell.id
        cell.shared["id"] = identity
        metadata = cell.shared.get("metadata")
        if isinstance(metadata, Map):
            cast("Map[object]", metadata)["homeport"] = {"conflict": {"cell": original}}
        self.mirror.renamed(cell, identity)


def _taking_out(cell: MirrorCell) -> Repair:
    return lambda out: out.add(cell)


def _still_cell(cell: YCell, names: set[str]) -> bool:
    """Whether what was a cell is one after these members changed."""
    if names & {"id", "cell_type"}:
        return is_cell(cell)
    kinds = {"source": Text, "metadata": Map}
    return all(isinstance(cell.get(name), kinds[name]) for name in names & kinds.keys())


def _member(cell: YCell, name: str) -> object:
    """The same as ``cell.get(name)``, in two thirds of its time: a thousand cells may change at once."""
    try:
        return cell[name]
    except KeyError:
        return None


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
