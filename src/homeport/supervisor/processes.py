"""Processes: who they are, when they end, and why.

A pid alone is no identity, for pids come round again: a process is (boot, pid, start time). Its end is told by a pidfd (Linux) or
kqueue (macOS) to the event loop, at once and without polling, whether it is a child of ours or was adopted; an exit status is known
of children only. What a status means in words, and whether the system ran out of memory, is found out here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

STDERR_TAIL = 4096
"""Bytes of a dead kernel's output that are kept with its reason."""

_IPYKERNEL_GREETING = re.compile(
    r"NOTE: When using the `ipython kernel` entry point.*?To connect another client to this kernel.*?--existing [^\n]*\n?", re.DOTALL
)
"""What an IPython kernel that nothing ties to its parent says when it starts; it is about a terminal, and explains no death."""

UNKNOWN_STATUS = "ended, with a status that is not known (an earlier supervisor had started it)"


class Identity(msgspec.Struct, frozen=True):
    """One process, for ever: the boot of the host, the pid, and when it was started (in the system's own terms)."""

    boot: str
    pid: int
    start: str


def identify(pid: int) -> Identity | None:
    """Who has this pid now; ``None`` when nobody does, or only a zombie."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The command's name may hold blanks and parentheses; the fields begin behind the last one (proc_pid_stat(5)).
        fields = stat[stat.rindex(")") + 2 :].split()
        if fields[0] in ("Z", "X"):
            return None
        return Identity(boot_id(), pid, fields[19])
    asked = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.split(None, 1)
    if len(asked) != 2 or asked[0].startswith("Z"):
        return None
    return Identity(boot_id(), pid, asked[1].strip())


def boot_id() -> str:
    """Tells one boot of this host from the next."""
    if sys.platform == "linux":
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=False).stdout.strip()


def find_by_argument(argument: str) -> int | None:
    """The pid of a process of ours that has ``argument`` on its command line: a kernel, known by its connection file, whose pid a
    supervisor had no time to write down."""
    if sys.platform == "linux":
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    arguments = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                    if os.fsencode(argument) in arguments and entry.stat().st_uid == os.getuid():
                        return int(entry.name)
        return None
    listed = subprocess.run(["ps", "-x", "-o", "pid=,command="], capture_output=True, text=True, check=False).stdout.splitlines()
    return next((int(line.split(None, 1)[0]) for line in listed if argument in line), None)


class ProcessWatch:
    """Calls ``ended`` once, from the event loop, when the process is no more (a zombie counts as ended).

    Args:
        pid: the process; it was identified by the caller, who tells that it still is the same after this has been made.
    """

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._release: Callable[[], None] | None = None
        try:
            descriptor, self._release = _exit_descriptor(pid)
        except ProcessLookupError:
            self._loop.call_soon(ended)
            return
        self._descriptor = descriptor
        self._loop.add_reader(descriptor, self._readable)

    def _readable(self) -> None:
        self.close()
        self._ended()

    def close(self) -> None:
        """Stop watching."""
        if self._release is not None:
            self._loop.remove_reader(self._descriptor)
            self._release()
            self._release = None


def _exit_descriptor(pid: int) -> tuple[int, Callable[[], None]]:
    """A descriptor that becomes readable when the process ends, and what closes it. Raises ProcessLookupError."""
    if sys.platform == "linux":
        descriptor = os.pidfd_open(pid)
        return descriptor, lambda: os.close(descriptor)
    queue = select.kqueue()
    event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT)
    try:
        queue.control([event], 0)
    except OSError:
        queue.close()
        raise
    return queue.fileno(), queue.close


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process and, as kernels lead a group of their own, to what it started. One that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def describe(status: int | None, *, out_of_memory: bool) -> str:
    """Why a process ended, from ``Popen.returncode`` (``None``: not known) and whether an out-of-memory kill was counted."""
    if out_of_memory and status in (None, -signal.SIGKILL, 128 + signal.SIGKILL):
        return "out of memory"
    if status is None:
        return UNKNOWN_STATUS
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exited with status {status}"


class MemoryKills:
    """Counts the out-of-memory kills in the control group of a process (Linux; elsewhere nothing is ever counted).

    The count is the kernel's own: ``oom_kill`` in ``memory.events`` (cgroup v2) or ``memory.oom_control`` (v1). A group that had the
    process alone is removed by systemd as soon as that is dead, and its count with it; cgroup v2 counts in the group above as well, and
    there it stays.

    Args:
        file: the count's; None: there is nothing to count.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._above = file.parent.parent / file.name if file is not None and file.name == "memory.events" else None
        self._before = _oom_kills(self._file) or 0
        self._before_above = _oom_kills(self._above)

    @classmethod
    def of(cls, pid: int) -> MemoryKills:
        """Of the group that the process is in now."""
        return cls(_memory_events(pid))

    def look(self) -> None:
        """To be called now and then while the process lives: kills of others in the group above are then not taken for its own."""
        above = _oom_kills(self._above)
        # In this order: a kill of our own is counted here before it is counted above.
        if not self.happened():
            self._before_above = above

    def happened(self) -> bool:
        """Whether there was one since this object was made; of a group that is gone, since :meth:`look`."""
        own = _oom_kills(self._file)
        if own is not None:
            return own > self._before
        above = _oom_kills(self._above)
        return above is not None and self._before_above is not None and above > self._before_above


def _oom_kills(file: Path | None) -> int | None:
    if file is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


def _memory_events(pid: int) -> Path | None:
    with contextlib.suppress(OSError, ValueError):
        groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            # proc_pid_mountinfo(5): …, root within the file system, mount point, …, "-", type, source, options of the file system
            mount, _, kind = line.partition(" - ")
            root, point = mount.split(" ")[3:5]
            kind, _, options = kind.split(" ", 2)
            if kind == "cgroup2" and "" in groups:
                group, name = groups[""], "memory.events"
            elif kind == "cgroup" and "memory" in options.split(",") and "memory" in groups:
                group, name = groups["memory"], "memory.oom_control"
            else:
                continue
            candidate = _below(root, point, group) / name
            if candidate.exists():
                return candidate
    return None


def _below(root: str, point: str, group: str) -> Path:
    """Where a control group is: in a container the file system's ``root`` is the container's own group, which ``group`` begins with."""
    inner = group.removeprefix(root) if root != "/" and (group + "/").startswith(root + "/") else group
    return Path(point, inner.lstrip("/"))


def tail(file: Path, size: int = STDERR_TAIL) -> str:
    """The last lines of a file, at most ``size`` bytes; "" when it cannot be read."""
    try:
        with file.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - size))
            data = stream.read(size)
    except OSError:
        return ""
    if end > size:
        data = data.partition(b"\n")[2] or data
    return _IPYKERNEL_GREETING.sub("", data.decode(errors="replace")).strip()
