"""What a test needs of the system: ``@pytest.mark.needs("chromium")``.

Where it is missing the test is skipped, with a reason that says how to get it. In CI (``CI=true``) a skip of what CI can
have is a failure, and so is every skip that does not come from this table.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.control_groups import memory_can_be_limited

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@functools.cache
def chromium() -> str | None:
    """The path of a Chromium or Chrome, from HOMEPORT_CHROMIUM or PATH."""
    named = os.environ.get("HOMEPORT_CHROMIUM")
    if named:
        return named
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def program(name: str) -> str | None:
    """The path of a program, also of one that is for administrators."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Need:
    """One thing that the system may lack."""

    there: Callable[[], bool]
    reason: str
    ci: bool
    """Whether CI can have it."""


NEEDS: dict[str, Need] = {
    "chromium": Need(lambda: chromium() is not None, "no Chromium: apt install chromium, or HOMEPORT_CHROMIUM=/path/to/it", ci=True),
    "linux": Need(lambda: sys.platform == "linux", "only Linux has this", ci=True),
    "root": Need(lambda: os.geteuid() == 0, "needs root", ci=True),
    "unprivileged": Need(lambda: os.geteuid() != 0 or shutil.which("setpriv") is not None, "needs setpriv to become another user", ci=True),
    "unshare": Need(
        lambda: os.geteuid() == 0 and shutil.which("unshare") is not None, "needs root and unshare (apt install util-linux)", ci=True
    ),
    "tun": Need(
        lambda: os.geteuid() == 0 and os.access("/dev/net/tun", os.R_OK | os.W_OK) and all(map(program, ("ip", "nsenter"))),
        "needs root, /dev/net/tun, ip and nsenter (apt install iproute2 util-linux)",
        ci=True,
    ),
    "libfiu": Need(lambda: shutil.which("fiu-ctrl") is not None, "no libfiu: apt install fiu-utils", ci=True),
    "certutil": Need(lambda: shutil.which("certutil") is not None, "no certutil: apt install libnss3-tools", ci=True),
    "git": Need(lambda: shutil.which("git") is not None, "no git: apt install git", ci=True),
    "irkernel": Need(Path("/usr/share/jupyter/kernels/ir/kernel.json").exists, "no kernel for R: apt install r-cran-irkernel", ci=True),
    "make": Need(lambda: shutil.which("make") is not None, "no make: apt install make", ci=True),
    "clone": Need((Path(__file__).parents[2] / ".git").exists, "only in a clone of the repository", ci=True),
    "proxies": Need(
        lambda: all(map(program, ("apache2", "nginx", "caddy", "haproxy", "openssl"))),
        "no proxies: apt install apache2-bin nginx-light caddy haproxy openssl",
        ci=True,
    ),
    "docker": Need(
        lambda: os.geteuid() == 0 and all(map(program, ("dockerd", "docker", "mmdebstrap", "tini-static", "setpriv"))),
        "needs root, and a Docker to start: apt install docker.io mmdebstrap tini",
        ci=True,
    ),
    "systemd": Need(
        lambda: (
            os.geteuid() == 0
            and all(map(program, ("systemd-nspawn", "nsenter", "setpriv", "dbus-daemon")))
            and any(Path("/usr/lib").glob("*/security/pam_systemd.so"))
        ),
        "needs root, and systemd to boot in a container: apt install systemd systemd-container dbus dbus-user-session libpam-systemd",
        ci=True,
    ),
    "memory-limit": Need(memory_can_be_limited, "this process may not limit the memory of others by control groups", ci=True),
    "sshd": Need(
        lambda: all(map(program, ("sshd", "ssh", "ssh-keygen"))), "no SSH server: apt install openssh-server openssh-client", ci=True
    ),
    "real-notebooks": Need(
        lambda: bool(os.environ.get("HOMEPORT_NOTEBOOKS")), "HOMEPORT_NOTEBOOKS names no folder of real notebooks", ci=False
    ),
}
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            need = NEEDS[name]
            if not need.there():
                pytest.skip(f"{name}: {need.reason}")


def _allowed(reason: str) -> bool:
    name = reason.removeprefix("Skipped: ").split(":", 1)[0]
    return name in NEEDS and not NEEDS[name].ci


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not _allowed(reason):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was left out in CI, which can have what it needs.\n{reason}"
    return report
