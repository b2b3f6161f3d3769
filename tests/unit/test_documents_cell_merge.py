"""The three-way merge by cell: nothing that somebody wrote is lost, nothing is doubled, what is clear is merged silently."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from homeport.core.cell_merge import CellPrint, Step, align, merge, stages, supposed_base

IDS = "abcdefgh"
words = st.sampled_from("uvwxyz")


@st.composite
def sides(draw: st.DrawFn, ids: str = IDS) -> list[CellPrint]:
    chosen = draw(st.lists(st.sampled_from(ids), unique=True, max_size=len(ids)))
    return [CellPrint(cell_id, draw(words), draw(words)) for cell_id in chosen]


@st.composite
def edited(draw: st.DrawFn, base: list[CellPrint], new_ids: str) -> list[CellPrint]:
    """What a person may make of ``base``: cells changed, deleted, moved, added."""
    side = [cell for cell in base if draw(st.integers(0, 5))]
    side = [replace(cell, content=draw(words)) if not draw(st.integers(0, 3)) else cell for cell in side]
    side = [replace(cell, results=draw(words)) if not draw(st.integers(0, 3)) else cell for cell in side]
    if draw(st.booleans()) and side:
        side.insert(draw(st.integers(0, len(side) - 1)), side.pop(draw(st.integers(0, len(side) - 1))))
    for cell_id in draw(st.lists(st.sampled_from(new_ids), unique=True, max_size=2)):
        side.insert(draw(st.integers(0, len(side))), CellPrint(cell_id, draw(words), draw(words)))
    return side


@st.composite
def triples(draw: st.DrawFn) -> tuple[list[CellPrint], list[CellPrint], list[CellPrint]]:
    base = draw(sides())
    return base, draw(edited(base, "mnop")), draw(edited(base, "opqr"))


def carry_out(ours: list[CellPrint], theirs: list[CellPrint], steps: list[Step]) -> list[CellPrint]:
    """The result of a plan; conflict copies have an id that ends with an apostrophe."""
    mine, other = {cell.id: cell for cell in ours}, {cell.id: cell for cell in theirs}
    result: list[CellPrint] = []
    for step in steps:
        if step.action == "keep":
            result.append(mine[step.id])
        elif step.action == "take":
            cell, taken = mine[step.id], other[step.id]
            result.append(
                CellPrint(step.id, taken.content if step.content else cell.content, taken.results if step.results else cell.results)
            )
        elif step.action == "insert":
            assert step.id not in mine
            result.append(other[step.id])
        else:
            result.append(replace(other[step.id], id=step.id + "'"))
    return result


@given(triples())
def test_what_only_one_side_did_is_the_result(triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]]) -> None:
    base, ours, theirs = triple
    assert carry_out(ours, base, merge(base, ours, base)) == ours
    assert carry_out(base, theirs, merge(base, base, theirs)) == theirs
    assert carry_out(ours, ours, merge(base, ours, ours)) == ours


@given(triples())
def test_no_id_twice_and_conflicts_stand_below_ours(triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]]) -> None:
    base, ours, theirs = triple
    steps = merge(base, ours, theirs)
    ids = [cell.id for cell in carry_out(ours, theirs, steps)]
    assert len(ids) == len(set(ids))
    for before, step in zip([None, *steps], steps, strict=False):
        if step.action == "conflict":
            assert before == Step("keep", step.id)


@given(triples())
def test_nothing_written_is_lost(triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]]) -> None:
    base, ours, theirs = triple
    old = {cell.id: cell for cell in base}
    result = carry_out(ours, theirs, merge(base, ours, theirs))
    for side, other in ((ours, theirs), (theirs, ours)):
        for cell in side:
            before = old.get(cell.id)
            if before is None or before.content != cell.content:
                assert any(found.id.rstrip("'") == cell.id and found.content == cell.content for found in result)
            if before is None or before.results != cell.results:
                assert any(found.id.rstrip("'") == cell.id and found.results == cell.results for found in result)
        # What one side deleted and the other left alone is gone.
        for cell in base:
            if cell.id not in {mine.id for mine in side} and cell in other:
                assert all(found.id != cell.id for found in result)


@given(triples())
def test_conflicts_only_where_both_sides_changed(triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]]) -> None:
    base, ours, theirs = triple
    old, mine, other = ({cell.id: cell for cell in side} for side in triple)
    for step in merge(base, ours, theirs):
        if step.action == "conflict":
            first, second, before = mine[step.id], other[step.id], old.get(step.id)
            both_content = first.content != second.content and (before is None or before.content not in (first.content, second.content))
            both_results = first.results != second.results and (before is None or before.results not in (first.results, second.results))
            assert both_content or both_results


@given(triples())
def test_new_cells_keep_their_place(triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]]) -> None:
    """A new cell of theirs stands behind the cell that it stood behind, when that is still there and nothing was moved."""
    base, ours, theirs = triple
    kept = [cell.id for cell in base if cell.id in {x.id for x in ours} and cell.id in {x.id for x in theirs}]
    moved = any([cell.id for cell in side if cell.id in kept] != kept for side in (ours, theirs))
    result = [cell.id.rstrip("'") for cell in carry_out(ours, theirs, merge(base, ours, theirs))]
    ids = [cell.id for cell in theirs]
    for before, cell_id in itertools.pairwise(ids):
        if not moved and cell_id in "qr" and before in result:
            assert result.index(before) < result.index(cell_id)


@given(triples(), st.integers(1, 3))
def test_in_stages_the_result_is_the_same(triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]], size: int) -> None:
    base, ours, theirs = triple
    at_once = carry_out(ours, theirs, merge(base, ours, theirs))
    before, now = base, ours
    for after in stages(base, theirs, size):
        changed = {cell.id: cell for cell in before}.items() ^ {cell.id: cell for cell in after}.items()
        assert len({cell_id for cell_id, _ in changed}) <= size
        now = carry_out(now, after, merge(before, now, after))
        before = after
    assert list(before) == theirs
    assert {cell.id: cell for cell in now} == {cell.id: cell for cell in at_once}
    assert len(now) == len(at_once)


@given(sides(), st.data())
def test_cells_without_ids_are_found_again(base: list[CellPrint], data: st.DataObject) -> None:
    numbered = (f"n{number}" for number in range(100))
    same = align(base, [replace(cell, id="?") for cell in base], lambda: next(numbered))
    assert same == base
    theirs = data.draw(edited(base, "opqr"))
    named = align(base, [replace(cell, id="?") for cell in theirs], lambda: next(numbered))
    assert [(cell.content, cell.results) for cell in named] == [(cell.content, cell.results) for cell in theirs]
    assert len({cell.id for cell in named}) == len(named)


@given(triples(), st.integers(1, 3))
def test_without_a_base_nothing_of_ours_goes_or_changes(
    triple: tuple[list[CellPrint], list[CellPrint], list[CellPrint]], size: int
) -> None:
    _, ours, theirs = triple
    before = supposed_base(ours, theirs, "u")
    merged = ours
    for after in stages(before, theirs, size):
        merged = carry_out(merged, after, merge(before, merged, after))
        before = after
    there = {cell.id: cell for cell in merged}
    assert [cell.id for cell in merged if cell.id in {own.id for own in ours}] == [cell.id for cell in ours]
    assert len(there) == len(merged)
    for own in ours:
        other = next((cell for cell in theirs if cell.id == own.id), own)
        alike = other.content == own.content
        assert there[own.id] == (replace(own, results=other.results) if alike and own.results == "u" else own)
        assert (own.id + "'" in there) == (not alike)
    assert all(cell.id in there for cell in theirs)
