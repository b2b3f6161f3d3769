"""The password's hash in force: read again when its file changes, and replaced there when it is of an old kind.

A change of the file (``homeport password`` in another terminal) counts at once. Hashing and checking are ``passwords.py``'s; which
files there are is the composition root's, which gives a function that reads one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from homeport.auth.passwords import hash_password

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0

Reread = Callable[[Path], str | None]
"""Gives the hash that a file holds now; None when it holds none."""


class KeptPassword:
    """The hash of the one password of a server.

    Args:
        hashed: the hash; empty when there is no password.
        file: the file that it came from; None for a variable or a command line.
        reread: reads such a file.
    """

    def __init__(self, hashed: str, file: Path | None, reread: Reread | None, clock: Callable[[], float]) -> None:
        self._hashed = hashed
        self._file = file if file is not None and file.is_file() else None
        self._reread = reread
        self._clock = clock
        self._looked = clock()
        self._seen = self._facts()

    @property
    def hashed(self) -> str:
        """The hash in force; empty when there is no password."""
        now = self._clock()
        if self._file is not None and abs(now - self._looked) >= _LOOK_EVERY:
            self._looked = now
            facts = self._facts()
            if facts is not None and facts != self._seen:
                self._seen = facts
                self._read(self._file)
        return self._hashed

    def _facts(self) -> tuple[int, int, int] | None:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self, file: Path) -> None:
        if self._reread is None:
            return
        try:
            hashed = self._reread(file)
        except Exception as error:  # noqa: BLE001 - a configuration file may hold any mistake
            log.warning("%s has changed and cannot be read (%s); the password stays as it was.", file, error)
            return
        if not hashed:
            # A server must not become open, or closed to all, because a line went away.
            log.warning("%s has changed and holds no password any more; it stays as it was until the server is started again.", file)
            return
        if hashed != self._hashed:
            self._hashed = hashed
            log.info("The password was changed in %s; who logged in before has to log in again.", file)

    def upgrade(self, password: str) -> str | None:
        """Replace an outdated hash by one of today, in its file when that is ours to write, otherwise say how. Call it in a thread.

        Returns:
            The new hash, or None when the old one stays.
        """
        old, new = self._hashed, hash_password(password)
        problem = _replace(self._file, old, new) if self._file is not None else "it was not read from a file"
        if problem:
            log.warning(
                "The password's hash is of an old kind that is easily guessed when somebody gets it, and it cannot be replaced here: "
                "%s. 'homeport passwd' prints a new one; put it in the place of the old one.",
                problem,
            )
            return None
        self._hashed, self._seen = new, self._facts()
        log.info("The password's hash in %s was of an old kind and has been replaced by one of today (argon2id).", self._file)
        return new


def _replace(file: Path, old: str, new: str) -> str:
    """Put ``new`` where ``old`` stands. The empty text, or why it cannot be done."""
    file = file.resolve()
    try:
        facts = file.stat()
        if facts.st_uid != os.geteuid() or not os.access(file, os.W_OK):
            return f"{file} is not ours to write"
        text = file.read_bytes()
        if old.encode() not in text:
            return f"{file} does not hold it as one text"
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        try:
            with open(handle, "wb") as target:
                target.write(text.replace(old.encode(), new.encode()))
                target.flush()
                os.fchmod(target.fileno(), facts.st_mode & 0o7777)
                os.fsync(target.fileno())
            os.replace(name, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        return f"{file} cannot be written ({error.strerror})"
    return ""
