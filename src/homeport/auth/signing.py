"""Texts that only this user's servers can have made: signed with a secret that lives in the state folder. Pure but for that file."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from homeport.folders import private

SECRET_SIZE = 32
"""Bytes of the secret."""


def same(one: str, other: str) -> bool:
    """Compare two texts in constant time (for texts of one length)."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def kept_text(file: Path) -> str:
    """A random hexadecimal text (256 bits) that is made once and kept in ``file``.

    Two servers that start at once agree on it. When the folder cannot be written, the text lives as long as the server.
    """
    text = _kept(file)
    if text:
        return text
    text = secrets.token_hex(SECRET_SIZE)
    with contextlib.suppress(OSError):
        private(file.parent)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        temporary = Path(name)
        try:
            with open(handle, "w", encoding="ascii") as target:
                target.write(text)
            try:
                os.link(temporary, file)  # unlike a rename this fails when another server was first
            except FileExistsError:
                there = _kept(file)
                if there:
                    return there
                os.replace(temporary, file)  # what is there is no secret: an editor was at it
        finally:
            temporary.unlink(missing_ok=True)
    return text


def _kept(file: Path) -> str:
    try:
        text = file.read_text("ascii").strip()
        file.chmod(0o600)
    except (OSError, UnicodeDecodeError):
        return ""
    return text if len(text) >= SECRET_SIZE else ""


def _mac(secret: str, purpose: str, payload: str) -> str:
    digest = hmac.new(secret.encode(), f"{purpose}\0{payload}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def fingerprint(secret: str, purpose: str, text: str) -> str:
    """A short text that changes with ``text`` and does not tell it."""
    return _mac(secret, purpose, text)[:22]


def sign(secret: str, purpose: str, payload: str) -> str:
    """A signed text, of URL-safe characters. ``purpose`` keeps a text that was made for one use from another."""
    encoded = base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")
    return f"{encoded}.{_mac(secret, purpose, encoded)}"


def verify(secret: str, purpose: str, text: str) -> str | None:
    """The payload of a signed text, or None when it was not made by :func:`sign` with this secret and purpose."""
    encoded, _, mac = text.partition(".")
    if not same(mac, _mac(secret, purpose, encoded)):
        return None
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError):  # pragma: no cover  # nobody but us can have signed it
        return None
