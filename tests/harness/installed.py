"""Homeport as people have it: installed with pip into a virtual environment of its own, with the names of homeport-jupyter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.isolation import REAL_HOME

ROOT = Path(__file__).parents[2]


def pip_environment() -> dict[str, str]:
    """For pip: what it downloaded for the one who runs the tests is not downloaded again."""
    dropped = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**environment, "PIP_CACHE_DIR": str(Path(REAL_HOME, ".cache", "pip")), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def make_environment(folder: Path, *packages: str | Path) -> Path:
    """A virtual environment with ``packages``; its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    programs = folder / "bin"
    done = subprocess.run(
        [programs / "python", "-m", "pip", "install", "--quiet", "--no-compile", *map(str, packages)],
        env=pip_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return programs


@pytest.fixture(scope="session")
def installed(session_home: Path) -> Path:
    """The folder of programs of a virtual environment with ``homeport`` and ``homeport-jupyter``; not to be changed."""
    return make_environment(session_home / "venv", ROOT, ROOT / "jupyter")


def environment_with(programs: Path) -> dict[str, str]:
    """The environment of somebody who activated the virtual environment of ``programs``."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**environment, "VIRTUAL_ENV": str(programs.parent), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
