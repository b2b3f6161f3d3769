"""The room of one document: the Yjs document, the pages in it, and what was committed of it.

Commit, then broadcast: every change, a page's or the server's, goes into the durable log first; only then it is sent to
the pages and acknowledged to its sender, in the order in which changes were made. A page so never holds what a crash of
the server can take back. While the log fails, changes are sent without being acknowledged.

The room knows the schema's outline (cells, meta) but not what runs, files or transports are. The protocol is
``protocol/document.py``; what a page may change is ``guard.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pycrdt import Array, Doc, Map, TransactionEvent

from homeport.documents.guard import Guard
from homeport.documents.ids import new_cell_id
from homeport.documents.log import (
    Chunk,
    Commit,
    CursorRow,
    Drop,
    History,
    Log,
    RunRow,
    Saved,
)
from homeport.documents.mirror import Change, Mirror
from homeport.documents.schema import YCell
from homeport.errors import ProtocolError
from homeport.protocol import document as protocol
from homeport.protocol.document import JSON

if TYPE_CHECKING:
    from homeport.documents.peer import Peer

log = logging.getLogger(__name__)

__all__ = ["Room", "YDoc", "new_cell_id"]

YDoc = Doc[Array[object] | Map[object]]

# Cells.
_AT_ONCE = 100
_COMPACT_ROWS = 1000
_COMPACT_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Sent:
    """One update on its way from the document through the log to the pages."""

    ordinal: int
    update: bytes
    before: bytes
    """State vector of the document before this update: where a page that is skipped from here on has to be resumed."""
    sender: Peer | None
    sent: bool = False


class Room:
    """One document's Yjs state and its pages. Belongs to the event loop.

    Args:
        document: the id under which the log keeps it.
        epoch: the history's name: pages with another one must start afresh.
        doc: the filled Yjs document; nobody else writes it outside :meth:`transaction`.
        log: where changes become durable.
    """

    def __init__(self, *, document: str, epoch: str, doc: YDoc, log: Log) -> None:
        self.document = document
        self.epoch = epoch
        self.ydoc = doc
        self.log = log
        self.cells = cast("Array[object]", doc.get("cells", type=Array))
        self.meta = cast("Map[object]", doc.get("meta", type=Map))
        self.run_state: Callable[[str], str] = lambda cell_id: "idle"
        """The run state of a cell id; set by whoever runs cells."""
        self._mirror = Mirror(doc, self.cells, self.meta)
        self.peers: set[Peer] = set()
        self.presence: dict[int, protocol.Presence] = {}
        self.state: dict[str, JSON] = {}
        """The current values of the ``state`` frame: see docs/architecture.md for its keys."""
        self.ordinal = 0
        """Number of the next update."""
        self._guard = Guard(self._mirror, self._run_state, new_cell_id)
        self._listeners: list[Callable[[Change, bool], None]] = []
        self._update: bytes | None = None
        self._open = False
        self._rows = 0
        self._bytes = 0
        self._ticking = False
        self._unchecked: tuple[Change, bool] | None = None
        self._remembering = False
        self._closed = False
        self._subscription = doc.observe(self._on_update)
        log.register(document, self.snapshot)

    def close(self) -> None:
        """Let go of the document: pages are dropped, nothing is written any more."""
        self._check()
        self._closed = True
        for peer in list(self.peers):
            peer.close()
        self.ydoc.unobserve(self._subscription)
        self.log.unregister(self.document)

    # ---- writing --------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(
        self,
        origin: str,
        *,
        cursor: tuple[str, int, int] | None = None,
        runs: Sequence[RunRow] = (),
        chunks: Sequence[Chunk | Drop] = (),
    ) -> Generator[None]:
        """Change the document as the server.

        What is written to ``ydoc`` inside, the journal cursor ``(kernel_id, generation, seq)``, changed run rows and
        stream chunks become durable together, or not at all. When the block raises, what it wrote to the document
        before is kept (Yjs cannot take it back) and the cursor, runs and chunks are not.

        Args:
            origin: who writes, for observers; never empty, so that no undo manager takes it for a user's edit.

        Raises:
            RuntimeError: a transaction of this room is open already.
        """
        if self._open or not origin:
            raise RuntimeError("a transaction of this room is open already" if self._open else "a transaction needs an origin")
        self._check()
        before = self.ydoc.get_state()
        self._open = True
        complete = False
        try:
            with self.ydoc.transaction(origin=origin):
                yield
            complete = True
        finally:
            self._open = False
            if complete:
                self._commit(
                    before,
                    None,
                    None if cursor is None else CursorRow(*cursor),
                    runs,
                    chunks,
                )
            else:
                self._commit(before, None)

    def record(
        self,
        *,
        cursor: tuple[str, int, int] | None = None,
        runs: Sequence[RunRow] = (),
        chunks: Sequence[Chunk | Drop] = (),
    ) -> None:
        """Commit rows that come without a change of the document, in order with all else."""
        self._commit(b"", None, None if cursor is None else CursorRow(*cursor), runs, chunks)

    def record_saved(self, saved: Saved) -> None:
        """Commit what the file holds, in order with all else."""
        self.log.append(Commit(self.document, saved=saved))

    async def committed(self) -> bool:
        """Wait until everything up to now is durable. False: the log fails just now, and what was done is in memory only."""
        return await self.log.committed()

    def snapshot(self) -> bytes:
        """The whole document as one update."""
        return self.ydoc.get_update()

    def compact(self, *, closing: bool = False) -> None:
        """Replace the log of this document by one snapshot: when it grew, or it is closed. The history, and so the epoch, stays."""
        if closing and self._rows > 1:
            self.write_snapshot(self.snapshot())
        elif self._rows > _COMPACT_ROWS or self._bytes > _COMPACT_BYTES:
            update = self.snapshot()
            if self._rows > _COMPACT_ROWS or self._bytes > 2 * len(update):
                self.write_snapshot(update)

    def write_snapshot(self, update: bytes) -> None:
        """Make ``update``, the whole document, all that the log has of it."""
        self._rows, self._bytes = 1, len(update)
        self.log.append(Commit(self.document, update=update, snapshot=True))

    def loaded(self, history: History) -> None:
        """The document was filled from ``history``: counts it for :meth:`compact`."""
        self._rows, self._bytes = len(history.updates), sum(map(len, history.updates))

    # ---- reading --------------------------------------------------------------------------------------------------

    @property
    def mirror(self) -> Mirror:
        """What is in the document. What a page may not do is repaired before anybody looks."""
        self._check()
        return self._mirror

    def find_cell(self, cell_id: str) -> YCell | None:
        """The Yjs map of a cell; None when there is no such cell (any more)."""
        cell = self.mirror.find(cell_id)
        return None if cell is None else cell.shared

    def cell_ids(self) -> list[str]:
        """The ids of all cells, in order."""
        return [cell.id for cell in self.mirror]

    def subscribe(self, callback: Callable[[Change, bool], None]) -> Callable[[], None]:
        """``callback(change, by_page)`` after every transaction that changed cells or metadata; returns "unsubscribe"."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    # ---- state ----------------------------------------------------------------------------------------------------

    def set_state(self, key: str, value: JSON) -> None:
        """Set one key of the ``state`` frame; all pages get what changed, once per turn of the loop."""
        if key in self.state and self.state[key] == value:
            return
        self.state[key] = value
        for peer in self.peers:
            peer.stale_keys.add(key)
        self.tick()

    def notice(self, key: str, level: str, text: str, **action: JSON) -> None:
        """Show a notice to all pages until :meth:`drop_notice`; one of the same ``key`` is replaced."""
        notices = [entry for entry in self._notices() if entry.get("key") != key]
        self.set_state("notices", [*notices, {"key": key, "level": level, "text": text, **action}])

    def drop_notice(self, key: str) -> None:
        """Take a notice back, if there is one of that key."""
        notices = self._notices()
        kept = [entry for entry in notices if entry.get("key") != key]
        if len(kept) != len(notices):
            self.set_state("notices", [*kept])

    def forget_gone(self) -> None:
        """Forget clients that are gone once every page knows."""
        for client in [client for client, entry in self.presence.items() if entry.state == "null"]:
            if not any(client in peer.stale_presence for peer in self.peers):
                del self.presence[client]

    def _notices(self) -> list[dict[str, JSON]]:
        notices = self.state.get("notices")
        return [entry for entry in notices if isinstance(entry, dict)] if isinstance(notices, list) else []

    def announce_path(self) -> None:
        """Tell all pages that the notebook has another path: ``hello`` again."""
        for peer in self.peers:
            peer.greet()

    def tick(self) -> None:
        """Let every page send what it owes, at the end of this turn of the loop."""
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        self._ticking = False
        for peer in list(self.peers):
            peer.tick()

    # ---- a page's updates -----------------------------------------------------------------------------------------

    def apply(self, sender: Peer, update: bytes, *, missed: bool = False) -> Change:
        """Apply a page's update, repair what it may not do, and send it on its way.

        Args:
            missed: it holds all that was missed from this page, made when it did not know of others' changes.

        Returns:
            What the page changed, without the repairs.

        Raises:
            ProtocolError: it is not a Yjs update.
        """
        self._check()
        before = self.ydoc.get_state()
        self._mirror.remember()
        try:
            with self.ydoc.transaction(origin="page"):
                self.ydoc.apply_update(update)
        except (ValueError, ExceptionGroup) as error:
            self._commit(before, None)
            raise ProtocolError("A sync frame does not hold a Yjs update.") from error
        if self._update is None and self._lacks_for(update):
            # It builds on changes that we do not have. Yjs keeps it until they come, and so does the log; ask for them.
            self._update = update
            sender.ask()
        change = self._commit(before, sender)
        self._unchecked = (change, missed)
        if self._mirror.stale > _AT_ONCE or len(change.inserted) > _AT_ONCE:
            asyncio.get_running_loop().call_soon(self._check)
        else:
            self._check()
        return change

    def _check(self) -> None:
        """Repair what the last page's update may not do: at once, or, when it changed many cells, after others had their turn.

        Always before anybody looks or writes: both are to see what that update left.
        """
        if self._unchecked is None or self._closed:
            return
        (change, missed), self._unchecked = self._unchecked, None
        try:
            # In one transaction: each look would be one of its own otherwise, which costs more than the look.
            with self.ydoc.transaction(origin="guard"):
                repairs = self._guard.repairs(change, missed=missed)
            if repairs:
                with self.transaction("guard"):
                    self._guard.mend(repairs, self.cells)
        except Exception:  # whoever writes or reads next has nothing to do with it
            log.exception("What a page changed could not be checked, and stays")
        if self._mirror.stale > _AT_ONCE:
            self._remember_soon()

    def _remember_soon(self) -> None:
        """Many cells changed: read them in slices, before the next update needs them all."""
        if not self._remembering:
            self._remembering = True
            asyncio.get_running_loop().call_soon(self._remember)

    def _remember(self) -> None:
        self._remembering = False
        self._check()
        if not self._closed and not self._mirror.remember(_AT_ONCE):
            self._remember_soon()

    def _lacks_for(self, update: bytes) -> bool:
        """Whether ``update`` begins beyond what the document has."""
        begin = protocol.first_struct(update)
        return begin is not None and begin[1] > protocol.parse_state(self.ydoc.get_state()).get(begin[0], 0)

    def _run_state(self, cell_id: str) -> str:
        return self.run_state(cell_id)

    def _on_update(self, event: TransactionEvent) -> None:
        self._update = event.update

    def _commit(
        self,
        before: bytes,
        sender: Peer | None,
        cursor: CursorRow | None = None,
        runs: Sequence[RunRow] = (),
        chunks: Sequence[Chunk | Drop] = (),
    ) -> Change:
        update, self._update = self._update, None
        commit = Commit(self.document, update=update, cursor=cursor, runs=runs, chunks=chunks)
        if update is not None:
            self._rows += 1
            self._bytes += len(update)
            item = _Sent(self.ordinal, update, before, sender)
            self.ordinal += 1
            commit.done = lambda durable: self._on_committed(item, durable)
        elif sender is not None:
            commit.done = lambda durable: sender.acknowledge() if durable else None
        if update is not None or commit.done is not None or cursor is not None or runs or chunks:
            self.log.append(commit)
        change = self._mirror.take()
        if change:
            for listener in list(self._listeners):
                listener(change, sender is not None)
        return change

    def _on_committed(self, item: _Sent, durable: bool) -> None:
        if not item.sent:
            item.sent = True
            frame: bytes | None = None
            for peer in self.peers:
                if peer is not item.sender and peer.wants(item.ordinal):
                    frame = frame or protocol.update(item.update)
                    peer.offer(frame, item.before)
        if durable and item.sender is not None:
            item.sender.acknowledge()
