"""From a file or the log to a filled Yjs document, in slices that let others in between, before any page sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import cast

from pycrdt import Array, ArrayEvent, Doc, Map

from homeport.documents.codec import Notebook
from homeport.documents.encoder import EXTRA
from homeport.documents.room import YDoc
from homeport.documents.schema import new_cell, new_meta
from homeport.protocol.document import JSON

_SLICE = 0.008
"""Seconds at a time."""


async def build(notebook: Notebook) -> YDoc:
    """A new document, and so a new history, from a notebook."""
    doc: YDoc = Doc()
    cells = cast("Array[object]", doc.get("cells", type=Array))
    meta = cast("Map[object]", doc.get("meta", type=Map))
    with doc.transaction(origin="open"):
        members: dict[str, JSON] = {"nbformat": 4, "nbformat_minor": notebook.minor, "metadata": notebook.metadata}
        if notebook.extra:
            members[EXTRA] = notebook.extra
        for key, value in new_meta(members).items():
            meta[key] = value
    at = 0
    while at < len(notebook.cells):
        end = time.perf_counter() + _SLICE
        with doc.transaction(origin="open"):
            while at < len(notebook.cells) and time.perf_counter() < end:
                cells.append(new_cell(notebook.cells[at]))
                at += 1
        await asyncio.sleep(0)
    return doc


async def rebuild(updates: Sequence[bytes]) -> tuple[YDoc, set[str]]:
    """The document that the log holds, and the ids of the cells that were taken out of it on the way.

    Raises:
        ValueError: the log is damaged.
    """
    doc: YDoc = Doc()
    cells = cast("Array[object]", doc.get("cells", type=Array))
    there: list[str] = []
    removed: set[str] = set()
    subscription = cells.observe(lambda event: removed.update(_follow(there, event)))
    end = time.perf_counter() + _SLICE
    for update in updates:
        with doc.transaction(origin="open"):
            doc.apply_update(update)
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + _SLICE
    cells.unobserve(subscription)
    return doc, removed.difference(there)


def _follow(there: list[str], event: ArrayEvent) -> list[str]:
    """Keep ``there``, the ids of the cells, in step; returns the ids of those that were taken out."""
    at, removed = 0, list[str]()
    for step in cast("list[dict[str, object]]", event.delta):
        if "retain" in step:
            at += cast("int", step["retain"])
        elif "delete" in step:
            count = cast("int", step["delete"])
            removed += there[at : at + count]
            del there[at : at + count]
        else:
            new = cast("list[object]", step["insert"])
            there[at:at] = [str(cast("Map[object]", cell).get("id")) if isinstance(cell, Map) else "" for cell in new]
            at += len(new)
    return removed
