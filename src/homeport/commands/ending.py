"""How a server ends: which kernels are its own, what a signal means for them, and the question that Ctrl-C asks.

``commands/serve.py`` does what is decided here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.question import Question

if TYPE_CHECKING:
    from homeport.kernels.client import KernelInfo, SupervisorClient
    from homeport.kernels.sessions import Sessions

# Programs that are process 1 of a whole machine; anything else as process 1 is what a container runs.
_INITS_OF_MACHINES = {"systemd", "init", "launchd", "upstart", "openrc-init", "runit", "runit-init", "shepherd", "busybox"}


class Kernels(Enum):
    """What a stop does to kernels."""

    KEEP = "keep"
    SHUT_DOWN = "shut down"


@dataclass(frozen=True)
class Place:
    """Where a process stands."""

    parent: int
    """Its parent's pid."""
    session: int
    """Its session's id: the pid of who began it."""
    leads: bool
    """Whether it began its session itself."""

    @classmethod
    def here(cls) -> Place:
        """Of this process."""
        return cls(os.getppid(), os.getsid(0), os.getsid(0) == os.getpid())


def is_main_of_container(
    *, behind_own_init: bool, place: Place | None = None, first: str | None = None, in_container: bool | None = None
) -> bool:
    """True when this process is what a container runs: process 1, or the direct child of a container's init (tini, a shell script).

    A process whose parent has ended is a child of process 1 too, but of the session of a terminal or of ``docker exec``. Inits run
    theirs in their own session (tini) or in one that it leads (dumb-init).

    Args:
        behind_own_init: ``stay_behind_as_init()`` forked us from process 1.
        place, first, in_container: for tests; where we stand, the name of process 1, and whether container marks are there.
    """
    if behind_own_init:
        return True
    place = place or Place.here()
    if place.parent != 1 or not (place.session in (0, 1) or place.leads):
        return False
    name = _name_of_first() if first is None else first
    if name not in _INITS_OF_MACHINES:
        return name != ""
    marked = (os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")) if in_container is None else in_container
    return marked and name != "systemd"


def _name_of_first() -> str:
    try:
        return Path("/proc/1/comm").read_text().strip()
    except OSError:
        return ""


def on_terminate(on_stop: str, *, main_of_container: bool) -> Kernels:
    """What SIGTERM means under the option ``on_stop``."""
    if on_stop == "auto":
        return Kernels.SHUT_DOWN if main_of_container else Kernels.KEEP
    return Kernels.SHUT_DOWN if on_stop == "shutdown" else Kernels.KEEP


def kernels_of(supervisor: SupervisorClient, sessions: Sessions, *, every: bool) -> list[KernelInfo]:
    """The kernels that live and belong to a server: all when no other server shares the supervisor, otherwise those of its sessions."""
    mine = {session.kernel_id for session in sessions.list()}
    return [info for info in supervisor.kernels.values() if info.state != "dead" and (every or info.kernel_id in mine)]


async def shut_down(supervisor: SupervisorClient, kernels: Iterable[KernelInfo]) -> None:
    """Shut ``kernels`` down, all at the same time; one that is gone already does not matter."""
    await asyncio.gather(*(supervisor.shutdown(info.kernel_id) for info in kernels), return_exceptions=True)


def describe_kernels(kernels: Iterable[KernelInfo], sessions: Sessions, now: float) -> list[str]:
    """One line a kernel: what it belongs to, and whether it works."""
    paths = {session.kernel_id: session.path for session in sessions.list()}
    lines: list[str] = []
    for info in kernels:
        state = "busy" if info.state == "busy" else f"{info.state} for {brief_duration(now - info.last_activity)}"
        lines.append(f"{paths.get(info.kernel_id, '(no notebook)')}  {info.display_name or info.name}, {state}")
    return sorted(lines)


def kept(kernels: Sequence[str]) -> str:
    """What is said of the kernels that a server leaves running. ``kernels``: their ids."""
    if not kernels:
        return "The server has ended; no kernel is running."
    return f"The server has ended; {run_on(kernels, again=True)}"


def run_on(kernels: Sequence[str], *, again: bool) -> str:
    """That kernels run on, and how to see and end them.

    Args:
        kernels: their ids; at least one.
        again: say that a server that is started will have them, too.
    """
    one = len(kernels) == 1
    running = "1 kernel runs on" if one else f"{len(kernels)} kernels run on"
    later = ", and will be here again at the next start" if again else ""
    them, how = ("it", f"{short(kernels[0])}' ends it") if one else ("them", "ID' ends one")
    return f"{running}{later}: 'homeport kernels' lists {them}, 'homeport kernels stop {how}."


def short(kernel_id: str) -> str:
    """As much of an id as a person needs."""
    return kernel_id[:8]


def brief_duration(seconds: float) -> str:
    """``5 s``, ``12 min``, ``3 h``, ``2 days``."""
    seconds = max(seconds, 0.0)
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


class Answer(Enum):
    """What came of the question that Ctrl-C asks."""

    KEEP = "keep"
    SHUT_DOWN = "shut down"
    GO_ON = "go on"


def kernel_question(write: Callable[[str], None]) -> Question[Answer]:
    """The question what shall become of the kernels that run; Ctrl-C again leaves at once, and leaves them running."""
    return Question(
        write,
        {"": Answer.KEEP, "y": Answer.KEEP, "n": Answer.SHUT_DOWN, "c": Answer.GO_ON},
        words={"yes": "y", "no": "n", "cancel": "c"},
        gone=Answer.KEEP,
        silence=(Answer.GO_ON, "the server goes on."),
    )


def kernels_running(lines: list[str]) -> str:
    """The text of that question. ``lines``: of :func:`describe_kernels`."""
    kernels = "1 kernel is" if len(lines) == 1 else f"{len(lines)} kernels are"
    return (
        f"\n{kernels} running:\n"
        + "".join(f"  {line}\n" for line in lines)
        + "Stop the server and leave them running? [Y]es, [n]o: shut them down, [c]ancel (Ctrl-C again: yes) "
    )
