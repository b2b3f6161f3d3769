"""Which servers of this user run on this host, from the files that they leave in Jupyter's runtime folder.

The files are ``jpserver-PID.json``, as jupyter_server writes them, so that Jupyter's servers are found too, and ours by
Jupyter's tools. A server that was killed leaves its file; such files are removed here, with the page that opened its browser.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

# A file is written after its process was started; clocks and file systems are given this much.
_CLOCK_SLACK = 5.0


@dataclass(frozen=True)
class RunningServer:
    """One server, as its runtime file tells. ``facts`` is everything in the file."""

    pid: int
    port: int
    url: str
    token: str
    root_dir: str
    facts: Mapping[str, object]

    @property
    def is_homeport(self) -> bool:
        """False for a server of Jupyter's own."""
        return bool(self.facts.get("homeport"))

    @property
    def local_url(self) -> str:
        """The URL for commands on this machine."""
        return str(self.facts.get("local_url") or self.url)

    @property
    def certificate(self) -> str:
        """The file of the certificate that it shows; empty when it speaks plain http, or is one of Jupyter's own."""
        return str(self.facts.get("certificate", ""))

    @property
    def link(self) -> str:
        """The URL that lets one in: with the token, when there is one."""
        return f"{self.url}?token={self.token}" if self.token else self.url


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _read(file: Path) -> RunningServer | None:
    try:
        loaded: object = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(loaded, dict):
        return None
    facts = cast("dict[str, object]", loaded)
    pid = _number(facts.get("pid"))
    if pid <= 0:
        return None
    return RunningServer(
        pid=pid,
        port=_number(facts.get("port")),
        url=str(facts.get("url", "")),
        token=str(facts.get("token", "")),
        root_dir=str(facts.get("root_dir", "")),
        facts=facts,
    )


def _runs(server: RunningServer, file: Path) -> bool:
    """True while the process that wrote ``file`` lives; another process that has got its number since does not count."""
    import psutil

    try:
        process = psutil.Process(server.pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= file.stat().st_mtime + _CLOCK_SLACK
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, OSError):
        return False


def running_servers(runtime: Path) -> list[RunningServer]:
    """The servers that run, by port; files of servers that do not are removed.

    Args:
        runtime: ``Folders.runtime``.
    """
    found: list[RunningServer] = []
    for file in runtime.glob("jpserver-*.json"):
        server = _read(file)
        if server is None:
            continue  # not a server's file, or one that is being written at this moment
        if _runs(server, file):
            found.append(server)
            continue
        for left in (file, file.with_name(f"jpserver-{server.pid}-open.html")):
            with contextlib.suppress(OSError):
                left.unlink()
    return sorted(found, key=lambda server: (server.port, server.pid))
