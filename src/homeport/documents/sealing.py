"""The whole text of a long stream, from the log's pieces into the blob store, once its run is over.

While a cell prints, text comes in pieces, and pieces belong into the transaction of the cursor. Afterwards the output may be
copied, moved, undone and pasted elsewhere: a blob is found from everywhere, and goes when nothing refers to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

from pycrdt import Array, Map

from homeport.core.output_buffer import STREAM_KEY
from homeport.documents.blobs import STREAM_TEXT, Blobs
from homeport.documents.room import Room
from homeport.documents.schema import JSON, YCell, joined, new_outputs, read
from homeport.documents.serial import stream_text
from homeport.documents.tables import Drop
from homeport.errors import HomeportError

log = logging.getLogger(__name__)


class Sealer:
    """Seals the streams of the cells that it is told of, one after the other, in a task of its own.

    Args:
        room: the document.
        blobs: the store.
        cells: whose runs may have been over before the server started.
        sealed: called with the cell's id and the stream's key after each.
    """

    def __init__(self, room: Room, blobs: Blobs, cells: Iterable[str], sealed: Callable[[str, str], None]) -> None:
        self._room = room
        self._blobs = blobs
        self._sealed = sealed
        self._waiting = dict.fromkeys(cells)
        self._task: asyncio.Task[None] | None = None

    def add(self, cell_id: str) -> None:
        """A run of the cell is over: its streams are sealed after the next :meth:`go_on`, when nothing runs in it again."""
        self._waiting[cell_id] = None

    def go_on(self) -> None:
        """Begin with what waits; called when all that is known of the runs has been written."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._seal(), name=f"streams of {self._room.document}")

    async def close(self) -> None:
        """Wait for what is being sealed."""
        if self._task is not None:
            await self._task

    async def _seal(self) -> None:
        while self._waiting:
            cell_id = next(iter(self._waiting))
            del self._waiting[cell_id]
            try:
                await self._seal_cell(cell_id)
            except Exception:  # the text is in the log, whatever it is; the next cells, and the end of the document, are not to suffer
                log.exception("The whole text of an output stays in the log for now.")

    async def _seal_cell(self, cell_id: str) -> None:
        if self._room.run_state(cell_id) != "running":
            for key in stream_keys(self._room.find_cell(cell_id)):
                if await seal(self._room, self._blobs, cell_id, key):
                    self._sealed(cell_id, key)


def stream_keys(cell: YCell | None) -> list[str]:
    """Keys of a cell's streams whose text is in pieces."""
    outputs = cell.get("outputs") if cell is not None else None
    if not isinstance(outputs, Array):
        return []
    # Reading all outputs costs more than asking each whether it is one. A page may have put plain objects there.
    if not any(isinstance(output, Map | dict) and STREAM_KEY in cast("Map[object]", output) for output in cast("Array[object]", outputs)):
        return []
    return [str(entry["key"]) for entry in map(_entry, _read(cell)) if "key" in entry]


async def seal(room: Room, blobs: Blobs, cell_id: str, key: str) -> bool:
    """Put the text of a stream that is over into the store, and its reference into the document.

    Returns:
        False when the output is not there any more, has grown meanwhile, or cannot be stored.
    """
    output = next((output for output in _outputs(room, cell_id) if _entry(output).get("key") == key), None)
    if output is None:
        return False
    shown, rest = joined(cast("JSON", output.get("text"))), int(_entry(output).get("rest") or 0)
    end = shown[len(shown) - rest :] if rest else ""
    try:
        pieces = await room.log.stream(key)
        reference = await asyncio.to_thread(_put, blobs, pieces, end)
    except (HomeportError, OSError) as error:
        log.warning("The whole text of an output stays in the log for now: %s", error)
        return False
    size = _entry(output).get("size")
    outputs = _outputs(room, cell_id)
    place = next((place for place, output in enumerate(outputs) if _entry(output).get("key") == key), None)
    cell = room.find_cell(cell_id)
    if place is None or cell is None or _entry(outputs[place]).get("size") != size:
        return False
    entry = outputs[place][STREAM_KEY]
    outputs[place][STREAM_KEY] = {
        **{name: entry[name] for name in ("lines", "size")},
        **{name: reference[name] for name in ("sha256", "url")},
    }
    shared = cast("Array[object]", cell["outputs"])
    with room.transaction("run", chunks=[Drop(key)]):
        # A view sees a changed output only when it and all after it are written anew.
        del shared[place : len(outputs)]
        shared.extend(new_outputs(outputs[place:]))
    return True


def _outputs(room: Room, cell_id: str) -> list[dict[str, Any]]:
    return _read(room.find_cell(cell_id))


def _read(cell: YCell | None) -> list[dict[str, Any]]:
    outputs = cell.get("outputs") if cell is not None else None
    return cast("list[dict[str, Any]]", read(cast("Array[object]", outputs))) if isinstance(outputs, Array) else []


def _put(blobs: Blobs, pieces: list[bytes], end: str) -> dict[str, JSON]:
    """In a thread."""
    whole = b"".join([*pieces, end.encode(errors="replace")]).decode(errors="replace")
    return blobs.put(STREAM_TEXT, whole, stream_text(pieces, end).raw)


def _entry(output: dict[str, Any]) -> dict[str, Any]:
    entry = output.get(STREAM_KEY)
    return cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
