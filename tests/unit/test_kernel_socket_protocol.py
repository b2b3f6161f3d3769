"""protocol/kernel_socket.py: round trips of both sub-protocols, and garbage."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.errors import ProtocolError
from homeport.protocol.kernel_socket import decode_default, decode_v1, encode_default, encode_v1, websocket_frame

objects = st.dictionaries(st.text(max_size=8), st.one_of(st.integers(-9, 9), st.text(max_size=8), st.none()), max_size=4)
channels = st.sampled_from(["shell", "control", "stdin"])
buffers = st.lists(st.binary(max_size=40), max_size=4)


def parts_of(content: dict[str, Any], binary: list[bytes]) -> list[bytes]:
    header = {"msg_id": "m1", "msg_type": "x", "session": "s1", "more": "é"}
    return [json.dumps(header, ensure_ascii=False).encode(), b"{}", b'{"a": 1}', json.dumps(content).encode(), *binary]


@given(channels, objects, buffers)
def test_v1_round_trip(channel: str, content: dict[str, Any], binary: list[bytes]) -> None:
    parts = parts_of(content, binary)
    request = decode_v1(encode_v1(channel, parts))
    assert (request.channel, request.parts, request.msg_id, request.session) == (channel, parts, "m1", "s1")


@given(channels, objects, buffers)
def test_default_round_trip(channel: str, content: dict[str, Any], binary: list[bytes]) -> None:
    parts = parts_of(content, binary)
    frame = encode_default(channel, parts)
    assert isinstance(frame, bytes) == bool(binary)
    request = decode_default(frame)
    assert (request.channel, request.parts, request.msg_id, request.session) == (channel, parts, "m1", "s1")


def test_default_text_is_what_jupyter_clients_read() -> None:
    frame = encode_default("iopub", parts_of({"text": "é"}, []))
    assert isinstance(frame, str)
    message = json.loads(frame)
    assert message["channel"] == "iopub"
    assert message["msg_type"] == "x"
    assert message["msg_id"] == message["header"]["msg_id"] == "m1"
    assert message["content"] == {"text": "é"}
    assert message["buffers"] == []


def test_v1_layout_byte_by_byte() -> None:
    frame = encode_v1("shell", [b"H", b"PP", b"M", b"C", b"buf"])
    assert struct.unpack_from("<8Q", frame) == (7, 64, 69, 70, 72, 73, 74, 77)
    assert frame[64:] == b"shellHPPMCbuf"


def test_default_binary_layout_byte_by_byte() -> None:
    frame = encode_default("shell", [b'{"msg_id":"m"}', b"{}", b"{}", b"{}", b"abc", b"d"])
    assert isinstance(frame, bytes)
    count, first, second, third = struct.unpack_from(">4I", frame)
    assert (count, first) == (3, 16)
    assert frame[second:third] == b"abc"
    assert frame[third:] == b"d"


@given(st.one_of(st.binary(max_size=200), st.text(max_size=80)))
def test_garbage_is_a_protocol_error(frame: bytes | str) -> None:
    for decode in (decode_default, decode_v1):
        with pytest.raises(ProtocolError):
            decode(frame)


@given(st.data())
def test_a_damaged_frame_is_refused_or_read_but_never_crashes(data: st.DataObject) -> None:
    whole = bytearray(encode_v1("shell", parts_of({"a": 1}, [b"buffer"])))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_v1(bytes(whole))
    except ProtocolError:
        return


@pytest.mark.parametrize("channel", ["iopub", "nonsense", ""])
def test_a_client_cannot_send_on_other_channels(channel: str) -> None:
    with pytest.raises(ProtocolError):
        decode_v1(encode_v1(channel, parts_of({}, [])))


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_websocket_frames_have_the_lengths_of_the_rfc(size: int, head: int) -> None:
    start, payload = websocket_frame(b"x" * size)
    assert (len(start), len(payload)) == (head, size)
