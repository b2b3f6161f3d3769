"""``homeport service`` under a real systemd: restarts, kills, hangs, logouts and a kernel that takes all memory; kernels are kept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import uuid
from pathlib import Path

import pytest

from harness import notebooks
from harness.document_client import OpenDocument
from harness.machine import UID, USER, Machine
from harness.server import Server, free_port

pytestmark = [pytest.mark.needs("systemd"), pytest.mark.timeout(600)]

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "systemd.md"
FOLDER = "50% of $HOME's work"
UNIT = "homeport.service"


class Service:
    """Homeport on a machine, as its user has it."""

    def __init__(self, machine: Machine, programs: Path) -> None:
        self.machine = machine
        self.port = free_port()
        self.folder = machine.home / FOLDER
        self.programs = programs
        self.folder.mkdir()
        os.chown(self.folder, UID, UID)

    def homeport(self, words: str, *, check: bool = True, environment: dict[str, str] | None = None) -> str:
        """``homeport`` with ``words``, in a login of its own, in the folder; what it printed."""
        return self.machine.login(f"cd {shlex.quote(FOLDER)}; {self.programs}/homeport {words}", check=check, environment=environment)

    def systemctl(self, words: str) -> str:
        """``systemctl --user`` with ``words``."""
        return self.machine.login(f"systemctl --user {words}").strip()

    def fact(self, name: str, unit: str = UNIT) -> str:
        return self.systemctl(f"show --property={name} --value '{unit}'")

    @property
    def pid(self) -> int:
        """Of the server, on the machine; 0 when none runs."""
        return int(self.fact("MainPID"))

    def log(self) -> str:
        return self.machine.login("journalctl --user -u homeport --no-pager -o cat")

    def install(self, options: str = "") -> str:
        """``homeport service install`` in :data:`FOLDER`."""
        return self.homeport(f"service install --port={self.port} {options}")

    @property
    def server(self) -> Server:
        """For clients: it shares this machine's network."""
        [facts] = json.loads(self.homeport("list --jsonlist"))
        assert facts["root_dir"] == f"/home/{USER}/{FOLDER}"
        return Server(root=self.folder, home=self.machine.home, port=self.port, token=facts["token"])

    def write(self, name: str, *cells: str) -> list[str]:
        """A notebook of the user's."""
        ids = notebooks.write(self.folder / name, *cells)
        os.chown(self.folder / name, UID, UID)
        return ids

    def group(self, pid: int) -> str:
        """The unit whose control group has the process."""
        lines = self.machine.root("cat", f"/proc/{pid}/cgroup").splitlines()
        [path] = {line.split(":", 2)[2] for line in lines if f"/user@{UID}.service/" in line}
        return path.rpartition("/")[2]

    def kernels(self) -> dict[int, str]:
        """The kernels that live: pid on the machine, and unit."""
        found = self.machine.root("pgrep", "-f", "ipykernel_launcher", check=False).split()
        return {int(pid): self.group(int(pid)) for pid in found}

    def supervisor(self) -> int:
        """The pid of the supervisor, as its lock has it; of one that was killed until there is another."""
        [lock] = (self.machine.home / ".local/state/homeport").glob("supervisor/*/lock")
        return int(lock.read_text() or 0)

    async def again(self, before: int) -> int:
        """Wait until systemd has started another server than ``before``; its pid."""
        await asyncio.to_thread(
            self.machine.until, lambda: self.fact("ActiveState") == "active" and self.pid not in (0, before), "another server"
        )
        return self.pid


@pytest.fixture
def service(machine: Machine, installed: Path) -> Service:
    return Service(machine, installed)


async def test_whatever_ends_the_server_kernels_are_kept(service: Service, open_document: OpenDocument) -> None:
    service.machine.root("loginctl", "enable-linger", USER)
    [first, second] = service.write("a b.ipynb", "x = 42", "print('x is', x)")
    said = service.install()
    assert f"Wrote /home/{USER}/.config/systemd/user/homeport.service, and started it." in said
    assert f"http://localhost:{service.port}/?token=" in said
    assert "It goes on when you log out, and starts with the machine" in said
    assert service.fact("UnitFileState") == "enabled"
    assert service.fact("StatusText") == f"Serves /home/{USER}/{FOLDER} at http://localhost:{service.port}/"

    page = await open_document(service.server, "a b.ipynb")
    await page.ran(first)
    [(kernel, unit)] = service.kernels().items()
    assert re.fullmatch(r"homeport-kernel-[0-9a-f]{8}-[0-9a-f]{8}\.scope", unit)
    supervisor = service.supervisor()
    assert re.fullmatch(r"homeport-supervisor-[0-9a-f]{8}\.scope", service.group(supervisor))
    assert service.group(service.pid) == UNIT

    async def still_there(what: str) -> None:
        await page.ran(second)
        assert page.text(second) == "x is 42\n", what
        assert service.kernels() == {kernel: unit}, what

    server = service.pid
    service.systemctl("restart homeport")
    server = await service.again(server)
    await still_there("after a restart")

    service.machine.root("kill", "-KILL", str(server))
    server = await service.again(server)
    assert service.fact("NRestarts") == "1"
    await still_there("after kill -9")

    (service.machine.home / ".config/systemd/user/homeport.service.d").mkdir()
    (service.machine.home / ".config/systemd/user/homeport.service.d/soon.conf").write_text("[Service]\nWatchdogSec=4\n")
    service.systemctl("daemon-reload")
    service.systemctl("restart homeport")
    server = await service.again(server)
    service.machine.root("kill", "-STOP", str(server))
    server = await service.again(server)
    assert "Watchdog timeout" in service.log()
    assert "Fatal Python error: Aborted" in service.log(), "it says where it hung"
    await still_there("after a hang")

    service.machine.root("kill", "-KILL", str(supervisor))
    await asyncio.to_thread(service.machine.until, lambda: service.supervisor() != supervisor, "another supervisor")
    await still_there("after the supervisor was killed")
    assert service.group(service.supervisor()).startswith("homeport-supervisor-"), "a unit of its own again"

    service.systemctl("stop homeport")
    assert "The server has ended; 1 kernel runs on" in service.log()
    assert service.kernels() == {kernel: unit}
    status = service.homeport("service status", check=False)
    assert "homeport.service is inactive." in status
    assert "1 kernel " in status
    service.systemctl("start homeport")
    await still_there("after stop and start")
    assert service.server.token not in service.log(), "others may read the log"

    # On a terminal it asks.
    said = service.machine.login(f"echo y | script -qec '{service.programs}/homeport service uninstall' /dev/null")
    assert "1 kernel still running. Shut down? [y/N]" in said
    assert "Shut down 1 kernel." in said
    assert not (service.machine.home / ".config/systemd/user" / UNIT).exists()
    assert (service.kernels(), service.fact("LoadState")) == ({}, "not-found")


@pytest.mark.needs("memory-limit")
async def test_a_kernel_that_takes_all_memory_takes_nobody_along(
    machine_with_memory: Machine, installed: Path, open_document: OpenDocument
) -> None:
    service = Service(machine_with_memory, installed)
    service.machine.root("loginctl", "enable-linger", USER)
    service.install()
    greedy = service.write("greedy.ipynb", "import os; taken = []", "while True: taken.append(b'x' * (32 << 20))")
    modest = service.write("modest.ipynb", "x = 42", "print('x is', x)")
    pages = [await open_document(service.server, name) for name in ("greedy.ipynb", "modest.ipynb")]
    await pages[0].ran(greedy[0])
    await pages[1].ran(modest[0])
    before = (service.pid, service.supervisor())
    assert len(set(service.kernels().values())) == 2, "a unit each"

    service.machine.limit_memory(1 << 30)
    await pages[0].operate("run", runs=[[str(uuid.uuid4()), greedy[1]]], stop_on_error=True)
    await pages[0].until(lambda: (pages[0].state["kernel"] or {}).get("state") == "dead", "the kernel's end", seconds=120)
    assert pages[0].state["kernel"]["reason"] == "out of memory"

    await pages[1].ran(modest[1])
    assert pages[1].text(modest[1]) == "x is 42\n"
    assert (service.pid, service.supervisor()) == before
    assert service.fact("NRestarts") == "0"
    await pages[0].operate("restart")
    await pages[0].ran(greedy[0])
    assert len(set(service.kernels().values())) == 2, "a unit each"
    assert "2 kernels still running; 'homeport kernels' lists them" in service.homeport("service uninstall"), "there is nobody to ask"
    assert len(service.kernels()) == 2


async def test_without_lingering_a_logout_ends_it_and_that_is_said_before(service: Service, open_document: OpenDocument) -> None:
    machine = service.machine
    # Without it nobody but an administrator may enable lingering.
    machine.root("systemctl", "mask", "polkit.service")
    [first, second] = service.write("a.ipynb", "x = 42", "print('x is', x)")
    with machine.logged_in():
        said = service.install()
        assert "It ENDS WHEN YOU LOG OUT, and its kernels with it" in said
        assert f"Have an administrator run:  loginctl enable-linger {USER}" in said
        assert service.pid
    machine.until(lambda: not machine.root("pgrep", "-u", USER, check=False), "the end of everything of the user's")

    machine.root("loginctl", "enable-linger", USER)
    machine.until(lambda: "is active" in service.homeport("service status", check=False), "the start by itself")
    assert "It goes on when you log out" in service.homeport("service status")
    with machine.logged_in():
        page = await open_document(service.server, "a.ipynb")
        await page.ran(first)
        kernels = service.kernels()
    machine.until(lambda: "State=lingering" in machine.root("loginctl", "show-user", USER), "the logout")
    await page.ran(second)
    assert page.text(second) == "x is 42\n"
    assert service.kernels() == kernels
    sockets = [line.split()[-1] for line in machine.root("cat", "/proc/net/unix").splitlines() if "homeport" in line]
    assert all(not path.startswith("/run") for path in sockets), sockets


def test_what_keeps_it_from_starting_is_said_and_nothing_is_left(service: Service, installed: Path) -> None:
    machine = service.machine
    unit = machine.home / ".config/systemd/user" / UNIT
    # By su and sudo one comes without a systemd of one's own.
    as_jane = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", f"HOME=/home/{USER}", str(installed / "homeport")]
    said = machine.root(*as_jane, "service", "install", check=False)
    assert f"The systemd of {USER} cannot be reached: there is no /run/user/{UID}/systemd" in said
    assert f"'loginctl enable-linger {USER}'" in said
    assert "Traceback" not in said

    machine.root("loginctl", "enable-linger", USER)
    assert "not installed" in service.homeport("service status", check=False)
    (service.folder / "bad.pem").write_text("no certificate")
    said = service.homeport("service install --certfile=bad.pem", check=False)
    assert "The service could not be started.\nhomeport: " in said
    assert f"{FOLDER}/bad.pem holds no certificate" in said
    assert "Nothing of it is left" in said
    assert not unit.exists()
    assert service.fact("LoadState") == "not-found"

    service.install()
    text = unit.read_text()
    said = service.homeport(f"service install --port={service.port} --certfile=bad.pem", check=False)
    assert "The unit of before is in force again" in said
    assert unit.read_text() == text
    assert service.fact("ActiveState") == "active"

    service.machine.login(f"echo secret | {installed}/homeport password")
    said = service.homeport(f"service install --port={service.port} --public --names=lab")
    assert f"https://lab:{service.port}/   (with your password)" in said
    assert "'homeport cert' shows the fingerprint" in said
    text = unit.read_text()

    # With a runtime folder it is found without a login, too.
    said = machine.root(*as_jane, "service", "status")
    assert "homeport.service is active" in said
    taken = free_port()
    assert "It runs in the background" in service.homeport(f"--daemon --port={taken}")
    said = service.homeport(f"service install --port={taken}", check=False)
    assert f"runs on port {taken} already" in said
    assert unit.read_text() == text


async def test_where_nothing_can_be_a_unit_of_its_own_kernels_are_kept_all_the_same(service: Service, open_document: OpenDocument) -> None:
    service.machine.root("loginctl", "enable-linger", USER)
    refusing = service.machine.home / "bin" / "systemd-run"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    refusing.chmod(0o755)
    [first, second] = service.write("a.ipynb", "x = 42", "print('x is', x)")
    service.homeport(f"service install --port={service.port}", environment={"PATH": f"/home/{USER}/bin:/usr/bin:/bin"})
    page = await open_document(service.server, "a.ipynb")
    await page.ran(first)
    assert "cannot be a unit of its own, and is started without: Failed to connect to bus" in service.log()
    kernels = service.kernels()
    assert list(kernels.values()) == [UNIT]

    server = service.pid
    service.systemctl("restart homeport")
    server = await service.again(server)
    service.machine.root("kill", "-KILL", str(server))
    await service.again(server)
    await page.ran(second)
    assert page.text(second) == "x is 42\n"
    assert service.kernels() == kernels


async def test_the_system_unit_of_the_guide(machine: Machine, installed: Path, open_document: OpenDocument) -> None:
    port = free_port()
    [text] = re.findall(r"```ini\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for theirs, ours in (("/home/jane/venv/bin/homeport", str(installed / "homeport")), ("8888", str(port))):
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    (machine.files / "etc/systemd/system" / UNIT).write_text(text)
    folder = machine.home / "work"
    folder.mkdir()
    [first, second] = notebooks.write(folder / "a.ipynb", "x = 42", "print('x is', x)")
    for path in (folder, folder / "a.ipynb"):
        os.chown(path, UID, UID)
    machine.root("systemctl", "enable", "--now", "homeport")
    [facts] = json.loads(machine.login(f"{installed}/homeport list --jsonlist"))
    page = await open_document(Server(root=folder, home=machine.home, port=port, token=facts["token"]), "a.ipynb")
    await page.ran(first)

    machine.root("systemctl", "restart", "homeport")
    await page.ran(second)
    assert page.text(second) == "x is 42\n"
    machine.root("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "homeport")
    machine.until(lambda: machine.root("systemctl", "show", "--property=NRestarts", "--value", "homeport").strip() == "1", "another server")
    await page.ran(second)
    assert page.text(second) == "x is 42\n"
    machine.root("systemctl", "stop", "homeport")
    log = machine.root("journalctl", "-u", "homeport", "--no-pager", "-o", "cat")
    assert "The server has ended; 1 kernel runs on" in log
    assert facts["token"] not in log
