"""What is in the Yjs document, kept in step by its events: cells in order, by id, and what changed since last asked.

Reading a whole Yjs document costs tens of milliseconds; the guard, the saver and the runner ask for one cell each time.
The mirror only watches: it never writes the document and never decides whether a change is allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, cast
from weakref import ref

from pycrdt import Array, ArrayEvent, Doc, Map, Text

from homeport.documents.schema import YCell

RESULTS = frozenset({"outputs", "execution_count", "execution_state"})
"""Members of a cell that only the server writes."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class MirrorCell:
    """One element of the document's array of cells. Compared by identity: a moved cell is another element."""

    shared: YCell
    id: str
    """Its id; empty when the element is not a cell."""
    results: tuple[str, object, object] | None = None
    """Outputs (as JSON text), execution count and state at the last :meth:`Mirror.remember`; None: not up to date."""
    text: str | None = None
    """Its source at the last :meth:`Mirror.remember`; None: not known."""
    subscription: object = None
    """Its being watched, which ends with it."""


class _Event(Protocol):
    """What pycrdt's core tells of a change. A map's event has ``keys`` too."""

    @property
    def path(self) -> list[int | str]:
        """From the observed type to the changed one."""
        ...


@dataclass(slots=True)
class Change:
    """What transactions did since the last :meth:`Mirror.take`."""

    inserted: list[MirrorCell] = field(default_factory=list[MirrorCell])
    removed: list[MirrorCell] = field(default_factory=list[MirrorCell])
    touched: dict[MirrorCell, set[str]] = field(default_factory=dict[MirrorCell, set[str]])
    """Cells that were there before, with the names of their members that changed."""
    meta: bool = False

    def __bool__(self) -> bool:
        return bool(self.inserted or self.removed or self.touched or self.meta)


class _Watch:
    """What is called with the events below one cell.

    Observed each by itself: in what observes all cells, pycrdt tells the place of a cell with each event, and Yjs counts it off from the
    first cell on (46 ms when a thousand cells change at once). Observed below pycrdt's own wrappers, which make objects of all that an
    event could tell, before anybody asks (12 ms of the 22 that a thousand cleared cells took).
    Holds neither cell nor mirror: what Yjs holds, Python does not collect.
    """

    __slots__ = ("_cell", "_mirror")

    def __init__(self, mirror: Mirror, cell: MirrorCell) -> None:
        self._mirror, self._cell = ref(mirror), ref(cell)

    def __call__(self, events: Sequence[_Event]) -> None:
        mirror, cell = self._mirror(), self._cell()
        if mirror is not None and cell is not None:
            for event in events:
                mirror.on_cell(cell, event)


class Mirror:
    """Watches ``cells`` and ``meta`` of ``doc``; must be made after the document was filled."""

    def __init__(
        self,
        doc: Doc[Array[object] | Map[object]],
        cells: Array[object],
        meta: Map[object],
    ) -> None:
        self._doc = doc
        self._cells: list[MirrorCell] = []
        self._by_id: dict[str, list[MirrorCell]] = {}
        self._unremembered: set[MirrorCell] = set()
        self._retyped: set[MirrorCell] = set()
        self._change = Change()
        self._fresh: set[MirrorCell] = set()
        with doc.transaction(origin="mirror"):
            self._insert(0, list(cells))
        self._subscriptions = (
            cells.observe(self._on_array),
            meta.observe_deep(self._on_meta),
        )
        self.take()

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[MirrorCell]:
        return iter(self._cells)

    def __getitem__(self, index: int) -> MirrorCell:
        return self._cells[index]

    def find(self, cell_id: str) -> MirrorCell | None:
        """The cell of that id; the first one when there are several (never for long)."""
        cells = self._by_id.get(cell_id)
        if not cells:
            return None
        return cells[0] if len(cells) == 1 else min(cells, key=self._cells.index)

    def named(self, cell_id: str) -> Sequence[MirrorCell]:
        """All cells of that id, in the order in which they came."""
        return self._by_id.get(cell_id, ())

    def take(self) -> Change:
        """What changed since the last call."""
        change, self._change = self._change, Change()
        self._fresh.clear()
        return change

    @property
    def stale(self) -> int:
        """How many cells :meth:`remember` would read."""
        return max(len(self._unremembered), len(self._retyped))

    def remember(self, limit: int | None = None) -> bool:
        """Read text and results of cells that changed since they were last read, of at most ``limit`` of them.

        Returns:
            Whether all are read now.
        """
        # In one transaction: each look would be one of its own otherwise, which costs more than the look.
        with self._doc.transaction(origin="mirror"):
            for cell in list(islice(self._retyped, limit)):
                self._retyped.discard(cell)
                source = cell.shared.get("source")
                cell.text = str(source) if isinstance(source, Text) else None
            for cell in list(islice(self._unremembered, limit)):
                self._unremembered.discard(cell)
                members = dict(cell.shared.items())
                outputs = members.get("outputs")
                text = str(cast("object", outputs)) if isinstance(outputs, Array) else ""
                cell.results = (text, members.get("execution_count"), members.get("execution_state"))
        return not self.stale

    async def remember_all(self) -> None:
        """Read the results of all cells, in slices that let others in between."""
        while not self.remember(50):  # noqa: ASYNC110 - not a wait: each turn does a slice
            await asyncio.sleep(0)

    def renamed(self, cell: MirrorCell, cell_id: str) -> None:
        """``cell`` has another id now (its owner wrote it)."""
        self._unlist(cell)
        cell.id = cell_id
        self._by_id.setdefault(cell_id, []).append(cell)

    # ---- events ---------------------------------------------------------------------------------------------------

    def _on_meta(self, _: object) -> None:
        self._change.meta = True

    def _on_array(self, event: ArrayEvent) -> None:
        at = 0
        for step in cast("list[dict[str, object]]", event.delta):
            if "retain" in step:
                at += cast("int", step["retain"])
            elif "delete" in step:
                self._remove(at, cast("int", step["delete"]))
            else:
                at += self._insert(at, cast("list[object]", step["insert"]))

    def on_cell(self, cell: MirrorCell, event: _Event) -> None:
        """Something in ``cell`` changed; for what watches it."""
        path = event.path
        names = {str(path[0])} if path else set(cast("dict[str, object]", getattr(event, "keys", {})))
        if names & RESULTS:
            self._unremembered.add(cell)
        if "source" in names:
            self._retyped.add(cell)
        if cell not in self._fresh:
            self._change.touched.setdefault(cell, set()).update(names)

    def _insert(self, at: int, values: list[object]) -> int:
        cells: list[MirrorCell] = []
        for value in values:
            shared = cast("YCell", value)
            identity = shared.get("id") if isinstance(value, Map) else ""
            cell = MirrorCell(shared, identity if isinstance(identity, str) else "")
            self._by_id.setdefault(cell.id, []).append(cell)
            if isinstance(value, Map):
                self._unremembered.add(cell)
                self._retyped.add(cell)
                cell.subscription = shared.integrated.observe_deep(_Watch(self, cell))
            cells.append(cell)
        self._cells[at:at] = cells
        self._change.inserted.extend(cells)
        self._fresh.update(cells)
        return len(cells)

    def _remove(self, at: int, count: int) -> None:
        for cell in self._cells[at : at + count]:
            self._unlist(cell)
            self._unremembered.discard(cell)
            self._retyped.discard(cell)
            self._change.touched.pop(cell, None)
            if cell in self._fresh:
                self._fresh.discard(cell)
                self._change.inserted.remove(cell)
            else:
                self._change.removed.append(cell)
        del self._cells[at : at + count]

    def _unlist(self, cell: MirrorCell) -> None:
        cells = self._by_id[cell.id]
        cells.remove(cell)
        if not cells:
            del self._by_id[cell.id]
