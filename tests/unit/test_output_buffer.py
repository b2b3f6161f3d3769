"""Outputs on their way into the document, against a model that does what the protocol says, one message at a time."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.profiles import examples
from homeport.core.coalesce import Line, StreamLimits
from homeport.core.output_buffer import STREAM_KEY, Output, OutputBuffer, OutputLimits, Patch

FREE = OutputLimits()
LONG = OutputLimits(stream=StreamLimits(head=20, tail=20))
TIGHT = OutputLimits(stream=StreamLimits(head=20, tail=20, kept=200), small_stream=8, shown=100, outputs=5, last=3)


def shown(text: str, metadata: dict[str, Any] | None = None) -> Output:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": metadata or {}}


class Document:
    """The outputs of one cell as a page sees them, and the stored text; applies patches as JupyterLab's view does."""

    def __init__(self) -> None:
        self.outputs: list[Output] = [shown("of the run before")]
        self.stored: dict[str, list[str]] = {}

    def apply(self, patch: Patch | None) -> None:
        if patch is None:
            return
        if patch.append:
            assert patch.cut is None
            assert not patch.insert
            self.outputs[-1]["text"] += patch.append
        if patch.cut is not None:
            assert patch.cut <= len(self.outputs)
            del self.outputs[patch.cut :]
        self.outputs += copy.deepcopy(patch.insert)
        for key in patch.dropped:
            self.stored.pop(key)
        for key, number, text in patch.stored:
            pieces = self.stored.setdefault(key, [])
            assert number == len(pieces)
            pieces.append(text)
        streams = [output["name"] if output["output_type"] == "stream" else None for output in self.outputs]
        assert all(a is None or a != b for a, b in itertools.pairwise(streams))

    def flush(self, buffer: OutputBuffer) -> None:
        last = self.outputs[-1] if self.outputs else {}
        size = len(last["text"].encode()) if last.get("output_type") == "stream" else -1
        self.apply(buffer.take(len(self.outputs), size, lambda output: output))
        assert not buffer.pending
        buffer.check()


class Model:
    """Jupyter's rules, without any limit."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.raw: list[str] = []
        self.displays: list[tuple[str, Output]] = []
        self.wait = False

    def do(self, step: tuple[Any, ...]) -> None:
        kind, *rest = step
        if kind == "clear":
            self.wait = rest[0]
            if not self.wait:
                self.outputs, self.displays = [], []
            return
        if kind == "update":
            for display, output in self.displays:
                if display == rest[0]:
                    output["data"] = {"text/plain": rest[1]}
            return
        if kind not in ("stream", "show"):
            return
        if self.wait:
            self.outputs, self.displays, self.wait = [], [], False
        if kind == "stream":
            name, text = rest
            if not self.outputs or self.outputs[-1].get("name") != name:
                self.outputs.append({"output_type": "stream", "name": name, "text": ""})
            self.outputs[-1]["text"] += text
        else:
            display, text = rest
            self.outputs.append(shown(text))
            if display:
                self.displays.append((display, self.outputs[-1]))

    @property
    def result(self) -> list[Output]:
        outputs = copy.deepcopy(self.outputs)
        for output in outputs:
            if output["output_type"] == "stream":
                line = Line()
                output["text"] = line.feed(output["text"]) + line.text
        return outputs


_step = st.one_of(
    st.tuples(st.just("stream"), st.sampled_from(["stdout", "stderr"]), st.sampled_from(["a", "b\n", "\r", "é\n", "\b", "long " * 4])),
    st.tuples(st.just("show"), st.sampled_from([None, "d1", "d2"]), st.sampled_from(["x", "y"])),
    st.tuples(st.just("update"), st.sampled_from(["d1", "d2", "d3"]), st.sampled_from(["new", "newer"])),
    st.tuples(st.just("clear"), st.booleans()),
    st.tuples(st.just("ahead")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("crash")),
)
_steps = st.lists(_step, max_size=40)


def play(steps: list[tuple[Any, ...]], limits: OutputLimits, document: Document) -> OutputBuffer:
    buffer = OutputBuffer("run", limits)
    document.flush(buffer)
    underway: list[tuple[Output, Output]] = []
    for step in steps:
        kind, *rest = step
        if kind == "stream":
            buffer.stream(*rest)
        elif kind == "show":
            buffer.add(shown(rest[1]), rest[0])
        elif kind == "update":
            buffer.update(rest[0], {"text/plain": rest[1]}, {})
        elif kind == "clear":
            buffer.clear(rest[0])
        elif kind == "ahead":
            # What a thread began with may be late: other things may have happened to those outputs meanwhile.
            for output, form in underway:
                buffer.converted(output, form)
            underway = [(output, dict(output)) for output in buffer.raw]
        else:
            document.flush(buffer)
            if kind == "crash":
                underway = []
                buffer = OutputBuffer.restore("run", limits, json.loads(json.dumps(buffer.state)))
                buffer.load(copy.deepcopy(document.outputs))
        buffer.check()
    document.flush(buffer)
    return buffer


@settings(max_examples=examples(300))
@given(_steps)
def test_the_document_shows_what_the_protocol_says(steps: list[tuple[Any, ...]]) -> None:
    document, model = Document(), Model()
    play(steps, FREE, document)
    for step in steps:
        model.do(step)
    # A stream that has only moved the cursor is an output without text: there, and nothing to see.
    assert document.outputs == model.result


@settings(max_examples=examples(300))
@given(_steps)
def test_limits_hold_and_writes_do_not_matter(steps: list[tuple[Any, ...]]) -> None:
    document, at_once = Document(), Document()
    buffer = play(steps, TIGHT, document)
    play([step for step in steps if step[0] not in ("flush", "crash")], TIGHT, at_once)
    assert len(document.outputs) <= 5 + 1 + 3
    assert set(document.stored) == set(buffer.stored) == set(at_once.stored)
    assert {key: "".join(text) for key, text in document.stored.items()} == {key: "".join(text) for key, text in at_once.stored.items()}
    keys = [output[STREAM_KEY]["key"] for output in document.outputs if STREAM_KEY in output]
    assert set(document.stored) <= set(keys)
    if not any(step[0] == "crash" for step in steps):
        assert document.outputs == at_once.outputs


@given(_steps, st.integers(0, 40))
def test_a_person_clears_a_running_cell(steps: list[tuple[Any, ...]], where: int) -> None:
    """What is new is shown, and of what was there no more than the line that it is written into."""
    document, as_it_was = Document(), Document()
    buffer, other = play(steps[:where], FREE, document), play(steps[:where], FREE, as_it_was)
    document.outputs = []
    for each, shows in ((buffer, document), (other, as_it_was)):
        each.stream("stdout", "after\n")
        shows.flush(each)
    (output,) = document.outputs
    assert output["output_type"] == "stream"
    assert "after" in output["text"]
    assert output["text"].count("\n") == 1
    assert as_it_was.outputs[-1]["text"].endswith(output["text"])


def test_a_progress_bar_goes_on_after_a_person_cleared_it() -> None:
    document = Document()
    buffer = play([("stream", "stdout", "10%\r")], FREE, document)
    document.outputs = []
    buffer.stream("stdout", "20%\r")
    document.flush(buffer)
    buffer.stream("stdout", "30%\n")
    document.flush(buffer)
    assert [output["text"] for output in document.outputs] == ["30%\n"]


@settings(max_examples=examples(300))
@given(_steps, st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.booleans(), st.booleans()), min_size=1, max_size=9))
def test_all_that_comes_after_a_person_cleared_is_there_once(steps: list[tuple[Any, ...]], after: list[tuple[str, bool, bool]]) -> None:
    document = Document()
    buffer = play(steps, LONG, document)
    buffer.stream(after[0][0], "shown\n")
    document.flush(buffer)
    document.outputs = []
    for number, (name, show, flush) in enumerate(after):
        buffer.stream(name, f"<{number}>\n")
        if show:
            buffer.add(shown("x"))
        if flush:
            document.flush(buffer)
    document.flush(buffer)
    text = "".join(whole(document, output) for output in document.outputs)
    assert [text.count(f"<{number}>") for number in range(len(after))] == [1] * len(after)
    assert "shown" not in text


def whole(document: Document, output: Output) -> str:
    """The text of an output as the file has it."""
    long = output.get(STREAM_KEY)
    if long is None:
        return output.get("text", "")
    return "".join(document.stored[long["key"]]) + output["text"][len(output["text"]) - long["rest"] :]


def test_a_cell_moved_with_old_outputs_is_put_right() -> None:
    document = Document()
    buffer = play([("stream", "stdout", "one\n"), ("show", None, "x"), ("stream", "stdout", "two\n")], FREE, document)
    document.outputs = [document.outputs[0], document.outputs[1]]
    buffer.stream("stdout", "three\n")
    document.flush(buffer)
    assert [output.get("text") for output in document.outputs] == ["one\n", None, "two\nthree\n"]
    document.outputs[2]["text"] = "two\n"
    buffer.stream("stdout", "four\n")
    document.flush(buffer)
    assert document.outputs[2]["text"] == "two\nthree\nfour\n"


def test_a_flood_of_outputs_keeps_the_first_and_the_last() -> None:
    document, buffer = Document(), OutputBuffer("run", FREE)
    for number in range(5000):
        buffer.add(shown(str(number)))
        if number % 97 == 0:
            document.flush(buffer)
    document.flush(buffer)
    texts = [output["data"]["text/plain"] for output in document.outputs]
    assert texts[:1000] == [str(n) for n in range(1000)]
    assert texts[1000] == "[... 3,976 outputs left out: limit of 1,000 outputs a cell, option --output-limit ...]".replace("outputs a", "a")
    assert texts[1001:] == [str(n) for n in range(4976, 5000)]
    assert buffer.heavy


def test_outputs_are_converted_once_and_only_when_written() -> None:
    buffer, seen = OutputBuffer("run", FREE), []

    def convert(output: Output) -> Output:
        seen.append(output["data"]["text/plain"])
        return {**output, "converted": True}

    for frame in range(100):
        buffer.clear(True)
        buffer.add(shown(str(frame)))
    patch = buffer.take(0, -1, convert)
    buffer.add(shown("last"))
    buffer.take(1, -1, convert)
    assert seen == ["99", "last"]
    assert patch is not None
    assert patch.insert[0]["converted"]


def test_what_was_converted_ahead_is_not_converted_again() -> None:
    buffer = OutputBuffer("run", FREE)
    buffer.stream("stdout", "text")
    buffer.add(shown("one"), "d")
    buffer.add(shown("two"))
    one, two = buffer.raw
    buffer.update("d", {"text/plain": "newer"}, {})
    buffer.converted(one, shown("one, converted"))
    buffer.converted(two, shown("two, converted"))
    patch = buffer.take(0, -1, lambda output: shown(output["data"]["text/plain"] + ", converted at last"))
    assert patch is not None
    assert patch.insert[1:] == [shown("newer, converted at last"), shown("two, converted")]
    assert not buffer.raw


def test_late_updates_after_unload() -> None:
    document = Document()
    buffer = play([("show", "d1", "x"), ("stream", "stdout", "a\n")], FREE, document)
    buffer.unload()
    assert buffer.shows("d1")
    assert not buffer.shows("d2")
    assert not buffer.loaded
    assert not buffer.pending
    buffer.load(document.outputs)
    assert buffer.update("d1", {"text/plain": "late"}, {})
    buffer.stream("stdout", "b\n")
    document.flush(buffer)
    assert document.outputs[0]["data"]["text/plain"] == "late"
    assert document.outputs[1]["text"] == "a\nb\n"
