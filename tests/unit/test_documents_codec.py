"""Notebook files to skeletons and back: the same bytes as nbformat writes, digests that do not depend on where a value is."""

import base64
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map

from harness.profiles import examples
from homeport.core.cell_merge import CellPrint
from homeport.core.output_buffer import STREAM_KEY
from homeport.documents import exact, schema, serial
from homeport.documents.blobs import BLOB, Blobs, Inline, fragment, references
from homeport.documents.codec import Notebook, OldFormat, decode
from homeport.documents.limits import Limits
from homeport.errors import InvalidNotebook, NotFound


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def numbered() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"new-{next(numbers)}"


def read(raw: bytes | dict[str, Any], blobs: Blobs, **more: Any) -> Notebook:
    data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return decode(data, name="x.ipynb", blobs=blobs, new_id=numbered(), **more)


def through_document(notebook: Notebook) -> list[schema.Cell]:
    """The cells as they come back from a Yjs document, as a page has it."""
    doc: Doc[Any] = Doc()
    cells, meta = doc.get("cells", type=Array), doc.get("meta", type=Map)
    with doc.transaction(origin="test"):
        cells.extend([schema.new_cell(cell) for cell in notebook.cells])
        for key, value in schema.new_meta({"metadata": notebook.metadata, "extra": notebook.extra}).items():
            meta[key] = value
    page: Doc[Any] = Doc()
    page.apply_update(doc.get_update())
    head = schema.whole_meta(schema.read_map(page.get("meta", type=Map)))
    assert serial.value_digest(head) == serial.value_digest({"metadata": notebook.metadata, "extra": notebook.extra})
    return [schema.read_map(cell) for cell in page.get("cells", type=Array)]


def written(notebook: Notebook, blobs: Blobs) -> bytes:
    cells = [serial.encode_cell(cell, minor=notebook.minor) for cell in through_document(notebook)]
    assert [cell.print for cell in cells] == notebook.prints
    pieces = serial.assemble((c.pieces for c in cells), metadata=notebook.metadata, minor=notebook.minor, extra=notebook.extra)
    return b"".join(piece if isinstance(piece, bytes) else blobs.raw(piece.name) for piece in pieces)


def nbformat_writes(raw: bytes) -> bytes:
    text = nbformat.writes(nbformat.reads(raw.decode(), as_version=4))
    return (text if text.endswith("\n") else text + "\n").encode()


PNG = base64.b64encode(os.urandom(9000)).decode() + "\n"


def notebook(*cells: dict[str, Any], minor: int = 5, **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": minor, **more}


def code(*outputs: dict[str, Any], cell_id: str | None = "a", **more: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": list(outputs), "source": [], **more}
    return cell if cell_id is None else {"id": cell_id, **cell}


def display(**data: Any) -> dict[str, Any]:
    names = {"png": "image/png", "plain": "text/plain", "html": "text/html", "json": "application/json", "svg": "image/svg+xml"}
    return {"output_type": "display_data", "metadata": {}, "data": {names[key]: value for key, value in data.items()}}


# ---- the same bytes --------------------------------------------------------------------------------------------------

line = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
texts = st.lists(line | st.sampled_from(["a\n", "\n", "\r\n", "\u2028", "\x1b[31m", "\\", '"']), max_size=6).map("".join)
integers = st.integers() | st.sampled_from([2**53, -(2**53), 2**53 + 1, 2**64 + 1, 10**400])
numbers = integers | st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1e22, 2.0**60])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(line, inner, max_size=3),
    max_leaves=6,
)
metadata = st.dictionaries(line.filter(lambda key: key not in ("trusted", "homeport")), values, max_size=3)
bundles = st.fixed_dictionaries(
    {},
    optional={
        "text/plain": texts,
        "text/html": texts.map(lambda text: text * 40),
        "image/png": st.binary(max_size=9000).map(lambda data: base64.b64encode(data).decode() + "\n"),
        "image/svg+xml": texts,
        "application/json": values,
        "application/vnd.x+json": values,
        "application/javascript": texts,
    },
)
outputs = st.one_of(
    st.builds(lambda data, meta: {"output_type": "display_data", "data": data, "metadata": meta}, bundles, metadata),
    st.builds(
        lambda data, n: {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": n}, bundles, st.integers(1, 9)
    ),
    st.builds(lambda name, text: {"output_type": "stream", "name": name, "text": text}, st.sampled_from(["stdout", "stderr"]), texts),
    st.builds(lambda text: {"output_type": "error", "ename": "E", "evalue": text, "traceback": [text]}, texts),
)
cells = st.one_of(
    st.builds(
        lambda source, outs, meta, n: code(*outs, source=source, metadata=meta, execution_count=n),
        texts,
        st.lists(outputs, max_size=3),
        metadata,
        st.none() | st.integers(1, 99),
    ),
    st.builds(lambda source, meta: {"id": "a", "cell_type": "markdown", "source": source, "metadata": meta}, texts, metadata),
    st.builds(
        lambda source, attached: {"id": "a", "cell_type": "raw", "source": source, "metadata": {}, "attachments": {"f": attached}},
        texts,
        st.fixed_dictionaries({"text/plain": texts}),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=examples(150))
@given(st.lists(cells, max_size=4), metadata, st.integers(0, 5))
def test_a_notebook_comes_back_as_nbformat_writes_it(blobs: Blobs, found: list[dict[str, Any]], meta: dict[str, Any], minor: int) -> None:
    for number, cell in enumerate(found):
        cell.pop("id", None)
        if minor >= 5:
            cell["id"] = f"cell-{number}"
    whole = nbformat.from_dict({"cells": found, "metadata": meta, "nbformat": 4, "nbformat_minor": minor})
    raw = cast("str", nbformat.v4.writes(whole)).encode() + b"\n"
    # A budget of nothing: every value over 512 bytes becomes a blob.
    tight = Blobs(blobs.folder, limits=Limits(inline_document=0))
    for store in (blobs, tight):
        assert written(read(raw, store), store) == raw


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=examples(60))
@given(st.lists(cells, max_size=3))
def test_digests_do_not_depend_on_where_values_are(blobs: Blobs, found: list[dict[str, Any]]) -> None:
    for number, cell in enumerate(found):
        cell["id"] = f"cell-{number}"
    tight = Blobs(blobs.folder, limits=Limits(inline_document=0))
    assert read(notebook(*found), blobs).prints == read(notebook(*found), tight).prints


@pytest.mark.needs("real-notebooks")
def test_real_notebooks_come_back_as_they_are(blobs: Blobs) -> None:
    files = sorted(Path(os.environ["HOMEPORT_NOTEBOOKS"]).rglob("*.ipynb"))
    assert files
    for file in files:
        raw = file.read_bytes()
        assert written(read(raw, blobs), blobs) == nbformat_writes(raw), file.name


def test_unknown_members_are_kept_and_transient_ones_are_not(blobs: Blobs) -> None:
    cell = code(
        {"output_type": "display_data", "data": {}, "metadata": {"m": 1}, "x_output": [1]},
        metadata={"trusted": True, "homeport": {"conflict": {}}, "mine": {"deep": 1}},
        x_cell="kept",
    )
    found = json.loads(written(read(notebook(cell, x_notebook={"a": 1}, metadata={"signature": "s", "k": 1}), blobs), blobs))
    assert found["x_notebook"] == {"a": 1}
    assert found["metadata"] == {"k": 1}
    assert found["cells"][0]["x_cell"] == "kept"
    assert found["cells"][0]["metadata"] == {"mine": {"deep": 1}}
    assert found["cells"][0]["outputs"][0]["x_output"] == [1]


def test_ids_are_not_written_below_minor_5(blobs: Blobs) -> None:
    found = read(notebook(code(cell_id=None), minor=4), blobs)
    assert found.cells[0]["id"] == "new-0"
    assert found.made_ids
    assert "id" not in json.loads(written(found, blobs))["cells"][0]


def test_doubled_and_missing_ids_are_mended(blobs: Blobs) -> None:
    found = read(notebook(code(cell_id="a"), code(cell_id="a"), code(cell_id=None)), blobs)
    assert [cell["id"] for cell in found.cells] == ["a", "new-0", "new-1"]


# ---- what cannot be held exactly, and what is too big ------------------------------------------------------------------


def test_big_values_stand_as_references_that_any_viewer_can_show(blobs: Blobs) -> None:
    found = read(notebook(code(display(png=PNG, plain="<Figure>"))), blobs)
    data = cast("Any", found.cells[0])["outputs"][0]["data"]
    assert data["text/plain"] == "<Figure>"
    assert data["text/html"].startswith('<img src="/api/documents/blobs/')
    [reference], added = references(data)
    assert added == {"text/html"}
    assert reference["mime"] == "image/png"
    assert reference["size"] == 9000
    assert blobs.value(str(reference["sha256"])) == PNG


EXACT = '{"big": 1152921504606846977, "one": 1.0, "none": [NaN, -Infinity, -0.0, {"a": 1e+22}], "text": "\\ud800", "small": 1}'


def test_what_a_document_cannot_hold_stands_beside_it(blobs: Blobs) -> None:
    value = json.loads(EXACT)
    cell = code({**display(json=value), "metadata": value}, metadata=value, x_cell=value)
    found = read(notebook(cell, metadata={"x": value}, x_notebook=value), blobs)
    [held] = through_document(found)
    shown: Any = held["metadata"]
    assert repr(shown["one"]) == "1"
    assert shown["none"][:2] == [None, None]
    assert shown["text"] == "\ufffd"
    back = json.loads(written(found, blobs))
    assert json.dumps(back["metadata"]["x"], sort_keys=True) == json.dumps(value, sort_keys=True)
    [output] = back["cells"][0]["outputs"]
    for there in (back["x_notebook"], *(back["cells"][0][key] for key in ("metadata", "x_cell")), output["metadata"]):
        assert json.dumps(there, sort_keys=True) == json.dumps(value, sort_keys=True)
    assert json.dumps(output["data"]["application/json"], sort_keys=True) == json.dumps(value, sort_keys=True)


values_as_files_have_them = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(line, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=examples(300))
@given(values_as_files_have_them, st.data())
def test_what_somebody_changed_is_theirs_and_the_rest_as_it_stood(value: Any, data: st.DataObject) -> None:
    held, originals = exact.split(value)
    doc: Doc[Any] = Doc()
    shared = doc.get("m", type=Map)
    shared["v"], shared["o"] = held, originals
    copy: Doc[Any] = Doc()
    copy.apply_update(doc.get_update())
    shown = schema.read_map(copy.get("m", type=Map))
    assert json.dumps(exact.whole(shown["v"], shown["o"]), sort_keys=True) == json.dumps(value, sort_keys=True)
    if isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(value)))
        changed = {**cast("Any", shown["v"]), key: "changed"}
        assert json.dumps(exact.whole(changed, shown["o"]), sort_keys=True) == json.dumps({**value, key: "changed"}, sort_keys=True)


def test_originals_that_a_page_made_up_are_no_danger() -> None:
    for token in ("[" * 100_000, "9" * 5000, "true", '{"a": 1}', "nul", ""):
        assert exact.whole(1, token) == 1
        assert exact.whole({"a": 1}, {"a": token, "b": "2.0"}) == {"a": 1}


def test_what_python_takes_for_json_is_taken(blobs: Blobs) -> None:
    raw = json.dumps(notebook(code(display(json={"x": float("nan")}), source="a\ud800b"))).encode()
    found = read(b"\xef\xbb\xbf" + raw, blobs)
    back = written(found, blobs)
    assert b'"x": NaN' in back
    assert "a\ufffdb" in back.decode()


def test_a_long_stream_stands_as_head_and_tail(blobs: Blobs) -> None:
    whole = "".join(f"line {number}\n" for number in range(100_000))
    raw = (
        nbformat.v4.writes(nbformat.from_dict(notebook(code({"output_type": "stream", "name": "stdout", "text": whole})))).encode() + b"\n"
    )
    found = read(raw, blobs)
    output = cast("Any", found.cells[0])["outputs"][0]
    assert len(output["text"]) < 70_000
    assert output["text"].startswith("line 0\n")
    assert output["text"].endswith("line 99999\n")
    assert output[STREAM_KEY]["lines"] == 100_000
    assert written(found, blobs) == raw


def test_the_budget_is_for_the_whole_document(blobs: Blobs) -> None:
    found = read(notebook(*(code(display(html="x" * 4000), cell_id=f"c{n}") for n in range(100))), blobs)
    inline = sum(BLOB not in cast("Any", cell)["outputs"][0]["data"] for cell in found.cells)
    assert inline == 256 * 1024 // 4000
    assert found.inline == inline * 4000


def test_blobs_that_were_cut_are_not_there(blobs: Blobs) -> None:
    reference = blobs.put("text/html", "x" * 5000)
    blobs.file(str(reference["sha256"])).write_bytes(b"")
    with pytest.raises(NotFound):
        blobs.raw(str(reference["sha256"]))


@pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 63, "A" * 64, ""])
def test_only_names_of_blobs_are_names(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFound):
        blobs.file(name)


async def test_blobs_are_served_decoded(blobs: Blobs) -> None:
    picture = blobs.put("image/png", PNG)
    assert await blobs.content(str(picture["sha256"])) == (base64.b64decode(PNG), "image/png")
    page = blobs.put("text/html", "<b>ä</b>\n" * 900)
    assert await blobs.content(str(page["sha256"])) == (("<b>ä</b>\n" * 900).encode(), "text/html")


@given(st.sampled_from(["text/html", "image/png", "application/json", "image/svg+xml"]), texts)
def test_fragments_are_as_nbformat_writes_them(mime: str, value: str) -> None:
    whole = nbformat.v4.writes(nbformat.from_dict(notebook(code({"output_type": "display_data", "metadata": {}, "data": {mime: value}}))))
    assert fragment(mime, value).decode() in whole


@given(texts, st.lists(st.integers(0, 40), max_size=5))
def test_streams_from_pieces_are_as_nbformat_writes_them(text: str, cuts: list[int]) -> None:
    places = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    pieces = [text[begin:end].encode() for begin, end in itertools.pairwise(places)]
    found = serial.stream_text(pieces, "")
    whole = nbformat.v4.writes(nbformat.from_dict(notebook(code({"output_type": "stream", "name": "stdout", "text": text}))))
    assert found.raw.decode() in whole
    direct = CellPrint("a", *serial.fingerprint(cast("Any", code({"output_type": "stream", "name": "stdout", "text": text}))))
    long = {"output_type": "stream", "name": "stdout", "text": "", STREAM_KEY: {"sha256": found.name}}
    named = CellPrint("a", *serial.fingerprint(cast("Any", code(long))))
    assert direct == named


def test_the_budget_is_taken_once() -> None:
    inline = Inline(10)
    assert inline.take(6)
    assert not inline.take(6)
    assert inline.take(4)


# ---- what cannot be opened -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"{", "line 1, column 2"),
        (b"not json", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "which nbformat"),
        (b'{"nbformat": true}', "which nbformat"),
        (b'{"nbformat": 5}', "newer"),
        (b'{"nbformat": 4}', "no list of cells"),
        (b'{"nbformat": 4, "cells": {}}', "no list of cells"),
        (b'{"nbformat": 4, "cells": [1]}', "cell 1 is not an object"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "heading", "source": ""}]}', 'cell 1 has the type "heading"'),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 1}]}', "source of its cell 1"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": 1}]}', "outputs of its cell 1"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [1]}]}', "an output of its cell 1"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": []}]}', "metadata of its cell 1"),
        (b'{"nbformat": 4, "cells": [], "metadata": 1}', "its metadata"),
        (b'{"nbformat": 4, "cells": [], "nbformat_minor": "x"}', "nbformat_minor"),
        (b"[" * 100_000, "x.ipynb"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not JSON"),
    ],
)
def test_what_is_no_notebook_is_said(blobs: Blobs, raw: bytes, says: str) -> None:
    with pytest.raises(InvalidNotebook, match=says) as caught:
        read(raw, blobs)
    assert "x.ipynb" in caught.value.message


KEYS = ["nbformat", "nbformat_minor", "metadata", "cells", "cell_type", "source", "outputs", "data", "output_type"]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(KEYS), x, max_size=4),
        max_leaves=12,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_else_is_refused_in_our_words(blobs: Blobs, value: Any) -> None:
    if isinstance(value, dict):
        value = {"nbformat": 4, "cells": [], **value}
    try:
        read(json.dumps(value).encode(), blobs, upgrade=False)
    except (InvalidNotebook, OldFormat):
        pass


def test_old_notebooks_are_upgraded(blobs: Blobs) -> None:
    old = {
        "metadata": {"name": "x"},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": ["Title"], "metadata": {}},
                    {"cell_type": "code", "collapsed": False, "input": ["1+1"], "language": "python", "metadata": {}, "prompt_number": 3,
                     "outputs": [{"output_type": "pyout", "prompt_number": 3, "text": ["2"], "metadata": {}}]},
                ],
            }
        ],
    }  # fmt: skip
    with pytest.raises(OldFormat):
        read(old, blobs, upgrade=False)
    found = read(old, blobs)
    assert found.upgraded
    assert found.cells[0]["source"] == "## Title"
    assert cast("Any", found.cells[1])["outputs"][0]["data"] == {"text/plain": "2"}
    assert found.cells[1]["execution_count"] == 3
