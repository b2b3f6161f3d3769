"""Reads tests/manifest.toml: which tests show which promise and which capability, and in which layer."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
LAYERS = ("checks", "unit", "integration", "journeys", "faults", "systems")


@dataclass(frozen=True)
class Row:
    """A promise (DESIGN's list of what a user may rely on) or a capability, and the tests that show it."""

    kind: str
    key: str
    says: str
    tests: tuple[str, ...]
    """``layer/file.py`` or ``layer/file.py::test``, relative to tests/."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in which it is shown, in order."""
        return tuple(layer for layer in LAYERS if any(test.startswith(layer + "/") for test in self.tests))


@functools.cache
def rows() -> tuple[Row, ...]:
    """Every row of the manifest."""
    data = tomllib.loads((TESTS / "manifest.toml").read_text())
    return tuple(
        Row(kind, key, row["says"], tuple(row["tests"])) for kind in ("promise", "capability") for key, row in data.get(kind, {}).items()
    )


@functools.cache
def tests_in(path: Path) -> frozenset[str]:
    """The names of the tests in a file: functions, and ``Class::method``."""
    return frozenset(_names(ast.parse(path.read_text())))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node.name
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name.startswith("test"):
                    yield f"{node.name}::{inner.name}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("Test"):
            yield node.targets[0].id  # hypothesis: TestX = Machine.TestCase


def missing(test: str) -> str | None:
    """Why a test that the manifest names does not exist; None when it does."""
    name, _, inner = test.partition("::")
    path = TESTS / name
    if not path.is_file():
        return f"there is no file tests/{name}"
    if inner and inner not in tests_in(path):
        return f"tests/{name} has no test {inner}"
    if not inner and not tests_in(path):
        return f"tests/{name} has no tests"
    return None
