"""``homeport --daemon``: the server in the background, away from the terminal, and what came of it said on the terminal.

The command forks once everything that can be asked or refused without listening is behind it. The child leaves the terminal,
writes its log into a file, and tells its parent through a pipe how the start went; the parent says it and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.errors import BadRequest, HomeportError
from homeport.folders import private

if TYPE_CHECKING:
    from homeport.folders import Folders
    from homeport.options import Settings

Tell = Callable[[str], None]
_TAIL = 2000


def log_file(folders: Folders, port: int) -> Path:
    """Where the server that was asked to listen on ``port`` writes its log; the one of the start before has ``.1`` at its end."""
    return folders.state / f"server-{port}.log"


def fixed_port(settings: Settings) -> Settings:
    """The settings of a server whom nobody watches: it listens where people will look for it, or not at all."""
    return settings if settings.given("port_retries") else replace(settings, port_retries=0)


def start(folders: Folders, settings: Settings, *, container: bool, serve: Callable[[Tell], int]) -> int:
    """Serve in the background; the exit status.

    Returns in two processes: in the one that was called as soon as the server answers, in the new one when that server has ended.

    Args:
        serve: serves until stopped; is given a function that is to be called with what there is to say once the server answers.

    Raises:
        HomeportError: the server did not start; the message says why.
    """
    if container:
        raise BadRequest("--daemon would end this container at once, since a container ends with what it runs; leave --daemon out.")
    file = log_file(folders, settings.port)
    private(folders.state)
    sys.stdout.flush()  # or both processes would print what waits there
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return _hear(reading, child, _new(file, child))
    os.close(reading)
    _leave_terminal(_new(file, os.getpid()))
    return _serve(writing, file, serve)


def _new(file: Path, pid: int) -> Path:
    """The log of a server that does not answer yet: the port, and so the log of that name, may be another one's."""
    return file.with_name(f"{file.name}.{pid}")


def _leave_terminal(file: Path) -> None:
    os.setsid()  # no signal of the terminal comes here any more, and no closing of it
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, theirs)
    os.close(nothing)
    os.close(log)


def _serve(writing: int, file: Path, serve: Callable[[Tell], int]) -> int:
    new = _new(file, os.getpid())

    def tell(text: str, *, started: bool = True, data: Mapping[str, Any] | None = None) -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as pipe:
            json.dump({"started": started, "text": text, "data": data or {}}, pipe)

    def tell_start(text: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.replace(file, f"{file}.1")
        os.replace(new, file)
        tell(text)

    try:
        return serve(tell_start)
    except HomeportError as error:
        if not new.exists():
            raise  # it had started, so this is for the log
        tell(error.message, started=False, data=error.data)
        new.unlink()
        return 1


def _hear(reading: int, child: int, file: Path) -> int:
    """What the child tells of its start; the exit status of the command."""
    try:
        with os.fdopen(reading) as pipe:
            said = pipe.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        raise
    if not said:
        end = file.read_text(errors="replace")[-_TAIL:] if file.exists() else ""
        raise HomeportError(f"The server ended before it answered. Its log, {file}, says:\n{end}")
    told = json.loads(said)
    if not told["started"]:
        raise HomeportError(told["text"], **told["data"])
    sys.stdout.write(told["text"] + "\n")
    return 0
