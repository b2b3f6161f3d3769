"""Named tokens: made by somebody who has come in, shown once, kept as hashes, each with a scope and perhaps an end.

They are random (256 bits), so that a plain SHA-256 keeps them, and nobody guesses one. The start-up token is not kept here.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from homeport.auth.scopes import Scope, ScopeKind
from homeport.auth.signing import keep_private
from homeport.errors import BadRequest, Conflict, NotFound, StoreFailed

log = logging.getLogger(__name__)

PREFIX = "hp_"
"""What a token begins with, so that scanners of repositories find those that were committed."""
MOST = 200
_NOTED_EVERY = 3600.0


class Token(msgspec.Struct):
    """One token. Times are seconds since the epoch."""

    id: str
    name: str
    hash: str
    scope: ScopeKind
    folder: str
    created: float
    expires: float | None
    last_used: float | None = None

    @property
    def covers(self) -> Scope:
        """What it is good for."""
        return Scope(self.scope, self.folder)


_decode = msgspec.json.Decoder(list[Token]).decode


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens:
    """The named tokens of one root folder."""

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._by_hash: dict[str, Token] = {}
        try:
            self._by_hash = {token.hash: token for token in _decode(file.read_bytes())}
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("The tokens in %s cannot be read (%s); none of them lets anybody in.", file, error)

    @property
    def all(self) -> Mapping[str, Token]:
        """Every token that is not over, by id."""
        now = self._clock()
        return {token.id: token for token in self._by_hash.values() if token.expires is None or token.expires > now}

    def find(self, text: str) -> Token | None:
        """The token that ``text`` is; noted as used now. What is compared is a hash, so that times tell nothing."""
        token = self._by_hash.get(_hash(text)) if text.startswith(PREFIX) else None
        now = self._clock()
        if token is None or (token.expires is not None and token.expires <= now):
            return None
        if token.last_used is None or now - token.last_used > _NOTED_EVERY:
            token.last_used = now
            self._note()
        return token

    def make(self, name: str, scope: Scope, lifetime: float | None) -> tuple[Token, str]:
        """A new token, and its text, which is nowhere else.

        Args:
            lifetime: seconds; None for one without an end.

        Raises:
            BadRequest: the name is empty or too long.
            Conflict: there is one of that name, or too many.
            StoreFailed: it cannot be kept.
        """
        name, now = name.strip(), self._clock()
        if not name or len(name) > 100:
            raise BadRequest("A token needs a name, of at most 100 characters.", field="name")
        there = self.all
        if any(token.name == name for token in there.values()):
            raise Conflict(f"There is a token “{name}” already; remove it, or choose another name.", name=name)
        if len(there) >= MOST:
            raise Conflict(f"There are {MOST} tokens; remove some first.")
        text = PREFIX + secrets.token_urlsafe(32)
        expires = now + lifetime if lifetime is not None else None
        token = Token(secrets.token_hex(6), name, _hash(text), scope.kind, scope.folder, now, expires)
        before, self._by_hash = self._by_hash, {each.hash: each for each in (*there.values(), token)}
        try:
            self._keep()
        except OSError as error:
            self._by_hash = before
            raise StoreFailed(f"The token cannot be kept: {error.strerror}.") from error
        return token, text

    def remove(self, token_id: str) -> Token:
        """End a token.

        Raises:
            NotFound: there is none of that id.
        """
        token = self.all.get(token_id)
        if token is None:
            raise NotFound("There is no such token; it may have been removed already.", token=token_id)
        del self._by_hash[token.hash]
        self._note()
        return token

    def _keep(self) -> None:
        keep_private(self._file, msgspec.json.encode(list(self._by_hash.values())))

    def _note(self) -> None:
        try:
            self._keep()
        except OSError as error:
            log.warning("The tokens cannot be kept in %s (%s); a restart brings back those of before.", self._file, error)
