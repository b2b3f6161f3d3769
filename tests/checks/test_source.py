"""Lint, types, import contracts and the user interface's own checks, each run by its own tool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.isolation import REAL_HOME

ROOT = Path(__file__).parents[2]


def run(*command: str, seconds: float = 300) -> None:
    """Run a tool with the caches of the real home folder; its output is the failure's text."""
    environment = {
        **os.environ,
        "HOME": REAL_HOME,
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        environment.pop(name, None)
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
    if result.returncode != 0:
        pytest.fail(f"$ {' '.join(command)}\n{result.stdout[-12000:]}", pytrace=False)


@pytest.mark.timeout(60)
def test_ruff() -> None:
    run("ruff", "check", ".")


@pytest.mark.timeout(300)
def test_pyright() -> None:
    run("pyright", "--pythonpath", sys.executable)


@pytest.mark.timeout(60)
def test_import_contracts() -> None:
    run("lint-imports")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", [("biome", "check", "."), ("tsc", "--noEmit"), ("vitest", "run")], ids=["biome", "tsc", "vitest"])
def test_user_interface(command: tuple[str, ...]) -> None:
    run(sys.executable, "tools/ui.py", "exec", *command, seconds=600)
