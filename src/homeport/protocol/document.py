"""Frames between a page and an open document: pure framing, no document and no socket.

A frame is binary. Its first varint is the type, as in y-websocket (https://github.com/yjs/y-protocols, PROTOCOL.md):
0 is the Yjs sync protocol (0 step 1, 1 step 2, 2 update, each with one length-prefixed buffer), 1 is awareness (one
length-prefixed buffer), and 100, ours, is control: the rest of the frame is one JSON object in UTF-8 with an ``op``.
A long frame comes in parts of type 101: one byte that is 1 in the last of them, and the next bytes of the frame. On a slow
link something so arrives all the time, and a page can tell a slow link from a dead one.
What the ops mean is told in docs/architecture.md. Whether an update can be applied is the room's to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

import msgspec

from homeport.errors import ProtocolError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

SYNC = 0
AWARENESS = 1
CONTROL = 100
PART = 101
STEP1 = 0
STEP2 = 1
UPDATE = 2

PROTOCOL = 1
"""The version of the control ops."""

PART_SIZE = 16 * 1024
"""Bytes of a frame in one part: two seconds on 64 kbit/s."""

_LONGEST_VARINT = 10
_MOST_AWARENESS_CLIENTS = 1024
_LONGEST_AWARENESS_STATE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Step1:
    """The sender's state vector: it wants what it does not have."""

    state: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """A Yjs update; ``step2`` says that it answers a step 1."""

    update: bytes
    step2: bool = False


@dataclass(frozen=True, slots=True)
class Presence:
    """One client's awareness. ``state`` is JSON as the client wrote it; ``"null"``: it is gone."""

    client: int
    clock: int
    state: str


@dataclass(frozen=True, slots=True)
class Awareness:
    """What some clients show of themselves: cursor, name, colour."""

    clients: tuple[Presence, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A control op with its fields."""

    op: str
    fields: Mapping[str, JSON]


Frame: TypeAlias = Step1 | Update | Awareness | Control


def parse(frame: bytes) -> Frame:
    """Read one frame.

    Raises:
        ProtocolError: it is not a frame of this protocol; the message says what is wrong with it.
    """
    kind, at = _varint(frame, 0)
    if kind == SYNC:
        step, at = _varint(frame, at)
        payload, at = _buffer(frame, at)
        _end(frame, at)
        if step == STEP1:
            return Step1(payload)
        if step in (STEP1, STEP2, UPDATE):
            return Update(payload, step2=step == STEP2)
        raise ProtocolError(f"Sync frames are of type 0, 1 or 2, not {step}.")
    if kind == AWARENESS:
        payload, at = _buffer(frame, at)
        _end(frame, at)
        return parse_awareness(payload)
    if kind == CONTROL:
        return _control(frame[at:])
    raise ProtocolError(f"Frames of type {kind} are not part of the protocol.")


def parse_awareness(payload: bytes) -> Awareness:
    """Read the buffer of an awareness frame (y-protocols/awareness.js).

    Raises:
        ProtocolError: it is malformed, or larger than any page needs.
    """
    count, at = _varint(payload, 0)
    if count > _MOST_AWARENESS_CLIENTS:
        raise ProtocolError(f"An awareness frame names at most {_MOST_AWARENESS_CLIENTS} clients, not {count}.")
    clients: list[Presence] = []
    for _ in range(count):
        client, at = _varint(payload, at)
        clock, at = _varint(payload, at)
        state, at = _buffer(payload, at)
        if len(state) > _LONGEST_AWARENESS_STATE:
            raise ProtocolError(f"An awareness state has at most {_LONGEST_AWARENESS_STATE} bytes, not {len(state)}.")
        try:
            msgspec.json.decode(state)
            clients.append(Presence(client, clock, state.decode()))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError("An awareness state is not JSON.") from error
    _end(payload, at)
    return Awareness(tuple(clients))


def parse_state(state: bytes) -> dict[int, int]:
    """Read a Yjs state vector: the next clock of each client.

    Raises:
        ProtocolError: it is malformed.
    """
    count, at = _varint(state, 0)
    clocks: dict[int, int] = {}
    for _ in range(count):
        client, at = _varint(state, at)
        clocks[client], at = _varint(state, at)
    return clocks


def first_struct(update: bytes) -> tuple[int, int] | None:
    """Client and clock at which a Yjs update (version 1) begins; None when it only deletes.

    Raises:
        ProtocolError: it is malformed.
    """
    clients, at = _varint(update, 0)
    if clients == 0:
        return None
    _, at = _varint(update, at)
    client, at = _varint(update, at)
    clock, _ = _varint(update, at)
    return client, clock


def parts(frame: bytes) -> list[bytes]:
    """``frame`` as it is sent: in parts when it is long."""
    if len(frame) <= PART_SIZE:
        return [frame]
    pieces = [frame[at : at + PART_SIZE] for at in range(0, len(frame), PART_SIZE)]
    return [bytes((PART, piece is pieces[-1])) + piece for piece in pieces]


class Joiner:
    """Puts frames together that come in parts: the other end of :func:`parts`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def take(self, data: bytes) -> bytes | None:
        """The whole frame; None while more of it is to come.

        Raises:
            ProtocolError: a part without its mark, or a frame that begins before the one before it has ended.
        """
        if data[:1] != bytes((PART,)):
            if self._pieces:
                raise ProtocolError("A frame begins within the parts of another.")
            return data
        if len(data) < 2 or data[1] > 1:
            raise ProtocolError("A part does not say whether it is the last.")
        self._pieces.append(data[2:])
        if not data[1]:
            return None
        frame = b"".join(self._pieces)
        self._pieces.clear()
        return frame


def step1(state: bytes) -> bytes:
    """The frame that asks for everything that ``state`` (a state vector) does not have."""
    return _sync(STEP1, state)


def step2(update: bytes) -> bytes:
    """The frame that answers a step 1."""
    return _sync(STEP2, update)


def update(data: bytes) -> bytes:
    """The frame of one Yjs update."""
    return _sync(UPDATE, data)


def awareness(clients: Iterable[Presence]) -> bytes:
    """The frame that tells about ``clients``."""
    entries = list(clients)
    payload = bytearray(_encode_varint(len(entries)))
    for entry in entries:
        state = entry.state.encode()
        payload += _encode_varint(entry.client) + _encode_varint(entry.clock) + _encode_varint(len(state)) + state
    return _encode_varint(AWARENESS) + _encode_varint(len(payload)) + bytes(payload)


def control(op: str, **fields: object) -> bytes:
    """The frame of a control op; ``fields`` are JSON-serialisable."""
    return _encode_varint(CONTROL) + msgspec.json.encode({"op": op, **fields})


def queue_moved(before: list[JSON], after: list[JSON]) -> JSON:
    """How the queue ``before`` became the queue ``after``, when it only went on at its head; None when it did not.

    Run all of a thousand cells changes the queue two thousand times: sent whole each time it would be 100 MB.
    """
    gone = len(before) - len(after)
    if gone < 0 or len(after) < 2 or before[gone + 1 :] != after[1:]:
        return None
    return {"gone": gone, "first": after[0]}


def merge_state(state: dict[str, JSON], changes: Mapping[str, JSON]) -> None:
    """Take a ``state`` frame's keys over into what is known."""
    moved = changes.get("queue_moved")
    state.update({key: value for key, value in changes.items() if key not in ("op", "queue_moved")})
    if isinstance(moved, dict):
        queue, gone = state["queue"], moved["gone"]
        assert isinstance(queue, list), "the queue is sent whole first"
        assert isinstance(gone, int), "as queue_moved tells it"
        state["queue"] = [moved["first"], *queue[gone + 1 :]]


def _control(text: bytes) -> Control:
    try:
        fields: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError("A control frame is not JSON.") from error
    if not isinstance(fields, dict):
        raise ProtocolError("A control frame holds one JSON object.")
    members = cast("dict[str, JSON]", fields)
    op = members.get("op")
    if not isinstance(op, str):
        raise ProtocolError("A control frame has a text `op`.")
    return Control(op, members)


def _sync(step: int, data: bytes) -> bytes:
    return bytes((SYNC, step)) + _encode_varint(len(data)) + data


def _encode_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(128 | (number & 127))
        number >>= 7
    out.append(number)
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for index in range(at, min(len(data), at + _LONGEST_VARINT)):
        byte = data[index]
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, index + 1
    raise ProtocolError("A frame ends within a number." if len(data) - at < _LONGEST_VARINT else "A number in a frame is too long.")


def _buffer(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _varint(data, at)
    if length > len(data) - at:
        raise ProtocolError(f"A frame says that {length} bytes follow, and {len(data) - at} do.")
    return data[at : at + length], at + length


def _end(data: bytes, at: int) -> None:
    if at != len(data):
        raise ProtocolError(f"A frame goes on for {len(data) - at} bytes after its end.")
