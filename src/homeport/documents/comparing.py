"""A kept state of a notebook beside the one of now, cell by cell, for people: what a page shows of its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from homeport.core.cell_diff import diff
from homeport.core.cell_merge import CellPrint, align
from homeport.documents.codec import Notebook, OldFormat, elements_of, members_of
from homeport.documents.schema import Cell, joined, loads
from homeport.documents.serial import BlobPiece, Piece, assemble, encode_cell, gathered, value_digest
from homeport.protocol.document import JSON


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
    shown: dict[str, tuple[str, str]]
    """Type and source, by id."""
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
        one, other = old.shown.get(each.id), new.shown.get(each.id)
        entry = CellDifference(each.id, (other or one or ("", ""))[0], each.action, moved=each.moved)
        if each.content:
            entry.before = None if one is None else one[1]
            entry.after = None if other is None else other[1]
        entry.outputs = each.results and each.action == "changed"
        found.append(entry)
    return found


def _side(pieces: Sequence[Piece], base: _Side | None = None) -> _Side:
    raw = gathered(f'"{piece.name}"'.encode() if isinstance(piece, BlobPiece) else piece for piece in pieces)
    members = members_of(raw) or {}
    if loads(members.get("nbformat", msgspec.Raw(b"4"))) in (1, 2, 3):
        raise OldFormat
    elements = elements_of(members.get("cells", msgspec.Raw(b"null")))
    if elements is None:
        raise ValueError("not a notebook")
    ids: list[JSON] = []
    digests: list[tuple[str, str]] = []
    shown: list[tuple[str, str]] = []
    # Cell by cell: to decode them all at once would hold the interpreter.
    for element in elements:
        cell = loads(element)
        if isinstance(cell, dict):
            ids.append(cell.get("id"))
            digests.append(_digests(cell))
            shown.append((str(cell.get("cell_type")), joined(cell.get("source", ""))))
    numbers = count()
    identified = all(isinstance(each, str) for each in ids) and len({str(each) for each in ids}) == len(ids)
    prints = [CellPrint(str(each) if identified else f"cell-{next(numbers)}", *two) for each, two in zip(ids, digests, strict=True)]
    if base is not None and not identified:
        prints = align(base.prints, prints, lambda: f"new-{next(numbers)}")
    return _Side(prints, {each.id: what for each, what in zip(prints, shown, strict=True)}, identified)


def _digests(cell: Cell) -> tuple[str, str]:
    content = {key: value for key, value in cell.items() if key not in ("id", "outputs", "execution_count", "metadata", "source")}
    metadata = cell.get("metadata")
    kept = {key: value for key, value in metadata.items() if key != "execution"} if isinstance(metadata, dict) else metadata
    return value_digest([joined(cell.get("source", "")), kept, content]), value_digest([cell.get("outputs"), cell.get("execution_count")])
