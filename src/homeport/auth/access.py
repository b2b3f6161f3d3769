"""Who may come in: puts tokens, logins, tickets and policies together for the web edge.

Everything that must outlive the server lives in the state folder: the secret that signs cookies, a generated token (one per
root folder, so that a restart keeps it), and the logins.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from homeport.auth.identity import (
    Caller,
    Identity,
    IdentityProvider,
    LoginIdentity,
    OpenIdentity,
    Presented,
    TokenIdentity,
    credential_fingerprint,
)
from homeport.auth.logins import Logins
from homeport.auth.policies import Authorizer
from homeport.auth.signing import kept_text
from homeport.auth.tickets import check_ticket, make_ticket

if TYPE_CHECKING:
    from homeport.folders import Folders
    from homeport.options import Settings


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in many containers
        return f"user {os.getuid()}"


class Access:
    """The way in to one server."""

    def __init__(self, settings: Settings, folders: Folders, *, clock: Callable[[], float] = time.time) -> None:
        self._folders = folders
        self._clock = clock
        self._root_key = hashlib.sha256(os.fsencode(settings.root_dir.resolve())).hexdigest()[:16]
        self._secret = kept_text(folders.state / "auth" / "cookie_secret")
        self.token = settings.token if settings.token is not None else kept_text(folders.state / "auth" / f"token-{self._root_key}")[:48]
        """The token that lets in; empty when none is asked for."""
        self.authorizer = Authorizer()
        self._identity = Identity.of(_user_name())
        self._token = TokenIdentity(self.token, self._identity)
        self.listening_on(0)

    def listening_on(self, port: int) -> None:
        """The server listens on ``port`` now. Cookies are named after it: those of one host go to all its ports."""
        folder = self._folders.state / "auth"
        self.cookie_name = f"homeport-{port}-{self._root_key[:8]}"
        """The name of the login cookie."""
        self.logins = Logins(folder / f"logins-{self._root_key}-{port}.json", self._clock)
        self._login = LoginIdentity(self._secret, self.logins, self._credential)
        self._providers: Sequence[IdentityProvider] = (
            (self._token, self._login) if self.token else (self._token, self._login, OpenIdentity(self._identity))
        )

    def _credential(self) -> str:
        return credential_fingerprint(self._secret, self.token)

    def identify(self, presented: Presented) -> Caller | None:
        """The caller of a request, or None. A request that shows a wrong token is nobody's, whatever else it shows."""
        if presented.token and self.token:
            return self._token.identify(presented)
        for provider in self._providers:
            caller = provider.identify(presented)
            if caller is not None:
                return caller
        return None

    def log_in(self, token: str, *, agent: str, address: str) -> str | None:
        """Begin a login. The cookie's value, or None when the token is wrong.

        Args:
            token: what somebody typed or followed a link with.
            agent, address: where from, for the list of logins.
        """
        if not self._token.accepts(token.strip()):
            return None
        login = self.logins.begin(user=self._identity.username, credential=self._credential(), agent=agent, address=address)
        return self._login.cookie(login.id)

    def log_out(self, caller: Caller) -> None:
        """End the caller's login; its sockets close."""
        self.logins.end(caller.login)

    def ticket(self, caller: Caller) -> str:
        """A ticket for the sockets of ``caller``; good for a minute."""
        return make_ticket(self._secret, caller.login, self._clock())

    def caller_of_ticket(self, ticket: str) -> Caller | None:
        """Whose ticket this is; None when it is forged or over, or its login has ended."""
        login = check_ticket(self._secret, ticket, self._clock())
        if login is None:
            return None
        if (login == "open" and not self.token) or login == "token":
            return Caller(self._identity, "ticket", login)
        return self._login.of_login(login, "ticket")
