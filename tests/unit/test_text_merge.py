"""Three-way merge of texts: properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homeport.core.text_merge import merge_text

texts = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=6).map("\n".join)


@given(texts, texts)
def test_what_one_side_changed_is_taken(base: str, changed: str) -> None:
    assert merge_text(base, changed, base) == changed
    assert merge_text(base, base, changed) == changed
    assert merge_text(base, changed, changed) == changed


@given(texts, texts, texts)
def test_both_sides_are_equal(base: str, ours: str, theirs: str) -> None:
    assert merge_text(base, ours, theirs) == merge_text(base, theirs, ours)


@given(texts, texts, texts)
def test_new_lines_of_both_are_there(base: str, ours: str, theirs: str) -> None:
    ours = f"first\n{ours}" if ours else "first"
    merged = merge_text(base, ours, theirs)
    assert merged is None or "first" in merged.split("\n")


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=8), texts, texts)
def test_changes_apart_from_each_other_are_both_taken(middle: list[str], above: str, below: str) -> None:
    base = "\n".join(["top", *middle, "bottom"])
    ours, theirs = "\n".join([above, "top", *middle, "bottom"]), "\n".join(["top", *middle, "bottom", below])
    assert merge_text(base, ours, theirs) == "\n".join([above, "top", *middle, "bottom", below])


def test_contradictions_are_not_merged() -> None:
    assert merge_text("x = 1", "x = 2", "x = 3") is None
    assert merge_text("a\nb", "a\nmine\nb", "a\ntheirs\nb") is None
    assert merge_text("a\nb\nc", "a\nc", "a\nB\nc") is None
