"""A small machine with a real systemd as process 1, its logins and its users' systemds: a container of systemd-nspawn.

It has this machine's /usr and network, read-only and shared, and nothing else of it. The test's own processes reach into it as an
administrator at its console would (:meth:`Machine.root`), or as somebody who logs in (:meth:`Machine.login`). Several run at once:
names and control groups are their own. When a machine is off, nothing of it is left.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from harness.control_groups import own_groups, remove_group

USER, UID = "jane", 1000
BOOT = 90.0
"""Seconds to boot on a busy machine; it takes about two."""
COMMAND = 120.0

# What no container can do or needs, and what would ask the network.
_MASKED = (
    *("systemd-networkd", "systemd-resolved", "systemd-timesyncd", "systemd-udevd", "systemd-udev-trigger", "console-getty"),
    *("e2scrub_reap", "packagekit", "colord", "docker", "containerd", "ssh", "apache2", "nginx", "haproxy", "caddy", "cron"),
)
_COPIED = ("nsswitch.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "pam.d", "security", "dbus-1", "login.defs", "alternatives", "ssl")
_CONSOLE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_LOGIN = """\
account required pam_permit.so
session required pam_systemd.so
"""


class Machine:
    """One machine; see the module.

    Args:
        folder: where its files go.
        visible: folders of this machine that are there too, under the same names, read-only.
        memory: whether its memory can be limited. Where this machine has memory in the first version of control groups, that needs the
            first version in the machine as well, whose systemd does not hear then of a group that has become empty: after a logout it
            waits for two minutes.
    """

    def __init__(self, folder: Path, visible: Sequence[Path], *, memory: bool = False) -> None:
        self.name = f"hp-{uuid.uuid4().hex[:8]}"
        self.files = folder / self.name
        self.home = self.files / "home" / USER
        self._visible = visible
        self._groups = [group / self.name for group in own_groups()]
        self._unified = not (memory and any(group.is_relative_to("/sys/fs/cgroup/memory") for group in self._groups))
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    # --- its life -------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start it, and return when it is up."""
        self._furnish()
        for group in self._groups:
            group.mkdir()
        join = "".join(f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}; " for group in self._groups)
        words = [
            *("systemd-nspawn", "--quiet", f"--directory={self.files}", f"--machine={self.name}", "--bind-ro=/usr"),
            *(f"--bind-ro={folder}" for folder in self._visible if not folder.is_relative_to("/usr")),
            *("--keep-unit", "--register=no", "--boot", "--console=pipe", "systemd.unit=multi-user.target"),
        ]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                # It ends with us, however we end.
                ["setpriv", "--pdeathsig=KILL", "/bin/sh", "-c", f'{join}exec "$@"', "sh", *words],
                env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": str(int(self._unified))},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self.until(self._is_there, "its systemd", seconds=BOOT)
        self.root("systemctl", "is-system-running", "--wait", check=False)
        self.root("systemctl", "start", "dbus.service", "systemd-logind.service")

    def off(self) -> None:
        """Pull the plug: every process in it ends at once."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first or self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(30)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            for group in self._groups:
                remove_group(group)

    def _furnish(self) -> None:
        root = self.files
        for folder in ("usr", "var", "run", "proc", "sys", "dev", "tmp", "root", "etc/systemd/system", "home"):
            (root / folder).mkdir(parents=True)
        # Programs of the tests may lie below the administrator's home folder; the machine's user reads them.
        root.chmod(0o755)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        etc = root / "etc"
        for name in _COPIED:
            subprocess.run(["cp", "-a", f"/etc/{name}", str(etc)], check=False, capture_output=True)
        shutil.copy("/usr/lib/os-release", etc / "os-release")
        (etc / "machine-id").touch()
        (etc / "hostname").write_text("lab\n")
        kept = ("root:", "daemon:", "nobody:", "messagebus:", "polkitd:", "systemd-")
        for name, line in (("passwd", f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash"), ("group", f"{USER}:x:{UID}:")):
            lines = Path("/etc", name).read_text().splitlines()
            others = [each for each in lines if each.split(":")[2] != str(UID) and (name == "group" or each.startswith(kept))]
            (etc / name).write_text("\n".join([*others, line]) + "\n")
        users = [each.split(":")[0] for each in (etc / "passwd").read_text().splitlines()]
        (etc / "shadow").write_text("".join(f"{user}:*:19000:0:99999:7:::\n" for user in users))
        (etc / "pam.d").mkdir(exist_ok=True)
        (etc / "pam.d" / "homeport-login").write_text(_LOGIN)
        for unit in _MASKED:
            (etc / "systemd/system" / f"{unit}.service").symlink_to("/dev/null")
        self.home.mkdir()
        os.chown(self.home, UID, UID)

    @property
    def _console(self) -> Path:
        return self.files.with_suffix(".console")

    def _is_there(self) -> bool:
        """Whether its systemd listens; finds its process 1."""
        assert self._process is not None
        assert self._process.poll() is None, f"The machine did not boot:\n{self._console.read_text(errors='replace')}"
        if not self._first:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            for child in children:
                status = Path(f"/proc/{child}/status").read_text()
                if any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines()):
                    self._first = int(child)
        return bool(self._first) and Path(f"/proc/{self._first}/root/run/systemd/private").exists()

    # --- reaching in ------------------------------------------------------------------------------------------------------

    def root(self, *command: str, check: bool = True) -> str:
        """Run a command at its console, as root; what it printed, errors too."""
        return self._run(["nsenter", f"--target={self._first}", "--all", "--", *command], check=check)

    def login(self, script: str, *, check: bool = True, environment: dict[str, str] | None = None) -> str:
        """Log in as :data:`USER`, run the shell script in the home folder, and log out; what it printed, errors too."""
        return self._run(self._as_user(script, environment), check=check)

    @contextlib.contextmanager
    def logged_in(self) -> Iterator[None]:
        """Stay logged in meanwhile."""
        stay = subprocess.Popen(self._as_user("echo in; exec cat", None), env=_CONSOLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert stay.stdin is not None
            assert stay.stdout is not None
            assert stay.stdout.readline() == b"in\n"
            yield
            stay.stdin.close()
            stay.wait(COMMAND)
        finally:
            if stay.poll() is None:
                stay.kill()
                stay.wait()

    def _as_user(self, script: str, environment: dict[str, str] | None) -> list[str]:
        settings = {"HOME": f"/home/{USER}", "PATH": "/usr/local/bin:/usr/bin:/bin", **(environment or {})}
        return [
            *("nsenter", f"--target={self._first}", "--all", "--", "systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
            *(f"--property=User={USER}", "--property=PAMName=homeport-login", f"--working-directory=/home/{USER}"),
            *(f"--setenv={name}={value}" for name, value in settings.items()),
            *("/bin/bash", "-c", script),
        ]

    def _run(self, command: Sequence[str], *, check: bool) -> str:
        done = subprocess.run(
            command,
            env=_CONSOLE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{shlex.join(command)}\nended with status {done.returncode}:\n{done.stdout}"
        return done.stdout

    def until(self, condition: Callable[[], object], what: str, *, seconds: float = 60) -> None:
        """Wait for something in it that tells nobody when it happens."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s\n{self._console.read_text(errors='replace')[-3000:]}"
            time.sleep(0.05)

    def limit_memory(self, size: int) -> None:
        """From now on all its processes together have so many bytes."""
        for group in self._groups:
            for name in ("memory.limit_in_bytes", "memory.max"):
                if (group / name).exists():
                    (group / name).write_text(str(size))
                    return
        raise AssertionError("This machine has no control of memory")


@contextlib.contextmanager
def _up(machine: Machine) -> Iterator[Machine]:
    try:
        machine.boot()
        yield machine
    finally:
        machine.off()


@pytest.fixture
def machine(installed: Path, home: Path) -> Iterator[Machine]:
    """A machine that is up, on which Homeport is installed (``installed``), and whose user has never logged in."""
    with _up(Machine(home, [installed.parent, Path(sys.base_prefix)])) as one:
        yield one


@pytest.fixture
def machine_with_memory(installed: Path, home: Path) -> Iterator[Machine]:
    """As ``machine``, with a memory that can be limited."""
    with _up(Machine(home, [installed.parent, Path(sys.base_prefix)], memory=True)) as one:
        yield one
