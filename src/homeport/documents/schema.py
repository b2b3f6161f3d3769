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

from homeport.documents.exact import EXACT, split, text, whole
from homeport.protocol.document import JSON

Cell: TypeAlias = "dict[str, JSON]"
"""A cell as nbformat 4 has it, text joined (never a list of lines)."""
YCell: TypeAlias = "Map[object]"
YOutputs: TypeAlias = "Array[object]"


def plain(value: JSON) -> JSON:
    """``value`` as a document can hold it; what that is not exact about is lost, unless it is kept beside (``exact.py``)."""
    return split(value)[0]


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


def new_output(output: Mapping[str, JSON]) -> Map[object]:
    """The Yjs map of one output; a stream's text is a ``Text`` so that it can grow."""
    stream = output.get("output_type") == "stream"
    held = _with_originals({key: value for key, value in whole_output(output).items() if not (stream and key == "text")})
    members: dict[str, object] = {**held}
    if stream:
        members["text"] = Text(text(joined(output.get("text", ""))))
    return Map(members)


def new_outputs(outputs: Iterable[Mapping[str, JSON]]) -> list[object]:
    """The Yjs maps of several outputs, to be inserted into the array of a cell."""
    return [new_output(output) for output in outputs]


def new_cell(cell: Mapping[str, JSON], *, state: str = "idle") -> YCell:
    """The Yjs map of one cell. ``cell`` has at least ``id``, ``cell_type`` and ``source``; ``state``: its run state."""
    cell = whole_cell(cell)
    held = _with_originals({key: value for key, value in cell.items() if key not in ("source", "outputs")})
    originals = held.pop(EXACT, None)
    metadata = held.get("metadata")
    members: dict[str, object] = {**held, "source": Text(text(joined(cell.get("source", ""))))}
    members["metadata"] = Map({**(metadata if isinstance(metadata, dict) else {}), **({EXACT: originals} if originals else {})})
    if cell.get("cell_type") == "code":
        outputs = cell.get("outputs")
        members["outputs"] = Array(
            new_outputs(output for output in outputs if isinstance(output, dict)) if isinstance(outputs, list) else []
        )
        members.setdefault("execution_count", None)
        members["execution_state"] = state
    return Map(members)


def whole_output(output: Mapping[str, JSON]) -> dict[str, JSON]:
    """An output that a document gave back, exactly as it once came in; any other output as it is."""
    return _whole(output, output.get(EXACT))


def whole_cell(cell: Mapping[str, JSON]) -> Cell:
    """A cell that a document gave back (:func:`read_map`), exactly as it once came in; any other cell as it is."""
    metadata, outputs = cell.get("metadata"), cell.get("outputs")
    found: Cell = dict(cell)
    if isinstance(metadata, dict) and EXACT in metadata:
        found["metadata"] = {key: value for key, value in metadata.items() if key != EXACT}
        found = _whole(found, metadata[EXACT])
    if isinstance(outputs, list) and any(isinstance(output, dict) and EXACT in output for output in outputs):
        found["outputs"] = [whole_output(output) if isinstance(output, dict) else output for output in outputs]
    return found


def set_originals(shared: YCell, cell: Cell) -> None:
    """Note beside what ``shared`` holds what it cannot hold exactly of ``cell``. Inside a transaction."""
    metadata = shared.get("metadata")
    if isinstance(metadata, Map):
        noted = cast("Map[object]", metadata)
        originals = split({key: value for key, value in cell.items() if key not in ("source", "outputs")})[1]
        if originals:
            noted[EXACT] = originals
        elif EXACT in noted:
            del noted[EXACT]


def whole_meta(meta: Mapping[str, JSON]) -> dict[str, JSON]:
    """The root ``meta``, as :func:`new_meta` got it."""
    return _whole(meta, meta.get(EXACT))


def new_meta(meta: Mapping[str, JSON]) -> dict[str, object]:
    """The members of the root ``meta``: of its ``metadata`` each key is one of a map."""
    held = _with_originals(dict(meta))
    metadata = held.get("metadata")
    return {**held, "metadata": Map(metadata if isinstance(metadata, dict) else {})}


def _with_originals(value: dict[str, JSON]) -> dict[str, JSON]:
    held, originals = split(value)
    return {**cast("dict[str, JSON]", held), **({EXACT: originals} if originals else {})}


def _whole(value: Mapping[str, JSON], originals: JSON) -> dict[str, JSON]:
    return cast("dict[str, JSON]", whole({key: item for key, item in value.items() if key != EXACT}, originals))


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
    return isinstance(value, Map) and makes_cell(dict(cast("YCell", value).items()))


def makes_cell(members: Mapping[str, object]) -> bool:
    """Whether a map with these members is a cell, see :func:`is_cell`."""
    kind = members.get("cell_type")
    identity = members.get("id")
    if not isinstance(identity, str) or not identity or kind not in ("code", "markdown", "raw"):
        return False
    if not isinstance(members.get("source"), Text) or not isinstance(members.get("metadata"), Map):
        return False
    return kind != "code" or isinstance(members.get("outputs"), Array)
