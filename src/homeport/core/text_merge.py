"""Three-way merge of texts by line: pure.

What one side changed is taken; what both changed in the same way is taken once; lines that both changed differently cannot
be merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Lines ``begin`` to ``end`` of the base become ``lines``."""

    begin: int
    end: int
    lines: tuple[str, ...]

    def meets(self, other: _Hunk) -> bool:
        """Whether both touch the same lines, or insert at the same place."""
        if self.begin == other.begin:
            return True
        first, second = (self, other) if self.begin < other.begin else (other, self)
        return second.begin < first.end


def merge_text(base: str, ours: str, theirs: str) -> str | None:
    """The text with the changes of both sides; None when they contradict each other.

    Args:
        base: what both sides began from.
    """
    if theirs in (ours, base):
        return ours
    if ours == base:
        return theirs
    old = base.split("\n")
    hunks: list[_Hunk] = []
    for hunk in sorted([*_hunks(old, ours.split("\n")), *_hunks(old, theirs.split("\n"))], key=lambda each: (each.begin, each.end)):
        if hunks and hunks[-1] == hunk:
            continue
        if hunks and hunks[-1].meets(hunk):
            return None
        hunks.append(hunk)
    merged: list[str] = []
    at = 0
    for hunk in hunks:
        merged += [*old[at : hunk.begin], *hunk.lines]
        at = hunk.end
    return "\n".join([*merged, *old[at:]])


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[_Hunk]:
    for tag, begin, end, from_, to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield _Hunk(begin, end, tuple(new[from_:to]))
