"""The Tornado application: the table of routes below ``base_url``, and the access log."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from tornado.routing import PathMatches, Rule
from tornado.web import Application, RequestHandler

from homeport.auth.policies import public
from homeport.core.forwarded import networks
from homeport.web.base import Handler
from homeport.web.gate import Kind, Rules
from homeport.web.pages import NotThere
from homeport.web.parts import Parts
from homeport.web.routes import ROUTES, Route
from homeport.web.sockets import LARGEST_FRAME, PING_EVERY

__all__ = ["Parts", "make_app"]

access_log = logging.getLogger("homeport.access")


class ToBase(Handler):
    """``/base`` without its slash, and ``/`` when everything is below a base: to the base."""

    kind = Kind.PAGE

    def get(self) -> None:
        """GET."""
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(self.base_url + query)


def make_app(parts: Parts, *, loopback_only: bool, routes: Sequence[Route] = ROUTES) -> Application:
    """The application.

    Args:
        loopback_only: nothing but loopback addresses is listened on, so that a foreign Host is an attack.
        routes: the table; tests have others.
    """
    settings = parts.settings
    # Somebody relies on a proxy for encryption: what comes past it is not encrypted.
    plain = settings.certfile is None and not settings.public and not settings.insecure
    proxies_only = plain and not loopback_only and settings.given("trusted_proxies")
    rules = Rules(parts.auth, settings, loopback_only, networks(settings.trusted_proxies), proxies_only)
    base = parts.settings.base_url
    table = [
        Rule(PathMatches(f"{re.escape(base)}{route.pattern}$"), route.handler, {"parts": parts, "rules": rules, "policy": route.policy})
        for route in routes
    ]
    if base != "/":
        everywhere = {"parts": parts, "rules": rules, "policy": public("GET")}
        table.append(Rule(PathMatches(f"(?:{re.escape(base[:-1])}|/)$"), ToBase, everywhere))
        table.append(Rule(PathMatches(".*"), NotThere, everywhere))
    return Application(
        table,  # pyright: ignore[reportArgumentType]  # rules are what its type means
        log_function=log_access,
        websocket_ping_interval=PING_EVERY,
        websocket_ping_timeout=PING_EVERY,
        websocket_max_message_size=LARGEST_FRAME,
    )


def log_access(handler: RequestHandler) -> None:
    """One line per request: method, path, status, milliseconds, address. Never a query, a header or a cookie."""
    status = handler.get_status()
    level = logging.WARNING if status >= 500 else logging.INFO if status >= 400 else logging.DEBUG
    request = handler.request
    client = getattr(handler, "client", None)
    address = client.address if client is not None else request.remote_ip
    access_log.log(level, "%s %s %d %.1f ms %s", request.method, request.path, status, 1000 * request.request_time(), address)
