"""Lint, types, import contracts and the user interface's own checks, each run by its own tool."""

from __future__ import annotations

import sys

import pytest

from harness.tools import run


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
