"""Frames of open documents over plain HTTP, for where WebSockets are refused: pure framing, no document and no connection.

Down: one stream of Server-Sent Events per browser (https://html.spec.whatwg.org/multipage/server-sent-events.html), shared
by its tabs. Each event is one line ``data: CHANNEL KIND BODY``. A channel is one tab's link; its name is made by the tab.
Kinds: ``o`` (channel ``-``, body: the stream's id) opens the stream, ``f`` is a frame in base64, ``z`` a frame that was
deflated (RFC 1951, each on its own) before, ``x`` ends a channel, with the reason as JSON text.

Up: a channel's frames make one sequence of bytes, each frame behind its length (u32, big-endian). It travels in numbered
pieces, one POST each and one at a time, so that no proxy's limit of a body's size matters and a piece that is sent again
counts once.
"""

from __future__ import annotations

import base64
import struct
import zlib

import msgspec

from homeport.errors import ProtocolError

HEARTBEAT = b":\n\n"
"""A comment: keeps proxies from closing an idle connection; pages do not see it."""

_PADDING = b":" + b" " * 2048 + b"\n\n"
# Below this deflate gains less than it costs.
_PACK_FROM = 512
_PACK_LEVEL = 4
_LENGTH = struct.Struct(">I")


def opening(stream: str) -> bytes:
    """The first event of a stream, behind as much padding as some proxies and browsers hold back at first."""
    return _PADDING + f"data: - o {stream}\n\n".encode()


def event(channel: str, frame: bytes, *, packed: bool) -> bytes:
    """The event of one frame. ``packed``: the page can inflate."""
    kind = "f"
    if packed and len(frame) >= _PACK_FROM:
        packer = zlib.compressobj(_PACK_LEVEL, zlib.DEFLATED, -15)
        smaller = packer.compress(frame) + packer.flush()
        if len(smaller) < len(frame):
            kind, frame = "z", smaller
    return f"data: {channel} {kind} ".encode() + base64.b64encode(frame) + b"\n\n"


def ending(channel: str, reason: str) -> bytes:
    """The event that ends a channel; nothing follows on it."""
    return f"data: {channel} x ".encode() + msgspec.json.encode(reason) + b"\n\n"


class Pieces:
    """Puts a channel's frames together from its pieces, each of which counts once.

    Args:
        longest: bytes of the largest frame that is taken.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._last = 0
        self._rest = bytearray()

    def take(self, number: int, piece: bytes) -> list[bytes]:
        """The frames that are whole with this piece; none when the piece was here already.

        Args:
            number: from 1, one more for each piece.

        Raises:
            ProtocolError: a piece is missing before this one, or a frame is too long.
        """
        if number == self._last:
            return []
        if number != self._last + 1:
            raise ProtocolError(f"Piece {self._last + 1} was to come, and {number} did.")
        self._last = number
        self._rest += piece
        frames: list[bytes] = []
        at = 0
        while len(self._rest) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest, at)
            if length > self._longest:
                raise ProtocolError(f"A frame has at most {self._longest} bytes, not {length}.")
            if len(self._rest) - at - _LENGTH.size < length:
                break
            at += _LENGTH.size
            frames.append(bytes(self._rest[at : at + length]))
            at += length
        del self._rest[:at]
        return frames
