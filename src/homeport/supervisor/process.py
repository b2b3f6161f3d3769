"""The supervisor as a process of its own: one per user and host, detached from whoever started it.

``run`` is what ``homeport supervisor`` and ``python -m homeport.supervisor`` do. With ``detach`` it returns when another process of
ours serves: whoever waits for it knows that the socket is there. An OS lock in the state folder decides between two that start at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from homeport import event_loop
from homeport.errors import SupervisorUnavailable
from homeport.folders import Folders, private
from homeport.supervisor.server import Supervisor, state_folder

# How long a start waits for another supervisor that is just leaving, or just coming.
_PATIENCE = 10.0
_LOG_LIMIT = 4 << 20

log = logging.getLogger(__name__)


def run(folders: Folders, *, detach: bool = False, linger: float = 60.0, stop_kernels: bool = False) -> int:
    """Be the supervisor of this user on this host, unless there is one.

    Args:
        detach: do it in a process of its own, with its log in the state folder; return when it listens.
        linger: seconds without kernels and servers after which it leaves.
        stop_kernels: what SIGTERM means: shut the kernels down, or leave them running.

    Returns:
        An exit status: 0 when there is a supervisor now, or was until it left as it should.
    """
    private(folders.sockets)
    lock = _lock(folders)
    if lock is None:
        return 0
    if detach:
        return _detached(folders, lock, linger=linger, stop_kernels=stop_kernels)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _serve(folders, lock, linger=linger, stop_kernels=stop_kernels)
    return 0


def _lock(folders: Folders) -> int | None:
    """The lock, held until the process ends; ``None`` when a supervisor that answers holds it."""
    file = state_folder(folders) / "lock"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            pass
        if _answers(folders.sockets / "supervisor.sock"):
            os.close(descriptor)
            return None
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise SupervisorUnavailable(
                f"Another supervisor holds {file}, but does not answer at {folders.sockets / 'supervisor.sock'}. If it hangs, end the"
                f" process {_holder(file)}; kernels survive that"
            )
        time.sleep(0.02)


def _holder(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text().strip() or "?"
    return "?"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def _detached(folders: Folders, lock: int, *, linger: float, stop_kernels: bool) -> int:
    """Fork: the child serves, the parent returns when it listens."""
    ready, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        with os.fdopen(ready, "rb") as stream:
            said = stream.read()
        # The lock is the child's too: it does not end with us.
        os.close(lock)
        if said == b"ready":
            return 0
        print(f"The supervisor could not start; its log is {_log_file(folders)}\n{said.decode(errors='replace')}", file=sys.stderr)
        return 1
    status = 1
    waiting = True

    def say(what: str) -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            with contextlib.suppress(OSError):
                os.write(tell, what.encode())
            os.close(tell)

    try:
        os.close(ready)
        os.setsid()
        # What is imported later must be found from elsewhere too.
        sys.path[:] = [os.path.abspath(entry) for entry in sys.path]
        os.chdir("/")
        _redirect(folders)
        _close_inherited(keep={lock, tell})
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        _serve(folders, lock, linger=linger, stop_kernels=stop_kernels, listening=lambda: say("ready"))
        status = 0
    except BaseException as error:
        log.exception("The supervisor has failed")
        say(repr(error))
    finally:
        os._exit(status)


def _log_file(folders: Folders) -> Path:
    return state_folder(folders) / "log"


def _redirect(folders: Folders) -> None:
    file = _log_file(folders)
    with contextlib.suppress(OSError):
        if file.stat().st_size > _LOG_LIMIT:
            file.replace(file.with_suffix(".old"))
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(nothing)
    os.close(target)


def _close_inherited(*, keep: set[int]) -> None:
    """Close what whoever started us left open: it would stay open for as long as kernels live (uvloop leaves its pipes)."""
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _serve(folders: Folders, lock: int, *, linger: float, stop_kernels: bool, listening: Callable[[], None] = lambda: None) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    event_loop.run(_main(folders, linger=linger, stop_kernels=stop_kernels, listening=listening))


async def _main(folders: Folders, *, linger: float, stop_kernels: bool, listening: Callable[[], None]) -> None:
    supervisor = Supervisor(folders, linger=linger)
    loop = asyncio.get_running_loop()

    async def stop() -> None:
        if stop_kernels:
            await supervisor.shut_kernels_down()
        supervisor.leave()

    stopping: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: stopping.add(asyncio.create_task(stop())))

    await supervisor.serve(listening)
