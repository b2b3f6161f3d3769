"""Cells and outputs in the ``jupyter_ydoc`` schema: from plain notebook JSON to Yjs types, and back.

The schema (jupyter_ydoc, ``YNotebook``): roots ``cells`` (array of maps: ``id``, ``cell_type``, ``source`` text, ``metadata``
map, for code cells ``execution_count``, ``execution_state``, ``outputs`` array), ``meta`` (``nbformat``, ``nbformat_minor``,
``metadata``) and ``state``. ``YNotebook`` itself is not used: its undo manager keeps all that was ever replaced.

Offsets into a pycrdt ``Text`` count UTF-8 bytes, not characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, cast

import msgspec
from pycrdt import Array, Map, Text

from homeport.protocol.document import JSON

Cell: TypeAlias = "dict[str, JSON]"
"""A cell as nbformat 4 has it, text joined (never a list of lines)."""
YCell: TypeAlias = "Map[object]"
YOutputs: TypeAlias = "Array[object]"

_EXACT = 2**53


def plain(value: JSON) -> JSON:
    """``value`` as a document can hold it: text without lone surrogates, whole numbers beyond 2**53 as floats."""
    if isinstance(value, str):
        return value if value.isascii() else text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -_EXACT < value < _EXACT else _as_float(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {text(key): plain(item) for key, item in value.items()}
    return value


def text(value: str) -> str:
    """``value`` with lone surrogates replaced: they cannot be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    return value


def loads(raw: msgspec.Raw | bytes) -> JSON:
    """Read JSON; also what is no JSON but what Python and notebooks take for it: NaN, infinities, lone surrogates.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return cast("JSON", msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        import json

        return cast("JSON", json.loads(bytes(raw)))


def normal(value: JSON) -> JSON:
    """Numbers as a document gives them back, so that a value has one digest wherever it stands."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value if value - value == 0 else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**53) < value < 2**53 else normal(float(value)) if abs(value) < 10**300 else None
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, dict):
        return {text(key): normal(item) for key, item in value.items()}
    return value


def exact(value: JSON) -> bool:
    """Whether a document holds ``value`` without loss (:func:`plain` changes nothing, and it is finite)."""
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, list):
        return all(exact(item) for item in value)
    if isinstance(value, dict):
        return all(exact(item) for item in value.values()) and all(key.isascii() or text(key) == key for key in value)
    return plain(value) is value or plain(value) == value


def new_output(output: Mapping[str, JSON]) -> Map[object]:
    """The Yjs map of one output; a stream's text is a ``Text`` so that it can grow."""
    members: dict[str, object] = {text(key): plain(value) for key, value in output.items()}
    if output.get("output_type") == "stream":
        members["text"] = Text(text(joined(output.get("text", ""))))
    return Map(members)


def new_outputs(outputs: Iterable[Mapping[str, JSON]]) -> list[object]:
    """The Yjs maps of several outputs, to be inserted into the array of a cell."""
    return [new_output(output) for output in outputs]


def new_cell(cell: Mapping[str, JSON], *, state: str = "idle") -> YCell:
    """The Yjs map of one cell. ``cell`` has at least ``id``, ``cell_type`` and ``source``; ``state``: its run state."""
    members: dict[str, object] = {text(key): plain(value) for key, value in cell.items() if key not in ("source", "metadata", "outputs")}
    members["source"] = Text(text(joined(cell.get("source", ""))))
    metadata = cell.get("metadata")
    members["metadata"] = Map({text(key): plain(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {})
    if cell.get("cell_type") == "code":
        outputs = cell.get("outputs")
        members["outputs"] = Array(
            new_outputs(output for output in outputs if isinstance(output, dict)) if isinstance(outputs, list) else []
        )
        members.setdefault("execution_count", None)
        members["execution_state"] = state
    return Map(members)


def read(shared: Map[object] | Array[object]) -> JSON:
    """What a Yjs map or array holds, as plain JSON. Whole numbers are ``int``, as they are in JavaScript's JSON.

    Through Rust's JSON: three times as fast as ``to_py``, which wraps every nested type.
    """
    return cast("JSON", msgspec.json.decode(str(shared)))


def read_map(shared: Map[object]) -> dict[str, JSON]:
    """What a Yjs map holds."""
    return cast("dict[str, JSON]", read(shared))


def joined(value: JSON) -> str:
    """Text that nbformat allows to be a list of lines, as one string."""
    if isinstance(value, list):
        return "".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""


def may_fail(metadata: Mapping[str, JSON]) -> bool:
    """Whether a cell with that metadata may fail without stopping what comes after it: ``raises-exception``, as nbclient has it."""
    tags = metadata.get("tags")
    return bool(metadata.get("raises-exception")) or (isinstance(tags, list) and "raises-exception" in tags)


def is_cell(value: object) -> bool:
    """Whether ``value`` is a cell that pages and the saver can work with."""
    if not isinstance(value, Map):
        return False
    cell = cast("YCell", value)
    kind = cell.get("cell_type")
    if not isinstance(cell.get("id"), str) or kind not in ("code", "markdown", "raw"):
        return False
    if not isinstance(cell.get("source"), Text) or not isinstance(cell.get("metadata"), Map):
        return False
    return kind != "code" or isinstance(cell.get("outputs"), Array)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
