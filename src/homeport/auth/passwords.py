"""Password hashes: made as argon2id, and checked in every form that Jupyter's servers have written.

The forms are those of ``notebook.auth.security`` and ``jupyter_server.auth.security``: ``argon2:`` and a PHC string, or
``algorithm:salt:hexdigest`` with the digest of the password followed by the salt. Where hashes are kept is not known here.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from homeport.option_values import HEX_DIGITS, read_password_hash

_PREFIX = "argon2:"


@dataclass(frozen=True)
class Verdict:
    """Whether a password is right, and whether its hash is of a kind to be replaced by a newer one."""

    right: bool
    outdated: bool = False


def hash_password(password: str) -> str:
    """An argon2id hash of ``password``, with the parameters of RFC 9106's second choice (64 MiB, 3 passes, 4 lanes)."""
    from argon2 import PasswordHasher

    return _PREFIX + PasswordHasher().hash(password)


def is_hash(text: str) -> bool:
    """Whether ``text`` has the form of a hash, rather than being somebody's password in the wrong place."""
    try:
        return bool(read_password_hash(text)) and text == text.strip()
    except ValueError:
        return False


def check_password(hashed: str, password: str) -> Verdict:
    """Check ``password``. Takes tens of milliseconds for argon2: call it in a thread.

    Args:
        hashed: a hash of any of the known forms; one of another form lets nobody in.
    """
    if hashed.startswith(_PREFIX):
        return _check_argon2(hashed.removeprefix(_PREFIX), password)
    algorithm, _, rest = hashed.partition(":")
    salt, _, digest = rest.partition(":")
    if algorithm not in HEX_DIGITS or not digest:
        return Verdict(False)
    found = hashlib.new(algorithm, password.encode() + salt.encode(), usedforsecurity=False).hexdigest()
    return Verdict(hmac.compare_digest(found, digest.lower()), outdated=True)


def _check_argon2(encoded: str, password: str) -> Verdict:
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = PasswordHasher()
    try:
        hasher.verify(encoded, password)
    except (InvalidHashError, VerificationError):
        return Verdict(False)
    return Verdict(True, outdated=hasher.check_needs_rehash(encoded))
