"""Installation from nothing: a fresh clone, an empty home folder, no Node on PATH."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from harness.server import free_port, stop_supervisor

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.timeout(900), pytest.mark.needs("git", "make", "clone", "linux")]


@pytest.fixture
def bare(home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment without Node, without a virtual environment, with an empty home folder."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for tool in Path(folder).glob("*"):
            link = bin_folder / tool.name
            if tool.name not in ("node", "nodejs", "npm", "npx") and not link.is_symlink():
                link.symlink_to(tool)
    dropped = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHON", "CI", "MAKEFLAGS", "MAKELEVEL")
    yield {**{name: value for name, value in os.environ.items() if name not in dropped}, "PATH": str(bin_folder)}
    asyncio.run(stop_supervisor())


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The committed state of this repository, as somebody gets it."""
    target = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


def start(clone: Path, environment: dict[str, str], folder: Path, seconds: float) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """`make run` in ``clone``, until the server says in its runtime file that it is there."""
    command = ["make", "run", f"FOLDER={folder}", f"ARGS=--no-browser --port={free_port()}"]
    process = subprocess.Popen(
        command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        for record in Path(environment["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json"):
            return process, json.loads(record.read_text())
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"`make run` did not start a server within {seconds} s:\n{process.communicate()[0]}")


def stop(process: subprocess.Popen[str], facts: dict[str, str]) -> str:
    """Stop the server and return all that was printed."""
    os.kill(int(facts["pid"]), signal.SIGTERM)
    return process.communicate(timeout=30)[0]


def test_make_run_in_a_fresh_clone_without_node(bare: dict[str, str], clone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    process, facts = start(clone, bare, folder, 600)
    page = requests.get(f"{facts['url']}tree?token={facts['token']}", timeout=10)
    assert page.status_code == 200
    assert list((clone / "src" / "homeport" / "static" / "assets").glob("tree-*.js"))
    assert "Installing Homeport" in stop(process, facts)

    process, facts = start(clone, bare, folder, 30)
    assert "Installing" not in stop(process, facts), "the second time there is nothing to install"


def test_an_sdist_installs_without_node_and_npm(bare: dict[str, str], clone: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(clone)], env=bare, check=True, capture_output=True
    )
    [wheel] = (tmp_path / "dist").glob("*.whl")
    [sdist] = (tmp_path / "dist").glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert any(name.startswith("homeport/static/assets/notebook-") for name in in_wheel)
    assert not any("node_modules" in name for name in in_wheel)
    with tarfile.open(sdist) as archive:
        assert any("/src/homeport/static/assets/notebook-" in name for name in archive.getnames())

    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    # A registry that refuses: whoever asks npm for something fails.
    environment = {**bare, "npm_config_registry": "http://127.0.0.1:9/"}
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(sdist)], env=environment, check=True)
    said = subprocess.run(
        [python.parent / "homeport", "--version"], env=bare, cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert said.startswith("homeport ")
    where = "import homeport, pathlib; print(pathlib.Path(homeport.__file__).parent / 'static')"
    static = subprocess.run([python, "-c", where], env=bare, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    assert list(Path(static, "assets").glob("notebook-*.js"))
