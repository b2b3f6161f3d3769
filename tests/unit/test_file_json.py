"""Files as JSON strings in pieces: what they hold is what the file holds, wherever the cuts are."""

from __future__ import annotations

import base64
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.errors import BadRequest
from homeport.web import file_json
from homeport.web.file_json import as_json


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:stop] for start, stop in itertools.pairwise(edges)]


@given(st.text(alphabet=st.characters(codec="utf-8")), st.lists(st.integers(0, 99)), st.integers(1, 3))
def test_text_is_the_file_wherever_it_is_cut(text: str, places: list[int], lines: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_json, "_STEP", 57 * lines)
        pieces, kind = as_json(cut(text.encode() * 20, places), None, "a.txt")
    assert (kind, json.loads(b"".join(pieces))) == ("text", text * 20)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400)), st.integers(1, 3))
def test_base64_is_that_of_the_whole(raw: bytes, places: list[int], lines: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_json, "_STEP", 57 * lines)
        pieces, kind = as_json(cut(raw, places), "base64", "a.bin")
    assert (kind, json.loads(b"".join(pieces))) == ("base64", base64.encodebytes(raw).decode())


def test_what_is_no_text_is_base64_unless_text_is_wanted() -> None:
    cut_off = "é".encode()[:1]
    assert as_json([b"a" * 300_000, cut_off], None, "a")[1] == "base64"
    with pytest.raises(BadRequest, match=r"“a” is not UTF-8 text\."):
        as_json([cut_off], "text", "a")
