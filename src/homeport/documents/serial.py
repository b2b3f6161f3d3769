"""From a document's cells to the bytes of an ``.ipynb``, as nbformat writes it, and the digests that tell cells apart.

One space of indentation, sorted keys, text as lists of lines, no transient metadata (nbformat 5, ``v4/rwbase.py`` and
``nbjson.py``). A cell becomes pieces: bytes, and the names of blobs, whose bytes are copied from the store when the file
is written. Nothing here reads the disk.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias, cast

import msgspec

from homeport.core.cell_merge import CellPrint
from homeport.core.output_buffer import STREAM_KEY
from homeport.documents.blobs import BLOB, STREAM_TEXT, digest, is_name, is_split, references
from homeport.documents.exact import EXACT, canonical, escaped, size
from homeport.documents.schema import joined, whole_cell
from homeport.protocol.document import JSON

_OURS = "homeport"
"""Key of our own metadata: never in a file."""
_TIMES = "execution"
_MARK = secrets.token_hex(16)
"""Stands before the name of a blob in serialised JSON until it is cut there; outputs cannot guess it."""
_CUT = re.compile(rf'"{_MARK}([0-9a-f]{{64}})"')


@dataclass(frozen=True, slots=True)
class BlobPiece:
    """A piece of the file that is a blob's JSON."""

    name: str


Piece: TypeAlias = bytes | BlobPiece


@dataclass(frozen=True, slots=True)
class EncodedCell:
    """A cell, ready to be written."""

    pieces: tuple[Piece, ...]
    print: CellPrint
    inline: int
    """Bytes of inline MIME bundle values, for the document's budget."""
    source: int
    """Characters of its source, to see whether a notebook shrinks."""


@dataclass(frozen=True, slots=True)
class StreamText:
    """The whole text of a stream."""

    raw: bytes
    """As the file has it."""
    name: str
    """Its digest, the same as that of a blob with this text."""


def gathered(parts: Iterable[bytes]) -> bytes:
    """One text of many parts. For a thread: all at once would copy 30 MB with the interpreter held, and the event loop would wait."""
    whole = io.BytesIO()
    for part in parts:
        whole.write(part)
    return whole.getvalue()


def encode_cell(cell: Mapping[str, JSON], *, minor: int, streams: Mapping[str, StreamText] | None = None) -> EncodedCell:
    """Serialise one cell.

    Args:
        cell: as the document holds it (``schema.read_map``).
        minor: nbformat_minor of the file; below 5 no id is written.
        streams: whole texts of the streams whose heads and tails the document shows, by key.
    """
    streams = streams or {}
    cell = whole_cell(cell)
    whole = {**cell, "outputs": _with_streams(cell.get("outputs"), streams)} if "outputs" in cell else cell
    members = {key: value for key, value in whole.items() if key not in ("execution_state", "outputs")}
    if minor < 5:
        members.pop("id", None)
    members["source"] = _lines(joined(members.get("source", "")))
    members["metadata"] = kept_metadata(members.get("metadata"))
    attachments = members.get("attachments")
    if isinstance(attachments, dict):
        members["attachments"] = {key: _split_bundle(value) for key, value in attachments.items()}
        if not attachments:
            del members["attachments"]
    inline = 0
    if cell.get("cell_type") == "code":
        outputs = whole.get("outputs")
        written = [_file_output(output) for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else []
        members["outputs"] = cast("JSON", written)
        members.setdefault("execution_count", None)
        inline = sum(map(inline_size, outputs)) if isinstance(outputs, list) else 0
    prints = CellPrint(str(cell.get("id", "")), *fingerprint(whole))
    texts = {stream.name: stream.raw for stream in streams.values()}
    pieces = tuple(texts.get(piece.name, piece) if isinstance(piece, BlobPiece) else piece for piece in _cut(_dump(members, depth=2)))
    return EncodedCell(pieces, prints, inline, len(joined(cell.get("source", ""))))


def stream_rests(cell: Mapping[str, JSON]) -> dict[str, str]:
    """The streams of ``cell`` whose text the log has: key, and the end of the text, which is only in the document so far."""
    outputs = cell.get("outputs")
    found: dict[str, str] = {}
    for output in outputs if isinstance(outputs, list) else []:
        entry = output.get(STREAM_KEY) if isinstance(output, dict) else None
        if isinstance(output, dict) and isinstance(entry, dict) and isinstance(entry.get("key"), str):
            shown, rest = joined(output.get("text")), entry.get("rest")
            found[str(entry["key"])] = shown[len(shown) - rest :] if isinstance(rest, int) and 0 < rest <= len(shown) else ""
    return found


def stream_text(pieces: Iterable[bytes], rest: str) -> StreamText:
    """A stream's text from its pieces (UTF-8) and its end. For a thread: long texts are not held at once by one call."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    begin = b"\n      "
    digest_ = hashlib.sha256(STREAM_TEXT.encode() + b"\n")
    parts: list[bytes] = []
    carry = ""
    for piece in chain((decoder.decode(piece) for piece in pieces), (decoder.decode(b"", final=True), rest, "")):
        digest_.update(piece.encode())
        lines = (carry + piece).splitlines(keepends=True)
        # The last line may go on in the next piece; the second half of \r\n too.
        carry = lines.pop() if lines else ""
        parts.extend(map(msgspec.json.encode, lines))
    if carry:
        parts.append(msgspec.json.encode(carry))
    raw = b"[" + begin + (b"," + begin).join(parts) + b"\n     ]" if parts else b"[]"
    return StreamText(raw, digest_.hexdigest())


def _with_streams(outputs: JSON, streams: Mapping[str, StreamText]) -> JSON:
    """``outputs`` with references to the whole texts in ``streams``; a stream whose text is gone keeps what is shown."""
    if not isinstance(outputs, list):
        return outputs
    found: list[JSON] = []
    for output in outputs:
        entry = output.get(STREAM_KEY) if isinstance(output, dict) else None
        if isinstance(output, dict) and isinstance(entry, dict) and isinstance(entry.get("key"), str):
            stream = streams.get(str(entry["key"]))
            output = {key: value for key, value in output.items() if key != STREAM_KEY}
            if stream is not None:
                output[STREAM_KEY] = {"sha256": stream.name}
        found.append(output)
    return found


def assemble(
    cells: Iterable[Sequence[Piece]], *, metadata: Mapping[str, JSON], minor: int, extra: Mapping[str, JSON] | None = None
) -> list[Piece]:
    """The pieces of a whole file, which ends with a newline."""
    members: dict[str, JSON] = {
        **(extra or {}),
        "cells": [],
        "metadata": kept_metadata(dict(metadata)),
        "nbformat": 4,
        "nbformat_minor": minor,
    }
    before, after = _dump(members, depth=0).split('"cells": []', 1)
    pieces: list[Piece] = []
    for cell in cells:
        pieces.append(b",\n  " if pieces else before.encode() + b'"cells": [\n  ')
        pieces.extend(cell)
    pieces.append(("\n ]" if pieces else f'{before}"cells": []').encode() + after.encode() + b"\n")
    return pieces


def fingerprint(cell: Mapping[str, JSON]) -> tuple[str, str]:
    """Digests of a cell's content and of its results, the same for a value inline and as a blob.

    Returns:
        ``(content, results)``, 16 hexadecimal digits each.
    """
    metadata = kept_metadata(cell.get("metadata"))
    times = metadata.pop(_TIMES, None)
    apart = ("id", "outputs", "execution_count", "execution_state", "metadata", "source")
    content = {key: value for key, value in cell.items() if key not in apart and (key != "attachments" or value)}
    outputs = cell.get("outputs")
    results: list[JSON] = [cell.get("execution_count"), times]
    results.extend(_bare(output) for output in (outputs if isinstance(outputs, list) else []))
    return value_digest([joined(cell.get("source", "")), metadata, content]), value_digest(results)


def kept_metadata(metadata: JSON) -> dict[str, JSON]:
    """Metadata of a cell or notebook without what is transient or ours."""
    if not isinstance(metadata, dict):
        return {}
    return {key: value for key, value in metadata.items() if key not in (_OURS, EXACT, "trusted")}


def inline_size(output: JSON) -> int:
    """Bytes of an output that count for the document's inline budget."""
    data = output.get("data") if isinstance(output, dict) else None
    if not isinstance(data, dict):
        return 0
    return sum(count for key, value in data.items() if key != BLOB and (count := size(value)) > 512)


def _bare(output: JSON) -> JSON:
    """An output with each value of its bundle replaced by its digest, and a stream's text by the whole text's."""
    if not isinstance(output, dict):
        return output
    bare = {key: value for key, value in output.items() if key not in ("data", "text", STREAM_KEY)}
    if "text" in output:
        entry = output.get(STREAM_KEY)
        name = entry.get("sha256") if isinstance(entry, dict) else None
        bare["text"] = (
            name if is_name(name) else digest(STREAM_TEXT, joined(output["text"])) if _is_text(output["text"]) else output["text"]
        )
    data = output.get("data")
    if isinstance(data, dict):
        blobs, added = references(data)
        names: dict[str, JSON] = {mime: digest(mime, value) for mime, value in data.items() if mime not in added and mime != BLOB}
        names.update((str(blob["mime"]), blob["sha256"]) for blob in blobs)
        bare["data"] = names
    return bare


def _file_output(output: Mapping[str, JSON]) -> dict[str, JSON]:
    """An output as the file has it."""
    members = {key: value for key, value in output.items() if key != STREAM_KEY}
    if output.get("output_type") == "stream" and isinstance(members.get("text"), str):
        entry = output.get(STREAM_KEY)
        name = entry.get("sha256") if isinstance(entry, dict) else None
        members["text"] = f"{_MARK}{name}" if is_name(name) else _lines(str(members["text"]))
    data = members.get("data")
    if isinstance(data, dict):
        blobs, added = references(data)
        bundle: dict[str, JSON] = {mime: value for mime, value in data.items() if mime not in added and (mime != BLOB or not blobs)}
        bundle = cast("dict[str, JSON]", _split_bundle(bundle))
        bundle.update((str(blob["mime"]), f"{_MARK}{blob['sha256']}") for blob in blobs)
        members["data"] = bundle
    return members


def _split_bundle(bundle: JSON) -> JSON:
    if not isinstance(bundle, dict):
        return bundle
    return {mime: _lines(value) if isinstance(value, str) and is_split(mime) else value for mime, value in bundle.items()}


def _lines(value: str) -> list[JSON]:
    return [*value.splitlines(keepends=True)]


def _is_text(value: JSON) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def _dump(value: Mapping[str, JSON], *, depth: int) -> str:
    pretty = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": "))
    return escaped(pretty.replace("\n", "\n" + " " * depth) if depth else pretty)


def _cut(serialised: str) -> tuple[Piece, ...]:
    if _MARK not in serialised:
        return (serialised.encode(),)
    parts = _CUT.split(serialised)
    return tuple(BlobPiece(part) if index % 2 else part.encode() for index, part in enumerate(parts) if part)


def value_digest(value: JSON) -> str:
    """A digest (16 hexadecimal digits) that tells values apart as files do: 1 and 1.0 are two."""
    return hashlib.blake2b(msgspec.json.encode(canonical(value), order="sorted"), digest_size=8).hexdigest()
