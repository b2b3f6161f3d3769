"""Three-way merge of notebooks by cell, on digests: pure.

``base`` is what both sides began from, ``ours`` the open document, ``theirs`` what came from outside (the file, a REST
client, a page with another history). The result is a plan; whoever owns the document carries it out.

Rules: what one side changed is taken; what both changed in the same way is taken once; a cell that both changed
differently keeps ours, and theirs is put below it as a conflict copy. A cell that one side deleted and the other changed
stays. New cells of both sides are kept. The order is the side's that moved cells; ours when both did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CellPrint:
    """A cell as the merge sees it."""

    id: str
    """Unique within a side."""
    content: str
    """Digest of what people write: type, source, metadata, attachments."""
    results: str
    """Digest of what runs write: outputs, execution count, times."""


@dataclass(frozen=True, slots=True)
class Step:
    """One cell of the result.

    ``keep``: the cell ``id`` of ours as it is. ``take``: the cell ``id`` of ours, with the parts of theirs named by
    ``content`` and ``results``. ``insert``: the cell of theirs, under its id. ``conflict``: the cell of theirs as a marked copy
    of ours with that ``id``, which is the step before.
    """

    action: Literal["keep", "take", "insert", "conflict"]
    id: str
    content: bool = False
    results: bool = False


Side: TypeAlias = Sequence[CellPrint]


def merge(base: Side, ours: Side, theirs: Side) -> list[Step]:
    """The cells of the result, in order. Cells of ours that are not in it are to be deleted.

    Ids are unique within each side; the result has no id twice (conflict copies get new ones from whoever makes them).
    """
    old = {cell.id: cell for cell in base}
    mine = {cell.id: cell for cell in ours}
    other = {cell.id: cell for cell in theirs}
    steps: dict[str, list[Step]] = {}
    for cell_id in dict.fromkeys([*mine, *other]):
        steps[cell_id] = _cell(cell_id, old.get(cell_id), mine.get(cell_id), other.get(cell_id))
    order = _order([cell.id for cell in base], list(mine), list(other), {cell_id for cell_id, found in steps.items() if found})
    return [step for cell_id in order for step in steps[cell_id]]


def supposed_base(ours: Side, theirs: Side, no_results: str) -> list[CellPrint]:
    """A base for sides of which nobody knows what they began from: with it, :func:`merge` takes nothing of ours away.

    Cells that differ become conflict copies, cells that one side lacks stay, and the order is ours. Results alone are no
    conflict: they are the program's, not a person's; ours count, unless there are none.

    Args:
        no_results: the digest of a cell without results.
    """
    mine = {cell.id: cell for cell in ours}
    alike = [(mine[cell.id], cell) for cell in theirs if cell.id in mine and mine[cell.id].content == cell.content]
    return [CellPrint(cell.id, cell.content, no_results if own.results == no_results else cell.results) for own, cell in alike]


def stages(base: Side, theirs: Side, size: int) -> Iterator[list[CellPrint]]:
    """The way from ``base`` to ``theirs`` in steps of at most ``size`` cells, so that a big merge need not be done at once.

    Each is to be merged with the one before as its base: as if the other program had saved all of them. The last is ``theirs``.
    """
    new = {cell.id: cell for cell in theirs}
    now = list(base)
    for batch in _batches([place for place, cell in enumerate(now) if new.get(cell.id, cell) != cell], size):
        for place in batch:
            now[place] = new[now[place].id]
        yield list(now)
    for batch in _batches([cell.id for cell in base if cell.id not in new], size):
        gone = set(batch)
        now = [cell for cell in now if cell.id not in gone]
        yield list(now)
    there = {cell.id for cell in now}
    for batch in _batches([cell.id for cell in theirs if cell.id not in there], size):
        there.update(batch)
        now = [cell for cell in theirs if cell.id in there]
        yield now
    if now != [*theirs]:
        yield [*theirs]


def align(base: Side, theirs: Side, new_id: Callable[[], str]) -> list[CellPrint]:
    """``theirs`` with the ids of ``base``, for a file that has no ids of its own: found by content, then by place.

    Args:
        base: the last saved state.
        theirs: cells whose ids mean nothing.
        new_id: makes an id that is not in use.
    """
    named: list[CellPrint] = []
    matcher = SequenceMatcher(None, [cell.content for cell in base], [cell.content for cell in theirs], autojunk=False)
    for _, base_from, base_to, from_, to in matcher.get_opcodes():
        # Equal runs match one to one; in a replaced run the first cells are taken to be the same ones, changed.
        for offset, cell in enumerate(theirs[from_:to]):
            known = base_from + offset < base_to
            named.append(CellPrint(base[base_from + offset].id if known else new_id(), cell.content, cell.results))
    return named


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _cell(cell_id: str, base: CellPrint | None, ours: CellPrint | None, theirs: CellPrint | None) -> list[Step]:
    if ours is None:
        assert theirs is not None
        # Ours deleted it: it stays away unless theirs changed it.
        return [] if base == theirs else [Step("insert", cell_id)]
    if theirs is None:
        return [] if base == ours else [Step("keep", cell_id)]
    content = _part(base and base.content, ours.content, theirs.content)
    results = _part(base and base.results, ours.results, theirs.results)
    if "both" in (content, results):
        return [Step("keep", cell_id), Step("conflict", cell_id)]
    if "theirs" in (content, results):
        return [Step("take", cell_id, content=content == "theirs", results=results == "theirs")]
    return [Step("keep", cell_id)]


def _part(base: str | None, ours: str, theirs: str) -> Literal["ours", "theirs", "both"]:
    if theirs in (ours, base):
        return "ours"
    return "theirs" if ours == base else "both"


def _order(base: list[str], ours: list[str], theirs: list[str], wanted: set[str]) -> list[str]:
    mine, other = set(ours), set(theirs)
    common = [cell_id for cell_id in base if cell_id in mine and cell_id in other]
    keep = set(common)
    they_moved = [cell_id for cell_id in theirs if cell_id in keep] != common
    we_moved = [cell_id for cell_id in ours if cell_id in keep] != common
    first, second = (theirs, ours) if they_moved and not we_moved else (ours, theirs)
    return [cell_id for cell_id in weave(first, second) if cell_id in wanted]


def weave(first: list[str], second: list[str]) -> list[str]:
    """All of ``first`` in its order, and what only ``second`` has after the cell that it follows there."""
    known = set(first)
    followers: dict[str | None, list[str]] = {}
    previous: str | None = None
    for cell_id in second:
        if cell_id in known:
            previous = cell_id
        else:
            followers.setdefault(previous, []).append(cell_id)
    woven = list(followers.get(None, ()))
    for cell_id in first:
        woven.append(cell_id)
        woven.extend(followers.get(cell_id, ()))
    return woven
