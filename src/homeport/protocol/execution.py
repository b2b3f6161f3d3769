"""The contents of the kernel messages that running a cell is made of.

Source: jupyter_client, "Messaging in Jupyter" (protocol 5.4). Fields that running a cell has no use for are left out and
tolerated; kernels that leave out a field get its default. Headers and framing are :mod:`homeport.protocol.jupyter`'s.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

import msgspec

from homeport.errors import ProtocolError
from homeport.protocol.jupyter import Parts

_T = TypeVar("_T")
Bundle = dict[str, Any]
"""A MIME bundle: JSON values by MIME type."""


class Stream(msgspec.Struct, frozen=True):
    """``stream``: text on stdout or stderr."""

    name: str = "stdout"
    text: str = ""


class Transient(msgspec.Struct, frozen=True):
    """What of a display is not kept in files."""

    display_id: str | None = None


class Display(msgspec.Struct, frozen=True):
    """``display_data``, ``update_display_data`` and ``execute_result``."""

    data: Bundle = msgspec.field(default_factory=dict[str, Any])
    metadata: Bundle | None = None
    transient: Transient | None = None
    execution_count: int | None = None

    @property
    def display_id(self) -> str | None:
        """The id under which the output may be updated."""
        return self.transient.display_id if self.transient else None


class Error(msgspec.Struct, frozen=True):
    """``error``: an exception of the cell's code; the traceback has ANSI colours."""

    ename: str = ""
    evalue: str = ""
    traceback: list[str] = msgspec.field(default_factory=list[str])


class Clear(msgspec.Struct, frozen=True):
    """``clear_output``."""

    wait: bool = False


class Status(msgspec.Struct, frozen=True):
    """``status`` on iopub."""

    execution_state: str = ""


class Input(msgspec.Struct, frozen=True):
    """``execute_input``: the kernel has begun."""

    execution_count: int | None = None


class InputRequest(msgspec.Struct, frozen=True):
    """``input_request`` on stdin: the code waits for a line of text."""

    prompt: str = ""
    password: bool = False


class ExecuteReply(msgspec.Struct, frozen=True):
    """``execute_reply``."""

    status: str = "error"
    execution_count: int | None = None
    payload: list[dict[str, Any]] | None = None
    ename: str = ""
    evalue: str = ""


class KernelInfoReply(msgspec.Struct, frozen=True):
    """``kernel_info_reply``: what notebooks keep of it."""

    status: str = "ok"
    language_info: dict[str, Any] | None = None


_decoders: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Stream, Display, Error, Clear, Status, Input, InputRequest, ExecuteReply, KernelInfoReply)
}


def content(parts: Parts, kind: type[_T]) -> _T:
    """The content of a message.

    Raises:
        ProtocolError: it is not what the protocol says.
    """
    data = parts[3]
    try:
        return cast("_T", _decoders[kind].decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            # A lone surrogate is valid JSON for Python's writers, and no text for anybody else; NaN is no JSON, and written all the same.
            text = json.dumps(json.loads(data), ensure_ascii=False).encode(errors="replace")
            return msgspec.convert(json.loads(text), kind)
        except (ValueError, msgspec.DecodeError):
            raise ProtocolError(f"A kernel sent a {kind.__name__} that cannot be read: {error}") from None


def started(parts: Parts) -> str | None:
    """When a kernel began with a request, as the metadata of its reply has it (ipykernel's ``started``)."""
    try:
        value = cast("object", msgspec.json.decode(parts[2]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    date = cast("dict[str, object]", value).get("started") if isinstance(value, dict) else None
    return zulu(date) if isinstance(date, str) else None


def zulu(date: str) -> str:
    """A header's date as JupyterLab records it: UTC is ``Z``."""
    return date[:-6] + "Z" if date.endswith("+00:00") else date


def execute_request(code: str, *, stop_on_error: bool) -> dict[str, object]:
    """The content of an ``execute_request`` for a cell."""
    return {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": True,
        "stop_on_error": stop_on_error,
    }
