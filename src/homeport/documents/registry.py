"""The open notebooks of this server, one document per file.

Opens them from the file or from the log, goes on with those that were running, closes those that nobody needs, and is told
of files that are renamed and deleted. All that leaves a document open or not is decided here; what happens in one is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from homeport.core import paths
from homeport.documents.blob_sweep import sweep
from homeport.documents.blobs import Blobs, Inline
from homeport.documents.codec import Notebook, OldFormat
from homeport.documents.comparing import CellDifference, compare, pieces_without_ids
from homeport.documents.document import Document, Runs
from homeport.documents.encoder import Base, Encoder, decode_base, metadata_digests
from homeport.documents.ids import new_id
from homeport.documents.limits import Limits
from homeport.documents.lock import DocumentLock
from homeport.documents.log import Log
from homeport.documents.opening import build, rebuild
from homeport.documents.room import Room, YDoc
from homeport.documents.save_history import SaveHistory
from homeport.documents.saver import Saver
from homeport.documents.tables import DocumentRow, History, Saved
from homeport.documents.watcher import Watcher
from homeport.documents.worker import Worker
from homeport.documents.worker_main import too_large
from homeport.errors import HomeportError, InvalidNotebook, NotFound, TooLarge
from homeport.folders import Folders, private
from homeport.stores.base import Store
from homeport.stores.files import pieces_of

if TYPE_CHECKING:
    from homeport.kernels.client import SupervisorClient
    from homeport.kernels.sessions import Sessions

log = logging.getLogger(__name__)

MakeRunner: TypeAlias = Callable[[Room, History, str, Inline], Runs]

_LATE = ("homeport.documents.runner", "watchfiles", "anyio._backends._asyncio")
_TEND_EVERY = 5.0
_SWEEP_EVERY = 600.0
_RUNS_KEPT = 7 * 86400.0
_DOCUMENTS_KEPT = 30 * 86400.0


class Documents:
    """The registry. Belongs to the event loop.

    Args:
        store: where notebooks are.
        supervisor: has the kernels.
        sessions: which notebook has which kernel.
        folders: of this user; the log, the blobs and the locks are in the state folder.
        limits: of documents.
        base_url: the server's, for links in outputs.
        runner: makes the runner of a document; ``runner.Runner`` by default.
    """

    def __init__(
        self,
        *,
        store: Store,
        supervisor: SupervisorClient,
        sessions: Sessions,
        folders: Folders,
        limits: Limits | None = None,
        base_url: str = "/",
        runner: MakeRunner | None = None,
    ) -> None:
        self.url = ""
        """Where this server is reached: told to another server that wants a notebook which is open here."""
        self.limits = limits or Limits()
        self._store = store
        self._supervisor = supervisor
        self._sessions = sessions
        self._state = private(folders.state)
        self._file = self._state / "state.db"
        self.log = Log(self._file, backlog=self.limits.log_backlog)
        self.blobs = Blobs(self._state / "blobs", base_url=base_url, limits=self.limits)
        self.history = SaveHistory(self._state / "history", self.blobs, count=self.limits.history_count, size=self.limits.history_size)
        """The saved states of all files; reads and writes the disk: for threads."""
        self._make_runner = runner or self._default_runner
        self._worker = Worker(self.blobs)
        self._watcher = Watcher(self._on_files)
        self._open: dict[Path, Document] = {}
        self._opening: dict[Path, asyncio.Task[Document]] = {}
        self._closing: dict[Path, asyncio.Task[bool]] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self._tending: asyncio.Task[None] | None = None
        self._warning: str | None = None

    # ---- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the log.

        Raises:
            StoreFailed: it cannot be opened.
        """
        self._warning = await self.log.open()
        if self._warning:
            log.warning(self._warning)
        self.log.subscribe(self._on_log)
        self._tending = asyncio.create_task(self._tend(), name="tend documents")

    async def resume(self) -> None:
        """Open the documents that have a queue or a running kernel, so that they go on without a page."""
        root = self._store.absolute("")
        running = {session.path for session in self._sessions.list() if session.type == "notebook"}
        queued = {str(Path(file).relative_to(root)) for file in await self.log.unfinished() if paths.contains(str(root), file)}
        for path in sorted(running | queued):
            try:
                await self.open(path)
            except HomeportError as error:
                # A client may give its session any path; what had cells to run was a notebook.
                level = logging.INFO if isinstance(error, NotFound) and path not in queued else logging.WARNING
                log.log(level, "%s cannot go on: %s", path, error.message)

    async def close(self) -> None:
        """Save everything and let go; kernels run on."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), *self._looks, return_exceptions=True)
        await asyncio.gather(*(self._close(file) for file in list(self._open)), return_exceptions=True)
        await asyncio.gather(*self._closing.values(), return_exceptions=True)
        await self._watcher.close()
        await self._worker.close()
        await self.log.close()

    # ---- opening --------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Document | None:
        """The open document of ``path``; None when it is not open."""
        try:
            return self._open.get(self._store.absolute(path))
        except HomeportError:
            return None

    def all(self) -> list[Document]:
        """All open documents."""
        return list(self._open.values())

    async def open(self, path: str) -> Document:
        """The document of the notebook at ``path``, opened when it is not.

        Raises:
            NotFound: there is no such file.
            InvalidNotebook: it is not JSON, not a notebook, or of a newer nbformat.
            TooLarge: it is above the limit.
            Locked: another server has it open.
            Forbidden, StoreFailed: it cannot be read.
        """
        path = paths.parse(path)
        file = self._store.absolute(path)
        if file in self._closing:
            await asyncio.gather(self._closing[file], return_exceptions=True)
        if file in self._open:
            return self._open[file]
        task = self._opening.get(file)
        if task is None:
            task = self._opening[file] = asyncio.create_task(self._start_document(path, file), name=f"open {path}")
            task.add_done_callback(lambda _: self._opening.pop(file, None))
        # Whoever waits may go away; the others still want it.
        return await asyncio.shield(task)

    async def _start_document(self, path: str, file: Path) -> Document:
        await asyncio.to_thread(_import_late)
        gone = await self._is_gone(path, file)
        row = await self.log.document(str(file), new_id(), new_id())
        lock = DocumentLock(self._state / "locks", row.id)
        taking = asyncio.ensure_future(asyncio.to_thread(lock.take, path=path, url=self.url))
        try:
            await asyncio.shield(taking)
            document = await self._load(path, file, row, lock, gone=gone)
        except BaseException:
            await asyncio.gather(taking, return_exceptions=True)
            lock.release()
            raise
        self._open[file] = document
        self._watch()
        document.runner.start()
        return document

    async def _is_gone(self, path: str, file: Path) -> bool:
        """Whether the file is not there, while the log still has of it what no file held.

        Raises:
            NotFound: it is not there, and nothing is kept of it.
        """
        try:
            stat = await self._store.stat(path)
        except NotFound:
            row = await self.log.find(str(file))
            if row is None or row.clean or not (await self.log.history(row.id)).updates:
                raise
            return True
        if stat.type == "directory":
            raise InvalidNotebook(f"“{path}” is a folder, not a notebook.", path=path)
        if stat.size is not None and stat.size > self.limits.notebook and not await self._is_known(file):
            limit = self.limits.notebook
            raise TooLarge(too_large(path, stat.size, limit), path=path, size=stat.size, limit=limit, option="--notebook-limit")
        return False

    async def _is_known(self, file: Path) -> bool:
        """Whether the log has the notebook itself: it grew here, and its queue and its kernel go on, whatever the size of its file."""
        row = await self.log.find(str(file))
        return row is not None and bool((await self.log.history(row.id)).updates)

    async def _load(self, path: str, file: Path, row: DocumentRow, lock: DocumentLock, *, gone: bool) -> Document:
        history = await self.log.history(row.id)
        doc: YDoc | None = None
        removed: set[str] = set()
        if history.updates:
            doc, removed = await self._rebuilt(path, row, history)
        notebook: Notebook | None = None
        if doc is not None:
            base, digest = await self._known(path, row, gone=gone)
        else:
            notebook, digest = await self._read(path, file)
            base = Base(notebook.prints, metadata_digests(notebook.metadata), notebook.minor)
        if doc is None:
            assert notebook is not None
            doc = await build(notebook)
            # Pages may hold another history under the old name: of a damaged log, or of one that could not be written.
            row = await self.log.renew(row.id, new_id())
        room = Room(document=row.id, epoch=row.epoch, doc=doc, log=self.log)
        if notebook is not None:
            room.write_snapshot(room.snapshot())
            room.record_saved(Saved(digest, base.encode()))
        else:
            room.loaded(history)
            if row.saving and digest == row.saving:
                # The next save writes down what it is about to write in the place of this one.
                room.record_saved(Saved(digest, base.encode()))
        await room.mirror.remember_all()
        document = self._assemble(path, room, history, lock, base, digest, removed=removed if notebook is None else None)
        if notebook is None and not gone:
            await document.saver.outside()
        return document

    def _assemble(
        self, path: str, room: Room, history: History, lock: DocumentLock, base: Base, digest: str, *, removed: set[str] | None
    ) -> Document:
        inline = Inline(self.limits.inline_document)
        encoder = Encoder(room, inline)
        saver = Saver(
            room=room,
            encoder=encoder,
            store=self._store,
            worker=self._worker,
            path=path,
            blobs=self.blobs,
            limits=self.limits,
            recovery=self._state / "recovery" / room.document,
            history=self.history,
            base=base,
            digest=digest,
            removed=removed,
        )
        runner = self._make_runner(room, history, path, inline)
        if self._warning:
            room.notice("state", "warning", self._warning)
        if self.log.failure:
            _warn(room, self.log.failure)
        return Document(room=room, runner=runner, saver=saver, encoder=encoder, lock=lock, limits=self.limits)

    async def _rebuilt(self, path: str, row: DocumentRow, history: History) -> tuple[YDoc | None, set[str]]:
        """The document from the log, with the cells that were taken out of it; None when the log is damaged.

        What a damaged log held is put aside, and the file is what counts.
        """
        try:
            return await rebuild(history.updates)
        except (ValueError, ExceptionGroup) as error:
            kept = private(self._state / "recovery" / row.id) / f"{time.strftime('%Y%m%d-%H%M%S')}.updates"
            await asyncio.to_thread(kept.write_bytes, b"".join(len(data).to_bytes(8, "big") + data for data in history.updates))
            log.warning("%s: its history is damaged (%s) and was put aside as %s", path, error, kept)
            return None, set()

    async def _known(self, path: str, row: DocumentRow, *, gone: bool) -> tuple[Base, str]:
        """What the log says that the file holds, and the hash that says so; whether it still does is the saver's to look."""
        if gone:
            return decode_base(row.base) or Base([], {}, 5), ""
        if row.saving and row.saving != row.saved and await self._store.hash(path) == row.saving:
            # We were killed between replacing the file and writing down that we did.
            return decode_base(row.saving_base) or Base([], {}, 5), row.saving
        return decode_base(row.base) or Base([], {}, 5), row.saved or "unknown"

    async def _read(self, path: str, file: Path) -> tuple[Notebook, str]:
        stat = await self._store.stat(path)
        if stat.size is not None and stat.size > self.limits.worker_above:
            return await self._worker.open(file, path)
        content, digest = await self._store.read(path, limit=self.limits.notebook)
        return await self._worker.read([content], path), digest

    def _default_runner(self, room: Room, history: History, path: str, inline: Inline) -> Runs:
        from homeport.documents.runner import Runner

        return Runner(
            room=room,
            supervisor=self._supervisor,
            sessions=self._sessions,
            path=path,
            limits=self.limits,
            blobs=self.blobs,
            inline=inline,
            history=history,
        )

    # ---- closing --------------------------------------------------------------------------------------------------

    async def _close(self, file: Path) -> None:
        document = self._open.pop(file, None)
        if document is None:
            return
        task = self._closing[file] = asyncio.create_task(document.close(), name=f"close {document.path}")
        try:
            await asyncio.shield(task)
        finally:
            if task.done():
                self._closing.pop(file, None)
            else:
                task.add_done_callback(lambda _: self._closing.pop(file, None))
            self._watch()

    async def _tend(self) -> None:
        swept = time.monotonic() - _SWEEP_EVERY + 60.0
        while True:
            await asyncio.sleep(min(_TEND_EVERY, self.limits.close_after))
            for file, document in list(self._open.items()):
                if document.idle > self.limits.close_after:
                    await self._guarded(self._close(file), f"{document.path} could not be closed")
            if time.monotonic() - swept > _SWEEP_EVERY and self.log.failure is None:
                swept = time.monotonic()
                await self._guarded(self._prune(), "what is old could not be removed")

    async def _prune(self) -> None:
        now = time.time()
        await self.log.prune(finished_before=now - _RUNS_KEPT, unused_since=now - _DOCUMENTS_KEPT)
        await asyncio.to_thread(self.history.prune, unused_since=now - _DOCUMENTS_KEPT)
        await asyncio.to_thread(sweep, self._file, self.blobs, kept=self.history.blobs_referred_to, grace=self.limits.blob_grace)

    async def _guarded(self, work: Awaitable[object], complaint: str) -> None:
        """Tending goes on whatever fails."""
        try:
            await work
        except (HomeportError, OSError, sqlite3.Error) as error:
            log.warning("%s: %s", complaint, error)
        except Exception:  # all other documents are to be tended, too
            log.exception("%s", complaint)

    # ---- files and REST ---------------------------------------------------------------------------------------------

    async def model(self, path: str) -> list[bytes] | None:
        """The whole ``.ipynb`` of an open document, in pieces; None when it is not open."""
        document = self.get(path)
        return None if document is None else await document.saver.model()

    async def replace(self, path: str, notebook: Sequence[bytes] | Path) -> None:
        """Merge a whole notebook into an open document (or one that is opened for it), cell by cell, and save.

        Args:
            path: the notebook.
            notebook: as a file would hold it, in pieces; or a file, so that a big one does not pass through this process.

        Raises:
            InvalidNotebook: it is not a notebook.
            StoreFailed: it could not be saved; the document has it.
        """
        if isinstance(notebook, Path):
            found, _ = await self._worker.open(notebook, path)
        else:
            found = await self._worker.read(notebook, path)
        document = await self.open(path)
        with document.in_use():
            await document.saver.merge(found)
            await document.saver.save()

    async def write(self, path: str, notebook: Sequence[bytes] | Path) -> None:
        """Write a notebook for a client: merged when it is open, else into the file, and both states are kept as those of saves are.

        Args:
            path: the notebook.
            notebook: as the file is to hold it, in pieces; or a file, so that a big one does not pass through this process.

        Raises:
            StoreFailed: it could not be written.
        """
        if self.get(path) is not None:
            # Merged, as a change of the file from outside would be: nobody ever replaces an open document.
            await self.replace(path, notebook)
            return
        with contextlib.suppress(NotFound):
            await self._keep(path)
        if isinstance(notebook, Path):
            await self._store.write(path, pieces_of(notebook), size=notebook.stat().st_size)
        else:
            await self._store.write(path, notebook, size=sum(map(len, notebook)))
        await self._keep(path)

    async def _keep(self, path: str) -> None:
        """Keep the state of a file that is not open."""
        if not self.limits.history_count:
            return
        try:
            modified = (await self._store.stat(path)).modified
            content, digest = await self._store.read(path, limit=self.limits.notebook)
            await asyncio.to_thread(self._keep_content, self._store.absolute(path), content, digest, modified)
        except NotFound:
            raise
        except (OSError, HomeportError) as error:
            log.info("this state of %s is not kept in its history: %s", path, error)

    def _keep_content(self, file: Path, content: bytes, digest: str, modified: float) -> None:
        """In a thread."""
        if not self.history.holds(file, digest):
            self.history.keep(file, [content], digest, at=modified)

    async def restore(self, path: str, version: str) -> None:
        """Make a kept state the notebook's, by cell, in all its pages, and save.

        What was there is saved, and so kept, first.

        Raises:
            NotFound: the state is not kept any more.
            StoreFailed: it could not be saved; the document has it.
        """
        document = await self.open(path)
        with document.in_use():
            content = await asyncio.to_thread(self.history.read, self._store.absolute(path), version)
            await document.saver.save()
            await self.replace(path, content)

    async def compare(self, path: str, version: str) -> list[CellDifference]:
        """A kept state beside the notebook of now, cell by cell.

        Raises:
            NotFound: the state is not kept any more.
            InvalidNotebook: it is no notebook.
        """
        document = await self.open(path)
        with document.in_use():
            now = await document.saver.pieces()
        before = await asyncio.to_thread(self.history.pieces, self._store.absolute(path), version)
        try:
            return await asyncio.to_thread(compare, before, now)
        except OldFormat:
            old = await self._worker.read(await asyncio.to_thread(self.history.read, self._store.absolute(path), version), path)
            return await asyncio.to_thread(lambda: compare(pieces_without_ids(old), now))
        except ValueError as error:
            raise InvalidNotebook(f"That state of “{path}” cannot be compared cell by cell: {error}.", path=path) from error

    async def stream_text(self, key: str) -> bytes:
        """The whole text of a long stream in an open document (UTF-8).

        Raises:
            NotFound: no open document has it.
        """
        for document in list(self._open.values()):
            text = await document.stream_text(key)
            if text is not None:
                return text
        raise NotFound("That output is not there any more.", key=key)

    async def renamed(self, old: str, new: str) -> None:
        """The file or folder at ``old`` is at ``new`` now: open documents go with it."""
        before, after = self._store.absolute(old), self._store.absolute(new)
        await self.log.moved(str(before), str(after))
        await asyncio.to_thread(self.history.moved, before, after)
        for file, document in list(self._open.items()):
            moved_file, moved_path = paths.moved(str(file), str(before), str(after)), paths.moved(document.path, old, new)
            if moved_file is not None and moved_path is not None:
                del self._open[file]
                self._open[Path(moved_file)] = document
                document.path = moved_path
                document.room.announce_path()
        self._watch()

    async def deleted(self, path: str) -> None:
        """The file or folder at ``path`` was deleted on purpose: what nobody looks at is closed, whatever runs; the others are told."""
        gone = self._store.absolute(path)
        for file, document in list(self._open.items()):
            if not paths.contains(str(gone), str(file)):
                continue
            await document.saver.deleted()
            if not document.room.peers:
                await self._close(file)
                await self.log.forget(document.id)

    def _watch(self) -> None:
        self._watcher.watch({file.parent for file in self._open})

    def _on_files(self, files: set[Path] | None) -> None:
        for file, document in self._open.items():
            if files is None or file in files:
                task = asyncio.ensure_future(document.saver.outside())
                self._looks.add(task)
                task.add_done_callback(self._looks.discard)

    def _on_log(self, failure: str | None) -> None:
        for document in self._open.values():
            if failure is None:
                document.room.drop_notice("log")
            else:
                _warn(document.room, failure)


def _import_late() -> None:
    """Import what an open document needs and a starting server does not, in a thread: the loop would stand still meanwhile."""
    missing = not sys.modules.keys() >= set(_LATE)
    for name in _LATE:
        # Also what another thread has begun to import: whoever needs it on the loop would wait there for the rest.
        importlib.import_module(name)
    if missing:
        # As after the start: no collection is to look through what was imported.
        gc.freeze()


def _warn(room: Room, failure: str) -> None:
    room.notice("log", "error", f"{failure} Work goes on, but what happens now is only in memory until that is mended.")
