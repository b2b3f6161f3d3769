"""Changes a shared text by its difference, so that cursors and what others type stay."""

from __future__ import annotations

from pycrdt import Text

from homeport.documents.schema import text


def replace_text(shared: Text, wanted: str) -> None:
    """Make ``shared`` read ``wanted``: one deletion and one insertion between what is the same at both ends."""
    old, new = str(shared).encode(), text(wanted).encode()
    if old == new:
        return
    begin = _common(old, new)
    end = _common(old[begin:][::-1], new[begin:][::-1])
    # Offsets count bytes of UTF-8; neither cut may fall within a character.
    while begin > 0 and (_inside(old, begin) or _inside(new, begin)):
        begin -= 1
    while end > 0 and (_inside(old, len(old) - end) or _inside(new, len(new) - end)):
        end -= 1
    if len(old) - end > begin:
        del shared[begin : len(old) - end]
    if len(new) - end > begin:
        shared.insert(begin, new[begin : len(new) - end].decode())


def _common(one: bytes, other: bytes) -> int:
    """Length of the common beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _inside(data: bytes, at: int) -> bool:
    """Whether ``at`` lies within a character of UTF-8."""
    return at < len(data) and data[at] & 0xC0 == 0x80
