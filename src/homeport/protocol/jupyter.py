"""Jupyter's kernel messages as they stand on the wire.

The format is that of the "Messaging in Jupyter" page of jupyter_client (protocol 5.4): zero or more
routing identities, a delimiter, a signature, then header, parent header, metadata and content as JSON,
then raw buffers. Messages travel through Homeport as the bytes that their sender wrote; this module splits,
joins, signs, verifies and reads headers. What a content means is left to those who need it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from homeport.errors import ProtocolError

Parts = list[bytes]
"""``[header, parent_header, metadata, content, *buffers]``; the first four are JSON objects as UTF-8 bytes."""

VERSION = "5.4"
"""The messaging protocol's version that we write into headers."""

DELIMITER = b"<IDS|MSG>"

# Up to this size of the content, joining the four parts for one call is cheaper than feeding them one by one.
_JOIN_UP_TO = 64 * 1024


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """A header or a parent header; absent fields are empty strings, unknown keys are tolerated."""

    msg_id: str = ""
    msg_type: str = ""
    session: str = ""
    username: str = ""
    date: str = ""
    version: str = ""
    subshell_id: str | None = None


NO_HEADER = Header()
"""What an empty parent header (``{}``) reads as."""


class _Status(msgspec.Struct):
    execution_state: str = ""


_headers = msgspec.json.Decoder(Header | None)
_statuses = msgspec.json.Decoder(_Status)
_encoder = msgspec.json.Encoder()


def header_of(data: bytes) -> Header:
    """Read a header or parent header; ``{}``, ``null`` and nothing at all give :data:`NO_HEADER`.

    Raises:
        ProtocolError: it is not a JSON object, or a field has the wrong type.
    """
    if data in (b"", b"{}", b"[]"):  # R's serialisers write an empty object as a list
        return NO_HEADER
    try:
        return _headers.decode(data) or NO_HEADER
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"A Jupyter message has a header that cannot be read: {error}") from None


def execution_state(parts: Parts) -> str:
    """What a ``status`` message says that the kernel is: "busy", "idle" or "starting"; empty when it cannot be read."""
    try:
        return _statuses.decode(parts[3]).execution_state
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def split(frames: Sequence[bytes]) -> tuple[list[bytes], bytes, Parts]:
    """Take a multipart message apart into ``(identities, signature, parts)``.

    Raises:
        ProtocolError: there is no delimiter, or fewer than four parts follow the signature.
    """
    # Behind a DEALER there are no identities, behind SUB one topic: the delimiter is nearly always at 0 or 1.
    place = 0
    for frame in frames:
        if frame == DELIMITER:
            break
        place += 1
    else:
        raise ProtocolError("A Jupyter message has no <IDS|MSG> delimiter")
    if len(frames) < place + 6:
        raise ProtocolError(f"A Jupyter message has {len(frames) - place - 2} parts after its signature, not at least 4")
    return list(frames[:place]), frames[place + 1], list(frames[place + 2 :])


def join(identities: Sequence[bytes], signature: bytes, parts: Parts) -> list[bytes]:
    """Put a multipart message together; the inverse of :func:`split`."""
    return [*identities, DELIMITER, signature, *parts]


class Signer:
    """Signs and verifies messages with a kernel's key.

    Args:
        key: the connection file's ``key``; empty means that messages are not signed.
        scheme: the connection file's ``signature_scheme``, ``hmac-`` and the name of a hash.

    Raises:
        ProtocolError: the scheme is unknown.
    """

    def __init__(self, key: bytes, scheme: str = "hmac-sha256") -> None:
        kind, _, digest = scheme.partition("-")
        if kind != "hmac" or digest not in hashlib.algorithms_available:
            raise ProtocolError(f"The signature scheme {scheme!r} is unknown; Jupyter kernels use hmac-sha256")
        # Copied for each message: that costs half of what one call with the key does.
        self._mac = hmac.new(key, digestmod=digest) if key else None

    def sign(self, parts: Parts) -> bytes:
        """The signature of the first four parts, in hexadecimal; empty when there is no key. Buffers are not signed."""
        if self._mac is None:
            return b""
        mac = self._mac.copy()
        header, parent, metadata, content = parts[:4]
        if len(content) <= _JOIN_UP_TO:
            mac.update(b"".join((header, parent, metadata, content)))
        else:
            for part in (header, parent, metadata, content):
                mac.update(part)
        return mac.hexdigest().encode()

    def verify(self, signature: bytes, parts: Parts) -> bool:
        """Whether ``signature`` is that of ``parts``, in constant time."""
        return self._mac is None or hmac.compare_digest(self.sign(parts), signature)


def make(
    msg_type: str,
    content: object,
    *,
    session: str,
    msg_id: str,
    date: str,
    parent: bytes | None = None,
    metadata: object = None,
    username: str = "homeport",
) -> Parts:
    """Write a message.

    Args:
        content: a JSON object (a dict or a msgspec struct).
        date: ISO 8601 with a zone.
        parent: the parent's header as JSON bytes.
        metadata: a JSON object; ``None`` for an empty one.
    """
    header = Header(msg_id=msg_id, msg_type=msg_type, session=session, username=username, date=date, version=VERSION)
    return [_encoder.encode(header), parent or b"{}", b"{}" if metadata is None else _encoder.encode(metadata), _encoder.encode(content)]
