"""A kept state of a notebook beside the one of now, cell by cell, for people: what a page shows of its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from homeport.core.cell_diff import diff
from homeport.core.cell_merge import CellPrint, align
from homeport.documents.codec import Notebook, OldFormat
from homeport.documents.schema import Cell, joined, loads
from homeport.documents.serial import BlobPiece, Piece, assemble, encode_cell, value_digest


class CellDifference(msgspec.Struct, omit_defaults=True):
    """One cell. ``before`` and ``after``: its source then and now, where they differ."""

    id: str
    cell_type: str
    action: str
    """``same``, ``changed``, ``added`` (it is new now) or ``removed`` (it is not there any more)."""
    before: str | None = None
    after: str | None = None
    outputs: bool = False
    """Its outputs differ."""
    moved: bool = False


@dataclass(frozen=True, slots=True)
class _Side:
    prints: list[CellPrint]
    cells: dict[str, Cell]
    identified: bool
    """Its cells have ids."""


def pieces_without_ids(notebook: Notebook) -> list[Piece]:
    """A notebook that was upgraded, whose ids are made up: as a file."""
    cells = (encode_cell(cell, minor=4).pieces for cell in notebook.cells)
    return assemble(cells, metadata=notebook.metadata, minor=4, extra=notebook.extra)


def compare(before: Sequence[Piece], after: Sequence[Piece]) -> list[CellDifference]:
    """Compare two files by their pieces; blobs are compared by name, so that nothing big is read. For a thread.

    Raises:
        OldFormat: the one of before is of nbformat 3 or older.
        ValueError: one of them is not a notebook.
    """
    old = _side(before)
    new = _side(after, old)
    if new.identified and not old.identified:
        old = _side(before, new)
    found: list[CellDifference] = []
    for each in diff(old.prints, new.prints):
        one, other = old.cells.get(each.id), new.cells.get(each.id)
        entry = CellDifference(each.id, str((other or one or {}).get("cell_type")), each.action, moved=each.moved)
        if each.content:
            entry.before = None if one is None else joined(one.get("source", ""))
            entry.after = None if other is None else joined(other.get("source", ""))
        entry.outputs = each.results and each.action == "changed"
        found.append(entry)
    return found


def _side(pieces: Sequence[Piece], base: _Side | None = None) -> _Side:
    raw = b"".join(f'"{piece.name}"'.encode() if isinstance(piece, BlobPiece) else piece for piece in pieces)
    notebook = loads(raw)
    if isinstance(notebook, dict) and notebook.get("nbformat") in (1, 2, 3):
        raise OldFormat
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ValueError("not a notebook")
    found = [cell for cell in cells if isinstance(cell, dict)]
    numbers = count()
    identified = all(isinstance(cell.get("id"), str) for cell in found) and len({str(cell.get("id")) for cell in found}) == len(found)
    prints = [CellPrint(str(cell["id"]) if identified else f"cell-{next(numbers)}", *_digests(cell)) for cell in found]
    if base is not None and not identified:
        prints = align(base.prints, prints, lambda: f"new-{next(numbers)}")
    return _Side(prints, {each.id: cell for each, cell in zip(prints, found, strict=True)}, identified)


def _digests(cell: Cell) -> tuple[str, str]:
    content = {key: value for key, value in cell.items() if key not in ("id", "outputs", "execution_count", "metadata", "source")}
    metadata = cell.get("metadata")
    kept = {key: value for key, value in metadata.items() if key != "execution"} if isinstance(metadata, dict) else metadata
    return value_digest([joined(cell.get("source", "")), kept, content]), value_digest([cell.get("outputs"), cell.get("execution_count")])
