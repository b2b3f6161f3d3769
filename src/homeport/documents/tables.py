"""The rows of ``state.db`` and the SQL that reads and writes them: runs in the log's writer thread only.

What is grouped, retried and reported is the log's business (``log.py``); what an update means is the room's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from homeport.errors import StoreFailed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
  saved TEXT NOT NULL DEFAULT '', base BLOB NOT NULL DEFAULT x'',
  saving TEXT NOT NULL DEFAULT '', saving_base BLOB NOT NULL DEFAULT x'',
  clean INTEGER NOT NULL DEFAULT 0, used REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS updates (seq INTEGER PRIMARY KEY, document TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS updates_of ON updates (document, seq);
CREATE TABLE IF NOT EXISTS cursors (
  document TEXT NOT NULL, kernel TEXT NOT NULL, generation INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (document, kernel)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, document TEXT NOT NULL, cell TEXT NOT NULL, ordinal INTEGER NOT NULL, state TEXT NOT NULL,
  result TEXT NOT NULL, msg_id TEXT NOT NULL, kernel TEXT NOT NULL, generation INTEGER NOT NULL, stop_on_error INTEGER NOT NULL,
  queued REAL NOT NULL, submitted REAL, finished REAL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS runs_of ON runs (document, ordinal);
CREATE TABLE IF NOT EXISTS chunks (
  id INTEGER PRIMARY KEY, document TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL,
  UNIQUE (key, seq));
CREATE TABLE IF NOT EXISTS comms (
  document TEXT NOT NULL, comm TEXT NOT NULL, ordinal INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (document, comm));
CREATE TABLE IF NOT EXISTS comms_read (
  document TEXT PRIMARY KEY, kernel TEXT NOT NULL, generation INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreferenced (sha256 TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
"""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of one cell, as it is kept. ``state``: ``queued``, ``submitted`` or ``finished``."""

    run_id: str
    cell_id: str
    ordinal: int
    """Place in the document's queue: smaller runs first."""
    state: str
    result: str = ""
    """``ok``, ``error``, ``aborted``, ``cancelled`` or ``unknown`` once finished."""
    msg_id: str = ""
    """Message id of the execute request: stored before it is sent, so that it is sent again under the same id."""
    kernel_id: str = ""
    generation: int = 0
    stop_on_error: bool = True
    queued: float = 0.0
    """Seconds since the epoch, as are ``submitted`` and ``finished``."""
    submitted: float | None = None
    finished: float | None = None
    detail: str = ""
    """JSON that belongs to the runner alone."""


@dataclass(frozen=True, slots=True)
class CursorRow:
    """How far a kernel's journal is contained in the document: the last ``seq`` of that generation."""

    kernel_id: str
    generation: int
    seq: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a stream's whole text: ``key`` names the stream, pieces are read back in the order of ``seq``."""

    key: str
    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """All chunks of ``key`` go: the output was cleared, or its text is a blob now."""

    key: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What the file of a document holds: its sha256, and the base for the next three-way merge.

    ``done`` False is the intent, committed before the file is replaced; True is committed after.
    """

    hash: str
    base: bytes
    done: bool = True


@dataclass(frozen=True, slots=True)
class CommRows:
    """Changes of the open comms of a kernel, which are known up to ``seq`` of its journal."""

    kernel_id: str
    generation: int
    seq: int
    changed: Sequence[tuple[str, int, bytes]]
    """Comm id, place in the order of opening, and all that is known of it (``kept_comms.py``)."""
    closed: Sequence[str] = ()


@dataclass(slots=True)
class Commit:
    """What becomes durable as one SQLite transaction, or not at all."""

    document: str
    update: bytes | None = None
    snapshot: bool = False
    """``update`` is the whole document and replaces all updates before it (compaction; the history, and so the epoch, stay)."""
    cursor: CursorRow | None = None
    runs: Sequence[RunRow] = ()
    chunks: Sequence[Chunk | Drop] = ()
    saved: Saved | None = None
    comms: CommRows | None = None
    query: Callable[[sqlite3.Connection], object] | None = None
    """Reads in the writer thread, in order with what is written; called again when the group has to be written again."""
    done: Callable[[bool], object] | None = None
    """Called on the loop, in order: once with True; before that once with False when the log fails just now."""
    told: bool = False


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document that the log knows. ``path`` is the absolute real path of its file."""

    id: str
    path: str
    epoch: str
    saved: str
    base: bytes
    saving: str
    saving_base: bytes
    clean: bool
    """It was closed, and the file held all of it."""


@dataclass(frozen=True, slots=True)
class History:
    """All that the log holds of one document."""

    updates: list[bytes]
    cursors: list[CursorRow]
    runs: list[RunRow]
    """Unfinished runs, and the finished ones of the last days (so that a run id is known again)."""
    comms: CommRows | None = None
    """The open comms of its kernel."""


def connect(file: Path, synchronous: str) -> sqlite3.Connection:
    db = sqlite3.connect(file, isolation_level=None, timeout=5.0)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute(f"PRAGMA synchronous = {synchronous}")
        # A WAL that once grew is cut back, so that a flood does not keep the disk.
        db.execute("PRAGMA journal_size_limit = 16777216").fetchall()
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreFailed(
                f"The state database {file.name} was written by a newer Homeport (format {version}); upgrade, or move it away."
            )
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def prepare(file: Path, synchronous: str) -> tuple[sqlite3.Connection, str | None]:
    """The open connection; a database that cannot be read any more is put aside, never deleted."""
    try:
        return connect(file, synchronous), None
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside = file.with_name(f"{file.name}.unreadable-{time.strftime('%Y%m%d-%H%M%S')}")
        file.rename(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                file.with_name(file.name + suffix).rename(aside.with_name(aside.name + suffix))
        kept = f"it is kept as {aside.name}, and a new one was begun. Notebook files are not touched."
        note = f"The state database could not be read ({error}); {kept}"
        return connect(file, synchronous), note


def write(db: sqlite3.Connection, commits: Sequence[Commit]) -> Exception | None:
    """Write a group as one transaction: all of it, or nothing."""
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            for commit in commits:
                _apply(db, commit)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    except (sqlite3.Error, OSError) as error:
        return error
    return None


def _apply(db: sqlite3.Connection, commit: Commit) -> None:
    document = commit.document
    if commit.update is not None:
        if commit.snapshot:
            db.execute("DELETE FROM updates WHERE document = ?", (document,))
        db.execute(
            "INSERT INTO updates (document, data) VALUES (?, ?)",
            (document, commit.update),
        )
    if commit.cursor is not None:
        cursor = commit.cursor
        db.execute(
            "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)",
            (document, cursor.kernel_id, cursor.generation, cursor.seq),
        )
    for run in commit.runs:
        db.execute(
            f"INSERT OR REPLACE INTO runs ({_RUN_COLUMNS}, document) VALUES ({', '.join('?' * 14)})",
            (*_columns(run), document),
        )
    for chunk in commit.chunks:
        if isinstance(chunk, Drop):
            db.execute("DELETE FROM chunks WHERE key = ?", (chunk.key,))
        else:
            query = "INSERT OR REPLACE INTO chunks (document, key, seq, data) VALUES (?, ?, ?, ?)"
            db.execute(query, (document, chunk.key, chunk.seq, chunk.data))
    if commit.comms is not None:
        _apply_comms(db, document, commit.comms)
    if commit.query is not None:
        commit.query(db)
    if commit.saved is not None:
        columns = "saved = ?, base = ?, saving = '', saving_base = x''" if commit.saved.done else "saving = ?, saving_base = ?"
        db.execute(
            f"UPDATE documents SET {columns} WHERE id = ?",
            (commit.saved.hash, commit.saved.base, document),
        )


def _apply_comms(db: sqlite3.Connection, document: str, comms: CommRows) -> None:
    db.execute("INSERT OR REPLACE INTO comms_read VALUES (?, ?, ?, ?)", (document, comms.kernel_id, comms.generation, comms.seq))
    db.executemany("INSERT OR REPLACE INTO comms VALUES (?, ?, ?, ?)", [(document, *row) for row in comms.changed])
    db.executemany("DELETE FROM comms WHERE document = ? AND comm = ?", [(document, comm_id) for comm_id in comms.closed])


def _comm_rows(db: sqlite3.Connection, document: str) -> CommRows | None:
    """The open comms of a document's kernel, as far as they are known."""
    read: tuple[str, int, int] | None = db.execute(
        "SELECT kernel, generation, seq FROM comms_read WHERE document = ?", (document,)
    ).fetchone()
    if read is None:
        return None
    kernel_id, generation, seq = read
    rows = db.execute("SELECT comm, ordinal, data FROM comms WHERE document = ?", (document,)).fetchall()
    return CommRows(kernel_id, generation, seq, rows)


_RUN_COLUMNS = "run, cell, ordinal, state, result, msg_id, kernel, generation, stop_on_error, queued, submitted, finished, detail"


def _columns(run: RunRow) -> tuple[str | int | float | None, ...]:
    return (
        *(
            run.run_id,
            run.cell_id,
            run.ordinal,
            run.state,
            run.result,
            run.msg_id,
            run.kernel_id,
            run.generation,
        ),
        *(int(run.stop_on_error), run.queued, run.submitted, run.finished, run.detail),
    )


_DOCUMENT_COLUMNS = "id, path, epoch, saved, base, saving, saving_base, clean"


def _document_row(row: tuple[str, str, str, str, bytes, str, bytes, int]) -> DocumentRow:
    """A row of ``documents``, selected by ``_DOCUMENT_COLUMNS``."""
    return DocumentRow(*row[:7], bool(row[7]))


def _run_row(
    row: tuple[
        str,
        str,
        int,
        str,
        str,
        str,
        str,
        int,
        int,
        float,
        float | None,
        float | None,
        str,
    ],
) -> RunRow:
    return RunRow(*row[:8], bool(row[8]), *row[9:])


def open_document(db: sqlite3.Connection, path: str, new_id: str, epoch: str) -> DocumentRow:
    """The document of the file at ``path``, which is opened now; an unknown one begins with ``new_id`` and ``epoch``."""
    with db:
        db.execute("INSERT OR IGNORE INTO documents (id, path, epoch, clean) VALUES (?, ?, ?, 1)", (new_id, path, epoch))
        # As it was until now.
        row = find_document(db, path)
        assert row is not None
        db.execute("UPDATE documents SET used = ?, clean = 0 WHERE id = ?", (time.time(), row.id))
    return row


def find_document(db: sqlite3.Connection, path: str) -> DocumentRow | None:
    """The document of the file at ``path``, when there is one."""
    row = db.execute(f"SELECT {_DOCUMENT_COLUMNS} FROM documents WHERE path = ?", (path,)).fetchone()
    return None if row is None else _document_row(row)


def renew_document(db: sqlite3.Connection, document: str, epoch: str) -> DocumentRow:
    """A document begins a new history, which is called ``epoch``."""
    with db:
        db.execute("UPDATE documents SET epoch = ? WHERE id = ?", (epoch, document))
    return _document_row(db.execute(f"SELECT {_DOCUMENT_COLUMNS} FROM documents WHERE id = ?", (document,)).fetchone())


def close_document(db: sqlite3.Connection, document: str, kept: Collection[str]) -> None:
    """A document is closed. ``kept``: the streams that it still shows; others go."""
    with db:
        db.execute("UPDATE documents SET clean = 1, used = ? WHERE id = ?", (time.time(), document))
        found = {row[0] for row in db.execute("SELECT DISTINCT key FROM chunks WHERE document = ?", (document,))}
        db.executemany("DELETE FROM chunks WHERE document = ? AND key = ?", [(document, key) for key in found.difference(kept)])


def history(db: sqlite3.Connection, document: str) -> History:
    """Everything that is kept of a document."""
    updates = db.execute("SELECT data FROM updates WHERE document = ? ORDER BY seq", (document,))
    cursors = db.execute("SELECT kernel, generation, seq FROM cursors WHERE document = ?", (document,))
    runs = db.execute(f"SELECT {_RUN_COLUMNS} FROM runs WHERE document = ? ORDER BY ordinal", (document,))
    return History(
        [row[0] for row in updates], [CursorRow(*row) for row in cursors], [_run_row(row) for row in runs], _comm_rows(db, document)
    )


def stream(db: sqlite3.Connection, key: str) -> dict[int, bytes]:
    """The pieces kept of a stream, by number."""
    return dict(db.execute("SELECT seq, data FROM chunks WHERE key = ?", (key,)))


def unfinished(db: sqlite3.Connection) -> list[str]:
    """Paths of the documents that have runs queued or submitted."""
    query = "SELECT DISTINCT path FROM documents JOIN runs ON runs.document = documents.id WHERE runs.state != 'finished'"
    return [row[0] for row in db.execute(query)]


def move(db: sqlite3.Connection, old: str, new: str) -> None:
    """The file or folder at ``old`` is at ``new`` now; a document that was there is forgotten."""
    with db:
        rows = db.execute("SELECT id, path FROM documents WHERE path = ? OR substr(path, 1, ?) = ?", (old, len(old) + 1, old + os.sep))
        for identity, path in rows.fetchall():
            target = new + path[len(old) :]
            for (stale,) in db.execute("SELECT id FROM documents WHERE path = ? AND id != ?", (target, identity)).fetchall():
                _forget(db, stale)
            db.execute("UPDATE documents SET path = ? WHERE id = ?", (target, identity))


def prune(db: sqlite3.Connection, *, finished_before: float, unused_since: float) -> None:
    """Forget runs that finished before, and clean documents not used since, those times (seconds since the epoch)."""
    with db:
        db.execute("DELETE FROM runs WHERE state = 'finished' AND finished < ?", (finished_before,))
        unused = db.execute(
            "SELECT id FROM documents WHERE clean = 1 AND used < ? AND NOT EXISTS "
            "(SELECT 1 FROM runs WHERE runs.document = documents.id AND runs.state != 'finished')",
            (unused_since,),
        )
        for (document,) in unused.fetchall():
            _forget(db, document)


def forget(db: sqlite3.Connection, document: str) -> None:
    """Remove all that is known of a document."""
    with db:
        _forget(db, document)


def _forget(db: sqlite3.Connection, document: str) -> None:
    for table in ("updates", "cursors", "runs", "chunks", "comms", "comms_read"):
        db.execute(f"DELETE FROM {table} WHERE document = ?", (document,))
    db.execute("DELETE FROM documents WHERE id = ?", (document,))


def give_back(db: sqlite3.Connection, seconds: float) -> None:
    """Give free pages of the file back to the disk, for about so many seconds: what is left then goes another time."""
    until = time.monotonic() + seconds
    while db.execute("PRAGMA freelist_count").fetchone()[0] and time.monotonic() < until:
        # Not execute(): it takes one step of a statement without columns, which is one page.
        db.executescript("PRAGMA incremental_vacuum(200)")


def error_name(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return str(getattr(error, "sqlite_errorname", "SQLITE_ERROR"))


def error_reason(error: Exception) -> str:
    name = error_name(error)
    words = {
        "SQLITE_FULL": "The disk that holds Homeport's state is full",
        "SQLITE_READONLY": "Homeport's state folder is read-only",
    }
    return f"{words.get(name, 'The state database cannot be written')} ({name}: {error})."
