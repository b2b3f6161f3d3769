"""Keeps a document and its file together: saves by itself, finds what others wrote into the file, and merges it.

A save is atomic and compares first: the file must be what we last read or wrote, by its hash; else what is there is merged
per cell. What the file holds is committed to the log before and after, so that a crash between the two is no conflict.
A save that fails keeps the old file, says why, and is tried again by itself. What is written must follow from what was
saved by known changes; when it does not, the old file is kept beside first.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from homeport.core import paths
from homeport.core.backoff import Backoff
from homeport.core.cell_merge import CellPrint, align, stages, supposed_base
from homeport.documents.blobs import Blobs
from homeport.documents.codec import Notebook
from homeport.documents.conflicts import conflict_of
from homeport.documents.encoder import Base, Encoder, Snapshot, metadata_digests
from homeport.documents.ids import new_cell_id
from homeport.documents.limits import Limits
from homeport.documents.merging import merge_into, merge_metadata
from homeport.documents.mirror import Change
from homeport.documents.room import Room
from homeport.documents.save_history import SaveHistory
from homeport.documents.schema import Cell
from homeport.documents.serial import BlobPiece, Piece, fingerprint
from homeport.documents.tables import Saved
from homeport.documents.worker import Worker
from homeport.errors import Conflict, HomeportError, InvalidNotebook, NotFound
from homeport.folders import private
from homeport.protocol.document import JSON
from homeport.stores.base import Store

log = logging.getLogger(__name__)

_RECOVERY_COPIES = 10
_LOST = msgspec.json.encode("[this output is not kept any more]")
_ATTEMPTS = 5
_MERGED_AT_ONCE = 50
"""Cells: some 20 ms."""
_NO_RESULTS = fingerprint({})[1]


class Saver:
    """See the module. One per open document; belongs to the event loop.

    Args:
        room: the document.
        encoder: serialises it.
        store: where the file is.
        worker: reads the file when somebody else wrote it.
        path: the file.
        blobs: has the big outputs.
        limits: when to save.
        recovery: folder of this document's recovery copies.
        history: keeps each saved state.
        base: what the file held when it had ``digest``.
        digest: sha256 of the file; empty when it is not there.
        removed: None for a document that was made from the file; for one that comes from the log, and may be ahead of the
            file: the ids of the cells that were taken out on the way.
    """

    def __init__(
        self,
        *,
        room: Room,
        encoder: Encoder,
        store: Store,
        worker: Worker,
        path: str,
        blobs: Blobs,
        limits: Limits,
        recovery: Path,
        history: SaveHistory,
        base: Base,
        digest: str,
        removed: Collection[str] | None,
    ) -> None:
        self.path = path
        self._room = room
        self._encoder = encoder
        self._store = store
        self._worker = worker
        self._blobs = blobs
        self._limits = limits
        self._recovery = recovery
        self._history = history
        self._base = base
        self._hash: str = digest
        self._gone = not digest
        self._trashed = False
        self._mark: tuple[int | None, float] | None = None
        self._turn = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._backoff = Backoff(first=1.0, longest=15.0)
        self._dirty_since: float | None = None
        self._error: HomeportError | None = None
        self._at: float | None = None
        # Cells changed and removed by known changes since the last save: id, and the encoder's version.
        self._touched: dict[str, int] = {}
        self._removed: dict[str, int] = dict.fromkeys(removed or (), 0)
        # What happened before a restart is in the log; which cells it changed cannot be told any more.
        self._trust_contents = removed is not None
        self._conflicts = False
        self._closed = False
        self._unsubscribe = room.subscribe(self._on_change)
        self._show("saved")
        if removed is not None:
            self._schedule()

    @property
    def clean(self) -> bool:
        """Whether the file holds all of the document."""
        return self._dirty_since is None and self._error is None

    @property
    def gone(self) -> bool:
        """Whether the file was deleted or moved by others: only a person's wish makes it again."""
        return self._gone

    # ---- saving ---------------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """Save now, and have it written down that this was done. A file that was deleted or moved by others is made again.

        Raises:
            HomeportError: it could not be saved; it is tried again by itself.
        """
        await self._attempt(create=True)
        if self._error is not None:
            raise self._error
        await self._room.committed()

    async def close(self) -> bool:
        """Save what is not saved, once.

        Returns:
            Whether the file holds all of the document.
        """
        self._cancel()
        if not self.clean:
            await self._attempt()
        self._closed = True
        self._cancel()
        self._unsubscribe()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.clean

    async def model(self) -> list[bytes]:
        """The whole notebook as a file would hold it now, in pieces."""
        return await asyncio.to_thread(list, self._content(await self.pieces(), []))

    async def pieces(self) -> list[Piece]:
        """The same, with the names of big outputs in the place of their content."""
        return (await self._encoder.snapshot()).pieces()

    async def _attempt(self, *, create: bool = False) -> None:
        """Save, and say how it went. Who waits may be cancelled, a save may not: what replaced the file would seem another program's."""
        await asyncio.shield(self._begin(create=create))

    def _begin(self, *, create: bool = False) -> asyncio.Task[None]:
        task = asyncio.create_task(self._save_and_tell(create), name=f"save {self.path}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _save_and_tell(self, create: bool) -> None:
        async with self._turn:
            self._cancel()
            began = time.monotonic()
            try:
                version = await self._save(create)
            except HomeportError as error:
                self._failed(error)
                return
            except Exception:  # it is shown, and tried again like any other failure
                log.exception("%s could not be saved", self.path)
                self._failed(_defect(self.path))
                return
            self._error = None
            self._backoff.reset()
            self._at = time.time()
            self._dirty_since = None if version == self._encoder.version else began
            self._show("saved" if self._dirty_since is None else "unsaved")
            self._room.compact()
            if self._dirty_since is not None:
                self._schedule()

    async def _save(self, create: bool) -> int:
        """Returns the version of the document that the file holds now."""
        for _ in range(_ATTEMPTS):
            snapshot = await self._encoder.snapshot()
            base = snapshot.base()
            # A file that is no notebook has to be looked at again, also when there is nothing to save.
            doubtful = isinstance(self._error, InvalidNotebook)
            if base != self._base or self._gone or doubtful:
                if self._gone and not create:
                    raise self._missing()
                self._show("saving")
                try:
                    await self._write(snapshot, base, anyway=doubtful)
                except Conflict as conflict:
                    await self._on_conflict(conflict, create)
                    continue
            else:
                self._settled(base, snapshot.version)
            return snapshot.version
        raise Conflict(f"“{self.path}” is changed by another program again and again; it is saved when that ends.", path=self.path)

    async def _on_conflict(self, conflict: Conflict, create: bool) -> None:
        """The file is not what it was. Afterwards another attempt is worth it."""
        if conflict.data.get("gone"):
            self._gone = True
            if not create:
                raise self._missing() from conflict
            return
        try:
            await self._merge_file()
        except InvalidNotebook:
            if not create:
                raise
            # Whoever asks to save now wants the notebook; what stands there is kept beside it.
            await self._keep_old("another program had changed it to something that is no notebook")
            self._hash = await self._store.hash(self.path)

    async def _write(self, snapshot: Snapshot, base: Base, *, anyway: bool) -> None:
        lost: list[str] = []
        pieces = snapshot.pieces()
        # Never one text of it all: to copy 30 MB at once takes so long that others want the interpreter meanwhile.
        data = await asyncio.to_thread(list, self._content(pieces, lost))
        complaint = self._shrinks(base) or (f"{len(lost)} outputs are not kept any more" if lost else "")
        if complaint:
            await self._keep_old(complaint)
        digest = await asyncio.to_thread(_sha256, data)
        encoded = base.encode()
        replaces = digest != self._hash or self._gone or anyway
        if replaces:
            self._room.record_saved(Saved(digest, encoded, done=False))
            await self._room.committed()
            if self._gone:
                await self._make_folders()
                await self._store.write(self.path, data, size=sum(map(len, data)), create_only=True)
            else:
                await self._keep_first()
                await self._store.write(self.path, data, size=sum(map(len, data)), if_match=self._hash)
        self._hash, self._gone, self._trashed = digest, False, False
        # At once: were we killed before, and were another program to write, nobody could tell from which of the two it began.
        self._room.record_saved(Saved(digest, encoded))
        self._settled(base, snapshot.version)
        if replaces:
            try:
                await self._note_mark()
            except HomeportError:
                # It went at once, or cannot be looked at: whoever looks next says so.
                self._mark = None
            await self._keep(pieces, digest)

    async def _keep_first(self) -> None:
        """Keep the state that we did not write, too, before it is replaced."""
        if not self._limits.history_count or await asyncio.to_thread(self._history.holds, self._file, self._hash):
            return
        with contextlib.suppress(HomeportError):
            # Whatever is wrong with the file, the save itself finds and says it.
            content, digest = await self._store.read(self.path)
            if digest == self._hash:
                await self._keep([content], digest, at=(await self._store.stat(self.path)).modified)

    async def _keep(self, pieces: Sequence[Piece], digest: str, at: float | None = None) -> None:
        try:
            await asyncio.to_thread(self._history.keep, self._file, pieces, digest, at=at)
        except (OSError, HomeportError) as error:
            # A full state folder is told of already; the notebook itself is saved.
            log.info("this state of %s is not kept in its history: %s", self.path, error)

    @property
    def _file(self) -> Path:
        return self._store.absolute(self.path)

    async def _make_folders(self) -> None:
        """The file's folder may have gone with it."""
        parts = paths.parent(self.path).split("/")
        for depth in range(1, len(parts) + 1 if parts[0] else 1):
            with contextlib.suppress(Conflict):
                await self._store.make_folder("/".join(parts[:depth]))

    def _settled(self, base: Base, version: int) -> None:
        """The file holds ``base``, which is that version of the document."""
        self._base = base
        self._trust_contents = False
        self._touched = {cell_id: at for cell_id, at in self._touched.items() if at > version}
        self._removed = {cell_id: at for cell_id, at in self._removed.items() if at > version}

    def _content(self, pieces: Sequence[Piece], lost: list[str]) -> Iterator[bytes]:
        for piece in pieces:
            if not isinstance(piece, BlobPiece):
                yield piece
                continue
            try:
                yield self._blobs.raw(piece.name)
            except NotFound:
                lost.append(piece.name)
                yield _LOST

    # ---- never smaller than it was ------------------------------------------------------------------------------------

    def _shrinks(self, base: Base) -> str:
        """What is missing of the last saved state without anybody having removed it; empty when nothing is."""
        now = {cell.id: cell for cell in base.cells}
        missing = [cell.id for cell in self._base.cells if cell.id not in now and cell.id not in self._removed]
        if missing:
            return f"{len(missing)} cells are missing"
        if self._trust_contents:
            return ""
        known = self._touched.keys() | self._removed.keys()
        changed = [cell.id for cell in self._base.cells if cell.id in now and now[cell.id] != cell and cell.id not in known]
        return f"{len(changed)} cells changed by themselves" if changed else ""

    async def _keep_old(self, complaint: str) -> None:
        """Keep a copy of the file as it is before it is replaced."""
        if self._gone:
            return
        content, digest = await self._store.read(self.path)
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{digest[:8]}.ipynb"

        def keep() -> None:
            folder = private(self._recovery)
            (folder / name).write_bytes(content)
            for old in sorted(folder.glob("*.ipynb"))[:-_RECOVERY_COPIES]:
                old.unlink()

        try:
            await asyncio.to_thread(keep)
        except OSError as error:
            raise Conflict(
                f"“{self.path}” is not saved: {complaint}, and the old file could not be kept first ({error.strerror}).", path=self.path
            ) from error
        text = f"Before this notebook was saved, a copy of the old file was kept, because {complaint}: {self._recovery / name}"
        log.warning("%s: %s", self.path, text)
        self._room.notice(f"recovery-{digest[:8]}", "warning", text)

    # ---- what others write ----------------------------------------------------------------------------------------

    async def outside(self) -> None:
        """The file may have changed: look, and merge what is new."""
        async with self._turn:
            try:
                stat = await self._store.stat(self.path)
                if (stat.size, stat.modified) == self._mark and not self._gone:
                    return
                digest = await self._store.hash(self.path)
                if digest != self._hash:
                    await self._merge_file()
                elif self._gone or isinstance(self._error, InvalidNotebook):
                    self._gone, self._trashed, self._error = False, False, None
                    self._show("saved" if self._dirty_since is None else "unsaved")
                if self._dirty_since is not None:
                    # What was changed while it could not be saved: nothing else may come that would save it.
                    self._schedule()
                await self._note_mark()
            except NotFound:
                self._gone = True
                self._failed(self._missing())
            except HomeportError as error:
                self._failed(error)
            except Exception:  # as in a save
                log.exception("%s could not be compared with its file", self.path)
                self._failed(_defect(self.path))

    async def deleted(self) -> None:
        """The file was deleted on purpose, by a client of this server: it stays away until somebody saves it."""
        self._trashed = True
        await self.outside()

    def _missing(self) -> HomeportError:
        who = "deleted to the trash from another page" if self._trashed else "deleted or moved by another program"
        return NotFound(f"“{self.path}” was {who}; save it to have it again.", path=self.path)

    async def merge(self, notebook: Notebook) -> None:
        """Take in a whole notebook that did not come from the file, and is to be what counts: a client's PUT."""
        async with self._turn:
            await self._merge(notebook)

    async def unite(self, notebook: Notebook) -> None:
        """Take in what a page of another history holds, for its age is not known: nothing of the document goes or changes."""
        async with self._turn:
            await self._encoder.settle()
            ours, prints = self._encoder.prints(), list(notebook.prints)
            if notebook.minor < 5:
                # The file has no ids: the page's were made for its history, and ours for this one.
                prints = align(ours, prints, new_cell_id)
            conflicts = await self._merge_cells(supposed_base(ours, prints, _NO_RESULTS), prints, notebook.cells)
            added = len({cell.id for cell in prints} - {cell.id for cell in ours})
            if conflicts or added:
                log.info("%s: a page of another history had %d cells differently, and %d more", self.path, conflicts, added)
                self._conflicts = self._conflicts or conflicts > 0
                self._room.notice("conflicts" if conflicts else "returned", "warning", _returned(conflicts, added))

    async def _merge_file(self) -> None:
        try:
            stat = await self._store.stat(self.path)
            if stat.size is not None and stat.size > self._limits.worker_above:
                notebook, digest = await self._worker.open(self._store.absolute(self.path), self.path)
            else:
                content, digest = await self._store.read(self.path, limit=self._limits.notebook)
                notebook = await self._worker.read([content], self.path)
        except InvalidNotebook as error:
            raise InvalidNotebook(
                f"Another program changed the file to something that is no notebook; it is left alone. {error.message}", path=self.path
            ) from error
        if digest == self._hash:
            return
        prints = await self._merge(notebook)
        self._hash, self._gone, self._trashed, self._error = digest, False, False, None
        self._base = Base(prints, metadata_digests(notebook.metadata), notebook.minor)
        self._room.record_saved(Saved(digest, self._base.encode()))
        log.info("%s was changed by another program; merged", self.path)

    async def _merge(self, notebook: Notebook) -> list[CellPrint]:
        """Merge into the document; returns the digests of ``notebook`` under the ids that the document knows them by."""
        base, prints = self._base, list(notebook.prints)
        if notebook.minor < 5 or base.minor < 5 or notebook.made_ids:
            prints = align(base.cells, prints, new_cell_id)
        conflicts = await self._merge_cells(base.cells, prints, notebook.cells)
        head = self._encoder.head()
        digests = metadata_digests(notebook.metadata)
        merge_metadata(self._room, base.metadata, head.digests(), notebook.metadata, digests)
        if notebook.minor != base.minor and head.minor == base.minor and not notebook.upgraded:
            with self._room.transaction("merge"):
                self._room.meta["nbformat_minor"] = notebook.minor
        if conflicts:
            self._conflicts = True
            what = "a cell was" if conflicts == 1 else f"{conflicts} cells were"
            self._room.notice(
                "conflicts", "warning", f"{what.capitalize()} changed here and by another program; the other version stands below each."
            )
        return prints

    async def _merge_cells(self, base: Sequence[CellPrint], prints: Sequence[CellPrint], cells: Sequence[Cell]) -> int:
        """Merge cells, whose digests are ``prints``. Returns the number of conflict copies."""
        theirs: dict[str, Cell] = {found.id: cell for found, cell in zip(prints, cells, strict=True)}
        conflicts, before = 0, base
        for after in stages(before, prints, _MERGED_AT_ONCE):
            await self._encoder.settle()
            conflicts += merge_into(self._room, before, self._encoder.prints(), theirs, after)
            before = after
            # The pages' changes come in between; a big merge would hold them up for long.
            await asyncio.sleep(0)
        return conflicts

    async def _note_mark(self) -> None:
        """Remember how the file looks, so that a look at it is enough to see that nothing happened."""
        stat = await self._store.stat(self.path)
        self._mark = (stat.size, stat.modified)

    # ---- when -------------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change, by_page: bool) -> None:
        # The encoder listens too, and has counted this change already: it was made first.
        version = self._encoder.version
        self._removed.update((cell.id, version) for cell in change.removed)
        self._touched.update((cell.id, version) for cell in (*change.inserted, *change.touched))
        touched = any(names != {"execution_state"} for names in change.touched.values())
        settled = change.removed or any("metadata" in names for names in change.touched.values())
        if self._conflicts and settled and not any(conflict_of(cell.shared) for cell in self._room.mirror):
            self._conflicts = False
            self._room.drop_notice("conflicts")
        if not (change.inserted or change.removed or change.meta or touched):
            return
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()
            if self._error is None:
                self._show("unsaved")
        self._schedule()

    def _schedule(self) -> None:
        if self._closed or (self._error is not None and self._timer is not None):
            return
        now = time.monotonic()
        latest = (self._dirty_since if self._dirty_since is not None else now) + self._limits.save_at_most
        self._set_timer(max(0.0, min(self._limits.save_after, latest - now)))

    def _failed(self, error: HomeportError) -> None:
        if self._error is None or self._error.message != error.message:
            # That somebody deleted the file is no trouble of this server's.
            log.log(logging.INFO if self._gone else logging.WARNING, "%s is not saved: %s", self.path, error.message)
        self._error = error
        self._show("failed")
        if not self._closed and not (self._gone or isinstance(error, InvalidNotebook)):
            self._set_timer(self._backoff.next(random.random()))

    def _set_timer(self, delay: float) -> None:
        self._cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._begin()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show(self, state: str) -> None:
        error: JSON = None if self._error is None else {"code": self._error.code, "message": self._error.message}
        self._room.set_state("save", {"state": state, "error": error, "at": self._at})


def _defect(path: str) -> HomeportError:
    return HomeportError(f"Something went wrong in the server when it was to save “{path}”; its log says more.")


def _returned(conflicts: int, added: int) -> str:
    """What is told of a page of another history."""
    told = ["A page that was open since before this server lost track of it came back, perhaps with older work; nothing here was replaced."]
    if conflicts:
        what = "1 cell that it had differently stands" if conflicts == 1 else f"{conflicts} cells that it had differently stand"
        told.append(f"{what} below the one of here.")
    if added:
        told.append("1 cell that only it had was added." if added == 1 else f"{added} cells that only it had were added.")
    return " ".join(told)


def _sha256(data: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for piece in data:
        whole.update(piece)
    return whole.hexdigest()
