"""The line discipline and the shortening of long streams, against models that are too simple to be wrong."""

from __future__ import annotations

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.profiles import examples
from homeport.core.coalesce import LINE_WIDTH, Line, StreamLimits, StreamText

# Few letters, many controls: collisions are what we are after.
_plain = st.text(alphabet="abc é😀\r\b\n", max_size=60)
_coloured = st.lists(
    st.sampled_from(
        [
            "a",
            "bc",
            "déf",
            " ",
            "\r",
            "\b",
            "\n",
            "\r\n",
            "\x1b[31m",
            "\x1b[0m",
            "\x1b[K",
            "\x1b[2K",
            "\x1b[1K",
            "\x1b",
            "[",
            "m",
            "\x1b]8;;x\x07",
        ]
    ),
    max_size=40,
).map("".join)
_cuts = st.lists(st.integers(min_value=0, max_value=400), max_size=8)


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def terminal(text: str, width: int = LINE_WIDTH) -> str:
    """A terminal, one character at a time; it knows no colours."""
    done, row, column = "", [], 0
    for char in text:
        if char == "\n":
            done, row, column = done + "".join(row) + "\n", [], 0
        elif char == "\r":
            column = 0
        elif char == "\b":
            column = max(0, column - 1)
        else:
            if column == width:
                done, row, column = done + "".join(row), [], 0
            row[column : column + 1] = [char]
            column += 1
    return done + "".join(row)


def written(parts: list[str]) -> str:
    line, settled = Line(), ""
    for part in parts:
        settled += line.feed(part)
    return settled + line.text


@given(_plain, _cuts)
def test_plain_text_looks_as_on_a_terminal(text: str, cuts: list[int]) -> None:
    assert written(pieces(text, cuts)) == terminal(text)


@given(_coloured, _cuts)
def test_cutting_does_not_matter_with_escape_sequences(text: str, cuts: list[int]) -> None:
    assert written(pieces(text, cuts)) == written([text])


@given(_coloured, _cuts)
def test_a_line_goes_on_from_its_state(text: str, cuts: list[int]) -> None:
    line, settled = Line(), ""
    for part in pieces(text, cuts):
        line = Line(json.loads(json.dumps(line.state)))
        settled += line.feed(part)
    assert settled + line.text == written([text])


@given(st.lists(st.tuples(st.sampled_from("ab\r\b\n"), st.integers(1, 9000)), max_size=6))
def test_rows_that_are_full_are_left(runs: list[tuple[str, int]]) -> None:
    text = "".join(char * count for char, count in runs)
    assert written([text]) == terminal(text) == written(pieces(text, [7000, 9000, 16000]))


def test_progress_bars_end_as_one_line() -> None:
    bar = "".join(f"\r{n:3d}%|{'#' * (n // 10):10}| {n}/100" for n in range(101))
    assert written([bar + "\n"]) == "100%|##########| 100/100\n"
    assert written(["downloading...", "\r\x1b[Kdone\n"]) == "done\n"
    assert written(["\x1b[32mgreen\x1b[0m\rX\n"]).endswith("reen\x1b[0m\n")
    assert written(["one\r\n", "two\r", "\n"]) == "one\ntwo\n"


def test_an_escape_character_alone_is_shown() -> None:
    assert written(["\x1b", "z"]) == "␛z"


SMALL = StreamLimits(head=20, tail=16, kept=100)


def grown(parts: list[str], limits: StreamLimits) -> tuple[StreamText, str, str]:
    """Feed ``parts`` as a document would take them: stream, text in the document, stored text."""
    stream, shown, stored = StreamText("stdout", 0, limits), "", ""
    for part in parts:
        stream.feed(part)
        growth = stream.take_growth()
        shown = stream.render().text if growth is None else shown + growth
        stored += stream.take_stored()
        assert stream.overlong or stored == ""
    return stream, shown, stored


_long = st.lists(st.sampled_from(["line\n", "é\n", "x" * 30, "\r", "ab", "\n"]), max_size=60).map("".join)


@given(_long, _cuts)
def test_long_streams_are_the_same_however_cut(text: str, cuts: list[int]) -> None:
    stream, shown, stored = grown(pieces(text, cuts), SMALL)
    whole, shown_whole, stored_whole = grown([text], SMALL)
    assert shown == shown_whole if text else shown == ""
    assert stored == stored_whole
    assert stream.render() == whole.render()
    assert len(shown) <= 20 + 16 + LINE_WIDTH + 200


@given(_long, _cuts)
def test_the_whole_text_is_stored_and_rest(text: str, cuts: list[int]) -> None:
    stream, shown, stored = grown(pieces(text, cuts), StreamLimits(head=20, tail=16, kept=10_000))
    rendered = stream.render()
    full = terminal(text)
    if rendered.overlong:
        assert stored + rendered.text[len(rendered.text) - rendered.rest :] == full
        assert rendered.text.startswith(full[:10])
    else:
        assert rendered.text == full
        assert not stored
    assert rendered.size == len(full.encode())
    assert not cuts or rendered.text == shown or not text


@given(_long, _cuts)
def test_what_is_over_the_limit_is_counted(text: str, cuts: list[int]) -> None:
    stream, _, stored = grown(pieces(text, cuts), SMALL)
    rendered, full = stream.render(), terminal(text)
    assert len(stored.encode()) <= 100
    if "left out" in rendered.text:
        rest = rendered.text[len(rendered.text) - rendered.rest :]
        notice, _, tail = rest.partition("...]\n")
        missing = full[len(stored) : len(full) - len(tail)]
        assert full.startswith(stored)
        assert full.endswith(tail)
        assert f"{missing.count(chr(10)):,} line" in notice
        assert "limit of 100 bytes a cell, option --stream-limit" in notice


@settings(max_examples=examples(60))
@given(_long, _cuts)
def test_a_stream_goes_on_from_its_state(text: str, cuts: list[int]) -> None:
    stream, shown, stored = StreamText("stdout", 0, SMALL), "", ""
    for part in pieces(text, cuts):
        stream.feed(part)
        growth = stream.take_growth()
        shown = stream.render().text if growth is None else shown + growth
        stored += stream.take_stored()
        stream = StreamText.restore(json.loads(json.dumps(stream.state)), shown, SMALL)
        assert stream.render().text == shown
    whole, shown_whole, stored_whole = grown([text], SMALL)
    assert stored == stored_whole
    assert stream.render().lines == whole.render().lines
    if not whole.overlong:
        assert shown == shown_whole


def test_a_line_in_progress_is_growth_only_at_the_end() -> None:
    stream = StreamText("stdout", 0, StreamLimits())
    stream.feed("10%")
    assert stream.take_growth() is None
    assert stream.render().text == "10%"
    stream.feed("...")
    assert stream.take_growth() == "..."
    stream.feed("\n20%")
    assert stream.take_growth() == "\n20%"
    stream.feed("\r30%")
    assert stream.take_growth() is None
    assert stream.render().text == "10%...\n30%"
    stream.feed(" and on\n")
    assert stream.take_growth() == " and on\n"


def test_a_million_lines_stay_small() -> None:
    stream = StreamText("stdout", 0, StreamLimits())
    stored = 0
    for start in range(0, 1_000_000, 10_000):
        stream.feed("".join(f"line {n}\n" for n in range(start, start + 10_000)))
        stored += len(stream.take_stored())
    rendered = stream.render()
    assert stored == 10 * 1024 * 1024
    assert rendered.lines == 1_000_000
    assert rendered.text.startswith("line 0\n")
    assert rendered.text.endswith("line 999999\n")
    assert len(rendered.text) < 33_500
    assert "left out: limit of 10 MiB a cell" in rendered.text
