"""What machine this is, and how busy it was with other things while something was measured."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Busy:
    """Shares of one core, so that 1.0 is one core kept busy all the time."""

    others: float
    """By processes that are no part of the benchmark."""
    steal: float
    """Taken by the hypervisor for other machines; 0 where the system does not tell."""
    load: float
    """The load average over the last minute, our own included."""


class Watch:
    """From its making to :meth:`read`: what other processes used. Ours are told by ``mark`` in their environment."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._began = time.monotonic()
        self._steal = _steal()
        self._processes = _cpu_of_others(mark)

    def read(self) -> Busy:
        """How busy it was since then."""
        wall = max(time.monotonic() - self._began, 1e-3)
        after = _cpu_of_others(self._mark)
        others = sum(max(seconds - self._processes.get(key, 0.0), 0.0) for key, seconds in after.items())
        return Busy(others=others / wall, steal=(_steal() - self._steal) / wall, load=os.getloadavg()[0])


def _steal() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _cpu_of_others(mark: str) -> dict[tuple[int, float], float]:
    ours = {os.getpid()}
    found: dict[tuple[int, float], float] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid in ours or belongs(process, mark):
                continue
            times = process.cpu_times()
            found[process.pid, process.create_time()] = times.user + times.system
    return found


def belongs(process: psutil.Process, mark: str) -> bool:
    """True when ``mark`` stands in the environment of ``process``: the benchmark started it, directly or not."""
    try:
        return mark in process.environ().values()
    except (psutil.Error, OSError):
        return False


def pss(pid: int) -> int:
    """Bytes of memory of one process, shared ones divided among those who share them; RSS where there is no PSS."""
    facts = psutil.Process(pid).memory_full_info()
    return int(getattr(facts, "pss", 0) or facts.rss)


def cpu(pid: int) -> float:
    """Seconds of CPU that one process and its threads have used, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def describe() -> dict[str, str]:
    """The machine in a few words."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    memory = psutil.virtual_memory().total / 2**30
    return {
        "cpu": f"{psutil.cpu_count()} x {model or platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
