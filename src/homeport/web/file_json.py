"""The content of a file as a JSON string, in pieces (pure).

Whoever holds the interpreter for the whole of a big file holds up everybody; a piece takes less than a millisecond.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from homeport.errors import BadRequest

_STEP = 57 * 4096
"""Bytes: whole lines of base64."""


def as_json(content: Iterable[bytes], format: Literal["text", "base64"] | None, path: str) -> tuple[list[bytes], Literal["text", "base64"]]:
    """A file's content as the contents API gives it.

    Args:
        content: the file, in pieces of any size.
        format: what is wanted; None: text when it is UTF-8, else base64.
        path: what to call it in errors.

    Returns:
        Pieces of a JSON string, and what it holds.

    Raises:
        BadRequest: text is wanted, and it is none.
    """
    content = list(content)
    if format != "base64":
        try:
            return _string(_text(_steps(content))), "text"
        except UnicodeDecodeError:
            if format == "text":
                raise BadRequest(f"“{path}” is not UTF-8 text.", reason="bad format", path=path) from None
    return _string(base64.encodebytes(step).decode() for step in _steps(content)), "base64"


def _steps(content: Iterable[bytes]) -> Iterator[bytes]:
    """The same in pieces of ``_STEP`` bytes, the last one shorter."""
    held = bytearray()
    for piece in content:
        for start in range(0, len(piece), _STEP):
            held += memoryview(piece)[start : start + _STEP]
            if len(held) >= _STEP:
                yield bytes(held[:_STEP])
                del held[:_STEP]
    if held:
        yield bytes(held)


def _text(steps: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for step in steps:
        yield decoder.decode(step)
    yield decoder.decode(b"", final=True)


def _string(texts: Iterable[str]) -> list[bytes]:
    return [b'"', *(msgspec.json.encode(text)[1:-1] for text in texts), b'"']
