"""From a file or the log to a filled Yjs document, in slices that let others in between, before any page sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import cast

from pycrdt import Array, Doc, Map

from homeport.documents.codec import Notebook
from homeport.documents.encoder import EXTRA
from homeport.documents.room import YDoc
from homeport.documents.schema import new_cell, plain, text
from homeport.protocol.document import JSON

_SLICE = 0.008
"""Seconds at a time."""


async def build(notebook: Notebook) -> YDoc:
    """A new document, and so a new history, from a notebook."""
    doc: YDoc = Doc()
    cells = cast("Array[object]", doc.get("cells", type=Array))
    meta = cast("Map[object]", doc.get("meta", type=Map))
    with doc.transaction(origin="open"):
        meta["nbformat"] = 4
        meta["nbformat_minor"] = notebook.minor
        meta["metadata"] = Map(_members(notebook.metadata))
        if notebook.extra:
            meta[EXTRA] = _members(notebook.extra)
    at = 0
    while at < len(notebook.cells):
        end = time.perf_counter() + _SLICE
        with doc.transaction(origin="open"):
            while at < len(notebook.cells) and time.perf_counter() < end:
                cells.append(new_cell(notebook.cells[at]))
                at += 1
        await asyncio.sleep(0)
    return doc


async def rebuild(updates: Sequence[bytes]) -> YDoc:
    """The document that the log holds.

    Raises:
        ValueError: the log is damaged.
    """
    doc: YDoc = Doc()
    end = time.perf_counter() + _SLICE
    for update in updates:
        with doc.transaction(origin="open"):
            doc.apply_update(update)
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + _SLICE
    return doc


def _members(value: dict[str, JSON]) -> dict[str, object]:
    return {text(key): plain(member) for key, member in value.items()}
