"""Build hook: puts the built user interface into src/homeport/static before a wheel, an sdist or an editable install is made.

How it is built, and with which Node, is the business of tools/ui.py.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _load_ui(root: str) -> ModuleType:
    # The project's root is not on sys.path while a build back-end runs.
    path = Path(root) / "tools" / "ui.py"
    spec = importlib.util.spec_from_file_location("homeport_build_ui", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is missing: this is not a complete source tree of Homeport")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class BuildUserInterface(BuildHookInterface[Any]):
    """Builds ui/ when its assets are absent or belong to other sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node from PyPI, only when a build is due and the machine has none that is new enough."""
        ui = _load_ui(self.root)
        if ui.is_current() or ui.node_on_path() is not None:
            return []
        return [ui.NODE_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        ui = _load_ui(self.root)
        if ui.is_current():
            return
        try:
            ui.build()
        except ui.BuildFailed as error:
            self.app.abort(f"The user interface could not be built.\n{error}")
