"""Tickets open WebSockets and streams: unguessable, short-lived, bound to a login. Pure.

A cookie is not enough there: browsers send no Fetch metadata on WebSockets, pages on another port of the same host send all
cookies, and old Apache recipes rewrite Origin. A ticket is signed, not stored, so that it survives a restart of the server.
"""

from __future__ import annotations

from homeport.auth.signing import sign, verify

LIFETIME = 60
"""Seconds."""

_PURPOSE = "ticket"


def make_ticket(secret: str, login: str, now: float) -> str:
    """A ticket for ``login`` that is good for a minute from ``now`` (seconds since the epoch)."""
    return sign(secret, _PURPOSE, f"{int(now) + LIFETIME}:{login}")


def check_ticket(secret: str, ticket: str, now: float) -> str | None:
    """The login that a ticket was made for; None when it is forged or over."""
    payload = verify(secret, _PURPOSE, ticket)
    if payload is None:
        return None
    until, _, login = payload.partition(":")
    # From the future: a clock was set back, and the ticket would live longer than a minute.
    return login if until.isdigit() and now <= int(until) <= now + LIFETIME + 5 else None
