"""Who asks: identities, and the ways in which a request can show one.

A way in is an :class:`IdentityProvider`: the start-up token and the login cookie here; passwords, JupyterHub and a proxy's
header are others of the same shape, and no handler has to know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from homeport.auth.logins import Logins
from homeport.auth.signing import fingerprint, same, sign, verify

Way = Literal["open", "token", "cookie", "ticket"]


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


@dataclass(frozen=True)
class Caller:
    """The identity behind one request, and how it was shown."""

    identity: Identity
    way: Way
    login: str
    """Id of the browser's login; a name of the way in when there is no login."""

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

    @classmethod
    def read(cls, authorization: str, argument: str | None, cookie: str | None) -> Presented:
        """From the raw header, argument and cookie. A scheme that we do not know shows nothing (a proxy's Basic login)."""
        scheme, _, value = authorization.strip().partition(" ")
        if scheme.lower() in ("token", "bearer"):
            return cls(value.strip(), cookie)
        return cls(argument or None, cookie)


class IdentityProvider(Protocol):
    """A way in."""

    def identify(self, presented: Presented) -> Caller | None:
        """The caller, or None when the request shows nothing of this kind, or not the right thing."""
        ...


class TokenIdentity:
    """The start-up token, shown with the request itself."""

    def __init__(self, token: str, identity: Identity) -> None:
        self._token = token
        self._identity = identity

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        if presented.token and self.accepts(presented.token):
            return Caller(self._identity, "token", "token")
        return None

    def accepts(self, token: str) -> bool:
        """True for the right token; in constant time."""
        return bool(self._token) and same(token, self._token)


class OpenIdentity:
    """Everybody, for a server that was told to ask for no token (``--token=``)."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        return Caller(self._identity, "open", "open")


class LoginIdentity:
    """A login, shown by its signed cookie."""

    def __init__(self, secret: str, logins: Logins, credential: Callable[[], str]) -> None:
        self._secret = secret
        self._logins = logins
        self._credential = credential

    def cookie(self, login_id: str) -> str:
        """The cookie's value."""
        return sign(self._secret, "login", login_id)

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        login_id = verify(self._secret, "login", presented.cookie) if presented.cookie else None
        return self.of_login(login_id, "cookie") if login_id else None

    def of_login(self, login_id: str, way: Way) -> Caller | None:
        """The caller of a login that is not over."""
        login = self._logins.find(login_id, self._credential())
        return Caller(Identity.of(login.user), way, login.id) if login is not None else None


def credential_fingerprint(secret: str, credential: str) -> str:
    """What a login remembers of the token or password that it was made with."""
    return fingerprint(secret, "credential", credential)
