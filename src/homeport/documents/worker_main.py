"""The worker process: reads notebooks off the server's loop, puts big outputs into the blob store, returns skeletons.

Started by ``worker.py`` as ``python -P -m homeport.documents.worker_main``; speaks frames (a length of four bytes, then
msgpack) on standard input and output, one task at a time, and leaves when its input ends.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import msgspec

from homeport.core.cell_merge import CellPrint
from homeport.documents.blobs import Blobs
from homeport.documents.codec import Notebook, decode
from homeport.documents.ids import new_cell_id
from homeport.documents.limits import Limits
from homeport.documents.schema import Cell
from homeport.errors import HomeportError, TooLarge

_BATCH = 64 * 1024
"""Bytes of cells that the server decodes in one go."""


class Task(msgspec.Struct, tag="task"):
    """Read the notebook in ``file``; when there is none, in the ``size`` bytes that follow this frame."""

    name: str
    blobs: str
    base_url: str
    limits: Limits
    file: str = ""
    size: int = 0


class Begin(msgspec.Struct, tag="begin"):
    """The notebook without its cells, which follow."""

    sha256: str
    minor: int
    metadata: dict[str, Any]
    extra: dict[str, Any]
    prints: list[CellPrint]
    inline: int
    made_ids: bool
    upgraded: bool


class Cells(msgspec.Struct, tag="cells"):
    """Some cells, in order."""

    cells: list[dict[str, Any]]


class End(msgspec.Struct, tag="end"):
    """All cells were sent."""


class Failed(msgspec.Struct, tag="failed"):
    """It cannot be opened: an error of ours by its code, or an unexpected one without."""

    code: str
    message: str
    data: dict[str, Any]


Answer: TypeAlias = Begin | Cells | End | Failed


def pack(message: Task | Answer) -> bytes:
    """A message as a frame."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


def answers(task: Task, data: bytes) -> Iterator[Answer]:
    """Do one task."""
    try:
        raw = _read(Path(task.file), task.name, task.limits.notebook) if task.file else data
        blobs = Blobs(Path(task.blobs), base_url=task.base_url, limits=task.limits)
        notebook = decode(raw, name=task.name, blobs=blobs, new_id=new_cell_id)
    except HomeportError as error:
        yield Failed(error.code, error.message, error.data)
        return
    except OSError as error:
        yield Failed("", unread(task.name, error), {"errno": errno.errorcode.get(error.errno or 0, "EIO")})
        return
    yield Begin(
        sha256=hashlib.sha256(raw).hexdigest(),
        minor=notebook.minor,
        metadata=notebook.metadata,
        extra=notebook.extra,
        prints=notebook.prints,
        inline=notebook.inline,
        made_ids=notebook.made_ids,
        upgraded=notebook.upgraded,
    )
    yield from _batches(notebook)
    yield End()


def _batches(notebook: Notebook) -> Iterator[Cells]:
    batch: list[Cell] = []
    size = 0
    for cell in notebook.cells:
        batch.append(cell)
        size += len(msgspec.msgpack.encode(cell))
        if size > _BATCH:
            yield Cells(batch)
            batch, size = [], 0
    if batch:
        yield Cells(batch)


def _read(file: Path, name: str, limit: int) -> bytes:
    with open(file, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if size > limit:
            raise TooLarge(too_large(name, size, limit), path=name, size=size, limit=limit, option="--notebook-limit")
        return opened.read()


def unread(name: str, error: OSError) -> str:
    """The message for a notebook that the system does not let us open: its file, or the store for its big outputs."""
    what = "the store of big outputs" if error.filename and not str(error.filename).endswith(name) else "its file"
    return f"“{name}” cannot be opened: {error.strerror or error} ({what})."


def too_large(name: str, size: int, limit: int) -> str:
    """The message for a notebook that is too large."""
    return (
        f"“{name}” has {size / 1e6:.0f} MB; notebooks up to {limit / 1e6:.0f} MB are opened (option --notebook-limit). "
        "Clear its outputs with another program, or raise the limit."
    )


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Do tasks until the input ends."""
    while head := source.read(4):
        task = msgspec.msgpack.decode(source.read(int.from_bytes(head, "big")), type=Task)
        sink.writelines(pack(answer) for answer in answers(task, source.read(task.size)))
        sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
