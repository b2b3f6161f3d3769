"""Big outputs, kept apart from the document: a content-addressed store of MIME bundle values.

A value stands in the document as a reference (docs/architecture.md, "Blobs") with something that any viewer can show; the
saver puts the value back. A blob is a file whose name is the sha256 of its MIME type and content, and which holds one
line of JSON about it, then the value as JSON exactly as it stands, or will stand, in the notebook file: so a save
copies bytes, and a value that nobody touched keeps its formatting.

Who refers to what is found by ``blob_sweep.py``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import msgspec

from homeport.documents.exact import canonical, escaped, size, text
from homeport.documents.limits import Limits
from homeport.documents.schema import joined, loads
from homeport.errors import NotFound
from homeport.folders import private
from homeport.protocol.document import JSON

log = logging.getLogger(__name__)

BLOB = "application/vnd.homeport.blob+json"
"""The MIME type under which references stand in an output's data."""
STREAM_TEXT = "text/x.homeport.stream"
"""The MIME type of a stream's whole text in the store: its place in a file is another one than that of ``text/plain``."""

SMALL = 512
"""A value up to this many bytes is never worth a reference."""
_SUMMARY = 256
_NAME = re.compile(r"[0-9a-f]{64}")
_BASE64 = re.compile(r"(image|audio|video|font)/(?!svg\+xml)|application/(pdf|zip|octet-stream)$")
_PYTHON_JSON_UP_TO = 64 * 1024
_DATA_DEPTH = b"\n" + b" " * 6
_TEXT_DEPTH = b"\n" + b" " * 5


class Head(msgspec.Struct, frozen=True):
    """The first line of a blob file."""

    mime: str
    size: int
    """Bytes of the content as it is served: decoded from base64, or UTF-8."""
    raw: int
    """Bytes of the JSON value that follows: a file that is shorter was cut by a power failure."""


@dataclass(slots=True)
class Inline:
    """What a document may still hold inline. ``used`` is set by whoever counts the document's outputs."""

    limit: int
    used: int = 0

    def take(self, size: int) -> bool:
        """Take ``size`` bytes when they are left."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True


class Blobs:
    """The store. Files are written by the caller's thread: a few hundred microseconds each, no flush to the disk; more when it is busy.

    Args:
        folder: created (private) when it is not there.
        base_url: the server's, ends with a slash; the page's links are relative to it, those for other viewers hold it.
        limits: from which size values go here.
    """

    def __init__(self, folder: Path, *, base_url: str = "/", limits: Limits | None = None) -> None:
        self.folder = private(folder)
        self.base_url = base_url
        self.limits = limits or Limits()

    # ---- into the store -------------------------------------------------------------------------------------------

    def externalise(self, output: Mapping[str, JSON], inline: Inline) -> dict[str, JSON]:
        """``output`` with the values that are too big for the document replaced by references.

        Args:
            output: an nbformat 4 output, text joined. One without a MIME bundle comes back as it is, and so does one
                that cannot be written just now (a full disk): it stands in the document, whatever its size. Of one that cannot be
                encoded (nested too deeply) a remark is left.
            inline: the document's budget; what stays inline is taken from it.
        """
        data = output.get("data")
        if not isinstance(data, dict):
            return dict(output)
        try:
            return {**output, "data": self._externalised(data, inline)}
        except OSError as error:
            log.info("a big output cannot be put into the blob store and stays in the document: %s", error)
            return dict(output)
        except (RecursionError, ValueError, TypeError) as error:
            log.warning("An output cannot be kept: %s", error)
            return {**output, "data": {"text/plain": f"[an output that cannot be kept: {error}]"}}

    def _externalised(self, data: Mapping[str, JSON], inline: Inline) -> dict[str, JSON]:
        kept: dict[str, JSON] = {}
        moved: list[tuple[str, JSON]] = []
        for mime, value in data.items():
            if self.stays(mime, value, inline):
                kept[mime] = value
            else:
                moved.append((mime, value))
        return self.stand_in(kept, [self.put(mime, value) for mime, value in moved], moved) if moved else kept

    def stays(self, mime: str, value: JSON, inline: Inline) -> bool:
        """Whether a value may stand in the document: by its size, and by what is left of the budget."""
        count = size(value)
        if count > self.limits.inline_value:
            return False
        return count <= SMALL or mime == BLOB or inline.take(count)

    def put(self, mime: str, value: JSON, raw: bytes | None = None) -> dict[str, JSON]:
        """Keep ``value`` and return its reference: ``{sha256, mime, size, url}``.

        Args:
            mime: its MIME type.
            value: text, or any JSON value.
            raw: the value as JSON, as it stands in a notebook file; made here when it is not given.
        """
        content = _content(value)
        name = hashlib.sha256(mime.encode() + b"\n" + content).hexdigest()
        served = _decoded_size(value) if isinstance(value, str) and _BASE64.match(mime) else len(content)
        if not self.touch(name):
            raw = fragment(mime, value) if raw is None else raw
            head = msgspec.json.encode(Head(mime, served, len(raw)))
            self._write(name, (head, b"\n", raw))
        return {"sha256": name, "mime": mime, "size": served, "url": self.url(name, mime)}

    def touch(self, name: str) -> bool:
        """Begin the grace period of a blob anew; False when it is not there."""
        try:
            os.utime(self.file(name))
        except FileNotFoundError:
            return False
        return True

    def _write(self, name: str, parts: Iterable[bytes]) -> None:
        file = self.file(name)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = file.with_name(f".{secrets.token_hex(6)}.tmp")
        try:
            with open(temporary, "xb") as out:
                out.writelines(parts)
            os.rename(temporary, file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise

    def stand_in(
        self, kept: Mapping[str, JSON], references: Sequence[dict[str, JSON]], moved: Sequence[tuple[str, JSON]]
    ) -> dict[str, JSON]:
        """The MIME bundle that stands in the document: references, and HTML and text that any viewer can show."""
        data: dict[str, JSON] = dict(kept)
        added: list[JSON] = []
        if "text/html" not in data:
            data["text/html"] = self._html(references)
            added.append("text/html")
        if "text/plain" not in data:
            plain = next((value for mime, value in moved if mime == "text/plain" and isinstance(value, str)), "")
            data["text/plain"] = (text(plain[:_SUMMARY]) + " …\n" if plain else "") + "\n".join(map(_named, references))
            added.append("text/plain")
        if len(references) == 1:
            data[BLOB] = {**references[0], "stand_in": added}
        else:
            data[BLOB] = {"blobs": [*references], "stand_in": added}
        return data

    def _html(self, references: Sequence[dict[str, JSON]]) -> str:
        for reference in references:
            if str(reference["mime"]).startswith("image/"):
                return f'<img src="{escape(self.base_url + str(reference["url"]))}" alt="{escape(_named(reference))}">'
        links = (f'<a href="{escape(self.base_url + str(entry["url"]))}" download>{escape(_named(entry))}</a>' for entry in references)
        return "<br>".join(links)

    # ---- out of the store -----------------------------------------------------------------------------------------

    def url(self, name: str, mime: str) -> str:
        """Where a page fetches a blob, relative to ``base_url``."""
        return f"api/documents/blobs/{name}?type={quote(mime, safe='/')}"

    def file(self, name: str) -> Path:
        """The file of a blob.

        Raises:
            NotFound: ``name`` is not the name of a blob.
        """
        if not _NAME.fullmatch(name):
            raise NotFound("That is not the name of a blob.")
        return self.folder / name[:2] / name[2:]

    def head(self, name: str) -> Head:
        """What is known of a blob.

        Raises:
            NotFound: it is not there (any more).
        """
        return self._read(name, content=False)[0]

    def raw(self, name: str) -> bytes:
        """The value as JSON, as it stands in a notebook file. Reads the disk: for threads.

        Raises:
            NotFound: it is not there (any more).
        """
        return self._read(name, content=True)[1]

    def value(self, name: str) -> JSON:
        """The value itself. Reads the disk: for threads.

        Raises:
            NotFound: it is not there (any more).
        """
        head, raw = self._read(name, content=True)
        value = loads(raw)
        return value if is_json(head.mime) else _rejoined(value)

    async def content(self, name: str) -> tuple[bytes, str]:
        """What a browser gets: the content, decoded from base64 where that is how notebooks hold the type, and its MIME type.

        Raises:
            NotFound: it is not there (any more).
        """

        def load() -> tuple[bytes, str]:
            head, raw = self._read(name, content=True)
            if is_json(head.mime):
                return raw, head.mime
            value = _rejoined(loads(raw))
            if not isinstance(value, str):
                return raw, head.mime
            return _decoded(value) if _BASE64.match(head.mime) else value.encode(), "text/plain" if head.mime == STREAM_TEXT else head.mime

        return await asyncio.to_thread(load)

    def _read(self, name: str, *, content: bool) -> tuple[Head, bytes]:
        try:
            with open(self.file(name), "rb") as file:
                head = msgspec.json.decode(file.readline(65536), type=Head)
                size = os.fstat(file.fileno()).st_size - file.tell()
                raw = file.read() if content else b""
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise NotFound("That output is not kept any more.", sha256=name) from error
        if size != head.raw:
            raise NotFound("That output was cut by a power failure.", sha256=name)
        return head, raw


def references(data: Mapping[str, JSON]) -> tuple[list[dict[str, JSON]], set[str]]:
    """The references in a MIME bundle, and the MIME types that only stand in for them."""
    entry = data.get(BLOB)
    if not isinstance(entry, dict):
        return [], set()
    blobs = entry.get("blobs", [entry])
    found = [blob for blob in blobs if isinstance(blob, dict) and is_name(blob.get("sha256"))] if isinstance(blobs, list) else []
    added = entry.get("stand_in")
    return found, {mime for mime in added if isinstance(mime, str)} if isinstance(added, list) else set()


def is_name(value: object) -> bool:
    """Whether ``value`` is the name of a blob."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_json(mime: str) -> bool:
    """Whether notebooks hold values of this type as JSON, not as text (nbformat, ``_is_json_mime``)."""
    return mime == "application/json" or (mime.startswith("application/") and mime.endswith("+json"))


def is_split(mime: str) -> bool:
    """Whether notebook files hold text of this type as a list of lines (nbformat, ``_split_mimebundle``)."""
    return mime.startswith("text/") or mime in ("application/javascript", "image/svg+xml")


def fragment(mime: str, value: JSON) -> bytes:
    """``value`` as it stands in a file that nbformat writes: one space of indentation, text of text types as lines."""
    import json

    depth = _TEXT_DEPTH if mime == STREAM_TEXT else _DATA_DEPTH
    if isinstance(value, str):
        if not is_split(mime):
            return msgspec.json.encode(text(value))
        lines = text(value).splitlines(keepends=True)
        return b"[" + depth + b" " + (b"," + depth + b" ").join(map(msgspec.json.encode, lines)) + depth + b"]" if lines else b"[]"
    compact = _content(value)
    if len(compact) > _PYTHON_JSON_UP_TO and canonical(value) == value:
        # Thirty times as fast as Python's; only the exponents of floats are written differently (1e-7, 1e-07).
        return msgspec.json.format(compact, indent=1).replace(b"\n", depth)
    pretty = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": "))
    return escaped(pretty).encode().replace(b"\n", depth)


def digest(mime: str, value: JSON) -> str:
    """The name that :meth:`Blobs.put` would give ``value``."""
    return hashlib.sha256(mime.encode() + b"\n" + _content(value)).hexdigest()


def _content(value: JSON) -> bytes:
    return text(value).encode() if isinstance(value, str) else msgspec.json.encode(canonical(value), order="sorted")


def _rejoined(value: JSON) -> JSON:
    return joined(value) if isinstance(value, list) and all(isinstance(line, str) for line in value) else value


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except (binascii.Error, ValueError):
        return value.encode()


def _decoded_size(value: str) -> int:
    plain = len(value) - value.count("\n")
    return max(0, plain * 3 // 4 - value[-3:].count("="))


def _named(reference: Mapping[str, JSON]) -> str:
    size = reference.get("size")
    number = float(size) if isinstance(size, int) else 0.0
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024 or unit == "MiB":
            return f"{reference.get('mime')} ({number:.0f} {unit})" if unit == "bytes" else f"{reference.get('mime')} ({number:.1f} {unit})"
        number /= 1024
    return str(reference.get("mime"))
