"""The gate: every request and every WebSocket passes here before a handler sees it. Nothing gets in by default.

In this order: Host, identity, Origin and Fetch metadata, the policy's "public", XSRF, method and policy. What was decided for
WebSockets, and why, is told in docs/decisions/0005-sockets.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from homeport.auth.identity import Caller, Presented
from homeport.auth.policies import Policy
from homeport.auth.signing import same
from homeport.core import paths
from homeport.core.forwarded import Client, Network, is_local_name, parse_address
from homeport.errors import Forbidden, HomeportError, NotLoggedIn

if TYPE_CHECKING:
    from homeport.auth.access import Access
    from homeport.options import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
XSRF_COOKIE = "_xsrf"
XSRF_SIZE = 32


class Kind(Enum):
    """What a route gives, as far as the gate cares."""

    API = "api"
    PAGE = "page"
    """HTML of ours; a link on another site may lead here."""
    CONTENT = "content"
    """Files of the user; a link may lead here, nothing may embed them."""
    ASSET = "asset"
    """Files of ours, the same for everybody."""
    SOCKET = "socket"
    """A WebSocket that other Jupyter clients use too."""
    PAGE_SOCKET = "page socket"
    """A WebSocket or event stream of our own pages: by ticket only."""


class MethodNotAllowed(HomeportError):
    """The route does not have this method; ``methods`` are the ones that it has."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, method: str, methods: Sequence[str]) -> None:
        super().__init__(f"{method} cannot be used here; {', '.join(methods)} can.", methods=list(methods))
        self.methods = methods


@dataclass(frozen=True)
class Knock:
    """One request, as far as the gate looks at it."""

    method: str
    client: Client
    headers: Mapping[str, str]
    token: str | None
    """The argument ``token``."""
    ticket: str | None
    """The argument ``ticket``."""
    xsrf: str | None
    """The argument ``_xsrf``."""
    path: str | None
    """The API path in the address, as it was sent."""
    cookie: str | None
    """The login cookie."""
    xsrf_cookie: str | None


@dataclass(frozen=True)
class Rules:
    """What the gate decides by."""

    access: Access
    settings: Settings
    loopback_only: bool
    """True when nothing but a loopback address is listened on."""
    proxies: Sequence[Network]
    """Whose forwarded headers count."""
    proxies_only: bool = False
    """True when nothing but those proxies, and this machine, is answered."""


def admit(knock: Knock, policy: Policy | None, kind: Kind, rules: Rules) -> Caller | None:
    """Let a request in. The caller; None on public routes for somebody unknown.

    Raises:
        NotLoggedIn: it needs an identity and shows none, or a wrong token.
        Forbidden: Host, Origin, Fetch metadata, XSRF or the policy forbid it.
        MethodNotAllowed: the policy does not name the method.
    """
    check_host(knock.headers.get("Host", ""), rules)
    if policy is None:
        raise Forbidden("This route has no policy, so nobody may use it.")
    caller = _identify(knock, kind, rules.access)
    if caller is None or not caller.explicit:
        _check_origin(knock, kind, rules.settings)
    if caller is None and not policy.public:
        raise NotLoggedIn("Log in first, or send the header 'Authorization: token …'.")
    if caller is None and kind is Kind.API and rules.access.asks and _presented(knock).token:
        # Also where everybody may come: a client that tries its token there must not think that it is right.
        raise NotLoggedIn("This token is wrong.")
    if knock.method not in SAFE_METHODS and (caller is None or not caller.explicit):
        _check_xsrf(knock)
    action = policy.actions.get(knock.method)
    if action is None:
        raise MethodNotAllowed(knock.method, policy.methods)
    if caller is not None and not rules.access.authorizer.permits(caller, action, policy.resource, _touched(knock, caller)):
        what = "in that folder" if caller.scope.kind == "folder" else f"to {action} {policy.resource}"
        raise Forbidden(f"What you logged in with is not good {what}: its scope is {_scope_text(caller)}.", reason="Scope")
    return caller


def _touched(knock: Knock, caller: Caller) -> str | None:
    return paths.parse(knock.path or "") if caller.scope.kind == "folder" else None


def _scope_text(caller: Caller) -> str:
    return f"the files in “{caller.scope.folder}”" if caller.scope.kind == "folder" else "reading only"


def _identify(knock: Knock, kind: Kind, access: Access) -> Caller | None:
    if knock.ticket is not None and kind in (Kind.SOCKET, Kind.PAGE_SOCKET):
        return access.caller_of_ticket(knock.ticket)
    caller = access.identify(_presented(knock))
    if caller is None and kind is Kind.PAGE and "Authorization" not in knock.headers:
        # An old link with an old token, in a browser that is logged in: the login counts.
        caller = access.identify(Presented.read("", None, knock.cookie, knock.client.address, knock.headers))
    if caller is not None and kind is Kind.PAGE_SOCKET and not caller.explicit:
        raise Forbidden("This needs a ticket: POST api/documents/ticket gives one.")
    return caller


def _presented(knock: Knock) -> Presented:
    return Presented.read(knock.headers.get("Authorization", ""), knock.token, knock.cookie, knock.client.address, knock.headers)


def check_peer(peer: str, rules: Rules) -> None:
    """Where a proxy is what encrypts, nobody comes past it.

    Raises:
        Forbidden: the other end of the connection is neither a trusted proxy nor this machine.
    """
    if not rules.proxies_only or not peer:
        return
    address = parse_address(peer)
    if address is None or not (address.is_loopback or any(address in network for network in rules.proxies)):
        raise Forbidden("This server is reached through its proxy only; --trusted-proxies names the proxies.", reason="Peer")


def check_host(host: str, rules: Rules) -> None:
    """DNS rebinding: a page of a name that suddenly points to this machine would count as our own.

    Never judged by a forwarded header: such a page may send any header.

    Raises:
        Forbidden: the server listens on loopback only, and is not addressed by a local name.
    """
    settings = rules.settings
    if not rules.loopback_only or settings.allow_remote_access or is_local_name(host, settings.local_hostnames):
        return
    name = host.partition(":")[0][:80]
    raise Forbidden(
        f"This server listens on this machine only and was addressed as {name!r}. If a proxy is to lead here, start it with "
        f"--local-hostnames=localhost,{name} or --allow-remote-access.",
        reason="Host",
    )


def origin_allowed(origin: str | None, client: Client, allow_origin: str) -> bool:
    """The one rule for the Origin of HTTP requests and WebSockets.

    Args:
        origin: the header; None when there is none.
        allow_origin: another origin that may come, or ``*``.
    """
    if origin is None or allow_origin == "*":
        return True
    if allow_origin and origin.lower() == allow_origin.lower().rstrip("/"):
        return True
    try:
        parts = urlsplit(origin)
        name = _without_usual_port(parts.netloc)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(name) and name in {_without_usual_port(host) for host in client.hosts}


def _without_usual_port(host: str) -> str:
    # A proxy may or may not repeat the port that everybody knows.
    return host.lower().removesuffix(":80").removesuffix(":443")


def _check_origin(knock: Knock, kind: Kind, settings: Settings) -> None:
    origin = knock.headers.get("Origin")
    if not origin_allowed(origin, knock.client, settings.allow_origin):
        raise Forbidden(f"A page of {origin!r:.80} may not use this server; --allow-origin can allow it.", reason="Origin")
    if kind is Kind.SOCKET:
        if knock.client.proxied and not _xsrf_repeated(knock):
            # Old Apache recipes rewrite Origin, others remove it: behind a proxy it proves nothing.
            raise Forbidden("Through a proxy this WebSocket needs a token or a ticket; a cookie is not enough.", reason="Origin")
        return
    if kind is Kind.ASSET or (origin is not None and settings.allow_origin):
        return
    site = knock.headers.get("Sec-Fetch-Site", "none").lower()
    if site in ("same-origin", "none"):
        return
    followed_link = (
        knock.method in SAFE_METHODS
        and kind in (Kind.PAGE, Kind.CONTENT)
        and knock.headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
        and knock.headers.get("Sec-Fetch-Dest", "").lower() == "document"
    )
    if not followed_link:
        raise Forbidden("Another site caused this request.", reason="Sec-Fetch-Site")


def _xsrf_repeated(knock: Knock) -> bool:
    sent = knock.headers.get("X-XSRFToken") or knock.xsrf
    return bool(sent and knock.xsrf_cookie and len(knock.xsrf_cookie) >= XSRF_SIZE and same(sent, knock.xsrf_cookie))


def _check_xsrf(knock: Knock) -> None:
    if not _xsrf_repeated(knock):
        raise Forbidden("Repeat the cookie '_xsrf' in the header 'X-XSRFToken', or send a token in the header.", reason="XSRF")
