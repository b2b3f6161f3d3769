"""The old guides' commands, word for word, in an empty home folder: homeport-jupyter in a fresh environment, takeover in another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
import requests

from harness.installed import environment_with, make_environment
from harness.server import AS_ROOT, free_port, stop_supervisor

pytestmark = [pytest.mark.timeout(600), pytest.mark.needs("linux")]


@contextmanager
def serving(programs: Path, folder: Path, *command: str) -> Iterator[dict[str, str]]:
    """Run a server by a guide's command; gives what its runtime file says. It ends at the end, and must do so well."""
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen([*command, *AS_ROOT], cwd=folder, env=environment_with(programs), stdout=log, stderr=log)
    record = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + 60
    try:
        while not record.exists():
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.02)
        yield json.loads(record.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "server.log").read_text()


@pytest.fixture
async def supervisor_stops() -> object:
    yield
    await stop_supervisor()


def test_generate_config_and_passwd(installed: Path, tmp_path: Path) -> None:
    """`jupyter notebook --generate-config`, `from notebook.auth import passwd`, `jupyter notebook password`."""
    environment = environment_with(installed)
    config = Path(os.environ["JUPYTER_CONFIG_DIR"], "jupyter_notebook_config.py")
    command = ["jupyter", "notebook", "--generate-config"]
    said = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == f"Writing default config to: {config}\n"
    assert "# c.NotebookApp.port = 8888" in config.read_text()

    python = pexpect.spawn(str(installed / "python"), ["-q"], env=environment, cwd=str(tmp_path), encoding="utf-8", timeout=60)
    python.expect_exact(">>> ")
    python.sendline("from notebook.auth import passwd")
    python.expect_exact(">>> ")
    python.sendline("passwd()")
    for prompt in ("Enter password: ", "Verify password: "):
        python.expect_exact(prompt)
        python.waitnoecho()
        python.sendline("mine")
    python.expect(r"'(argon2:\$argon2id\$[^']+)'")
    python.sendline("from notebook.auth.security import passwd_check; print(passwd_check(_, 'mine'), passwd_check(_, 'other'))")
    python.expect_exact("True False")
    python.sendline("exit()")
    python.expect(pexpect.EOF)

    asking = pexpect.spawn("jupyter", ["notebook", "password"], env=environment, cwd=str(tmp_path), encoding="utf-8", timeout=60)
    for prompt in ("Enter password: ", "Verify password: "):
        asking.expect_exact(prompt)
        asking.waitnoecho()
        asking.sendline("mine")
    asking.expect_exact("[NotebookPasswordApp] Wrote hashed password to ")
    asking.expect_exact("jupyter_notebook_config.json")
    asking.expect(pexpect.EOF)


@pytest.mark.usefixtures("supervisor_stops")
def test_jupyter_notebook_on_another_port_without_a_browser(installed: Path, tmp_path: Path) -> None:
    """`jupyter notebook --no-browser --port=8889`, with `list` and `stop` as guides have them."""
    port = free_port()
    with serving(installed, tmp_path, "jupyter", "notebook", "--no-browser", f"--port={port}") as facts:
        assert int(facts["port"]) == port
        page = requests.get(f"{facts['url']}?token={facts['token']}", timeout=30)
        assert page.url.endswith("/tree")
        listed = subprocess.run(
            ["jupyter", "notebook", "list"], env=environment_with(installed), capture_output=True, text=True, check=True, timeout=60
        )
        assert listed.stdout == f"Currently running servers:\n{facts['url']}?token={facts['token']}  ::  {tmp_path}\n"
        subprocess.run(["jupyter", "notebook", "stop", str(port)], env=environment_with(installed), check=True, timeout=60)


@pytest.mark.usefixtures("supervisor_stops")
def test_settings_of_the_generated_file_count(installed: Path, tmp_path: Path) -> None:
    """The lines that guides have people put into jupyter_notebook_config.py."""
    port = free_port()
    config = Path(os.environ["JUPYTER_CONFIG_DIR"])
    config.mkdir()
    (config / "jupyter_notebook_config.py").write_text(
        "c = get_config()\nc.IPKernelApp.pylab = 'inline'  # if you want plotting support always in your notebook\n"
        f"c.NotebookApp.open_browser = False\nc.NotebookApp.port = {port}\nc.NotebookApp.base_url = '/ipython/'\n"
        "c.NotebookApp.webapp_settings = {'static_url_prefix': '/ipython/static/'}\n"
    )
    with serving(installed, tmp_path, "jupyter", "notebook") as facts:
        assert facts["url"] == f"http://localhost:{port}/ipython/"
        assert requests.get(f"http://127.0.0.1:{port}/ipython/api", timeout=30).json()["version"]
    assert "webapp_settings has no meaning here: static files lie below base_url by themselves." in (tmp_path / "server.log").read_text()


@pytest.mark.usefixtures("supervisor_stops")
def test_jupyter_lab_begins_at_lab(installed: Path, tmp_path: Path) -> None:
    """`jupyter lab` with `c.LabApp.notebook_dir`: the same server, whose first page says what there is instead of JupyterLab."""
    config = Path(os.environ["JUPYTER_CONFIG_DIR"])
    config.mkdir()
    (tmp_path / "jane").mkdir()
    (config / "jupyter_lab_config.py").write_text(f'c = get_config()\nc.LabApp.notebook_dir = "{tmp_path}/$WHO"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHO", "jane")
        with serving(installed, tmp_path, "jupyter", "lab", "--no-browser", f"--port={free_port()}") as facts:
            assert facts["root_dir"] == str(tmp_path / "jane")
            page = requests.get(f"{facts['url']}?token={facts['token']}", timeout=30)
            assert (page.status_code, page.url) == (200, f"{facts['url']}lab")
            assert "JupyterLab is not part of this Homeport yet" in page.text
            assert 'href="/tree"' in page.text


@pytest.mark.usefixtures("supervisor_stops")
def test_takeover_where_jupyters_own_servers_are_installed(installed: Path, tmp_path: Path) -> None:
    """The real distributions, without what they need to run: their commands are what matters here."""
    programs = make_environment(tmp_path / "venv", "--no-deps", "notebook>=7", "jupyterlab")
    [site] = (programs.parent / "lib").glob("python*/site-packages")
    [homeport_site] = (installed.parent / "lib").glob("python*/site-packages")
    (site / "homeport-is-there.pth").write_text(f"{homeport_site}\n")
    environment = environment_with(programs)
    originals = {name: (programs / name).read_bytes() for name in ("jupyter-notebook", "jupyter-lab")}

    def takeover(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [programs / "python", "-m", "homeport", "takeover", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def now() -> dict[str, bytes]:
        return {name: (programs / name).read_bytes() for name in originals}

    shown = takeover()
    assert f"{programs}/jupyter-notebook  is to start Homeport" in shown.stdout
    assert (shown.returncode, now()) == (1, originals), "it was only shown"
    assert takeover("-y").returncode == 0
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("notebook", "lab"):
        command = [str(programs / f"jupyter-{name}"), "--no-browser", f"--port={free_port()}"]
        with serving(programs, folder, *command) as facts:
            assert facts["homeport"]
    assert takeover("--undo", "-y").returncode == 0
    assert now() == originals


@pytest.mark.usefixtures("supervisor_stops")
def test_a_public_address_without_tls_is_warned_about_here_and_refused_there(installed: Path, tmp_path: Path) -> None:
    """`jupyter notebook --ip=0.0.0.0 --no-browser` works, and says what it costs; Homeport under its own name does not do it."""
    with serving(installed, tmp_path, "jupyter", "notebook", "--ip=0.0.0.0", "--no-browser", f"--port={free_port()}") as facts:
        asked = requests.get(
            f"http://127.0.0.1:{facts['port']}/api/contents", headers={"Authorization": f"token {facts['token']}"}, timeout=30
        )
        assert asked.status_code == 200
    warned = (tmp_path / "server.log").read_text()
    assert "jupyter notebook: Warning: listening on 0.0.0.0 without TLS: everybody on the way can read passwords, tokens" in warned
    assert "--certfile=FILE serves https, --public makes a certificate by itself, and an SSH tunnel needs neither." in warned

    def refused(*arguments: str) -> str:
        command = ["homeport", f"--port={free_port()}", "--no-browser", *AS_ROOT, *arguments]
        done = subprocess.run(
            command, env=environment_with(installed), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (1, ""), done
        return done.stderr

    for address, called in (("0.0.0.0", "0.0.0.0"), ("*", "all addresses")):
        said = refused(f"--ip={address}")
        assert f"homeport: Listening on {called} without TLS would show passwords, tokens and notebooks to everybody on the way." in said
        for way in ("--public", "--certfile=FILE --keyfile=FILE", "--trusted-proxies=ADDRESS", "SSH tunnel", "--insecure"):
            assert way in said
    open_to_all = refused("--ip=0.0.0.0", "--insecure", "--token=")
    assert "Listening on 0.0.0.0 without a password or a token would let everybody run programs on this machine." in open_to_all
