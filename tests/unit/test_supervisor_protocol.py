"""Frames, items, errors and Jupyter messages as bytes."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.errors import HomeportError, KernelFailed, ProtocolError
from homeport.protocol import supervisor as wire
from homeport.protocol.jupyter import NO_HEADER, Signer, header_of, join, make, split


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cutting(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    reader, found, at, turn = wire.FrameReader(300), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        found += reader.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert found == payloads


def test_a_frame_that_is_too_long_is_refused_when_it_is_announced() -> None:
    with pytest.raises(ProtocolError, match="1195725856 bytes"):
        wire.FrameReader(1000).feed(b"GET / HTTP/1.1\r\n")


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_and_nothing_else(data: bytes) -> None:
    for decode in (wire.decode_request, wire.decode_event, wire.decode_hello, wire.decode_greeting, wire.decode_item):
        try:
            decode(data)
        except ProtocolError:
            continue


def test_encoded_items_are_a_batch() -> None:
    items: list[wire.Item] = [
        wire.Entry(1, "iopub", [b"{}", b"{}", b"{}", b"{}", b"\x00buffer"]),
        wire.Truncated(2, 1 << 40, "why"),
        wire.Ended(3, "killed by SIGKILL", "tail"),
    ]
    (payload,) = wire.FrameReader(wire.MAX_FRAME).feed(wire.batch_frame(7, 3, b"".join(map(wire.encode_item, items))))
    assert wire.decode_event(payload) == wire.Batch(7, items)


def test_errors_cross_the_wire() -> None:
    failed = wire.failed(4, KernelFailed("It died", reason="out of memory", stderr="x", odd=["not", "scalar"]))
    error = wire.raised(failed)
    assert type(error) is KernelFailed
    assert (error.message, error.data) == ("It died", {"reason": "out of memory", "stderr": "x"})
    assert type(wire.raised(wire.Failed(1, "from_the_future", "?", {}))) is HomeportError


def test_a_message_signed_is_the_message_verified() -> None:
    parts = make("execute_request", {"code": "1"}, session="s", msg_id="m", date="2026-01-01T00:00:00Z", parent=None)
    signer = Signer(b"key")
    signature = signer.sign(parts)
    assert signature == hmac.new(b"key", b"".join(parts), hashlib.sha256).hexdigest().encode()
    identities, found, again = split(join([b"who"], signature, [*parts, b"buffer"]))
    assert (identities, again) == ([b"who"], [*parts, b"buffer"])
    assert signer.verify(found, again), "buffers are not signed"
    assert not signer.verify(found, [again[0], again[1], again[2], b'{"code": "2"}'])
    assert header_of(parts[0]).msg_type == "execute_request"
    assert header_of(parts[1]) is NO_HEADER


def test_a_long_message_has_the_same_signature() -> None:
    parts = [b"{}", b"{}", b"{}", b'"' + b"x" * 200_000 + b'"']
    assert Signer(b"key").sign(parts) == hmac.new(b"key", b"".join(parts), hashlib.sha256).hexdigest().encode()


def test_no_key_means_no_signature() -> None:
    signer = Signer(b"")
    assert signer.sign([b"{}"] * 4) == b""
    assert signer.verify(b"anything", [b"{}"] * 4)


@pytest.mark.parametrize("frames", [[], [b"a", b"b"], [b"<IDS|MSG>", b"sig", b"{}", b"{}", b"{}"]])
def test_what_is_no_message_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        split(frames)


@pytest.mark.parametrize("header", [b"[1]", b"nonsense", b'{"msg_id": 1}', b"\xff"])
def test_a_header_that_cannot_be_read_is_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        header_of(header)


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b"null"])
def test_an_empty_header_is_no_header(header: bytes) -> None:
    assert header_of(header) == NO_HEADER


def test_unknown_keys_in_a_header_are_tolerated() -> None:
    assert header_of(b'{"msg_id": "a", "x": [1], "subshell_id": null}').msg_id == "a"
