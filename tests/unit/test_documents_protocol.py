"""Frames between a page and a document: round trips, and garbage."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from homeport.errors import ProtocolError
from homeport.protocol import document as protocol

numbers = st.integers(0, 2**53)
states = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3).map(json.dumps)


@given(st.binary(max_size=300))
def test_sync_frames_round_trip(data: bytes) -> None:
    assert protocol.parse(protocol.step1(data)) == protocol.Step1(data)
    assert protocol.parse(protocol.step2(data)) == protocol.Update(data, step2=True)
    assert protocol.parse(protocol.update(data)) == protocol.Update(data)


@given(st.lists(st.builds(protocol.Presence, numbers, numbers, states), max_size=5))
def test_awareness_round_trips(clients: list[protocol.Presence]) -> None:
    assert protocol.parse(protocol.awareness(clients)) == protocol.Awareness(tuple(clients))


def test_control_round_trips() -> None:
    message = protocol.parse(protocol.control("run", id="1", runs=[["r", "ä"]]))
    assert message == protocol.Control("run", {"op": "run", "id": "1", "runs": [["r", "ä"]]})


@given(st.lists(st.integers(1, 70_000), max_size=4))
def test_frames_come_whole_out_of_their_parts(sizes: list[int]) -> None:
    frames = [protocol.step2(bytes(size)) for size in sizes]
    sent = [part for frame in frames for part in protocol.parts(frame)]
    assert all(len(part) <= protocol.PART_SIZE + 2 for part in sent)
    joiner = protocol.Joiner()
    assert [frame for part in sent if (frame := joiner.take(part)) is not None] == frames


@pytest.mark.parametrize("data", [[b"\x65"], [b"\x65\x02a"], [b"\x65\x00a", b"\x00"]])
def test_parts_that_cannot_be_joined_are_refused(data: list[bytes]) -> None:
    joiner = protocol.Joiner()
    with pytest.raises(ProtocolError):
        [joiner.take(part) for part in data]


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_understood_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        protocol.parse(data)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x02",
        b"\x00\x03\x00",
        b"\x00\x00\x05ab",
        b"\x00\x00\x01ab",
        b"\xff" * 12,
        b"\x64[]",
        b"\x64{}",
        b"\x64nonsense",
        b'\x64{"op": 1}',
        protocol.awareness([protocol.Presence(1, 1, "no json")]),
        protocol.awareness([protocol.Presence(1, 1, json.dumps("x" * 70000))]),
    ],
)
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse(frame)


def test_state_vectors_and_updates_are_read_as_yjs_writes_them() -> None:
    doc: Doc[Text] = Doc(client_id=300)
    doc["t"] = text = Text("abc")
    before = doc.get_state()
    text += "d"
    assert protocol.parse_state(before) == {300: 3}
    assert protocol.parse_state(doc.get_state()) == {300: 4}
    assert protocol.first_struct(doc.get_update(before)) == (300, 3)


@given(st.lists(st.sampled_from(["add", "begin", "end", "cancel"]), max_size=60))
def test_a_page_that_is_told_how_the_queue_went_on_knows_the_queue(steps: list[str]) -> None:
    queue: list[protocol.JSON] = []
    known: dict[str, protocol.JSON] = {"queue": []}
    for number, step in enumerate(steps):
        before, queue = queue, list(queue)
        if step == "add":
            queue += [{"run": str(number), "state": "queued"}, {"run": f"{number}b", "state": "queued"}]
        elif step == "begin" and queue:
            queue[0] = {**queue[0], "state": "running"}  # type: ignore[dict-item]
        elif step == "end":
            queue = queue[1:]
        elif queue:
            del queue[len(queue) // 2]
        moved = protocol.queue_moved(before, queue)
        assert moved is not None or step in ("add", "cancel") or len(queue) < 2, "what happens a thousand times is told briefly"
        protocol.merge_state(known, {"op": "state", "queue": queue} if moved is None else {"op": "state", "queue_moved": moved})
        assert known == {"queue": queue}
