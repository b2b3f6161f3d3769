"""The audit log: who did what, from where. JSON lines, appended only, rotated by size; never a secret.

Every line has ``time`` (ISO 8601, UTC), ``event``, ``user``, ``from`` (an address) and what the event has more. Which events there
are stands in :data:`EVENTS`; web requests name theirs in the table of routes.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from homeport.folders import private
from homeport.write_behind import WriteBehind

log = logging.getLogger(__name__)

LARGEST = 10 * 1024 * 1024
"""Bytes of one file; then it becomes ``.1``, and that ``.2``, and so on."""
KEPT = 5
"""How many old files are kept."""

EVENTS = {
    "start": "the server listens: where, with which protection",
    "login": "somebody has logged in, with a password or a token",
    "login refused": "a password or token was wrong",
    "login held up": "there were too many wrong tries; nothing was looked at",
    "logout": "a login was ended from its own browser",
    "login ended": "a login was ended from another browser",
    "password changed": "the password's hash is another one than before",
    "password rehashed": "an old kind of hash was replaced by one of today",
    "token made": "a named token was made",
    "token removed": "a named token was removed",
    "kernel started": "somebody asked for a kernel",
    "kernel ended": "somebody shut a kernel down",
    "kernel running": "a kernel, or the next generation of one, runs",
    "kernel gone": "a kernel has ended, for the reason that is given",
    "kernel interrupted or restarted": "somebody asked for that",
    "kernel connected": "a client of Jupyter's protocol was connected to a kernel",
    "notebook opened": "a page was connected to a notebook, in which it can run code",
    "download": "a file, an output or a whole stream was fetched",
    "file changed": "a file was written, renamed or deleted over the API",
    "stop": "somebody stopped the server over the API",
}
"""Every event, and what it means."""


class Audit:
    """The audit log of this user on this machine; all servers append to one file.

    Args:
        file: ``audit.jsonl`` in a private folder.
        writes: does the writing.
    """

    def __init__(self, file: Path, clock: Callable[[], float], writes: WriteBehind) -> None:
        self.file = file
        self._clock = clock
        self._writes = writes
        self._complained = False

    def record(self, event: str, *, user: str = "", address: str = "", **more: object) -> None:
        """Append a line. A log that cannot be written is complained about once, and stops nobody."""
        assert event in EVENTS, event
        when = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": when, "event": event, "user": user, "from": address, **more}, enc_hook=str) + b"\n"
        self._writes(lambda: self._write(line))

    def _write(self, line: bytes) -> None:
        try:
            self._append(line)
            self._complained = False
        except OSError as error:
            if not self._complained:
                log.warning("The audit log %s cannot be written: %s.", self.file, error.strerror)
            self._complained = True

    def _append(self, line: bytes) -> None:
        private(self.file.parent)
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size + len(line) > LARGEST:
                self._rotate(handle)
                os.close(handle)
                handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.write(handle, line)  # one write: lines of several servers do not mix
        finally:
            os.close(handle)

    def _rotate(self, handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)  # released with the handle
        try:
            if os.stat(self.file).st_ino != os.fstat(handle).st_ino:
                return  # another server was first
        except FileNotFoundError:
            return
        for number in range(KEPT, 0, -1):
            older = self._numbered(number)
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._numbered(number - 1) if number > 1 else self.file, older)

    def _numbered(self, number: int) -> Path:
        return self.file.with_name(f"{self.file.name}.{number}")
