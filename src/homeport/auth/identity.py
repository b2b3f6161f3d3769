"""Who asks: identities, and the ways in which a request can show one.

A way in is an :class:`IdentityProvider`: the start-up token, named tokens and the login cookie here. A second factor, JupyterHub
and a proxy's header are others of the same shape; :class:`~homeport.auth.access.Access` takes them, and no handler has to know.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from homeport.auth.logins import Logins
from homeport.auth.scopes import ALL, Scope
from homeport.auth.signing import same, sign, verify

Way = Literal["open", "token", "cookie", "ticket", "proxy"]


@dataclass(frozen=True)
class Identity:
    """A person or program, with the fields of Jupyter's ``/api/me``."""

    username: str
    name: str
    display_name: str
    initials: str

    @classmethod
    def of(cls, username: str) -> Identity:
        """An identity of which only a user name is known."""
        return cls(username, username, username, username[:1].upper())


def user_name() -> str:
    """The user whom this process belongs to."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in many containers
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Caller:
    """The identity behind one request, how it was shown, and what it is good for."""

    identity: Identity
    way: Way
    login: str
    """Id of the browser's login; a name of the way in when there is no login."""
    scope: Scope = ALL

    @property
    def explicit(self) -> bool:
        """True when the request shows a secret that no browser adds by itself, so that no other site can have caused it."""
        return self.way in ("token", "ticket")


@dataclass(frozen=True)
class Presented:
    """What a request shows."""

    token: str | None
    """From ``Authorization: token X`` or ``Bearer X``, or the argument ``token``."""
    cookie: str | None
    """Our own cookie."""
    address: str = ""
    """Where from; behind a trusted proxy the client's own."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """All headers, for ways in that proxies add."""

    @classmethod
    def read(
        cls, authorization: str, argument: str | None, cookie: str | None, address: str = "", headers: Mapping[str, str] | None = None
    ) -> Presented:
        """From the raw header, argument and cookie. A scheme that we do not know shows nothing (a proxy's Basic login)."""
        scheme, _, value = authorization.strip().partition(" ")
        known = scheme.lower() in ("token", "bearer")
        return cls(value.strip() if known else argument or None, cookie, address, headers or {})


class IdentityProvider(Protocol):
    """A way in."""

    def identify(self, presented: Presented) -> Caller | None:
        """The caller, or None when the request shows nothing of this kind, or not the right thing."""
        ...

    def of_login(self, login: str) -> Caller | None:
        """The caller whose :attr:`Caller.login` this is, for a ticket; None when it is not of this way in, or over."""
        ...


class TokenIdentity:
    """The start-up token, shown with the request itself."""

    LOGIN = "token"

    def __init__(self, token: str, identity: Identity) -> None:
        self._token = token
        self._identity = identity

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        return Caller(self._identity, "token", self.LOGIN) if presented.token and self.accepts(presented.token) else None

    def of_login(self, login: str) -> Caller | None:
        """See :class:`IdentityProvider`."""
        return Caller(self._identity, "ticket", login) if self._token and login == self.LOGIN else None

    def accepts(self, token: str) -> bool:
        """True for the right token; in constant time."""
        return bool(self._token) and same(token, self._token)


class OpenIdentity:
    """Everybody, for a server that was told to ask for no token (``--token=``) and has no password."""

    LOGIN = "open"

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        return Caller(self._identity, "open", self.LOGIN)

    def of_login(self, login: str) -> Caller | None:
        """See :class:`IdentityProvider`."""
        return Caller(self._identity, "ticket", login) if login == self.LOGIN else None


class LoginIdentity:
    """A login, shown by its signed cookie.

    Args:
        credentials: what logins may have been made with, by fingerprint, and what each is good for. A login with another one is over.
    """

    def __init__(self, secret: str, logins: Logins, credentials: Callable[[str], Scope | None]) -> None:
        self._secret = secret
        self._logins = logins
        self._credentials = credentials

    def cookie(self, login_id: str) -> str:
        """The cookie's value."""
        return sign(self._secret, "login", login_id)

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        login_id = verify(self._secret, "login", presented.cookie) if presented.cookie else None
        return self._caller(login_id, "cookie") if login_id else None

    def of_login(self, login: str) -> Caller | None:
        """See :class:`IdentityProvider`."""
        return self._caller(login, "ticket")

    def _caller(self, login_id: str, way: Way) -> Caller | None:
        login = self._logins.find(login_id)
        scope = self._credentials(login.credential) if login is not None else None
        return Caller(Identity.of(login.user), way, login.id, scope) if login is not None and scope is not None else None
