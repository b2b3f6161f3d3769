"""Our own pages: ``/tree/<folder>``, ``/notebooks/<path>``, ``/login``, ``/logout`` and the error page."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tornado.web import Finish

from homeport import __version__
from homeport.auth.redirects import safe_next
from homeport.core import paths
from homeport.errors import Forbidden, HomeportError, NotFound, NotLoggedIn, TooManyTries
from homeport.web import shell
from homeport.web.assets import ASSETS
from homeport.web.base import Handler
from homeport.web.contents import served
from homeport.web.gate import Kind
from homeport.web.problems import body_of, wait_header

if TYPE_CHECKING:
    from homeport.stores.base import Stat

FRAME_POLICY = "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads allow-forms; frame-ancestors 'self'"
"""An output may load what it likes, and has no origin that any server trusts."""

# A notebook that takes longer to open gets its page at once; the page's socket waits for the rest.
_OPEN_WITHIN = 0.4


class Shown(Handler):
    """Base of what people look at: the shell of a page, errors as HTML."""

    def wants_html(self) -> bool:
        """Whether a browser asks, for somebody to look at: it names HTML then, and nothing else does."""
        return "text/html" in self.request.headers.get("Accept", "")

    def _address_without_token(self) -> str:
        rest = [(name, value) for name, values in self.request.query_arguments.items() if name != "token" for value in values]
        # A path with two slashes at its beginning would lead to another host.
        path = "/" + self.request.path.lstrip("/\\")
        return path + ("?" + urlencode(rest) if rest else "")

    def render_page(self, page: str, *, title: str, path: str = "", config: Mapping[str, object] | None = None, plain: str = "") -> None:
        """Answer with the shell of ``page``."""
        nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Security-Policy", shell.content_security_policy(self.request.headers.get("Host", ""), nonce))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.ensure_xsrf()
        facts: dict[str, object] = {
            "baseUrl": self.base_url,
            "page": page,
            "path": path,
            "version": __version__,
            "nonce": nonce,
            "root": self.parts.settings.root_dir.name or "/",
            **(config or {}),
        }
        if self.caller is not None:
            facts["logout"] = self.caller.way == "cookie"
            facts["ticket"] = self.parts.auth.ticket(self.caller)
            facts["user"] = {"name": self.caller.identity.display_name}
        assets = ASSETS.of_page(page)
        self.end(shell.shell(base_url=self.base_url, title=title, config=facts, assets=assets, nonce=nonce, plain=plain))

    def write_problem(self, problem: HomeportError) -> None:
        """HTML for browsers, JSON for the others; whoever has to log in is led there."""
        wait_header(self, problem)
        if not self.wants_html():
            super().write_problem(problem)
            return
        self.show_problem(problem)

    def show_problem(self, problem: HomeportError) -> None:
        """The error page, or the way to the login."""
        if isinstance(problem, NotLoggedIn) and self.request.method in ("GET", "HEAD"):
            query = {"next": self._address_without_token()}
            if "token" in self.request.arguments:
                query["wrong"] = "1"
            self.redirect(f"{self.base_url}login?{urlencode(query)}")
            return
        path = (self.path_kwargs or {}).get("path") or ""
        self.render_problem(problem, path)

    def render_problem(self, problem: HomeportError, path: str) -> None:
        """The error page."""
        base = self.base_url
        links = {f"{base}tree": "Open the files"}
        if problem.code in ("forbidden", "invalid_notebook", "too_large", "locked", "store_failed") and path:
            links = {f"{base}tree/{quote(paths.parent(path))}": "Open its folder"}
            if problem.code != "forbidden" or problem.data.get("download"):  # what may not be read cannot be downloaded
                links = {f"{base}files/{quote(path)}?download=1": "Download the file", **links}
        error = {**body_of(problem), "status": problem.status, "links": [{"url": url, "text": text} for url, text in links.items()]}
        plain = shell.problem_text(status=problem.status, message=problem.message, links=links)
        self.render_page("error", title="Homeport: " + problem.message[:80], path=path, config={"error": error}, plain=plain)


class Page(Shown):
    """Base of the pages: logging in by link."""

    kind = Kind.PAGE

    def prepare(self) -> None:
        """Pass the gate; a token in the address becomes a cookie and goes from the address."""
        super().prepare()
        if self.request.method in ("GET", "HEAD") and "token" in self.request.arguments and self.caller is not None:
            if self.caller.way == "token":
                cookie = self.parts.auth.log_in_caller(self.caller, agent=self.agent, address=self.client.address)
                self.keep_cookie(self.parts.auth.cookie_name, cookie)
            self.redirect(self._address_without_token())
            raise Finish

    @property
    def agent(self) -> str:
        """What the browser calls itself."""
        return self.request.headers.get("User-Agent", "")

    def write_problem(self, problem: HomeportError) -> None:
        """As everywhere; and whoever has to log in is led there, also a client that names no HTML."""
        if isinstance(problem, NotLoggedIn):
            self.show_problem(problem)
        else:
            super().write_problem(problem)


class RootPage(Page):
    """``/``: leads to the first page."""

    def get(self) -> None:
        """GET."""
        folder = self.who.scope.folder
        first = f"tree/{quote(folder)}" if folder else quote(self.parts.settings.default_url.lstrip("/"), safe="/?=&%")
        self.redirect(self.base_url + first)


class LabPage(Page):
    """``/lab``: where JupyterLab is to be, and what there is instead."""

    def get(self, path: str | None = None) -> None:
        """GET. ``/lab/tree/<path>``, as JupyterLab's own addresses are, offers that path."""
        path = paths.parse(path or "")
        message = "JupyterLab is not part of this Homeport yet. The same notebooks and kernels are on the dashboard."
        links = {f"{self.base_url}tree": "Open the dashboard"}
        if path:
            links = {f"{self.base_url}tree/{quote(path)}": f"Open {path}", **links}
        ways = [{"url": url, "text": text} for url, text in links.items()]
        error = {"code": "no_lab", "message": message, "status": 200, "links": ways}
        plain = shell.problem_text(status=200, message=message, links=links)
        self.render_page("error", title="JupyterLab", path=path, config={"error": error}, plain=plain)


class TreePage(Page):
    """``/tree/<folder>``; the path of a file leads to where it opens."""

    async def get(self, path: str | None = None) -> None:
        """GET."""
        path = served(path or "")
        stat = await self.parts.store.stat(path)
        if stat.type == "notebook":
            self.redirect(f"{self.base_url}notebooks/{quote(path)}")
        elif stat.type != "directory":
            self.redirect(f"{self.base_url}files/{quote(path)}")
        else:
            self.render_page("tree", title=paths.name(path) or self.parts.settings.root_dir.name or "Homeport", path=path)


class NotebookPage(Page):
    """``/notebooks/<path>``: the notebook, or an error page that says why it cannot be opened."""

    async def get(self, path: str) -> None:
        """GET."""
        path = served(path)
        if not self.parts.auth.authorizer.permits(self.who, "execute", "documents", path):
            message = "What you logged in with lets you read or change files, not run notebooks; you can download this one."
            raise Forbidden(message, download=True)
        stat: Stat = await self.parts.store.stat(path)
        if stat.type == "directory":
            self.redirect(f"{self.base_url}tree/{quote(path)}")
            return
        opening = asyncio.ensure_future(self.parts.documents.open(path))
        done, _ = await asyncio.wait({opening}, timeout=_OPEN_WITHIN)
        if done:
            opening.result()  # an error becomes the error page
        else:
            opening.add_done_callback(_said_by_the_socket)
        self.render_page("notebook", title=paths.name(path), path=path)


def _said_by_the_socket(opening: asyncio.Future[Any]) -> None:
    if not opening.cancelled():
        opening.exception()  # the page's socket asks for the same document, and tells


class LoginPage(Page):
    """``/login``: the password or a token opens a login."""

    def get(self) -> None:
        """GET: the form."""
        next_url = safe_next(self.get_query_argument("next", None), self.base_url)
        if self.caller is not None:
            self.redirect(next_url)
            return
        self._form(next_url, "That token is not right; it may be of an earlier start." if "wrong" in self.request.arguments else "")

    async def post(self) -> None:
        """POST: the form's ``password`` or ``token``; either field may hold either."""
        next_url = safe_next(self.get_argument("next", None), self.base_url)
        # Not stripped: a password may begin or end with a space.
        secret = self.get_body_argument("password", "", strip=False) or self.get_body_argument("token", "", strip=False)
        auth = self.parts.auth
        try:
            cookie = await auth.log_in(secret, agent=self.agent, address=self.client.address)
        except TooManyTries as error:
            self.set_status(error.status)
            wait_header(self, error)
            self._form(next_url, error.message)
            return
        if cookie is not None:
            self.keep_cookie(auth.cookie_name, cookie)
            self.redirect(next_url, status=303)
            return
        self.set_status(401)
        self._form(next_url, f"That {'password' if auth.has_password else 'token'} is not right.")

    def _form(self, next_url: str, problem: str) -> None:
        by_password = self.parts.auth.has_password
        action, xsrf = f"{self.base_url}login", self.ensure_xsrf()
        plain = shell.login_form(action=action, next_url=next_url, xsrf=xsrf, problem=problem, by_password=by_password)
        config: dict[str, object] = {"next": next_url, "xsrf": xsrf, "login": "password" if by_password else "token"}
        if problem:
            config["error"] = {"status": self.get_status(), "code": "not_logged_in", "message": problem}
        self.render_page("login", title="Log in to Homeport", config=config, plain=plain)


class LogoutPage(Page):
    """``/logout``: ends the login, here and in its open tabs."""

    async def get(self) -> None:
        """GET, as Jupyter has it."""
        if self.caller is not None:
            if self.caller.way == "cookie":
                self.audit("logout")
            self.parts.auth.log_out(self.caller)
            await self.parts.auth.writes.done()
        self.drop_cookie(self.parts.auth.cookie_name)
        self.redirect(f"{self.base_url}login")

    post = get


class NotThere(Page):
    """Every address that no row of the table has."""

    def prepare(self) -> None:
        """Say so, after the gate."""
        super().prepare()
        raise NotFound("There is nothing at this address.")


@functools.cache
def frame_page() -> bytes:
    """The page of ``/frame``; read once."""
    return Path(__file__).with_name("frame.html").read_bytes()


class FramePage(Handler):
    """``/frame``: the empty page in which an output may run, on a null origin of its own (``ui/src/outputs/frame.ts``)."""

    kind = Kind.PAGE

    def get(self) -> None:
        """GET."""
        self.set_header("Content-Security-Policy", FRAME_POLICY)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=3600")
        self.end(frame_page())


class Icon(Handler):
    """``/favicon.ico``."""

    kind = Kind.ASSET

    def get(self) -> None:
        """GET."""
        self.set_header("Content-Type", "image/svg+xml")
        self.set_header("Cache-Control", "public, max-age=86400")
        self.end(shell.ICON)
