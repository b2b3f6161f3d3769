"""Carries out a merge plan (``core/cell_merge.py``) on an open document, with the smallest changes that do it.

Text is edited where it differs, so that cursors of people who type stay; a cell is moved only when the order demands it;
nothing is cleared and filled again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import cast

from pycrdt import Array, Map, Text

from homeport.core.cell_merge import CellPrint, Step, merge
from homeport.documents.conflicts import conflict_copy, conflict_of
from homeport.documents.exact import EXACT, split
from homeport.documents.room import Room
from homeport.documents.schema import Cell, YCell, YOutputs, joined, new_cell, new_outputs, plain, read_map, set_originals, whole_cell
from homeport.documents.serial import kept_metadata, value_digest
from homeport.documents.text_edit import replace_text
from homeport.protocol.document import JSON

_CONTENT = ("id", "cell_type", "source", "metadata", "outputs", "execution_count", "execution_state")


def merge_into(
    room: Room, base: Sequence[CellPrint], ours: Sequence[CellPrint], theirs: Mapping[str, Cell], prints: Sequence[CellPrint]
) -> int:
    """Merge cells from outside into the document, in one transaction.

    Args:
        room: the document.
        base: what both sides began from.
        ours: the document's cells now.
        theirs: the cells from outside by id.
        prints: the same in order, as digests.

    Returns:
        How many conflict copies were made.
    """
    # What runs is not over: its results are ours, whatever a file says.
    running = {cell.id: cell.results for cell in ours if room.run_state(cell.id) != "idle"}
    prints = [CellPrint(cell.id, cell.content, running.get(cell.id, cell.results)) for cell in prints]
    steps = _without_known(room, ours, prints, merge(base, ours, prints))
    if [step.id for step in steps] == [cell.id for cell in ours] and all(step.action == "keep" for step in steps):
        return 0
    with room.transaction("merge"):
        stayed = _arrange(room, steps, theirs)
        for step in steps:
            if step.action == "take" and step.id in stayed:
                _take(stayed[step.id], theirs[step.id], step)
    return sum(step.action == "conflict" for step in steps)


def _without_known(room: Room, ours: Sequence[CellPrint], theirs: Sequence[CellPrint], steps: list[Step]) -> list[Step]:
    """``steps`` without the conflict copies that stand there already: a merge that a crash cut short is done again."""
    if all(step.action != "conflict" for step in steps):
        return steps
    contents = {cell.id: (cell.content, cell.results) for cell in ours}
    known = {(conflict_of(cell.shared), *contents[cell.id]) for cell in room.mirror if cell.id in contents}
    wanted = {cell.id: (cell.id, cell.content, cell.results) for cell in theirs}
    return [step for step in steps if step.action != "conflict" or wanted[step.id] not in known]


def merge_metadata(
    room: Room, base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, JSON], digests: Mapping[str, str]
) -> None:
    """Merge the notebook's metadata key by key; a key that both sides changed keeps ours.

    Args:
        room: the document.
        base: digests of what both began from, by key.
        ours: digests of the document's.
        theirs: the metadata from outside.
        digests: their digests.
    """
    changed = [key for key in {*base, *digests} if digests.get(key) != base.get(key) and ours.get(key) == base.get(key)]
    if not changed:
        return
    with room.transaction("merge"):
        if not isinstance(room.meta.get("metadata"), Map):
            room.meta["metadata"] = Map({})
        shared = cast("Map[object]", room.meta["metadata"])
        for key in changed:
            _put(shared, key, theirs)
        _note_metadata(room.meta, {key: theirs.get(key) for key in changed})


def _note_metadata(meta: Map[object], changed: Mapping[str, JSON]) -> None:
    """Keep beside the notebook's metadata what the document cannot hold exactly of the keys that were ``changed``."""
    if not isinstance(noted := read_map(meta).get(EXACT), dict):
        noted = {}
    before = noted.get("metadata")
    after = {key: value for key, value in before.items() if key not in changed} if isinstance(before, dict) else {}
    originals = split(dict(changed))[1]
    after |= originals if isinstance(originals, dict) else {}
    if after or before is not None:
        meta[EXACT] = {**noted, "metadata": after}


def _arrange(room: Room, steps: Sequence[Step], theirs: Mapping[str, Cell]) -> dict[str, YCell]:
    """Delete, move and insert until the array of cells is as the steps want it.

    Returns:
        The cells that stayed, which are to be changed in place. The others have what the steps want already.
    """
    # The mirror follows at the end of the transaction: it shows the cells as they were.
    before = list(room.mirror)
    wanted = {step.id: step for step in steps if step.action in ("keep", "take")}
    order = _staying([cell.id for cell in before if cell.id in wanted], list(wanted))
    stayed = {cell.id: cell.shared for cell in before if cell.id in order and not _retyped(cell.shared, wanted[cell.id], theirs)}
    moving = {cell.id: whole_cell(read_map(cell.shared)) for cell in before if cell.id in wanted and cell.id not in stayed}
    for index in range(len(before) - 1, -1, -1):
        if before[index].id not in stayed:
            del room.cells[index]
    for index, step in enumerate(steps):
        if step.action == "insert":
            room.cells.insert(index, new_cell({**theirs[step.id], "id": step.id}))
        elif step.action == "conflict":
            room.cells.insert(index, new_cell(conflict_copy(theirs[step.id], step.id)))
        elif step.id in moving:
            # The schema has no move: a cell is taken out and put in.
            merged = _merged(moving[step.id], theirs.get(step.id, {}), step)
            room.cells.insert(index, new_cell(merged, state=room.run_state(step.id)))
    return stayed


def _retyped(cell: YCell, step: Step, theirs: Mapping[str, Cell]) -> bool:
    """Whether the cell becomes one of another type: that decides which members it has, so it is made anew."""
    return step.content and cell.get("cell_type") != theirs[step.id].get("cell_type")


def _merged(ours: Cell, theirs: Cell, step: Step) -> Cell:
    """A cell with the parts of theirs that the step takes."""
    results = ("outputs", "execution_count")
    merged = {key: value for key, value in (theirs if step.content else ours).items() if key not in results}
    merged |= {key: value for key, value in (theirs if step.results else ours).items() if key in results}
    metadata = dict(metadata) if isinstance(metadata := merged.get("metadata"), dict) else {}
    times = (theirs if step.results else ours).get("metadata")
    metadata.pop("execution", None)
    if isinstance(times, dict) and "execution" in times:
        metadata["execution"] = times["execution"]
    return {**merged, "id": step.id, "metadata": metadata}


def _staying(present: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """The cells that can stay where they are: a longest part of ``present`` that is in the wanted order."""
    places = {cell_id: place for place, cell_id in enumerate(wanted)}
    ends: list[int] = []
    tails: list[str] = []
    before: dict[str, str | None] = {}
    for cell_id in present:
        place = places[cell_id]
        at = bisect_left(ends, place)
        before[cell_id] = tails[at - 1] if at else None
        ends[at : at + 1] = [place]
        tails[at : at + 1] = [cell_id]
    staying: set[str] = set()
    last = tails[-1] if tails else None
    while last is not None:
        staying.add(last)
        last = before[last]
    return staying


def _take(cell: YCell, theirs: Cell, step: Step) -> None:
    ours = whole_cell(read_map(cell))
    if step.content:
        _take_content(cell, ours, theirs)
    if step.results:
        _take_results(cell, theirs)
    set_originals(cell, _merged(ours, theirs, step))


def _take_content(cell: YCell, before: Cell, theirs: Cell) -> None:
    source = cell.get("source")
    if isinstance(source, Text):
        replace_text(source, joined(theirs.get("source", "")))
    metadata = cell.get("metadata")
    if isinstance(metadata, Map):
        shared = cast("Map[object]", metadata)
        ours, wanted = kept_metadata(before.get("metadata")), kept_metadata(theirs.get("metadata"))
        for key in {*ours, *wanted} - {"execution"}:
            if value_digest(ours.get(key)) != value_digest(wanted.get(key)) or (key in ours) != (key in wanted):
                _put(shared, key, wanted)
    for key in {*before, *theirs} - set(_CONTENT):
        _put(cell, key, theirs)


def _take_results(cell: YCell, theirs: Cell) -> None:
    outputs = cell.get("outputs")
    wanted = theirs.get("outputs")
    if isinstance(outputs, Array):
        shared = cast("YOutputs", outputs)
        shared.clear()
        shared.extend(new_outputs(output for output in (wanted if isinstance(wanted, list) else []) if isinstance(output, dict)))
    if cell.get("execution_count") != theirs.get("execution_count"):
        cell["execution_count"] = plain(theirs.get("execution_count"))
    metadata, their_metadata = cell.get("metadata"), theirs.get("metadata")
    if isinstance(metadata, Map) and isinstance(their_metadata, dict):
        _put(cast("Map[object]", metadata), "execution", their_metadata)


def _put(shared: Map[object], key: str, wanted: Mapping[str, JSON]) -> None:
    if key in wanted:
        shared[key] = plain(wanted[key])
    elif key in shared:
        del shared[key]
