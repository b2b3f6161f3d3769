"""Who has come in and who may: logins and named tokens over REST, and the page that shows them. Only a full scope sees any of it."""

from __future__ import annotations

import asyncio

import msgspec

from homeport.auth.logins import Login
from homeport.auth.scopes import Scope, ScopeKind
from homeport.auth.tokens import Token, folder_scope
from homeport.core.agents import agent_name
from homeport.errors import BadRequest, NotFound
from homeport.protocol.rest import timestamp
from homeport.web.base import Handler
from homeport.web.pages import Page


class LoginModel(msgspec.Struct):
    """A login, as the API gives it. Its id opens nothing: cookies are signed."""

    id: str
    current: bool
    """Whether the request comes from it."""
    program: str
    address: str
    created: str
    last_seen: str
    open_pages: bool


class TokenModel(msgspec.Struct, omit_defaults=True):
    """A named token; ``token``, its text, in the answer that makes it and never again."""

    id: str
    name: str
    scope: ScopeKind
    folder: str
    created: str
    expires: str | None
    last_used: str | None
    token: str = ""


class NewToken(msgspec.Struct):
    """What is asked for."""

    name: str
    scope: ScopeKind = "all"
    folder: str = ""
    lifetime: float | None = None
    """Seconds; null for a token without an end."""


class AccessPage(Page):
    """``/access``: the page of logins and tokens."""

    def get(self) -> None:
        """GET."""
        self.render_page("access", title="Access to Homeport", config={"hasPassword": self.parts.auth.has_password})


class Logins(Handler):
    """``/api/logins``."""

    async def get(self) -> None:
        """GET: all of them, the one seen last first."""
        logins = sorted(self.parts.auth.logins.all.values(), key=lambda login: -login.last_seen)
        await self.send_json([self._model(login) for login in logins])

    def _model(self, login: Login) -> LoginModel:
        return LoginModel(
            id=login.id,
            current=login.id == self.who.login,
            program=agent_name(login.agent),
            address=login.address,
            created=timestamp(login.created),
            last_seen=timestamp(login.last_seen),
            open_pages=login.id in self.parts.connections.logins,
        )

    async def delete(self) -> None:
        """DELETE: end all but the one that asks."""
        for login_id in list(self.parts.auth.logins.all):
            if login_id != self.who.login:
                self.parts.auth.logins.end(login_id)
                self.audit("login ended", ended=login_id)
        await self.parts.auth.writes.done()
        self.set_status(204)


class OneLogin(Handler):
    """``/api/logins/<id>``."""

    async def delete(self, login_id: str) -> None:
        """DELETE: end it; its open pages close."""
        if login_id not in self.parts.auth.logins.all:
            raise NotFound("There is no such login; it may be over already.", login=login_id)
        self.parts.auth.logins.end(login_id)
        self.audit("login ended", ended=login_id)
        await self.parts.auth.writes.done()
        self.set_status(204)


def _model(token: Token, text: str = "") -> TokenModel:
    return TokenModel(
        id=token.id,
        name=token.name,
        scope=token.scope,
        folder=token.folder,
        created=timestamp(token.created),
        expires=timestamp(token.expires) if token.expires is not None else None,
        last_used=timestamp(token.last_used) if token.last_used is not None else None,
        token=text,
    )


class Tokens(Handler):
    """``/api/tokens``."""

    async def get(self) -> None:
        """GET: all of them, the newest first; never their texts."""
        tokens = sorted(self.parts.auth.tokens.all.values(), key=lambda token: -token.created)
        await self.send_json([_model(token) for token in tokens])

    async def post(self) -> None:
        """POST: a new one; this answer alone has its text."""
        asked = self.json_body(NewToken)
        scope = folder_scope(asked.folder) if asked.scope == "folder" else Scope(asked.scope)
        if scope.folder and (await self.parts.store.stat(scope.folder)).type != "directory":
            raise BadRequest(f"“{scope.folder}” is not a folder.", field="folder")
        token, text = await asyncio.to_thread(self.parts.auth.tokens.make, asked.name, scope, asked.lifetime)
        self.audit("token made", token=token.id, name=token.name, scope=token.scope, folder=token.folder, expires=token.expires)
        await self.send_json(_model(token, text), status=201)


class OneToken(Handler):
    """``/api/tokens/<id>``."""

    async def delete(self, token_id: str) -> None:
        """DELETE: it lets nobody in any more, and the logins that were made with it end."""
        token = await asyncio.to_thread(self.parts.auth.tokens.remove, token_id)
        self.audit("token removed", token=token.id, name=token.name)
        self.parts.auth.sweep(())
        self.parts.connections.close_login(f"token:{token.id}")
        self.set_status(204)
