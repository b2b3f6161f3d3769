"""What a Yjs document cannot hold exactly, kept beside what it holds.

Numbers of a document are JavaScript's: 1.0 comes back as 1, a whole number beyond 2**53 rounded, NaN and the infinities as
null; and its text is UTF-8, which has no lone surrogates. A value therefore stands in the document as pages can show it, and the
originals of such leaves stand beside it, in a tree of the same shape: a leaf is the original's JSON text (as Python's ``json``
writes and reads it: ``NaN``, ``Infinity``), a branch an object by key or by index. An original counts only while the document
still holds what it was turned into: what somebody changed is theirs.

Where the trees are kept is ``schema.py``'s.
"""

from __future__ import annotations

import json
import re
from typing import cast

import msgspec

from homeport.protocol.document import JSON

EXACT = "homeport_exact"
"""The key under which a tree of originals stands: in the metadata of a cell, in an output, and in ``meta``."""

_SAFE = 2**53
_TOKEN = re.compile(r'-?[0-9][0-9.eE+-]*|NaN|-?Infinity|".*"', re.DOTALL)


def split(value: JSON) -> tuple[JSON, JSON]:
    """``value`` as a document holds it, and the originals of what that is not exact about; None when there are none."""
    if isinstance(value, str):
        shown = text(value)
        return shown, None if shown == value else json.dumps(value)
    if value is None or isinstance(value, bool):
        return value, None
    if isinstance(value, int):
        return (value, None) if -_SAFE < value < _SAFE else (_number(value), json.dumps(value))
    if isinstance(value, float):
        return _number(value), json.dumps(value) if value.is_integer() or value - value != 0 else None
    held: dict[str, JSON] = {}
    originals: dict[str, JSON] = {}
    for key, item in value.items() if isinstance(value, dict) else ((str(index), item) for index, item in enumerate(value)):
        name = text(key)
        held[name], original = split(item)
        if original is not None:
            originals[name] = original
    return held if isinstance(value, dict) else [*held.values()], originals or None


def whole(value: JSON, originals: JSON) -> JSON:
    """``value``, as a document gives it back, with the ``originals`` of what nobody changed."""
    if isinstance(originals, str):
        original = _read(originals)
        held = split(original)[0]
        return original if held == value and isinstance(held, bool) == isinstance(value, bool) else value
    if not isinstance(originals, dict):
        return value
    if isinstance(value, dict):
        return {key: whole(item, originals[key]) if key in originals else item for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item, originals.get(str(index))) for index, item in enumerate(value)]
    return value


def canonical(value: JSON) -> JSON:
    """``value`` for digests: whatever JSON (msgspec's) would confuse or refuse is replaced by something that it keeps apart."""
    if isinstance(value, float):
        return value if value - value == 0 else {"": json.dumps(value)}
    if isinstance(value, str):
        return value if text(value) == value else {"": json.dumps(value)}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {text(key): canonical(item) for key, item in value.items()}
    return value


def size(value: JSON) -> int:
    """About how many bytes ``value`` has in a file; of text, how many characters."""
    if isinstance(value, str):
        return len(value)
    try:
        return len(msgspec.json.encode(value))
    except UnicodeEncodeError:
        return len(msgspec.json.encode(canonical(value)))


def text(value: str) -> str:
    """``value`` with lone surrogates replaced: they cannot be written as UTF-8."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    return value


def escaped(serialised: str) -> str:
    """Serialised JSON that may hold lone surrogates, with escapes in their place: valid JSON, and valid UTF-8."""
    if text(serialised) == serialised:
        return serialised
    return "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in serialised)


def _number(value: float) -> JSON:
    """What a document gives back for a number."""
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if number - number != 0 else int(number) if number.is_integer() and abs(number) < _SAFE else number


def _read(token: str) -> JSON:
    if not _TOKEN.fullmatch(token):
        return None
    try:
        return cast("JSON", json.loads(token))
    except ValueError:
        return None
