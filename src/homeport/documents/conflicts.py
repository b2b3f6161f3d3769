"""Conflict copies: cells that hold what contradicted another cell, and are marked with its id, so that nothing is replaced silently."""

from __future__ import annotations

from typing import cast

from pycrdt import Map

from homeport.documents.ids import new_cell_id
from homeport.documents.schema import Cell, YCell, read_map
from homeport.protocol.document import JSON


def conflict_copy(cell: Cell, original: str) -> Cell:
    """``cell`` under an id of its own, to stand below the cell ``original`` that it contradicts."""
    metadata = cell.get("metadata")
    marked: dict[str, JSON] = {**(metadata if isinstance(metadata, dict) else {}), "homeport": {"conflict": {"cell": original}}}
    return {**cell, "id": new_cell_id(), "metadata": marked}


def conflict_of(cell: YCell) -> str:
    """The id of the cell that ``cell`` is a conflict copy of; empty when it is none."""
    metadata = cell.get("metadata")
    ours = cast("Map[object]", metadata).get("homeport") if isinstance(metadata, Map) else None
    if isinstance(ours, Map):
        ours = read_map(cast("Map[object]", ours))
    conflict = cast("dict[str, JSON]", ours).get("conflict") if isinstance(ours, dict) else None
    original = conflict.get("cell") if isinstance(conflict, dict) else None
    return original if isinstance(original, str) else ""
