"""From the bytes of an ``.ipynb`` to a document's skeleton: cells with joined text, big outputs as blob references.

nbformat 4 of every minor is read here; 3, 2 and 1 are upgraded by nbformat first. Cells without ids, or with doubled ones,
get ids. What cannot be opened is said by name and place; the file is never written here. Writing a notebook is
``serial.py``'s; big files and old formats come here in a worker process (``worker.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import msgspec

from homeport.core.cell_merge import CellPrint
from homeport.core.output_buffer import STREAM_KEY
from homeport.documents.blobs import STREAM_TEXT, Blobs, Inline, is_json
from homeport.documents.schema import Cell, joined, loads, text
from homeport.documents.serial import fingerprint
from homeport.errors import InvalidNotebook
from homeport.protocol.document import JSON

Members: TypeAlias = "dict[str, msgspec.Raw]"

_KNOWN_MAJOR = 4
_CELL_TYPES = ("code", "markdown", "raw")
_TRANSIENT = ("orig_nbformat", "orig_nbformat_minor", "signature")
_OLD_FORMAT = "nbformat 3 or older"


class Notebook(msgspec.Struct):
    """A notebook as a document takes it."""

    minor: int
    """nbformat_minor; the major is 4."""
    metadata: dict[str, JSON]
    cells: list[Cell]
    extra: dict[str, JSON]
    """Members of the notebook that nbformat does not know."""
    prints: list[CellPrint]
    """One for each cell."""
    inline: int
    """Bytes of inline MIME bundle values that count for the document's budget."""
    made_ids: bool = False
    """Ids were made up for cells: another reading of the same file gives others."""
    upgraded: bool = False
    """It was of an older major: the file is as it was, and the first save writes nbformat 4."""


class OldFormat(Exception):
    """The notebook is of nbformat 3 or older: nbformat, which is slow to import, has to upgrade it."""


def decode(raw: bytes, *, name: str, blobs: Blobs, new_id: Callable[[], str], upgrade: bool = True) -> Notebook:
    """Read a notebook.

    Args:
        raw: the file's content.
        name: what to call it in errors.
        blobs: takes the outputs that are too big.
        new_id: makes cell ids.
        upgrade: whether older majors are upgraded here; else ``OldFormat`` is raised.

    Raises:
        InvalidNotebook: it is not JSON, not a notebook, or of a newer nbformat.
        OldFormat: see ``upgrade``.
    """
    try:
        members = members_of(raw)
    except ValueError as error:
        raise InvalidNotebook(_not_json(raw, name, error), path=name) from error
    except RecursionError as error:
        raise InvalidNotebook(f"“{name}” is nested too deeply to be a notebook.", path=name) from error
    if members is None:
        raise InvalidNotebook(f"“{name}” is JSON, but not a notebook: it is not an object.", path=name)
    major = loads(members.get("nbformat", msgspec.Raw(b"null")))
    if not isinstance(major, int) or isinstance(major, bool) or major < 1:
        raise InvalidNotebook(f"“{name}” is JSON, but not a notebook: it does not say which nbformat it has.", path=name)
    if major > _KNOWN_MAJOR:
        newer = f"“{name}” is of nbformat {major}, which is newer than the {_KNOWN_MAJOR} that Homeport knows; upgrade Homeport to open it."
        raise InvalidNotebook(newer, path=name, nbformat=major)
    if major < _KNOWN_MAJOR:
        if not upgrade:
            raise OldFormat(_OLD_FORMAT)
        notebook = decode(_upgraded(raw, name), name=name, blobs=blobs, new_id=new_id)
        notebook.upgraded = notebook.made_ids = True
        return notebook
    return _Reader(name, blobs, new_id).read(members)


class _Reader:
    """Reads one notebook of nbformat 4, level by level: what goes to the blob store is never decoded as a whole document."""

    def __init__(self, name: str, blobs: Blobs, new_id: Callable[[], str]) -> None:
        self._name = name
        self._blobs = blobs
        self._new_id = new_id
        self._inline = Inline(blobs.limits.inline_document)
        self._ids: set[str] = set()
        self._made_ids = False

    def read(self, members: Members) -> Notebook:
        minor = loads(members.get("nbformat_minor", msgspec.Raw(b"0")))
        if not isinstance(minor, int) or isinstance(minor, bool) or minor < 0:
            raise self._invalid("its nbformat_minor is not a number")
        metadata = loads(members.get("metadata", msgspec.Raw(b"{}")))
        if not isinstance(metadata, dict):
            raise self._invalid("its metadata are not an object")
        for key in _TRANSIENT:
            metadata.pop(key, None)
        cells = [self._cell(index, cell, minor) for index, cell in enumerate(self._list(members.get("cells"), "it has no list of cells"))]
        prints = [CellPrint(str(cell["id"]), *fingerprint(cell)) for cell in cells]
        known = ("nbformat", "nbformat_minor", "metadata", "cells")
        extra = {key: loads(value) for key, value in members.items() if key not in known}
        return Notebook(minor, metadata, cells, extra, prints, self._inline.used, self._made_ids)

    def _cell(self, index: int, raw: msgspec.Raw, minor: int) -> Cell:
        members = members_of(raw)
        if members is None:
            raise self._invalid(f"its cell {index + 1} is not an object")
        cell: Cell = {key: loads(value) for key, value in members.items() if key != "outputs"}
        if cell.get("cell_type") not in _CELL_TYPES:
            raise self._invalid(f"its cell {index + 1} has the type {json.dumps(cell.get('cell_type'))}")
        if not _is_text(cell.get("source", "")):
            raise self._invalid(f"the source of its cell {index + 1} is not text")
        if not isinstance(cell.setdefault("metadata", {}), dict):
            raise self._invalid(f"the metadata of its cell {index + 1} are not an object")
        cell["source"] = text(joined(cell.get("source", "")))
        # Below 4.5 ids mean nothing, and are not written; a document needs them all the same.
        cell["id"] = self._id(cell.get("id") if minor >= 5 else None)
        attachments = cell.get("attachments")
        if isinstance(attachments, dict):
            cell["attachments"] = {key: _joined_bundle(value) for key, value in attachments.items()}
        if cell["cell_type"] == "code":
            outputs = self._list(members.get("outputs", msgspec.Raw(b"[]")), f"the outputs of its cell {index + 1} are not a list")
            cell["outputs"] = [self._output(index, output) for output in outputs]
            cell.setdefault("execution_count", None)
        return cell

    def _id(self, value: JSON) -> str:
        if isinstance(value, str) and value and value not in self._ids:
            cell_id = value
        else:
            cell_id, self._made_ids = self._new_id(), True
        self._ids.add(cell_id)
        return cell_id

    def _output(self, index: int, raw: msgspec.Raw) -> dict[str, JSON]:
        members = members_of(raw)
        if members is None:
            raise self._invalid(f"an output of its cell {index + 1} is not an object")
        output = {key: loads(value) for key, value in members.items() if key not in ("data", "text")}
        if "text" in members:
            whole = loads(members["text"])
            output["text"] = joined(whole) if _is_text(whole) else whole
            if output.get("output_type") == "stream":
                return self._stream(output, members["text"])
        if "data" in members:
            bundle = members_of(members["data"])
            output["data"] = loads(members["data"]) if bundle is None else self._bundle(bundle)
        return output

    def _bundle(self, members: Members) -> dict[str, JSON]:
        kept: dict[str, JSON] = {}
        moved: list[tuple[str, JSON]] = []
        references: list[dict[str, JSON]] = []
        for mime, raw in members.items():
            value = loads(raw)
            if not is_json(mime) and _is_text(value):
                value = joined(value)
            if self._blobs.stays(mime, value, self._inline):
                kept[mime] = value
            else:
                moved.append((mime, value))
                references.append(self._blobs.put(mime, value, bytes(raw)))
        return self._blobs.stand_in(kept, references, moved) if moved else kept

    def _stream(self, output: dict[str, JSON], raw: msgspec.Raw) -> dict[str, JSON]:
        whole = text(joined(output["text"]))
        limits = self._blobs.limits
        if len(whole) <= 2 * (limits.stream_head + limits.stream_tail):
            return output
        reference = self._blobs.put(STREAM_TEXT, whole, bytes(raw))
        # Cut at line ends, so that head and tail are whole lines where lines are not endless.
        head = whole[: whole.rfind("\n", 0, limits.stream_head) + 1 or limits.stream_head]
        begin = len(whole) - limits.stream_tail
        line_end = whole.find("\n", begin, -1)
        tail = whole[line_end + 1 if line_end != -1 else begin :]
        hidden = len(whole) - len(head) - len(tail)
        notice = f"[... {hidden:,} characters are not shown here; they are in the file ...]\n"
        lines = whole.count("\n")
        entry: dict[str, JSON] = {"lines": lines, "size": len(whole.encode()), "sha256": reference["sha256"], "url": reference["url"]}
        return {**output, "text": f"{head}{notice}{tail}", STREAM_KEY: entry}

    def _list(self, raw: msgspec.Raw | None, complaint: str) -> list[msgspec.Raw]:
        found = None if raw is None else elements_of(raw)
        if found is None:
            raise self._invalid(complaint)
        return found

    def _invalid(self, complaint: str) -> InvalidNotebook:
        return InvalidNotebook(f"“{self._name}” is JSON, but not a notebook: {complaint}.", path=self._name)


def members_of(raw: msgspec.Raw | bytes) -> Members | None:
    """The members of a JSON object, not decoded; None when it is not an object.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        # What other readers take (NaN, a byte order mark, lone surrogates), and the right complaint about all else.
        value = loads(raw)
        return {key: _raw(item) for key, item in value.items()} if isinstance(value, dict) else None


def elements_of(raw: msgspec.Raw) -> list[msgspec.Raw] | None:
    """The elements of a JSON array, not decoded; None when it is not an array.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.DecodeError:
        value = loads(raw)
        return [_raw(item) for item in value] if isinstance(value, list) else None


def _raw(value: JSON) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _is_text(value: JSON) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def _joined_bundle(bundle: JSON) -> JSON:
    if not isinstance(bundle, dict):
        return bundle
    return {mime: joined(value) if not is_json(mime) and _is_text(value) else value for mime, value in bundle.items()}


def _not_json(raw: bytes, name: str, error: ValueError) -> str:
    if not raw.strip():
        return f"“{name}” is empty: it has {len(raw)} bytes, and none of them belongs to a notebook."
    where = f" (line {error.lineno}, column {error.colno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
    return f"“{name}” is not JSON, so it is not a notebook{where}."


def _upgraded(raw: bytes, name: str) -> bytes:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nbformat

        try:
            notebook: object = nbformat.reads(raw.decode("utf-8-sig"), as_version=4)  # type: ignore[reportUnknownMemberType]
        except Exception as error:
            # nbformat raises whatever a malformed old notebook makes it stumble over.
            raise InvalidNotebook(f"“{name}” is of an old nbformat and cannot be upgraded: {error}.", path=name) from error
    return json.dumps(cast("Mapping[str, JSON]", notebook)).encode()
