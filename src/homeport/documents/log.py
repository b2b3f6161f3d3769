"""The durable log of open documents: ``state.db``, SQLite in WAL mode, with one writer thread.

Everything that must survive a crash of the server goes through :meth:`Log.append` as a :class:`Commit`; commits are
grouped (all that came while the last group was being written), written in order, and reported in order. With
``synchronous=NORMAL`` a reported commit survives a crash of this process, not a power cut; ``FULL`` survives both.

When SQLite fails (disk full, read-only, an I/O error) nothing is dropped: every waiting commit is reported once as not
durable, so that work goes on in memory, stays queued in order, is tried again with back-off, and is reported again once
it is durable. The database is shared by all servers of one user; what a document means is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from homeport.core.backoff import Backoff
from homeport.documents import tables
from homeport.documents.tables import Chunk, Commit, CursorRow, DocumentRow, Drop, History, RunRow, Saved
from homeport.errors import StoreFailed

__all__ = [
    "Chunk",
    "Commit",
    "CursorRow",
    "DocumentRow",
    "Drop",
    "History",
    "Log",
    "RunRow",
    "Saved",
]

T = TypeVar("T")

# Seconds for giving free pages back: when a document is closed, and while others wait for their commits.
_TIDY, _TIDY_BETWEEN = 0.3, 0.1


@dataclass(slots=True)
class _Job:
    """Work for the writer thread: a group of commits, or a call."""

    commits: list[Commit] = field(default_factory=list[Commit])
    call: Callable[[sqlite3.Connection], None] | None = None


class Log:
    """The log. All methods belong to the event loop; SQLite is touched by the writer thread only.

    Args:
        file: the database; its folder exists and is private.
        synchronous: ``NORMAL`` or ``FULL``, as SQLite means it.
        backlog: bytes of updates kept one by one while SQLite fails.
    """

    def __init__(
        self,
        file: Path,
        *,
        synchronous: str = "NORMAL",
        backlog: int = 32 * 1024 * 1024,
    ) -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(f"synchronous is NORMAL or FULL, not {synchronous!r}")
        self._file = file
        self._synchronous = synchronous
        self._backlog = backlog
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: deque[Commit] = deque()
        self._flying: list[Commit] = []
        self._scheduled = False
        self._backoff = Backoff(first=0.5, longest=10.0)
        self._retry: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[bool]] = []
        self._snapshots: dict[str, Callable[[], bytes]] = {}
        self._listeners: list[Callable[[str | None], None]] = []
        self._tasks: set[asyncio.Future[None]] = set()
        self.failure: str | None = None
        """Why nothing can be kept at the moment, for people; None when all is well."""

    # ---- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> str | None:
        """Open the database, creating it when it is not there.

        Returns:
            None, or what had to be done: a database that is no longer readable is put aside, and a new one begun.

        Raises:
            StoreFailed: it can be neither read nor created.
        """
        loop = self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[str | None] = loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="homeport-log", daemon=True)
        self._thread.start()
        try:
            return await opened
        except (OSError, sqlite3.Error) as error:
            self._thread = None
            raise StoreFailed(
                f"The state database {self._file.name} cannot be opened: {error}.",
                errno=tables.error_name(error),
            ) from error

    async def close(self) -> None:
        """Write what waits (once, when SQLite fails), then stop the thread."""
        if self._thread is None:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._again()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._landed(), 10)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._thread = None

    def subscribe(self, callback: Callable[[str | None], None]) -> Callable[[], None]:
        """``callback(reason)`` whenever the log fails, ``callback(None)`` when all is durable again; returns "unsubscribe"."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def register(self, document: str, snapshot: Callable[[], bytes]) -> None:
        """Name the function that gives a document's whole state, asked for when the backlog of a failing log grows too long."""
        self._snapshots[document] = snapshot

    def unregister(self, document: str) -> None:
        """Forget the snapshot function of ``document``."""
        self._snapshots.pop(document, None)

    # ---- writing --------------------------------------------------------------------------------------------------

    def append(self, commit: Commit) -> None:
        """Queue ``commit``: it is written with all others of this turn of the loop, after everything queued before."""
        self._pending.append(commit)
        self._schedule()

    async def committed(self) -> bool:
        """Wait until everything appended so far is durable, or known not to be.

        Returns:
            True when durable; False when the log fails just now: it goes on trying.
        """
        if not self._pending and not self._flying:
            return True
        if self.failure is not None:
            return False
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.append(Commit("", done=lambda durable: done.done() or done.set_result(durable)))
        return await done

    async def _landed(self) -> None:
        """Wait until no group is being written."""
        while self._flying or (self._pending and self._retry is None):
            waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._schedule()
            await waiter

    def _schedule(self) -> None:
        if self._scheduled or self._loop is None:
            return
        if self.failure is not None:
            self._scheduled = True
            self._loop.call_soon(self._tell_failure)
        elif not self._flying:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._flying or not self._pending or self._retry is not None:
            return
        self._flying = list(self._pending)
        self._pending.clear()
        self._jobs.put(_Job(commits=self._flying))

    def _tell_failure(self) -> None:
        """While the log fails, commits are reported as not durable, once each and in order, and go on waiting."""
        self._scheduled = False
        if self.failure is None:
            self._schedule()
            return
        for commit in list(self._pending):
            if not commit.told:
                commit.told = True
                if commit.done is not None:
                    commit.done(False)
        self._shorten()

    def _shorten(self) -> None:
        """Replace a long backlog by one snapshot a document: what is in memory is the truth, and it is bounded."""
        if sum(len(commit.update or b"") for commit in self._pending) <= self._backlog:
            return
        last: dict[str, int] = {}
        for index, commit in enumerate(self._pending):
            if commit.update is not None and commit.document in self._snapshots:
                last[commit.document] = index
        kept: deque[Commit] = deque()
        for index, commit in enumerate(self._pending):
            if commit.update is not None and commit.document in last:
                newest = last[commit.document] == index
                commit = replace(
                    commit,
                    update=self._snapshots[commit.document]() if newest else None,
                    snapshot=newest,
                )
            kept.append(commit)
        self._pending = kept

    def _finished(self, error: Exception | None) -> None:
        """A group was written, or was not. Runs on the loop."""
        group, self._flying = self._flying, []
        if error is None:
            recovered = self.failure is not None
            self.failure = None
            self._backoff.reset()
            for commit in group:
                if commit.done is not None:
                    commit.done(True)
            if recovered:
                self._announce(None)
        else:
            self._pending.extendleft(reversed(group))
            assert self._loop is not None
            self._retry = self._loop.call_later(self._backoff.next(0.5), self._again)
            if self.failure is None:
                self.failure = tables.error_reason(error)
                self._announce(self.failure)
            self._tell_failure()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(True)
        if self._pending:
            self._schedule()

    def _again(self) -> None:
        self._retry = None
        self._flush()

    def _announce(self, reason: str | None) -> None:
        for listener in list(self._listeners):
            listener(reason)

    # ---- reading and housekeeping ---------------------------------------------------------------------------------

    async def document(self, path: str, new_id: str, epoch: str) -> DocumentRow:
        """The document of the file at ``path``, which is opened now; an unknown one begins with ``new_id`` and ``epoch``.

        Raises:
            StoreFailed: the database cannot be written.
        """
        return await self.call(lambda db: tables.open_document(db, path, new_id, epoch))

    async def renew(self, document: str, epoch: str) -> DocumentRow:
        """``document`` begins a new history, which is called ``epoch``: pages that hold the old one are not to unite the two.

        Raises:
            StoreFailed: the database cannot be written.
        """
        return await self.call(lambda db: tables.renew_document(db, document, epoch))

    async def find(self, path: str) -> DocumentRow | None:
        """The document of the file at ``path``, when there is one."""
        return await self.call(lambda db: tables.find_document(db, path))

    async def closed(self, document: str, keys: Iterable[str]) -> None:
        """``document`` is closed, and its file holds all of it. ``keys``: the streams that it still shows; others go."""
        kept = set(keys)

        def job(db: sqlite3.Connection) -> None:
            tables.close_document(db, document, kept)
            tables.give_back(db, _TIDY)

        await self.call(job)

    async def history(self, document: str) -> History:
        """Everything committed of ``document`` so far."""
        return await self.call(lambda db: tables.history(db, document))

    def stream(self, key: str) -> asyncio.Future[list[bytes]]:
        """The pieces kept of the stream ``key``, UTF-8, as of this call: nothing that is appended later is in it."""
        future: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        waiting = [chunk for commit in (*self._flying, *self._pending) for chunk in commit.chunks if chunk.key == key]
        rows: dict[int, bytes] = {}

        def query(db: sqlite3.Connection) -> None:
            rows.clear()
            rows.update(tables.stream(db, key))

        def give() -> None:
            if not future.done():
                future.set_result([rows[seq] for seq in sorted(rows)])

        async def unwritten() -> None:
            # What is not written yet is here, and only here.
            try:
                await self.call(query)
            except StoreFailed as error:
                if not future.done():
                    future.set_exception(error)
                return
            for chunk in waiting:
                if isinstance(chunk, Drop):
                    rows.clear()
                else:
                    rows[chunk.seq] = chunk.data
            give()

        def fall_back() -> None:
            task = asyncio.ensure_future(unwritten())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        if self.failure is None:
            self.append(Commit("", query=query, done=lambda durable: give() if durable else fall_back()))
        else:
            fall_back()
        return future

    async def chunks(self, key: str) -> bytes:
        """The whole text kept of the stream ``key``: UTF-8; empty when there is none."""
        return b"".join(await self.stream(key))

    async def unfinished(self) -> list[str]:
        """Paths of the documents that have runs queued or submitted."""
        return await self.call(tables.unfinished)

    async def moved(self, old: str, new: str) -> None:
        """The file or folder at ``old`` is at ``new`` now; a document that the log still had at ``new`` is forgotten."""
        await self.call(lambda db: tables.move(db, old, new))

    async def forget(self, document: str) -> None:
        """Remove all that is known of ``document``."""
        await self.call(lambda db: tables.forget(db, document))

    async def prune(self, *, finished_before: float, unused_since: float) -> None:
        """Forget runs that finished before, and clean documents not used since, those times (seconds since the epoch)."""

        def job(db: sqlite3.Connection) -> None:
            tables.prune(db, finished_before=finished_before, unused_since=unused_since)
            tables.give_back(db, _TIDY)

        await self.call(job)

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``function`` in the writer thread, after everything appended so far was tried.

        Raises:
            StoreFailed: SQLite failed.
        """
        if self._loop is None or self._thread is None:
            raise StoreFailed("The state database is closed.")
        await self.committed()
        loop = self._loop
        future: asyncio.Future[T] = loop.create_future()

        def job(db: sqlite3.Connection) -> None:
            try:
                result = function(db)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller on the loop gets it
                _report(
                    loop,
                    lambda error=error: future.done() or future.set_exception(error),
                )
            else:
                _report(loop, lambda: future.done() or future.set_result(result))

        self._jobs.put(_Job(call=job))
        try:
            return await future
        except sqlite3.Error as error:
            raise StoreFailed(tables.error_reason(error), errno=tables.error_name(error)) from error

    # ---- the writer thread ----------------------------------------------------------------------------------------

    def _work(self, opened: asyncio.Future[str | None]) -> None:
        assert self._loop is not None
        loop = self._loop
        try:
            db, note = tables.prepare(self._file, self._synchronous)
        except Exception as error:  # noqa: BLE001 - whatever it is, open() raises it
            _report(loop, lambda error=error: opened.done() or opened.set_exception(error))
            return
        _report(loop, lambda: opened.done() or opened.set_result(note))
        while (job := self._jobs.get()) is not None:
            if job.call is not None:
                job.call(db)
            else:
                error = tables.write(db, job.commits)
                _report(loop, lambda error=error: self._finished(error))
                if error is None and any(commit.snapshot for commit in job.commits):
                    # A day's work would leave more than can be given back in the moment in which a server ends.
                    with contextlib.suppress(sqlite3.Error):
                        tables.give_back(db, _TIDY_BETWEEN)
        db.close()


def _report(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    # A loop that is closed has nobody left who waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
