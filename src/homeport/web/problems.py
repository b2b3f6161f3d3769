"""Errors become HTTP answers here and nowhere else: one status, one JSON shape."""

from __future__ import annotations

import errno
import http
from typing import Any

import msgspec
from tornado.web import HTTPError, MissingArgumentError, RequestHandler

from homeport.errors import BadRequest, Forbidden, HomeportError, NotFound, TooManyTries
from homeport.web.gate import MethodNotAllowed


class _OfStatus(HomeportError):
    """An error of the framework that only has a status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status  # pyright: ignore[reportAttributeAccessIssue]  # the one class whose instances differ
        self.code = _phrase(status).lower().replace(" ", "_")  # pyright: ignore[reportAttributeAccessIssue]


def as_homeport_error(error: BaseException | None, status: int = 500) -> HomeportError:
    """The error of our tree that tells what happened, without a traceback, a secret or an absolute path."""
    if isinstance(error, HomeportError):
        return error
    if isinstance(error, MissingArgumentError):
        return BadRequest(f"The argument {error.arg_name!r} is missing.")
    if isinstance(error, HTTPError):
        return _of_status(error.status_code)
    if isinstance(error, msgspec.MsgspecError):
        return BadRequest(f"The body of this request is not what it must be: {error}")
    if isinstance(error, PermissionError):
        return Forbidden("The file system does not permit this.", errno="EACCES")
    if isinstance(error, FileNotFoundError):
        return NotFound("There is no such file.")
    if isinstance(error, OSError) and error.errno is not None:
        return HomeportError(f"The file system says: {error.strerror}.", errno=errno.errorcode.get(error.errno, ""))
    if error is None and status != 500:
        return _of_status(status)
    return HomeportError("Something went wrong in the server; its log says more.")


def _of_status(status: int) -> HomeportError:
    messages = {404: "There is nothing at this address.", 413: "This request is too large.", 405: "This method cannot be used here."}
    return _OfStatus(status, messages.get(status, f"{_phrase(status)}."))


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def body_of(error: HomeportError) -> dict[str, Any]:
    """The JSON of an error: ``message`` and ``reason`` as Jupyter's clients read them, ``code``, and the error's data."""
    return {**error.data, "message": error.message, "reason": error.data.get("reason"), "code": error.code}


def wait_header(handler: RequestHandler, error: HomeportError) -> None:
    """Say in a header, too, when to come again."""
    if isinstance(error, TooManyTries):
        handler.set_header("Retry-After", str(error.data["retry_after"]))


def write_json(handler: RequestHandler, error: HomeportError) -> None:
    """Answer with the JSON of an error and its status."""
    handler.set_status(error.status)
    if isinstance(error, MethodNotAllowed):
        handler.set_header("Allow", ", ".join(error.methods))
    wait_header(handler, error)
    handler.set_header("Content-Type", "application/json")
    handler.finish(msgspec.json.encode(body_of(error), enc_hook=str))  # pyright: ignore[reportUnknownMemberType]
