"""Logins: the stays of browsers. Kept in the state folder, so that a page left open goes on after a restart of the server.

A login is made when somebody shows a password or a token, lives in a signed cookie, and ends by logging out, from the page that
lists logins, by age, when it is not used, or when the credential that it came from changes.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from homeport.folders import keep_private
from homeport.write_behind import WriteBehind

log = logging.getLogger(__name__)

MOST = 500
"""So many logins are kept; the ones unused for longest go first."""
_NOTED_EVERY = 600.0


class Login(msgspec.Struct):
    """One browser's stay. Times are seconds since the epoch."""

    id: str
    user: str
    created: float
    last_seen: float
    agent: str
    """What the browser calls itself."""
    address: str
    credential: str
    """Fingerprint of the token or password that it was made with."""


_decode = msgspec.json.Decoder(list[Login]).decode


class Logins:
    """The logins of one server.

    Args:
        writes: does the writing.
        idle: seconds after which a login that is not used is over; None for never.
        lifetime: seconds after which a login is over, however much it is used; None for never.
    """

    def __init__(
        self, file: Path, clock: Callable[[], float], writes: WriteBehind, *, idle: float | None = None, lifetime: float | None = None
    ) -> None:
        self._file = file
        self._clock = clock
        self._writes = writes
        self._idle = idle
        self._lifetime = lifetime
        self._logins: dict[str, Login] = {}
        self._ended: list[Callable[[str], None]] = []
        try:
            self._logins = {login.id: login for login in _decode(file.read_bytes())}
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("The logins in %s cannot be read (%s); everybody has to log in again.", file, error)

    @property
    def all(self) -> Mapping[str, Login]:
        """Every login that is not over, by id."""
        now = self._clock()
        return {key: login for key, login in self._logins.items() if not self._is_over(login, now)}

    def _is_over(self, login: Login, now: float) -> bool:
        too_old = self._lifetime is not None and now - login.created > self._lifetime
        return too_old or (self._idle is not None and now - login.last_seen > self._idle)

    def begin(self, *, user: str, credential: str, agent: str, address: str) -> Login:
        """A new login."""
        now = self._clock()
        login = Login(secrets.token_urlsafe(18), user, now, now, agent[:200], address, credential)
        self._logins = {**self.all, login.id: login}
        for old in sorted(self._logins.values(), key=lambda each: each.last_seen)[: max(0, len(self._logins) - MOST)]:
            self._drop(old.id)
        self._save()
        return login

    def find(self, login_id: str) -> Login | None:
        """A login that is not over; noted as seen now."""
        login = self._logins.get(login_id)
        now = self._clock()
        if login is None or self._is_over(login, now):
            return None
        noted = now - login.last_seen > _NOTED_EVERY
        login.last_seen = now
        if noted:
            self._save()
        return login

    def sweep(self, good: Callable[[str], bool], used: Collection[str]) -> None:
        """End what is over, so that its open sockets close; an open page counts as use.

        Args:
            good: whether a login with this credential may go on.
            used: ids of logins with open sockets.
        """
        for login_id in used:
            self.find(login_id)
        now = self._clock()
        over = [login.id for login in self._logins.values() if self._is_over(login, now) or not good(login.credential)]
        for login_id in over:
            self._drop(login_id)
        if over:
            self._save()

    def rename_credentials(self, names: Mapping[str, str]) -> None:
        """A credential is known by another fingerprint from now on; its logins go on."""
        for login in self._logins.values():
            login.credential = names.get(login.credential, login.credential)
        self._save()

    def end(self, login_id: str) -> None:
        """Log out. Whoever watches is told, so that open sockets of the login close."""
        if login_id in self._logins:
            self._drop(login_id)
            self._save()

    def watch(self, ended: Callable[[str], None]) -> Callable[[], None]:
        """Call ``ended(login_id)`` for each login that ends. Returns "stop watching"."""
        self._ended.append(ended)
        return lambda: self._ended.remove(ended)

    def _drop(self, login_id: str) -> None:
        del self._logins[login_id]
        for ended in tuple(self._ended):
            ended(login_id)

    def _save(self) -> None:
        content = msgspec.json.encode(list(self._logins.values()))
        self._writes(lambda: self._write(content))

    def _write(self, content: bytes) -> None:
        try:
            keep_private(self._file, content)
        except OSError as error:
            log.warning("The logins cannot be kept in %s (%s); after a restart everybody has to log in again.", self._file, error)
