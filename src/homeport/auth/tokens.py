"""Named tokens: made by somebody who has come in, shown once, kept as hashes, each with a scope and perhaps an end.

They are random (256 bits), so that a plain SHA-256 keeps them, and nobody guesses one. The start-up token is not kept here.
The file is shared by servers and ``homeport tokens`` in a terminal: each changes it under a lock, and notices what others did.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import msgspec

from homeport.auth.scopes import Scope, ScopeKind
from homeport.core import paths
from homeport.errors import BadRequest, Conflict, NotFound, StoreFailed
from homeport.folders import Folders, keep_private, private
from homeport.write_behind import WriteBehind

log = logging.getLogger(__name__)

PREFIX = "hp_"
"""What a token begins with, so that scanners of repositories find those that were committed."""
MOST = 200
LONGEST_LIFE = 10 * 366 * 86400.0
"""Seconds that a token with an end may live at most."""
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


def root_key(root: Path) -> str:
    """What names the files of one served folder in the state folder."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def tokens_file(folders: Folders, root: Path) -> Path:
    """Where the tokens of the servers of ``root`` are."""
    return folders.state / "auth" / f"tokens-{root_key(root)}.json"


def folder_scope(folder: str) -> Scope:
    """The scope of one folder, an API path; whether it is there is for others to see.

    Raises:
        BadRequest: it is the root, which is no part of anything, or hidden.
    """
    path = paths.parse(folder)
    if not path or paths.is_hidden(path):
        raise BadRequest("Name a folder below the served one, and none that is hidden.", field="folder")
    return Scope("folder", path)


class Tokens:
    """The named tokens of one root folder.

    Args:
        file: of :func:`tokens_file`.
        writes: notes when a token was used. What is made or removed is written by the caller's thread.
    """

    def __init__(self, file: Path, clock: Callable[[], float], writes: WriteBehind) -> None:
        self._file = file
        self._clock = clock
        self._writes = writes
        self._by_hash: dict[str, Token] = {}
        self._seen: tuple[int, int, int] | None = None
        self._busy = False

    def _look(self) -> None:
        """Read the file when it is another one than before; not while one of our own threads replaces it, and reads it then."""
        if not self._busy:
            self._reread()

    def _reread(self) -> None:
        facts: tuple[int, int, int] | None = None
        try:
            found = self._file.stat()
            facts = found.st_mtime_ns, found.st_size, found.st_ino
            if facts == self._seen:
                return
            tokens = {token.hash: token for token in _decode(self._file.read_bytes())}
        except FileNotFoundError:
            tokens, facts = {}, None
        except (OSError, msgspec.MsgspecError) as error:
            tokens = {}
            log.warning("The tokens in %s cannot be read (%s); none of them lets anybody in.", self._file, error)
        # In this order: another thread that finds the facts as they are has the tokens too.
        self._by_hash = tokens
        self._seen = facts

    @property
    def all(self) -> Mapping[str, Token]:
        """Every token that is not over, by id."""
        self._look()
        now = self._clock()
        return {token.id: token for token in self._by_hash.values() if token.expires is None or token.expires > now}

    def find(self, text: str) -> Token | None:
        """The token that ``text`` is; noted as used now. What is compared is a hash, so that times tell nothing."""
        if not text.startswith(PREFIX):
            return None
        self._look()
        token = self._by_hash.get(_hash(text))
        now = self._clock()
        if token is None or (token.expires is not None and token.expires <= now):
            return None
        if token.last_used is None or now - token.last_used > _NOTED_EVERY:
            token.last_used = now
            self._writes(lambda: self._note(token, now))
        return token

    def _note(self, token: Token, now: float) -> None:
        try:
            with self._changing() as tokens:
                if token.hash in tokens:
                    tokens[token.hash].last_used = now
        except OSError as error:
            log.warning("When a token was used cannot be kept in %s (%s).", self._file, error)

    def make(self, name: str, scope: Scope, lifetime: float | None) -> tuple[Token, str]:
        """A new token, and its text, which is nowhere else.

        Args:
            lifetime: seconds; None for one without an end.

        Raises:
            BadRequest: the name is empty or too long, or the lifetime nothing or too long.
            Conflict: there is one of that name, or too many.
            StoreFailed: it cannot be kept.
        """
        name, now = name.strip(), self._clock()
        if not name or len(name) > 100:
            raise BadRequest("A token needs a name, of at most 100 characters.", field="name")
        if lifetime is not None and not 0 < lifetime <= LONGEST_LIFE:
            raise BadRequest("A token lives for more than no time and at most ten years.", field="lifetime")
        text = PREFIX + secrets.token_urlsafe(32)
        expires = now + lifetime if lifetime is not None else None
        token = Token(secrets.token_hex(6), name, _hash(text), scope.kind, scope.folder, now, expires)
        try:
            with self._changing() as tokens:
                if any(each.name == name for each in tokens.values()):
                    raise Conflict(f"There is a token “{name}” already; remove it, or choose another name.", name=name)
                if len(tokens) >= MOST:
                    raise Conflict(f"There are {MOST} tokens; remove some first.")
                tokens[token.hash] = token
        except OSError as error:
            raise StoreFailed(f"The token cannot be kept: {error.strerror}.") from error
        return token, text

    def remove(self, token_id: str) -> Token:
        """End a token.

        Raises:
            NotFound: there is none of that id.
            StoreFailed: the file cannot be written; the token stays.
        """
        try:
            with self._changing() as tokens:
                token = next((each for each in tokens.values() if each.id == token_id), None)
                if token is None:
                    raise NotFound("There is no such token; it may have been removed already.", token=token_id)
                del tokens[token.hash]
        except OSError as error:
            raise StoreFailed(f"The token cannot be removed: {error.strerror}.") from error
        return token

    @contextlib.contextmanager
    def _changing(self) -> Generator[dict[str, Token]]:
        """The tokens by hash that are not over, to be changed, and kept at the end. Nobody else changes them meanwhile."""
        private(self._file.parent)
        handle = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # released with the handle
            there = {token.hash: msgspec.structs.replace(token) for token in self.all.values()}
            yield there
            self._busy = True
            keep_private(self._file, msgspec.json.encode(list(there.values())))
            self._reread()
        finally:
            self._busy = False
            os.close(handle)
