"""The two sub-protocols of Jupyter's kernel WebSocket, ``/api/kernels/<id>/channels``. Pure.

* The default one (no sub-protocol): a message is a JSON text; one with buffers is a binary frame with a table of offsets.
* ``v1.kernel.websocket.jupyter.org``: every message is a binary frame with a table of offsets, its parts as the kernel wrote them.

Source of both: jupyter_server's documentation, "Kernel WebSocket protocols". Messages pass as bytes: no part is decoded
on the way to a browser, and only the header on the way to a kernel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from homeport.errors import ProtocolError

V1 = "v1.kernel.websocket.jupyter.org"
SUBPROTOCOLS = (V1,)
CHANNELS = frozenset({"shell", "control", "stdin", "iopub"})

_NO_OBJECT = b"{}"


@dataclass(frozen=True)
class Request:
    """A message from a client: its channel, its parts (as in ``protocol/jupyter.py``), and two fields of its header."""

    channel: str
    parts: list[bytes]
    msg_id: str
    session: str


class _Header(msgspec.Struct):
    msg_id: str
    session: str = ""


class _Names(msgspec.Struct):
    msg_id: str | None = None
    msg_type: str | None = None


class _Message(msgspec.Struct):
    header: msgspec.Raw
    channel: str | None = None
    parent_header: msgspec.Raw = msgspec.Raw(_NO_OBJECT)
    metadata: msgspec.Raw = msgspec.Raw(_NO_OBJECT)
    content: msgspec.Raw = msgspec.Raw(_NO_OBJECT)


_decode_names = msgspec.json.Decoder(_Names).decode
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_any = msgspec.json.Decoder().decode


def _object(raw: msgspec.Raw) -> bytes:
    data = bytes(raw)
    return _NO_OBJECT if data == b"null" else data


def encode_default(channel: str, parts: list[bytes]) -> bytes | str:
    """A message for a client without sub-protocol: text, or a binary frame when it has buffers.

    Args:
        parts: header, parent_header, metadata, content (JSON bytes), then buffers.

    Raises:
        ProtocolError: a part is missing or the header is not what a header must be.
    """
    if len(parts) < 4:
        raise ProtocolError(f"A kernel message has {len(parts)} parts; it needs 4.")
    header, parent, metadata, content = parts[:4]
    try:
        names = _decode_names(header)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"The header of a kernel message is not right: {error}") from None
    body = b"".join(
        (
            b'{"header":', header or _NO_OBJECT,
            b',"msg_id":', msgspec.json.encode(names.msg_id),
            b',"msg_type":', msgspec.json.encode(names.msg_type),
            b',"parent_header":', parent or _NO_OBJECT,
            b',"metadata":', metadata or _NO_OBJECT,
            b',"content":', content or _NO_OBJECT,
            b',"buffers":[],"channel":', msgspec.json.encode(channel), b"}",
        )
    )  # fmt: skip
    buffers = parts[4:]
    if not buffers:
        return body.decode("utf-8", "replace")
    sections = [body, *buffers]
    offset = 4 * (len(sections) + 1)
    table = [len(sections)]
    for section in sections:
        table.append(offset)
        offset += len(section)
    return b"".join((struct.pack(f">{len(table)}I", *table), *sections))


def decode_default(frame: bytes | str) -> Request:
    """A message from a client without sub-protocol.

    Raises:
        ProtocolError: it is not such a message.
    """
    buffers: list[bytes] = []
    if isinstance(frame, bytes):
        sections = _sections(frame, width=4, order=">")
        body: bytes | str = sections[0]
        buffers = sections[1:]
    else:
        body = frame
    try:
        message = _decode_message(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"This is not a Jupyter message: {error}") from None
    parts = [bytes(message.header), _object(message.parent_header), _object(message.metadata), _object(message.content), *buffers]
    return _request(message.channel or "shell", parts)


def _sections(frame: bytes, *, width: int, order: str) -> list[bytes]:
    """Cut a default binary frame at its offsets; the last section runs to the end."""
    if len(frame) < width:
        raise ProtocolError("This binary frame is too short for a table of offsets.")
    (count,) = struct.unpack_from(f"{order}I", frame)
    if not 1 <= count <= (len(frame) - width) // width:
        raise ProtocolError("This binary frame has an impossible number of sections.")
    offsets = [*struct.unpack_from(f"{order}{count}I", frame, width), len(frame)]
    return _cut(frame, offsets, first=width * (count + 1))


def _cut(frame: bytes, offsets: list[int], *, first: int) -> list[bytes]:
    if offsets[0] < first or offsets[-1] > len(frame) or any(a > b for a, b in pairwise(offsets)):
        raise ProtocolError("The offsets of this binary frame do not fit it.")
    return [frame[start:end] for start, end in pairwise(offsets)]


def encode_v1(channel: str, parts: list[bytes]) -> bytes:
    """A message for a client of ``v1.kernel.websocket.jupyter.org``: u64 little-endian count, offsets, channel, parts."""
    name = channel.encode()
    offset = 8 * (len(parts) + 3)
    table = [len(parts) + 2, offset, offset + len(name)]
    for part in parts:
        table.append(table[-1] + len(part))
    return b"".join((struct.pack(f"<{len(table)}Q", *table), name, *parts))


def decode_v1(frame: bytes | str) -> Request:
    """A message from a client of ``v1.kernel.websocket.jupyter.org``.

    Raises:
        ProtocolError: it is not such a message.
    """
    if isinstance(frame, str):
        raise ProtocolError(f"{V1} has binary frames only; this one is text.")
    if len(frame) < 8:
        raise ProtocolError("This frame is too short for a table of offsets.")
    (count,) = struct.unpack_from("<Q", frame)
    if not 6 <= count <= (len(frame) - 8) // 8:
        raise ProtocolError("This frame has an impossible number of sections.")
    sections = _cut(frame, list(struct.unpack_from(f"<{count}Q", frame, 8)), first=8 * (count + 1))
    try:
        channel = sections[0].decode()
    except UnicodeDecodeError:
        raise ProtocolError("The channel's name is not UTF-8.") from None
    return _request(channel, sections[1:])


def _request(channel: str, parts: list[bytes]) -> Request:
    if channel not in CHANNELS or channel == "iopub":
        raise ProtocolError(f"Nothing can be sent on a channel called {channel[:40]!r}.")
    try:
        header = _decode_header(parts[0])
        for part in parts[1:4]:
            # A kernel that gets broken JSON dies of it or never answers.
            if not isinstance(_decode_any(part), dict):
                raise ProtocolError("Every part of a message must be a JSON object.")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"A part of this message is not what it must be: {error}") from None
    return Request(channel, parts, header.msg_id, header.session)


def websocket_frame(payload: bytes | str) -> tuple[bytes, bytes]:
    """An unmasked, uncompressed, final WebSocket frame (RFC 6455, section 5.2) as head and payload.

    Several frames in one socket write cost a twentieth of several writes.
    """
    data, first = (payload.encode(), 0x81) if isinstance(payload, str) else (payload, 0x82)
    size = len(data)
    if size < 126:
        return struct.pack("!BB", first, size), data
    if size < 65536:
        return struct.pack("!BBH", first, 126, size), data
    return struct.pack("!BBQ", first, 127, size), data
