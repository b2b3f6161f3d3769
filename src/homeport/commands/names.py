"""The names under which Homeport is started, and what differs under each: its own, ``jupyter notebook`` and ``jupyter lab``.

The server is the same. Under Jupyter's names it begins where those programs begin, writes the configuration file that they
write, and does as their guides say where Homeport itself is stricter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Name:
    """One name."""

    program: str
    """As somebody types it."""
    section: str
    """The section of configuration files whose names ``--generate-config`` prefers."""
    config_name: str
    """The base name of the file that ``--generate-config`` writes."""
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])
    """Settings that differ under this name; every configuration file, variable and flag is stronger."""


HOMEPORT = Name("homeport", "Homeport", "homeport_config")
# Guides have people listen on a public address and only warn about it, so that is what happens.
NOTEBOOK = Name("jupyter notebook", "NotebookApp", "jupyter_notebook_config", {"insecure": True})
LAB = Name("jupyter lab", "ServerApp", "jupyter_lab_config", {"insecure": True, "default_url": "/lab"})
