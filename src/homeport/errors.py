"""Every error that Homeport raises on purpose, as one tree.

An error says what happened, to what, and what to do; it carries that as data.
It becomes an HTTP status, a frame on a socket or a line on a terminal at the
edge only: ``code`` is stable and machine-readable, ``status`` is the HTTP
status that the web edge answers with, ``message`` is for people and never
holds a secret, a traceback or a path outside the served folder.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HomeportError(Exception):
    """Base of the tree.

    Args:
        message: one or two sentences for a person.
        data: machine-readable facts, JSON-serialisable.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = data


class BadRequest(HomeportError):
    """The request cannot be understood: bad JSON, a missing or wrong field, a NUL in a path."""

    code = "bad_request"
    status = 400


class NotLoggedIn(HomeportError):
    """No identity, or one that is no longer valid."""

    code = "not_logged_in"
    status = 401


class Forbidden(HomeportError):
    """The identity is known and may not do this; also a foreign Origin or Host, or a missing XSRF token."""

    code = "forbidden"
    status = 403


class NotFound(HomeportError):
    """No such file, kernel, session, route or blob."""

    code = "not_found"
    status = 404


class Conflict(HomeportError):
    """The target exists already, or changed since it was read."""

    code = "conflict"
    status = 409


class TooLarge(HomeportError):
    """Larger than a limit; ``data`` names the limit and the option that sets it."""

    code = "too_large"
    status = 413


class InvalidNotebook(HomeportError):
    """The file is not JSON, not a notebook, or of an nbformat newer than we know. The file is left as it is."""

    code = "invalid_notebook"
    status = 422


class Locked(HomeportError):
    """Another Homeport server holds this document open; ``data`` has its ``url`` when known."""

    code = "locked"
    status = 423


class TooManyTries(HomeportError):
    """Passwords or tokens were wrong too often; ``data["retry_after"]`` has seconds. Nothing was checked."""

    code = "too_many_tries"
    status = 429


class KernelFailed(HomeportError):
    """A kernel could not be started or died; ``data`` has ``stderr`` (its tail) and ``reason``."""

    code = "kernel_failed"
    status = 500


class KernelGone(HomeportError):
    """The kernel, or that generation of it, is no longer there."""

    code = "kernel_gone"
    status = 404


class SupervisorUnavailable(HomeportError):
    """The supervisor cannot be reached or started, or speaks a version that we do not."""

    code = "supervisor_unavailable"
    status = 503


class StoreFailed(HomeportError):
    """The disk is full, read-only or failing; ``data['errno']`` has its name. The old file is as it was."""

    code = "store_failed"
    status = 507


class ProtocolError(HomeportError):
    """The other end of a socket sent what the protocol does not allow; the socket is closed with the reason."""

    code = "protocol_error"
    status = 400
