"""Runs one of the project's own tools as a test; its output is the failure's text."""

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
