"""The difference of two states of a notebook, cell by cell, on digests: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

from homeport.core.cell_merge import CellPrint, weave

Action: TypeAlias = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one cell. ``content`` and ``results``: whether what people and what runs wrote changed; ``moved``: its place did."""

    id: str
    action: Action
    content: bool = False
    results: bool = False
    moved: bool = False


def diff(old: Sequence[CellPrint], new: Sequence[CellPrint]) -> list[Difference]:
    """All cells of both in the order of ``new``, with the removed ones where they stood. Ids are unique within each."""
    before, after = {cell.id: cell for cell in old}, {cell.id: cell for cell in new}
    olds = [cell.id for cell in old if cell.id in after]
    news = [cell.id for cell in new if cell.id in before]
    blocks = SequenceMatcher(None, olds, news, autojunk=False).get_matching_blocks()
    stayed = {cell_id for block in blocks for cell_id in news[block.b : block.b + block.size]}
    found: list[Difference] = []
    for cell_id in weave([cell.id for cell in new], [cell.id for cell in old]):
        one, other = before.get(cell_id), after.get(cell_id)
        if one is None or other is None:
            found.append(Difference(cell_id, "added" if one is None else "removed", content=True, results=True))
            continue
        content, results = one.content != other.content, one.results != other.results
        found.append(Difference(cell_id, "changed" if content or results else "same", content, results, moved=cell_id not in stayed))
    return found
