"""Notebooks as the REST API gives them and as files hold them: pure functions, and the process that runs them on big ones.

The API gives nbformat 4 with text joined, as jupyter_server does; a file has text as lists of lines, one space of indentation
and sorted keys, as nbformat writes it. ``python -m homeport.web.notebook_json`` is the process: it takes requests as lines of JSON
on stdin, works from file to file, so that a big notebook never passes through the server's memory, and leaves at the end of stdin.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from homeport.documents.blobs import is_json, is_split
from homeport.errors import BadRequest, HomeportError, InvalidNotebook
from homeport.protocol.rest import ContentsType, SaveContents

_NEWEST = 4


def for_api(raw: bytes, name: str) -> bytes:
    """A notebook file's content as the API gives it.

    Args:
        raw: the file.
        name: what to call it in errors.

    Raises:
        InvalidNotebook: it is not JSON, not a notebook, or newer than nbformat 4.
    """
    notebook = parse(raw, name)
    if notebook["nbformat"] < _NEWEST:
        notebook = _upgraded(notebook, name)
    _each_text(notebook, _joined, lambda mime: not is_json(mime))
    return msgspec.json.encode(notebook)


def for_file(content: bytes, name: str) -> bytes:
    """A notebook that a client sent as a file holds it.

    Raises:
        InvalidNotebook: it is not a notebook that can be written.
    """
    notebook = parse(content, name)
    if notebook["nbformat"] < _NEWEST:
        notebook = _upgraded(notebook, name)
    _each_text(notebook, _split, is_split)
    notebook.get("metadata", {}).pop("signature", None)
    for cell in notebook["cells"]:
        metadata = cell.get("metadata")
        if isinstance(metadata, dict):
            cast("dict[str, Any]", metadata).pop("trusted", None)
    return (json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": ")) + "\n").encode("utf-8", "replace")


def parse(raw: bytes, name: str) -> dict[str, Any]:
    """A notebook's JSON, checked as far as a server needs it.

    Raises:
        InvalidNotebook: see :func:`for_api`.
    """
    try:
        loaded: object = _loaded(raw)
    except ValueError as error:
        raise InvalidNotebook(f"“{name}” is not JSON: {error}.", path=name) from None
    if not isinstance(loaded, dict):
        raise InvalidNotebook(f"“{name}” is not a notebook: its JSON is no object.", path=name)
    notebook = cast("dict[str, Any]", loaded)
    version = notebook.get("nbformat")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidNotebook(f"“{name}” is not a notebook: it has no nbformat.", path=name)
    if version > _NEWEST:
        message = f"“{name}” is of nbformat {version}, which is newer than this server knows ({_NEWEST}). Upgrade Homeport to open it."
        raise InvalidNotebook(message, path=name, nbformat=version)
    cells = notebook.get("cells")
    if version == _NEWEST and not (isinstance(cells, list) and all(isinstance(cell, dict) for cell in cast("list[object]", cells))):
        raise InvalidNotebook(f"“{name}” is not a notebook: it has no list of cells.", path=name)
    return notebook


def _loaded(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Python's own reader takes what notebooks in the wild hold: NaN, a byte order mark, huge numbers.
        return json.loads(raw.decode("utf-8-sig"))


def _upgraded(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    import nbformat

    try:
        old: object = nbformat.reader.reads(json.dumps(notebook))  # pyright: ignore[reportUnknownMemberType]
        new: str = nbformat.writes(nbformat.convert(old, _NEWEST))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType]
        return json.loads(new)
    except Exception as error:  # nbformat's converters raise whatever they meet
        raise InvalidNotebook(f"“{name}” is an old notebook that cannot be upgraded: {type(error).__name__}.", path=name) from error


def _joined(value: object) -> object:
    if isinstance(value, list) and all(isinstance(line, str) for line in cast("list[object]", value)):
        return "".join(cast("list[str]", value))
    return cast("object", value)


def _split(value: object) -> object:
    return value.splitlines(keepends=True) if isinstance(value, str) else value


def _each_text(notebook: Mapping[str, Any], change: Callable[[object], object], wanted: Callable[[str], bool]) -> None:
    """Apply ``change`` wherever nbformat has a text of several lines, in MIME bundles to the types that are ``wanted``."""
    for cell in notebook["cells"]:
        if "source" in cell:
            cell["source"] = change(cell["source"])
        attachments = cast("dict[str, dict[str, Any]]", cell.get("attachments") or {})
        for bundle in attachments.values():
            _each_mime(bundle, change, wanted)
        for output in cell.get("outputs") or ():
            if not isinstance(output, dict):
                continue
            fields = cast("dict[str, Any]", output)
            if fields.get("output_type") == "stream":
                fields["text"] = change(fields.get("text", ""))
            elif isinstance(fields.get("data"), dict):
                _each_mime(fields["data"], change, wanted)


def _each_mime(bundle: dict[str, Any], change: Callable[[object], object], wanted: Callable[[str], bool]) -> None:
    for mime, value in bundle.items():
        if wanted(mime):
            bundle[mime] = change(value)


class Saving(msgspec.Struct):
    """What the body of a PUT asks for, apart from the content."""

    type: ContentsType
    chunk: int | None = None
    copy_from: str | None = None


def read_body(body: bytes, path: str) -> tuple[Saving, bytes]:
    """The body of ``PUT /api/contents/<path>``: what it asks for, and the bytes that the file is to have.

    Raises:
        BadRequest: the body is not a contents model, or its content not what its format says.
        InvalidNotebook: it is of type notebook, and its content is not a notebook.
    """
    try:
        model = msgspec.json.decode(body or b"{}", type=SaveContents)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body of this request is not what it must be: {error}") from None
    kind = model.type or ("notebook" if path.endswith(".ipynb") and model.format == "json" else "file")
    saving = Saving(kind, model.chunk, model.copy_from)
    if kind == "directory" or model.copy_from:
        return saving, b""
    if kind == "notebook":
        return saving, for_file(bytes(model.content), path)
    if model.format not in ("text", "base64"):
        raise BadRequest("The format of a file is 'text' or 'base64'.")
    try:
        text = msgspec.json.decode(bytes(model.content), type=str)
        return saving, text.encode() if model.format == "text" else base64.b64decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadRequest(f"The content is not what the format says: {error}") from None


def _for_api(raw: bytes, name: str) -> tuple[Saving | None, bytes]:
    return None, for_api(raw, name)


WORK: Mapping[str, Callable[[bytes, str], tuple[Saving | None, bytes]]] = {"for_api": _for_api, "read_body": read_body}
"""What the process can do, by name."""


class Request(msgspec.Struct):
    """One request to the process: do ``work`` on the file ``source``, and write ``target``."""

    work: str
    source: str
    target: str
    name: str


class Reply(msgspec.Struct):
    """Its answer; ``code`` is empty when it went well."""

    code: str = ""
    message: str = ""
    saving: Saving | None = None


def main() -> None:
    """The process."""
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Request)
        reply = Reply()
        try:
            reply.saving, content = WORK[request.work](Path(request.source).read_bytes(), request.name)
            Path(request.target).write_bytes(content)
        except HomeportError as error:
            reply = Reply(error.code, error.message)
        except (OSError, MemoryError, RecursionError) as error:
            reply = Reply("error", f"“{request.name}” cannot be worked on: {type(error).__name__}.")
        sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
