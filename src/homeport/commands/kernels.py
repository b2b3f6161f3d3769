"""``homeport kernels``: what runs on this host, how much memory it takes, and a way to stop it.

It asks the supervisor itself, so it works with and without a running server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.arguments import Parser
from homeport.commands.ending import brief_duration, short
from homeport.commands.reach import the_supervisor
from homeport.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from homeport.folders import Folders
    from homeport.kernels.client import KernelInfo, SupervisorClient

COLUMNS = ("ID", "KERNEL", "NOTEBOOK", "STATE", "MEMORY", "IDLE FOR")


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport kernels",
        "Show the kernels of this user on this machine; or stop some: 'homeport kernels stop ID…', 'homeport kernels stop --all'.",
        "The first characters of an ID are enough when no other kernel has them. Memory is that of the kernel and its\n"
        "children: PSS on Linux, which counts shared memory once; RSS elsewhere.",
    )
    parser.add_argument("action", nargs="?", choices=("stop",), metavar="stop", help="shut the kernels down whose IDs follow")
    parser.add_argument("ids", nargs="*", metavar="ID", help="which ones")
    parser.add_argument("--all", action="store_true", help="stop: all of them")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show kernels, or stop some.

    Raises:
        NotFound: no kernel has such an id, or several have.
        BadRequest: ``stop`` without saying which.
    """
    given = make_parser().parse(arguments)
    if given.action == "stop" and not given.ids and not given.all:
        raise BadRequest("Which kernels? Give the first characters of their IDs, or --all.")
    if given.all and given.action != "stop":
        raise BadRequest("--all belongs to 'homeport kernels stop'.")

    from homeport.folders import Folders

    return asyncio.run(_run(Folders.from_environment(), given.action == "stop", given.ids, given.all))


async def _run(folders: Folders, stop: bool, ids: Sequence[str], every: bool) -> int:
    async with the_supervisor(folders) as supervisor:
        if supervisor is None or (not supervisor.kernels and (every or not stop)):
            print("No kernel is running.")
        elif stop:
            return await _stop(supervisor, list(supervisor.kernels.values()) if every else [find(supervisor.kernels, each) for each in ids])
        else:
            _show(folders, supervisor)
        return 0


def find(kernels: Mapping[str, KernelInfo], prefix: str) -> KernelInfo:
    """The kernel whose id begins with ``prefix``.

    Raises:
        NotFound: none has, or several have.
    """
    matches = [info for kernel_id, info in kernels.items() if kernel_id.startswith(prefix)]
    if not matches:
        raise NotFound(f"No kernel has an ID that begins with {prefix}; 'homeport kernels' shows them.", kernel=prefix)
    if len(matches) > 1:
        raise NotFound(f"{len(matches)} kernels have IDs that begin with {prefix}; give more characters.", kernel=prefix)
    return matches[0]


async def _stop(supervisor: SupervisorClient, kernels: Sequence[KernelInfo]) -> int:
    results = await asyncio.gather(*(supervisor.shutdown(info.kernel_id) for info in kernels), return_exceptions=True)
    failed = 0
    for info, result in zip(kernels, results, strict=True):
        if isinstance(result, BaseException):
            failed += 1
            print(f"{short(info.kernel_id)}: {result}")
        else:
            print(f"{short(info.kernel_id)}: shut down")
    return 1 if failed else 0


def _show(folders: Folders, supervisor: SupervisorClient) -> None:
    kernels = sorted(supervisor.kernels.values(), key=lambda info: info.started)
    paths = _notebooks(folders, supervisor)
    now = time.time()
    rows = [COLUMNS, *(_row(info, paths, now) for info in kernels)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _row(info: KernelInfo, paths: Mapping[str, str], now: float) -> tuple[str, ...]:
    alive = info.pid is not None and info.state != "dead"
    path = paths.get(info.kernel_id) or (_started_for(info.pid) if info.pid else "")
    idle = "" if info.state in ("busy", "starting") else brief_duration(now - info.last_activity)
    state = f"dead: {info.reason}" if info.state == "dead" and info.reason else info.state
    return short(info.kernel_id), info.name, shorten_home(path), state, show_memory(memory_of(info.pid)) if alive and info.pid else "", idle


def _notebooks(folders: Folders, supervisor: SupervisorClient) -> dict[str, str]:
    """Absolute paths by kernel id, from the sessions of the servers that run."""
    from homeport.commands.running import running_servers
    from homeport.kernels.sessions import Sessions

    roots = {server.root_dir for server in running_servers(folders.runtime) if server.is_homeport and server.root_dir}
    return {
        session.kernel_id: str(Path(root, session.path))
        for root in sorted(roots)
        for session in Sessions(folders, supervisor, Path(root)).list()
    }


def _started_for(pid: int) -> str:
    """The notebook that a kernel was started for, from its own environment: it may have been renamed since."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ().get("JPY_SESSION_NAME", "")
    return ""


def memory_of(pid: int) -> int:
    """Bytes that a process and its descendants take: PSS where the system tells (Linux), otherwise RSS."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error):
            try:
                facts = member.memory_full_info()
            except psutil.AccessDenied:
                facts = member.memory_info()
            total += getattr(facts, "pss", 0) or facts.rss
    return total


def show_memory(size: int) -> str:
    """``310 MB``, ``1.4 GB``."""
    if not size:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def shorten_home(path: str) -> str:
    """``~/x`` for a path in the home folder."""
    home = str(Path.home())
    return "~" + path[len(home) :] if path.startswith(home + "/") else path
