"""Removes blobs that nothing refers to any more, after a grace period.

What refers to a blob is searched for by its name in everything that the log holds: Yjs writes text as it is. That finds too
much rather than too little. A blob without a reference is written down with the time; one that was written down longer
ago than the grace period, was not used since, and is still not referred to goes. Several servers may share the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from homeport.documents.blobs import Blobs

_MENTION = re.compile(rb"(?:sha256|/blobs/)")
_NAME = re.compile(rb"[0-9a-f]{64}")
_NEAR = 16
"""Bytes between a mention and the name: a quote, a colon, Yjs' tag and length of a text."""


def names_in(data: bytes) -> Iterator[str]:
    """Names of blobs that ``data`` (a Yjs update, JSON) refers to."""
    for mention in _MENTION.finditer(data):
        name = _NAME.search(data, mention.end(), mention.end() + _NEAR + 64)
        if name is not None:
            yield name.group().decode()


def sweep(state: Path, blobs: Blobs, *, kept: Callable[[], set[str]] = set, grace: float, now: float | None = None) -> int:
    """Sweep once, in a thread.

    Args:
        state: the log's database.
        blobs: the store.
        kept: names of the blobs that something else refers to; asked after the blobs that are there were looked up.
        grace: seconds that a blob without a reference stays.
        now: seconds since the epoch.

    Returns:
        How many blobs were removed.

    Raises:
        sqlite3.Error: the log cannot be read or written; nothing was removed then.
    """
    now = time.time() if now is None else now
    with _alone(blobs.folder) as alone:
        if not alone:
            return 0
        db = sqlite3.connect(state, timeout=5.0, isolation_level=None)
        try:
            # Files first: a blob that comes later is not looked at, and one whose reference comes later is in grace.
            present = _present(blobs.folder)
            unreferenced = present - _referenced(db) - kept()
            since: dict[str, float] = dict(db.execute("SELECT sha256, since FROM unreferenced"))
            with contextlib.closing(db.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                cursor.executemany("DELETE FROM unreferenced WHERE sha256 = ?", [(name,) for name in since.keys() - unreferenced])
                cursor.executemany("INSERT INTO unreferenced VALUES (?, ?)", [(name, now) for name in unreferenced - since.keys()])
                cursor.execute("COMMIT")
        finally:
            db.close()
    old = [name for name in unreferenced & since.keys() if since[name] < now - grace]
    return sum(_remove(blobs, name, now - grace) for name in old)


def _present(folder: Path) -> set[str]:
    return {prefix.name + file.name for prefix in folder.iterdir() if prefix.is_dir() for file in prefix.iterdir() if len(file.name) == 62}


def _referenced(db: sqlite3.Connection) -> set[str]:
    found: set[str] = set()
    for query in ("SELECT data FROM updates", "SELECT CAST(detail AS BLOB) FROM runs"):
        for (data,) in db.execute(query):
            found.update(names_in(data))
    return found


def _remove(blobs: Blobs, name: str, before: float) -> bool:
    """Remove a blob, unless it was put or touched since ``before``: looked at once it is out of the way of new uses."""
    file = blobs.file(name)
    aside = file.with_name(f".{file.name}.old")
    try:
        os.rename(file, aside)
        if aside.stat().st_mtime < before:
            aside.unlink()
            return True
        os.rename(aside, file)
    except FileNotFoundError:
        pass
    return False


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[bool]:
    descriptor = os.open(folder / ".sweep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
