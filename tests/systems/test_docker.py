"""In Docker, with a real dockerd: the image that the Dockerfile makes, as process 1 with nothing before it, under --init and under tini."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
from playwright.async_api import Page, expect

from harness import notebooks
from harness.browser import OpenPage
from harness.docker import USER_ID, Container, Docker, RunContainer, wait_for_addresses
from harness.installed import ROOT
from harness.needs import program
from harness.notebook_page import NotebookPage
from harness.proxies import Front, StartProxy
from harness.server import free_port
from homeport.auth.passwords import hash_password

pytestmark = [
    pytest.mark.needs("docker", "chromium", "git", "clone"),
    pytest.mark.timeout(1800),
    # Containers that come and go change this machine's interfaces; Chromium then loads again what it was loading.
    pytest.mark.expect_console(r"net::ERR_NETWORK_CHANGED"),
]

PASSWORD = "of the container"
GUIDE = (ROOT / "docs" / "guide" / "docker.md").read_text()
# The page says that the server is gone; the browser says so too.
AFTER_THE_STOP = pytest.mark.expect_console(r"WebSocket connection to|Failed to load resource: net::")

# Children, orphans that end after their parent, and a shell's background job: who is process 1 has to reap them.
ORPHANS = """
import subprocess, time
for _ in range(5):
    subprocess.run(["sh", "-c", "sleep 0.1 & sleep 0.05 & true"], check=True)
!true
print("children:", subprocess.run(["sh", "-c", "exit 3"]).returncode)
"""
STUBBORN = """
import time
print("wor" + "ks", flush=True)
while True:
    try:
        time.sleep(0.1)
    except KeyboardInterrupt:
        pass
"""
# In the container: waits until everything that ORPHANS started has ended, and says which processes are zombies.
ZOMBIES = """
import os, time
def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name, _, rest = open(f"/proc/{pid}/stat").read().partition("(")[2].rpartition(")")
            yield name, rest.split()[0]
        except OSError:
            pass
deadline = time.monotonic() + 20
while any(name == "sleep" for name, _ in processes()) and time.monotonic() < deadline:
    time.sleep(0.05)
print([name for name, state in processes() if state == "Z" or name == "sleep"])
"""


def work_folder(path: Path, **cells: Sequence[str]) -> Path:
    """A folder with notebooks (name and cells), which belongs to the user in the image, as one's own does."""
    path.mkdir()
    for name, sources in cells.items():
        notebooks.write(path / f"{name}.ipynb", *sources)
    for each in (path, *path.iterdir()):
        os.chown(each, USER_ID, USER_ID)
    return path


def inits() -> dict[str, tuple[str, ...]]:
    """By name, the options of ``docker run`` that put an init, or none, before the command."""
    return {
        "nothing": (),
        "--init": ("--init",),
        "tini": (f"--volume={program('tini-static')}:/tini:ro", "--entrypoint=/tini"),
    }


def the_command(of: str) -> tuple[str, ...]:
    """What the container runs: the image's own CMD is left as it is."""
    [own] = re.findall(r"^CMD (.+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    [guide] = re.findall(r'`CMD (\["jupyter".+?\])`', GUIDE)
    return tuple(json.loads(own if of == "homeport" else guide))


@pytest.fixture
def run_server(run_container: RunContainer) -> Callable[..., tuple[Container, Front]]:
    """Runs one of the two commands on a folder; gives the container, and the server as it is seen from here."""

    def run(name: str, folder: Path, *options: str, init: str = "nothing") -> tuple[Container, Front]:
        command = the_command(name)
        if init == "tini":
            command = ("--", *command)
        elif name == "homeport":
            assert command == ("homeport", "--public")
            command = ()  # the image's own
        variables = (f"--env=HOMEPORT_PASSWORD_HASH={hash_password(PASSWORD)}",) if name == "homeport" else ()
        container = run_container(*inits()[init], *variables, f"--volume={folder}:/notebooks", *options, command=command)
        printed = container.said("Stopping the container saves what is open and shuts the kernels down.")
        scheme = "https" if name == "homeport" else "http"
        assert f"    {scheme}://" in printed
        token = re.search(r"\?token=(\w+)", printed)
        assert (token is None) == (name == "homeport"), "a password is not printed, and nothing else lets in"
        return container, Front(f"{scheme}://127.0.0.1:{container.port()}/", token[1] if token else "", folder)

    return run


@dataclass(frozen=True)
class Inside:
    """A server in a container, as much of it as a proxy has to know."""

    port: int
    root: Path
    token: str = ""


async def log_in(page: Page) -> None:
    """With the password, when the page asks for it."""
    await page.get_by_label("Password or token").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def open_notebook(open_page: OpenPage, front: Front, path: str) -> NotebookPage:
    page = await open_page(front, f"notebooks/{path}", login=bool(front.token))
    if not front.token:
        await log_in(page)
    return await NotebookPage(page).loaded()


@AFTER_THE_STOP
@pytest.mark.parametrize("init", ["nothing", "--init", "tini"])
@pytest.mark.parametrize("name", ["homeport", "jupyter"])
async def test_edit_run_and_stop(
    name: str, init: str, run_server: Callable[..., tuple[Container, Front]], open_page: OpenPage, tmp_path: Path
) -> None:
    folder = work_folder(tmp_path / "work", a=(ORPHANS, ""), busy=(STUBBORN,))
    container, front = run_server(name, folder, init=init)
    notebook = await open_notebook(open_page, front, "a.ipynb")
    await notebook.run_all()
    await expect(notebook.cell(0)).to_contain_text("children: 3")
    await notebook.finished()
    assert container.python(ZOMBIES) == "[]\n"

    busy = await NotebookPage(await open_page(front, "notebooks/busy.ipynb", context=notebook.page.context, login=False)).loaded()
    await busy.run_all()
    await expect(busy.cell(0)).to_contain_text("works")
    await notebook.page.bring_to_front()
    await notebook.type_into(1, "typed = 'just before the stop'")
    await notebook.state(waiting="0")
    took = container.stop()
    assert took < 3, f"docker stop took {took:.2f} s\n{container.logs()}"
    assert (container.state("ExitCode"), container.state("OOMKilled")) == ("0", "false"), container.logs()
    assert "Traceback" not in container.logs()
    typed = notebooks.read(folder / "a.ipynb")["cells"][1]["source"]
    assert notebooks.joined(typed) == "typed = 'just before the stop'"
    assert notebooks.stream_text(notebooks.read(folder / "busy.ipynb")["cells"][0]) == "works\n"
    print(f"docker stop of {name} under {init}: {took:.2f} s")


async def test_a_kernel_that_runs_out_of_memory(
    run_server: Callable[..., tuple[Container, Front]], open_page: OpenPage, tmp_path: Path
) -> None:
    folder = work_folder(tmp_path / "work", a=("x = b'x' * (900 << 20)", "print('after', 6 * 7)"))
    container, front = run_server("homeport", folder, "--memory=400m", "--memory-swap=400m")
    notebook = await open_notebook(open_page, front, "a.ipynb")
    await notebook.run_all()
    await expect(notebook.cell(0)).to_contain_text("The kernel died while this cell ran: out of memory.")
    await expect(notebook.page.get_by_text("out of memory").first).to_be_visible()
    assert container.state("Running") == "true", "nobody but the kernel was killed"
    await notebook.cell(1).locator(".cm-content, .cell-source").first.click()
    await notebook.page.keyboard.press("Control+Enter")
    await expect(notebook.cell(1)).to_contain_text("after 42")


@pytest.mark.needs("proxies")
async def test_a_proxy_alone_encrypts(
    docker: Docker, run_container: RunContainer, start_proxy: StartProxy, open_page: OpenPage, tmp_path: Path
) -> None:
    """The container and the machine are two machines here: plain http between them, for the proxy and nobody else."""
    [words] = re.findall(r"`homeport (--ip='\*' --trusted-proxies=\S+)`", GUIDE)
    gateway = docker.run("network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", docker.network).strip()
    options = [re.sub(r"=[\d./]+$", f"={gateway}", word) for word in shlex.split(words)]
    folder = work_folder(tmp_path / "work", a=("print(6 * 7)",))
    given = (f"--env=HOMEPORT_PASSWORD_HASH={hash_password(PASSWORD)}", f"--volume={folder}:/notebooks")
    container = run_container(*given, command=("homeport", *options, "--base-url=/jupyter/"))
    printed = container.said("Stopping the container")
    assert f"Nothing but the proxies at {gateway} and this machine itself is answered, since only they encrypt." in printed
    front = await start_proxy(Inside(container.port(), folder), "nginx-tls")
    notebook = await open_notebook(open_page, front, "a.ipynb")
    await notebook.run_all()
    await expect(notebook.cell(0)).to_contain_text("42")
    assert [cookie["secure"] for cookie in await notebook.page.context.cookies() if cookie["httpOnly"]] == [True]
    address = docker.run("inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container.id).strip()
    asking = (
        "import sys, urllib.error, urllib.request\n"
        "try: print(urllib.request.urlopen(sys.argv[1]).status)\n"
        "except urllib.error.HTTPError as error: print(error.code, error.read().decode())"
    )
    for page in ("api/contents", "login", "api"):
        url = f"http://{address}:8888/jupyter/{page}"
        said = docker.run("run", "--rm", f"--network={docker.network}", "homeport", "python", "-c", asking, url)
        assert said.startswith("403 "), said
        assert "This server is reached through its proxy only; --trusted-proxies names the proxies." in said


def test_a_public_server_without_a_password_says_what_to_do(docker: Docker, image: str) -> None:
    said = docker.run("run", "--rm", image, ok=False)
    assert "A public server needs a password, and there is no terminal to ask for one." in said


def as_the_guide_has_it(docker: Docker, folder: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """The guide's commands, to be typed into a shell, and the environment for it.

    This test's own are the port of the machine, and the network, since the daemon has no default one.
    """
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    folder.mkdir()
    real = program("docker")
    (folder / "docker").write_text(
        f'#!/bin/sh\n[ "$1" = run ] || exec {real} "$@"\nshift\nexec {real} run --network={docker.network} "$@"\n',
    )
    (folder / "docker").chmod(0o755)
    environment = {**os.environ, **docker.environment, "HOME": os.environ["HOME"], "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return [command.replace("-p 8888:8888", f"-p 127.0.0.1:{port}:8888") for command in commands], environment


async def test_the_guide_word_for_word(docker: Docker, image: str, open_page: OpenPage, home: Path, tmp_path: Path) -> None:
    port = free_port()
    (build, password, run, logs), environment = as_the_guide_has_it(docker, tmp_path / "bin", port)
    assert build == "docker build -t homeport --build-arg USER_ID=$(id -u) ."  # with the user of the tests: the fixture
    work = work_folder(home / "work", a=("print(6 * 7)",))

    def shell(command: str) -> str:
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    asking = pexpect.spawn("sh", ["-c", password], env=environment, encoding="utf-8", timeout=60)
    for prompt in ("Enter password: ", "Verify password: "):
        asking.expect_exact(prompt)
        asking.waitnoecho()
        asking.sendline(PASSWORD)
    asking.expect_exact("Wrote hashed password to /home/homeport/.jupyter/jupyter_notebook_config.json")
    asking.expect(pexpect.EOF)

    page: Page | None = None
    fingerprints: set[str] = set()
    try:
        for _ in range(2):  # the second container is a new one, and goes on where the first was
            container = Container(docker, shell(run).strip())
            container.said("Stopping the container")
            wait_for_addresses()
            printed = shell(logs)
            assert "    https://machine.example.org:8888/   (with your password)" in printed
            fingerprints |= set(re.findall(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", printed))
            trusting = ssl.create_default_context(cadata=shell("docker exec homeport homeport cert --print"))
            with socket.create_connection(("127.0.0.1", port)) as link, trusting.wrap_socket(link, server_hostname="machine.example.org"):
                pass
            context = page.context if page is not None else None
            page = await open_page(Front(f"https://127.0.0.1:{port}/", "", work), "notebooks/a.ipynb", login=False, context=context)
            if context is None:
                await log_in(page)
            notebook = await NotebookPage(page).loaded()
            await notebook.run_all()
            await expect(notebook.cell(0)).to_contain_text("42")
            await notebook.finished()
            assert re.fullmatch(r"https://machine\.example\.org:8888/\S*  ::  /notebooks\n", shell("docker exec homeport homeport list"))
            assert "a.ipynb" in shell("docker exec homeport homeport kernels")
            await page.close()
            assert container.stop() < 3
            shell("docker rm homeport")
    finally:
        docker.run("rm", "--force", "homeport", ok=False)
        docker.run("volume", "rm", "homeport-state", ok=False)
    assert len(fingerprints) == 1
    assert notebooks.stream_text(notebooks.read(work / "a.ipynb")["cells"][0]) == "42\n"
