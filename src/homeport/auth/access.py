"""Who may come in: puts passwords, tokens, logins, tickets and policies together for the web edge.

Everything that must outlive the server lives in the state folder: the secret that signs cookies, a generated token (one per
root folder, so that a restart keeps it), named tokens, logins, and how often somebody has guessed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from homeport.auth.audit import Audit
from homeport.auth.identity import Caller, Identity, IdentityProvider, LoginIdentity, OpenIdentity, Presented, TokenIdentity, user_name
from homeport.auth.kept_password import KeptPassword, Reread
from homeport.auth.logins import Logins
from homeport.auth.passwords import check_password
from homeport.auth.policies import Authorizer
from homeport.auth.scopes import ALL, Scope
from homeport.auth.signing import fingerprint, kept_text
from homeport.auth.tickets import check_ticket, make_ticket
from homeport.auth.tokens import Tokens, root_key, tokens_file
from homeport.core.login_limit import LimitState, LoginLimit, Refuse, Tried, WasRight
from homeport.errors import TooManyTries
from homeport.folders import keep_private
from homeport.write_behind import WriteBehind

if TYPE_CHECKING:
    from homeport.folders import Folders
    from homeport.options import Settings

log = logging.getLogger(__name__)

GUESSABLE_BELOW = 20
"""A token that somebody chose and that is shorter is guarded like a password. Longer ones, and ours, nobody guesses."""
_LONGEST_SECRET = 4096
# Each takes 64 MiB while it is worked on.
_HASHING_AT_ONCE = 2
_WRONG_REMEMBERED = 200


class NamedTokenIdentity:
    """A named token, shown with the request itself; :attr:`Caller.login` is ``token:`` and its id."""

    _LOGIN = "token:"

    def __init__(self, tokens: Tokens, identity: Identity) -> None:
        self._tokens = tokens
        self._identity = identity

    def identify(self, presented: Presented) -> Caller | None:
        """See :class:`IdentityProvider`."""
        token = self._tokens.find(presented.token) if presented.token else None
        return Caller(self._identity, "token", self._LOGIN + token.id, token.covers) if token is not None else None

    def of_login(self, login: str) -> Caller | None:
        """See :class:`IdentityProvider`."""
        token = self._tokens.all.get(login.removeprefix(self._LOGIN)) if login.startswith(self._LOGIN) else None
        return Caller(self._identity, "ticket", login, token.covers) if token is not None else None


class Access:
    """The way in to one server.

    Args:
        reread: reads the password's hash from the file that it came from.
        providers: more ways in, asked after ours.
    """

    def __init__(
        self,
        settings: Settings,
        folders: Folders,
        *,
        clock: Callable[[], float] = time.time,
        reread: Reread | None = None,
        providers: Sequence[IdentityProvider] = (),
    ) -> None:
        self._settings = settings
        self._folder = folders.state / "auth"
        self._clock = clock
        self._more = tuple(providers)
        self._root_key = root_key(settings.root_dir)
        self._secret = kept_text(self._folder / "cookie_secret")
        self.token = settings.token if settings.token is not None else kept_text(self._folder / f"token-{self._root_key}")[:48]
        """The start-up token; empty when it is turned off."""
        self._guessable = settings.token is not None and 0 < len(settings.token) < GUESSABLE_BELOW
        source = settings.sources.get("password", "")
        self._password = KeptPassword(settings.password, Path(source) if source.startswith("/") else None, reread, clock)
        self._hashed = self._password.hashed
        self._hashing = asyncio.Semaphore(_HASHING_AT_ONCE)
        self._upgrading = False
        self._wrong: deque[str] = deque(maxlen=_WRONG_REMEMBERED)
        self.authorizer = Authorizer()
        self.writes = WriteBehind()
        """Writes the files of all this: done at once until the server that answers starts it."""
        self.audit = Audit(folders.state / "audit" / "audit.jsonl", clock, self.writes)
        self.tokens = Tokens(tokens_file(folders, settings.root_dir), clock, self.writes)
        """The named tokens."""
        self._identity = Identity.of(user_name())
        self._token = TokenIdentity(self.token, self._identity)
        self._named = NamedTokenIdentity(self.tokens, self._identity)
        self.listening_on(0)

    def listening_on(self, port: int) -> None:
        """The server listens on ``port`` now. Cookies are named after it: those of one host go to all its ports."""
        settings, name = self._settings, f"{self._root_key}-{port}.json"
        self.cookie_name = f"homeport-{port}-{self._root_key[:8]}"
        """The name of the login cookie."""
        file, idle, lifetime = self._folder / f"logins-{name}", settings.login_idle, settings.login_lifetime
        self.logins = Logins(file, self._clock, self.writes, idle=idle, lifetime=lifetime)
        self._tries = self._folder / f"tries-{name}"
        self._limit = LoginLimit(_read_tries(self._tries))
        self._login = LoginIdentity(self._secret, self.logins, self._scope_of)
        ours: tuple[IdentityProvider, ...] = (self._token, self._named, self._login)
        self._providers: Sequence[IdentityProvider] = (*ours, *self._more, *(() if self.asks else (OpenIdentity(self._identity),)))

    # ---- what is asked for ----

    @property
    def has_password(self) -> bool:
        """Whether a password lets in."""
        return bool(self._password.hashed)

    @property
    def asks(self) -> bool:
        """Whether anything is asked for: False for a server that was told to let everybody in."""
        return bool(self.token or self._hashed)

    def _credential(self, kind: str) -> str:
        """What a login remembers of what it was made with. A change of the password ends all logins, however they were made."""
        return fingerprint(self._secret, "credential", f"{kind}\0{self._hashed}\0{self.token if kind == 'token' else ''}")

    def _scope_of(self, credential: str) -> Scope | None:
        """What a login with this credential is good for; None when it is over."""
        if (self._hashed and credential == self._credential("password")) or (self.token and credential == self._credential("token")):
            return ALL
        for token in self.tokens.all.values():
            if credential == self._credential(f"token:{token.id}"):
                return token.covers
        return None

    # ---- who asks ----

    def identify(self, presented: Presented) -> Caller | None:
        """The caller of a request, or None. A request that shows a wrong token is nobody's, whatever else it shows.

        Raises:
            TooManyTries: the token can be guessed, and somebody at this address has guessed too often.
        """
        self._notice_change()
        if not presented.token or not self.asks:
            return next(filter(None, (provider.identify(presented) for provider in self._providers)), None)
        caller = self._named.identify(presented)
        if caller is not None or not self._guessable:
            return caller or self._token.identify(presented)
        return self._identify_guessable(presented)

    def _identify_guessable(self, presented: Presented) -> Caller | None:
        shown = fingerprint(self._secret, "wrong", presented.token or "")
        if shown in self._wrong:  # a client that goes on with an old token is not somebody who guesses
            return None
        self._charge(presented.address)
        caller = self._token.identify(presented)
        if caller is None:
            self._wrong.append(shown)
            self.audit.record("login refused", address=presented.address, by="token")
        else:
            self._was_right(presented.address)
        return caller

    # ---- logging in and out ----

    async def log_in(self, secret: str, *, agent: str, address: str) -> str | None:
        """Begin a login with what somebody typed. The cookie's value, or None when it is neither the password nor a token.

        Args:
            secret: the password or a token.
            agent, address: where from, for the list of logins.

        Raises:
            TooManyTries: nothing was looked at, since somebody at this address, or too many at others, have been wrong too often.
        """
        self._notice_change()
        token = secret.strip()
        if not token or len(secret) > _LONGEST_SECRET:
            return None
        named = self.tokens.find(token)
        if named is not None:
            return self._begin(f"token:{named.id}", agent, address)
        if not self._guessable and self._token.accepts(token):
            return self._begin("token", agent, address)
        self._charge(address)
        kind = "token" if self._token.accepts(token) else "password" if await self._is_password(secret) else ""
        if not kind:
            self.audit.record("login refused", address=address, agent=agent[:200])
            return None
        self._was_right(address)
        return self._begin(kind, agent, address)

    def log_in_caller(self, caller: Caller, *, agent: str, address: str) -> str:
        """Begin a login for somebody who has shown a token with the request itself. The cookie's value."""
        return self._begin(caller.login, agent, address)

    def _begin(self, kind: str, agent: str, address: str) -> str:
        login = self.logins.begin(user=self._identity.username, credential=self._credential(kind), agent=agent, address=address)
        self.audit.record("login", user=login.user, address=address, by=kind, login=login.id, agent=login.agent)
        return self._login.cookie(login.id)

    async def _is_password(self, secret: str) -> bool:
        hashed = self._hashed
        if not hashed:
            return False
        async with self._hashing:
            verdict = await asyncio.to_thread(check_password, hashed, secret)
            if verdict.right and verdict.outdated:
                await self._upgrade(secret)
        return verdict.right

    async def _upgrade(self, secret: str) -> None:
        kinds = ("password", "token", *(f"token:{token.id}" for token in self.tokens.all.values()))
        before = {kind: self._credential(kind) for kind in kinds}
        self._upgrading = True
        try:
            new = await asyncio.to_thread(self._password.upgrade, secret)
        finally:
            self._upgrading = False
        if new is not None:
            self._hashed = new
            self.logins.rename_credentials({old: self._credential(kind) for kind, old in before.items()})
            self.audit.record("password rehashed", user=self._identity.username)

    def log_out(self, caller: Caller) -> None:
        """End the caller's login; its sockets close."""
        self.logins.end(caller.login)

    def sweep(self, used: Collection[str]) -> None:
        """End what is over; to be called now and then.

        Args:
            used: ids of logins with open sockets.
        """
        self._notice_change()
        self.logins.sweep(lambda credential: self._scope_of(credential) is not None, used)

    def is_over(self, login: str) -> bool:
        """True for a :attr:`Caller.login` of a named token that is no more: whoever has a socket of it has to go."""
        return login.startswith("token:") and login.removeprefix("token:") not in self.tokens.all

    def _notice_change(self) -> None:
        hashed = self._password.hashed
        if hashed != self._hashed and not self._upgrading:
            self._hashed = hashed
            self.audit.record("password changed", user=self._identity.username)
            self.logins.sweep(lambda credential: self._scope_of(credential) is not None, ())

    # ---- guessing ----

    def _charge(self, address: str) -> None:
        decision = self._limit.handle(Tried(address, self._clock()))
        if isinstance(decision, Refuse):
            self.audit.record("login held up", address=address, seconds=round(decision.seconds))
            raise TooManyTries(_wait_text(decision.seconds), retry_after=int(decision.seconds) + 1)
        self._keep_tries()

    def _was_right(self, address: str) -> None:
        self._limit.handle(WasRight(address, self._clock()))
        self._keep_tries()

    def _keep_tries(self) -> None:
        content = msgspec.json.encode(self._limit.state)
        self.writes(lambda: self._write_tries(content))

    def _write_tries(self, content: bytes) -> None:
        try:
            keep_private(self._tries, content)
        except OSError as error:
            log.warning("How often somebody has guessed cannot be kept in %s (%s); a restart forgets it.", self._tries, error)

    # ---- tickets ----

    def ticket(self, caller: Caller) -> str:
        """A ticket for the sockets of ``caller``; good for a minute."""
        return make_ticket(self._secret, caller.login, self._clock())

    def caller_of_ticket(self, ticket: str) -> Caller | None:
        """Whose ticket this is, with the scope of now; None when it is forged or over, or its login has ended."""
        login = check_ticket(self._secret, ticket, self._clock())
        return next(filter(None, (provider.of_login(login) for provider in self._providers)), None) if login is not None else None


def _wait_text(seconds: float) -> str:
    wait = f"{int(seconds) + 1} seconds" if seconds < 100 else f"{int(seconds / 60) + 1} minutes"
    return f"There were too many wrong tries. Nothing was checked; try again in {wait}."


def _read_tries(file: Path) -> LimitState:
    try:
        return msgspec.json.decode(file.read_bytes(), type=LimitState)
    except FileNotFoundError:
        return LimitState()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("How often somebody has guessed cannot be read from %s (%s); counting begins anew.", file, error)
        return LimitState()
