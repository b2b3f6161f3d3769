"""The JSON of Jupyter's REST API: models that the server sends and bodies that it takes. Pure.

Fields and their meaning: jupyter_server's ``rest-api.yml``. Unknown fields of a body are ignored, as Jupyter ignores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

ContentsType = Literal["directory", "file", "notebook"]
ContentsFormat = Literal["text", "base64", "json"]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as Jupyter writes times: ``2026-01-31T12:00:00.123456Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class ContentsModel(msgspec.Struct):
    """A file or folder."""

    name: str
    path: str
    last_modified: str
    created: str
    type: ContentsType
    size: int | None
    writable: bool
    content: msgspec.Raw | None = None
    format: ContentsFormat | None = None
    mimetype: str | None = None
    hash: str | None = None
    hash_algorithm: str | None = None
    broken: str | msgspec.UnsetType = msgspec.UNSET
    """Not in Jupyter's model: it cannot be opened; what it is (a broken link, a link out of the folder, a socket), for people."""


class NewContents(msgspec.Struct):
    """Body of ``POST /api/contents/<folder>``: something new in a folder."""

    type: ContentsType | None = None
    ext: str = ""
    copy_from: str | None = None
    welcome: bool = False
    """The notebook that shows what Homeport does."""


class SaveContents(msgspec.Struct):
    """Body of ``PUT /api/contents/<path>``."""

    type: ContentsType | None = None
    format: ContentsFormat | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")
    chunk: int | None = None
    """1, 2, …; -1 for the last piece of an upload."""
    copy_from: str | None = None


class RenameContents(msgspec.Struct):
    """Body of ``PATCH /api/contents/<path>``."""

    path: str | None = None


class CheckpointModel(msgspec.Struct):
    """A kept copy of a file."""

    id: str
    last_modified: str


class KernelModel(msgspec.Struct):
    """A kernel."""

    id: str
    name: str
    last_activity: str
    execution_state: str
    connections: int
    reason: str | msgspec.UnsetType = msgspec.UNSET
    """Not in Jupyter's model: why it is dead."""
    stderr: str | msgspec.UnsetType = msgspec.UNSET
    """Not in Jupyter's model: its last words."""


class NewKernel(msgspec.Struct):
    """Body of ``POST /api/kernels``."""

    name: str | None = None
    path: str = ""


class SessionModel(msgspec.Struct):
    """A session."""

    id: str
    path: str
    name: str
    type: str
    kernel: KernelModel | None
    notebook: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET
    """What clients of the 4.x API read."""


class KernelOfSession(msgspec.Struct):
    """The kernel in a session's body."""

    id: str | None = None
    name: str | None = None


class NotebookOfSession(msgspec.Struct):
    """The notebook in a session's body of the 4.x API."""

    path: str | None = None
    name: str | None = None


class SessionBody(msgspec.Struct):
    """Body of ``POST /api/sessions`` and ``PATCH /api/sessions/<id>``."""

    path: str | None = None
    name: str | None = None
    type: str | None = None
    kernel: KernelOfSession | None = None
    notebook: NotebookOfSession | None = None


class KernelspecModel(msgspec.Struct):
    """A kernelspec: ``spec`` is its kernel.json; ``resources`` are URLs by name."""

    name: str
    spec: Mapping[str, object]
    resources: Mapping[str, str]


class KernelspecsModel(msgspec.Struct):
    """All kernelspecs."""

    default: str
    kernelspecs: Mapping[str, KernelspecModel]


class IdentityModel(msgspec.Struct):
    """Who asks, in ``GET /api/me``."""

    username: str
    name: str
    display_name: str
    initials: str
    avatar_url: str | None = None
    color: str | None = None


class MeModel(msgspec.Struct):
    """``GET /api/me``."""

    identity: IdentityModel
    permissions: Mapping[str, Sequence[str]]
