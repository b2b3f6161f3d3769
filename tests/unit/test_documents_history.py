"""Which saved states are kept, how they are stored, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core.cell_diff import Difference, diff
from homeport.core.cell_merge import CellPrint
from homeport.core.retention import NEWEST, State, surplus
from homeport.documents.blobs import Blobs
from homeport.documents.comparing import compare
from homeport.documents.save_history import SaveHistory
from homeport.documents.serial import BlobPiece, Piece
from homeport.errors import NotFound, StoreFailed

NOW = 1_000_000_000.0


@given(st.lists(st.tuples(st.floats(0, 5 * 86400), st.integers(1, 1000)), max_size=200), st.integers(1, 80), st.integers(1, 50_000))
def test_what_is_kept(ages: list[tuple[float, int]], count: int, size: int) -> None:
    states = [State(str(number), NOW - age, taken) for number, (age, taken) in enumerate(sorted(ages, reverse=True))]
    gone = set(surplus(states, now=NOW, count=count, size=size))
    kept = [state for state in states if state.id not in gone]
    assert len(kept) <= count or len(states) == 0
    assert sum(state.size for state in kept) <= size or len(kept) == 1
    assert not states or kept[-1] == states[-1]
    assert surplus(kept, now=NOW, count=count, size=size) == []
    if count >= NEWEST and sum(state.size for state in states[-NEWEST:]) <= size:
        assert kept[-NEWEST:] == states[-NEWEST:]


def test_a_days_saves_are_thinned() -> None:
    states = [State(str(second), NOW - 86400 * 3 + second, 1) for second in range(0, 86400 * 3, 60)]
    gone = set(surplus(states, now=NOW, count=10_000, size=10**9))
    kept = [state for state in states if state.id not in gone]
    old = [state for state in kept if NOW - state.at > 86400]
    assert 2 <= len(old) <= 4
    assert 140 <= len(kept) - len(old) <= 170


def test_states_are_kept_with_their_blobs(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    history = SaveHistory(tmp_path / "history", blobs, count=3, size=10**6)
    name = str(blobs.put("image/png", "QUJD" * 5000)["sha256"])
    file = tmp_path / "deep" / "a.ipynb"
    for number in range(5):
        pieces = [f"[{number}, ".encode(), BlobPiece(name), b", 1]"]
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        version = history.keep(file, pieces, digest, at=1000.0 + number)
        assert version is not None
        assert history.keep(file, pieces, digest) is None
        assert json.loads(b"".join(history.read(file, version.id))) == [number, "QUJD" * 5000, 1]
        assert history.pieces(file, version.id) == pieces
    kept = history.list(file)
    assert [each.at for each in kept] == [1002.0, 1003.0, 1004.0]
    assert history.blobs_referred_to() == {name}
    history.moved(tmp_path / "deep", tmp_path / "else" / "where")
    assert history.list(file) == []
    assert history.list(tmp_path / "else" / "where" / "a.ipynb") == kept
    history.remove(tmp_path / "else" / "where" / "a.ipynb", kept[0].id)
    with pytest.raises(NotFound):
        history.read(tmp_path / "else" / "where" / "a.ipynb", kept[0].id)
    history.prune(unused_since=1004.0)
    assert len(history.list(tmp_path / "else" / "where" / "a.ipynb")) == 2
    history.prune(unused_since=1005.0)
    assert history.blobs_referred_to() == set()


@pytest.mark.parametrize("step", [1, 7, 71, 72, 73, 10_000])
def test_states_are_read_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr("homeport.documents.save_history._STEP", step)
    blobs = Blobs(tmp_path / "blobs")
    history = SaveHistory(tmp_path / "history", blobs, count=9, size=10**6)
    name = str(blobs.put("image/png", "QUJD" * 50)["sha256"])
    file = tmp_path / "a.ipynb"
    for number, pieces in enumerate(
        [[b"x" * 500], [BlobPiece(name)], [BlobPiece(name), BlobPiece(name), b"y" * 100], [b"x" * 100, BlobPiece(name), b"z"], []]
    ):
        version = history.keep(file, pieces, hashlib.sha256(str(number).encode()).hexdigest())
        assert version is not None
        assert _joined(history.pieces(file, version.id)) == pieces
        assert sum(map(len, history.read(file, version.id))) == version.size


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Text that stands one behind the other as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    history = SaveHistory(tmp_path / "history", Blobs(tmp_path / "blobs"), count=9, size=10**6)
    file = tmp_path / "a.ipynb"
    version = history.keep(file, [b"content " * 1000], "0" * 64)
    assert version is not None
    (kept,) = (tmp_path / "history").rglob(f"{version.id}.*")
    whole = kept.read_bytes()
    for damaged in (b"", whole[:-10], whole.replace(b"{", b"[", 1), whole.replace(b"{", b"\xff", 1), whole[:-30] + b"\xff" * 30):
        kept.write_bytes(damaged)
        with pytest.raises(StoreFailed, match=r"a\.ipynb.*damaged"):
            history.read(file, version.id)


def test_what_stands_behind_a_state_is_not_read(tmp_path: Path) -> None:
    history = SaveHistory(tmp_path / "history", Blobs(tmp_path / "blobs"), count=9, size=10**6)
    content = b"content " * 100_000
    version = history.keep(tmp_path / "a.ipynb", [content], "0" * 64)
    assert version is not None
    (kept,) = (tmp_path / "history").rglob(f"{version.id}.*")
    with open(kept, "ab") as state:
        state.write(b"garbage" * 100)
    assert b"".join(history.read(tmp_path / "a.ipynb", version.id)) == content


def test_a_size_is_never_passed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    history = SaveHistory(tmp_path / "history", blobs, count=100, size=100_000)
    shared = str(blobs.put("image/png", "QUJD" * 10_000)["sha256"])
    for number in range(10):
        own = str(blobs.put("image/png", f"{number}BCD" * 5_000)["sha256"])
        history.keep(tmp_path / "a", [BlobPiece(shared), BlobPiece(own)], hashlib.sha256(own.encode()).hexdigest())
    assert len(history.list(tmp_path / "a")) == 2  # 40 kB shared, 20 kB each


def notebook(*cells: tuple[str, str, list[Any]], minor: int = 5) -> list[bytes]:
    made = [
        {"cell_type": "code", "source": [source], "outputs": outputs, "metadata": {}, "execution_count": None}
        | ({"id": name} if minor >= 5 else {})
        for name, source, outputs in cells
    ]
    return [json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": minor, "metadata": {}}).encode()]


@pytest.mark.parametrize("minor", [4, 5])
def test_states_are_compared_by_cell(minor: int) -> None:
    before = notebook(("a", "same", []), ("b", "old", []), ("c", "gone", []), ("d", "run", []), minor=minor)
    after = notebook(("a", "same", []), ("b", "new", []), ("d", "run", [{"output_type": "stream"}]), ("e", "more", []), minor=minor)
    found = [(each.action, each.before, each.after, each.outputs, each.moved) for each in compare(before, after)]
    assert found[0] == ("same", None, None, False, False)
    assert ("changed", None, None, True, False) in found
    assert ("added", None, "more", False, False) in found
    if minor == 5:
        assert found[1:3] == [("changed", "old", "new", False, False), ("removed", "gone", None, False, False)]
    else:  # without ids a change is told from a new cell by its place alone
        assert ("changed", "old", "new", False, False) in found


def test_a_moved_cell_is_one() -> None:
    a, b, c = (CellPrint(name, name, name) for name in "abc")
    assert diff([a, b, c], [c, a, b]) == [
        Difference("c", "same", moved=True),
        Difference("a", "same"),
        Difference("b", "same"),
    ]
