"""A real dockerd of the test's own, and Homeport's image, built as docs/guide/docker.md has it.

Everything of the daemon lies in a temporary folder, and it touches neither iptables nor the default bridge, so that two runs at once,
and a Docker that the machine has already, do not meet. Nothing is pulled: ``python:3.13-slim``, on which the Dockerfile builds, is stood in
for by a small Debian of this machine's release with its Python, made with mmdebstrap and imported under that name.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.installed import ROOT
from harness.needs import program

USER_ID = 4321
"""Of the user in the image; files that a container is given belong to it."""
_QUIET = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--log-level=warn")
# Registries that a machine reaches through a certificate or a mirror of its own, it reaches so from within too.
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_CERTIFICATES = "PIP_CERT", "NODE_EXTRA_CA_CERTS"


@dataclass
class Docker:
    """The daemon. ``network`` is a bridge that this machine can reach containers by."""

    folder: Path
    network: str = "homeport-tests"
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Its socket, as DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.folder.mkdir()
        self.environment = {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.folder / "config"), "DOCKER_BUILDKIT": "0"}
        # It ends with us, and its containers with it, also when somebody kills the run.
        command = ["setpriv", "--pdeathsig", "TERM", program("dockerd") or "dockerd", "--host", self.host]
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, *(f"--{name}={self.folder / place}" for name, place in places.items()), *_QUIET],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "version"], env=self.environment, capture_output=True, check=False).returncode:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        self.run("network", "create", self.network)

    def log(self) -> str:
        """What the daemon said, its end."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def run(self, *arguments: str, seconds: float = 120, ok: bool = True) -> str:
        """What ``docker ARGUMENTS`` prints; on stderr too when it may fail (``ok=False``)."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
        assert not ok or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-6000:]}{done.stdout[-2000:]}"
        return done.stdout if ok else done.stdout + done.stderr

    def stop(self) -> None:
        """Take containers and network away, end it, and leave no mount."""
        if self.process is None:
            return
        if self.process.poll() is None:
            containers = self.run("ps", "--all", "--quiet", ok=False).split()
            if containers:
                self.run("rm", "--force", *containers, ok=False)
            self.run("network", "rm", self.network, ok=False)
            self.process.terminate()
        self.process.wait(60)
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            place = line.split()[1]
            if Path(place).is_relative_to(self.folder):  # dockerd leaves that of the network namespace
                subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="session")
def docker(session_home: Path) -> Iterator[Docker]:
    """A daemon without any image."""
    daemon = Docker(session_home / "docker")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


def _base(docker: Docker, name: str) -> None:
    """Debian with Python, under the name of the image that the Dockerfile begins with."""
    archive = docker.folder / "base.tar"
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    made = subprocess.run(
        ["mmdebstrap", "--variant=apt", "--include=python3-venv,python3-pip,ca-certificates", release, str(archive)],
        env={**os.environ, "TMPDIR": str(docker.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    docker.run("import", str(archive), "homeport-tests-debian")
    archive.unlink()
    context = docker.folder / "base"
    context.mkdir()
    shutil.copyfile(_BUNDLE, context / "bundle.crt")
    (context / "Dockerfile").write_text(
        f"FROM homeport-tests-debian\nCOPY bundle.crt {_BUNDLE}\n"
        + "".join(f"ENV {variable}={_BUNDLE}\n" for variable in _CERTIFICATES)
        + "RUN ln -s /usr/bin/python3 /usr/local/bin/python\n"
    )
    docker.run("build", "--tag", name, str(context))


@pytest.fixture(scope="session")
def image(docker: Docker, session_home: Path) -> str:
    """The image ``homeport``, built from a fresh clone."""
    clone = session_home / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    [name] = {line.split()[1] for line in (clone / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")}
    _base(docker, name)
    # On the machine's own network: the daemon's does not lead outside.
    docker.run("build", "--network=host", "--tag=homeport", f"--build-arg=USER_ID={USER_ID}", str(clone), seconds=900)
    return "homeport"


@dataclass(frozen=True)
class Container:
    """A running container."""

    docker: Docker
    id: str

    def port(self) -> int:
        """The port of this machine that leads to its 8888."""
        return int(self.docker.run("port", self.id, "8888").split(":")[-1])

    def logs(self) -> str:
        """What it has printed."""
        return self.docker.run("logs", self.id, ok=False)

    def said(self, text: str) -> str:
        """Wait until it has printed ``text``; all that it has printed."""
        deadline = time.monotonic() + 60
        while text not in (printed := self.logs()):
            assert self.state("Running") == "true", printed
            assert time.monotonic() < deadline, printed
            time.sleep(0.05)
        return printed

    def state(self, name: str) -> str:
        """A field of ``docker inspect``'s State."""
        return self.docker.run("inspect", f"--format={{{{.State.{name}}}}}", self.id).strip()

    def python(self, code: str) -> str:
        """What a program prints that runs in it."""
        return self.docker.run("exec", self.id, "python", "-c", code)

    def stop(self) -> float:
        """``docker stop``; the seconds that it took."""
        began = time.monotonic()
        self.docker.run("stop", self.id)
        return time.monotonic() - began


RunContainer = Callable[..., Container]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def wait_for_addresses() -> None:
    """A new interface's IPv6 address is tentative for a second; when it no longer is, Chromium drops what it is loading."""
    interfaces = Path("/proc/net/if_inet6")
    tentative, deadline = 0x40, time.monotonic() + 10  # IFA_F_TENTATIVE; the fifth column of the file are the flags
    while any(int(line.split()[4], 16) & tentative for line in _lines(interfaces)):
        assert time.monotonic() < deadline, "the addresses of a container's network stay tentative"
        time.sleep(0.05)


@pytest.fixture
def run_container(docker: Docker, image: str) -> Iterator[RunContainer]:
    """``run_container("--init", command=("homeport",))``: ``docker run -d`` with options, reachable on a port of this machine."""
    running: list[str] = []

    def run(*options: str, image: str = image, command: tuple[str, ...] = ()) -> Container:
        published = ("--network", docker.network, "--publish=127.0.0.1::8888")
        container = docker.run("run", "--detach", *published, *options, image, *command).strip()
        running.append(container)
        wait_for_addresses()
        return Container(docker, container)

    yield run
    if running:
        docker.run("rm", "--force", "--volumes", *running)
