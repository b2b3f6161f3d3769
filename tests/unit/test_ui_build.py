"""Whether the user interface must be built is decided by its sources' contents."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/ui.py at work on a small tree."""
    spec = importlib.util.spec_from_file_location("ui_under_test", Path(__file__).parents[2] / "tools" / "ui.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "ui_under_test", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SOURCES", tmp_path / "ui")
    monkeypatch.setattr(module, "ASSETS", tmp_path / "static")
    monkeypatch.setattr(module, "STAMP", tmp_path / "static" / ".sources")
    (tmp_path / "ui" / "src").mkdir(parents=True)
    (tmp_path / "static").mkdir()
    (tmp_path / "ui" / "package.json").write_text("{}")
    (tmp_path / "ui" / "src" / "main.ts").write_text("1")
    return module


def test_absent_assets_are_not_current(ui: ModuleType) -> None:
    assert not ui.is_current()


def test_assets_are_current_until_a_source_changes(ui: ModuleType) -> None:
    ui.STAMP.write_text(ui.source_hash())
    assert ui.is_current()
    (ui.SOURCES / "src" / "main.ts").write_text("2")
    assert not ui.is_current()


def test_a_source_that_moved_is_a_change(ui: ModuleType) -> None:
    ui.STAMP.write_text(ui.source_hash())
    (ui.SOURCES / "src" / "main.ts").rename(ui.SOURCES / "src" / "start.ts")
    assert not ui.is_current()


def test_installed_packages_and_hidden_files_do_not_count(ui: ModuleType) -> None:
    ui.STAMP.write_text(ui.source_hash())
    (ui.SOURCES / "node_modules" / "left-pad").mkdir(parents=True)
    (ui.SOURCES / "node_modules" / "left-pad" / "index.js").write_text("x")
    (ui.SOURCES / ".cache").write_text("x")
    assert ui.is_current()


def test_assets_without_sources_are_current(ui: ModuleType) -> None:
    ui.STAMP.write_text("whatever")
    (ui.SOURCES / "package.json").unlink()
    assert ui.is_current()


def test_a_tree_without_sources_says_so(ui: ModuleType) -> None:
    (ui.SOURCES / "package.json").unlink()
    with pytest.raises(ui.BuildFailed, match="not a complete source tree"):
        ui.build()
