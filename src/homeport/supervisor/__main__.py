"""``python -m homeport.supervisor``: how a server starts its supervisor. The folders are the server's, so they come as arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

from homeport.folders import Folders
from homeport.supervisor.process import run


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m homeport.supervisor", description="Owns the kernels of one user on one host.")
    for name in ("state", "config", "runtime", "sockets"):
        parser.add_argument(f"--{name}", type=Path, help=f"the {name} folder (default: from the environment)")
    parser.add_argument("--detach", action="store_true", help="run in the background; return when it listens")
    parser.add_argument("--linger", type=float, default=60.0, help="seconds without kernels and servers after which it leaves")
    parser.add_argument("--stop-kernels", action="store_true", help="shut the kernels down on SIGTERM (default: they run on)")
    given = parser.parse_args()
    named = {name: getattr(given, name) for name in ("state", "config", "runtime", "sockets")}
    folders = Folders(**named) if all(named.values()) else Folders.from_environment()
    return run(folders, detach=given.detach, linger=given.linger, stop_kernels=given.stop_kernels)


if __name__ == "__main__":
    raise SystemExit(main())
