"""``homeport stop``: ask a server to leave. Its kernels run on, unless they are to stop as well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.arguments import Parser
from homeport.commands.ending import kernels_of, run_on, shut_down
from homeport.commands.reach import the_supervisor
from homeport.errors import HomeportError, NotFound, SupervisorUnavailable

if TYPE_CHECKING:
    import psutil

    from homeport.commands.running import RunningServer
    from homeport.folders import Folders
    from homeport.kernels.client import KernelInfo, SupervisorClient

# A server first saves everything; on a slow disk that takes its time.
_PATIENCE = 30.0


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport stop",
        "Stop a server of this user on this machine. It saves what is open and leaves; what runs in kernels runs on,\n"
        "and is there again when a server is started on the same folder.",
    )
    parser.add_argument("port", nargs="?", type=int, metavar="PORT", help="the server's port; not needed when only one runs")
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="shut its kernels down as well; when no server is running, all kernels that run on from before",
    )
    return parser


def choose(servers: Sequence[RunningServer], port: int | None) -> RunningServer:
    """The server that is meant.

    Raises:
        NotFound: none runs, none has that port, or more than one could be meant.
    """
    running = ", ".join(str(server.port) for server in servers)
    if not servers:
        raise NotFound("No server is running.")
    if port is None:
        if len(servers) > 1:
            raise NotFound(f"{len(servers)} servers are running; say which one by its port: {running}.")
        return servers[0]
    for server in servers:
        if server.port == port:
            return server
    raise NotFound(f"No server is running on port {port}; there is one on {running}." if len(servers) == 1 else
                   f"No server is running on port {port}; there are some on {running}.")  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Stop the server and wait until it is gone.

    Raises:
        NotFound: see :func:`choose`.
        HomeportError: it may not be stopped, or is still there after half a minute.
    """
    given = make_parser().parse(arguments)

    from homeport.commands.running import running_servers
    from homeport.folders import Folders

    folders = Folders.from_environment()
    servers = running_servers(folders.runtime)
    ours = [each for each in servers if each.is_homeport]
    if given.kernels and given.port is None and not ours:
        count = asyncio.run(shut_all_down(folders))
        print("No server is running; " + (f"shut down {in_words(count)}." if count else "nor is a kernel."))
        return 0
    server = choose(ours if given.port is None else servers, given.port)
    alone = all(each.pid == server.pid or not each.is_homeport for each in servers)

    def alive() -> list[str]:
        with contextlib.suppress(SupervisorUnavailable):  # the server ends all the same
            return asyncio.run(kernels_of_server(folders, server, every=alone)) if server.is_homeport else []
        return []

    before = alive()
    _end(server)
    print(f"Stopped the server on port {server.port} ({server.root_dir}).")
    left = alive()
    if given.kernels:
        # The server may have ended them itself.
        count = max(asyncio.run(shut_kernels_down(folders, server, every=alone)), len({*before, *left}))
        print(f"Shut down {in_words(count)}." if count else "No kernel of it was running.")
        return 0
    if ended := len(set(before).difference(left)):
        print(f"It shut down {in_words(ended)} as it left: its --on-stop says so, or it was all that its container runs.")
    if left:
        print(run_on(left, again=True))
    return 0


def in_words(count: int) -> str:
    """``1 kernel``, ``2 kernels``."""
    return f"{count} kernel{'' if count == 1 else 's'}"


def _end(server: RunningServer) -> None:
    import psutil

    try:
        process = psutil.Process(server.pid)
        os.kill(server.pid, signal.SIGTERM)
        _wait_for(process)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
    except PermissionError:
        raise HomeportError(f"The server on port {server.port} (process {server.pid}) belongs to another user.") from None
    except psutil.TimeoutExpired:
        print(f"It may still be saving; 'kill -9 {server.pid}' ends it at once and leaves its kernels alone.", file=sys.stderr)
        raise HomeportError(f"The server on port {server.port} (process {server.pid}) is still there after {_PATIENCE:.0f} s.") from None


def _wait_for(process: psutil.Process) -> None:
    """Until it has ended. One that only waits to be noticed by whoever started it has ended, too."""
    import psutil

    deadline = time.monotonic() + _PATIENCE
    while process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            raise psutil.TimeoutExpired(_PATIENCE, process.pid)
        time.sleep(0.02)


async def shut_all_down(folders: Folders) -> int:
    """No server is left, so the kernels are nobody else's."""
    async with the_supervisor(folders) as supervisor:
        if supervisor is None:
            return 0
        alive = [info for info in supervisor.kernels.values() if info.state != "dead"]
        await shut_down(supervisor, alive)
        return len(alive)


async def shut_kernels_down(folders: Folders, server: RunningServer, *, every: bool) -> int:
    """Shut down the kernels of a server that has ended; how many there were.

    Args:
        every: all kernels are its own, since there is no other server.
    """
    async with the_supervisor(folders) as supervisor:
        if supervisor is None:
            return 0
        mine = _kernels_of(supervisor, folders, server, every=every)
        await shut_down(supervisor, mine)
        return len(mine)


async def kernels_of_server(folders: Folders, server: RunningServer, *, every: bool) -> list[str]:
    """The ids of the kernels of a server that live, also when it has ended; see :func:`shut_kernels_down`."""
    async with the_supervisor(folders) as supervisor:
        return [] if supervisor is None else [info.kernel_id for info in _kernels_of(supervisor, folders, server, every=every)]


def _kernels_of(supervisor: SupervisorClient, folders: Folders, server: RunningServer, *, every: bool) -> list[KernelInfo]:
    from homeport.kernels.sessions import Sessions

    return kernels_of(supervisor, Sessions(folders, supervisor, Path(server.root_dir)), every=every)
