"""Names that documents make up: cell ids, document ids, epochs."""

from __future__ import annotations

import uuid


def new_cell_id() -> str:
    """A cell id as nbformat 4.5 wants it: 8 hexadecimal digits, a dash, 4 more."""
    digits = uuid.uuid4().hex
    return f"{digits[:8]}-{digits[8:12]}"


def new_id() -> str:
    """An id of a document, or the name of a history."""
    return uuid.uuid4().hex
