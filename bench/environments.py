"""The peers' Python environments, made from PyPI when they are not there yet."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = ("jupyter_server==2.21.*", "jupyterlab==4.6.*")


def cache_folder() -> Path:
    """``$HOMEPORT_BENCH_CACHE``, or ``homeport-bench`` in the user's cache folder."""
    own = os.environ.get("HOMEPORT_BENCH_CACHE")
    if own:
        return Path(own).absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "homeport-bench"


def peer_python() -> Path:
    """The Python of the peers' environment; made when it is not there, which takes a minute or two.

    Raises:
        subprocess.CalledProcessError: pip failed; it has printed why.
    """
    wanted = [*PEERS, *(f"{name}=={version(name)}" for name in ("ipykernel", "jupyter_client", "pyzmq", "tornado"))]
    key = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"peers-{key}"
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"Making the peers' environment in {folder}: {' '.join(wanted)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        done.touch()
    return python


def peer_versions(python: Path) -> dict[str, str]:
    """Versions of what is compared with."""
    names = [requirement.split("=")[0] for requirement in PEERS]
    code = f"from importlib.metadata import version\nfor name in {names!r}: print(version(name))"
    output = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(zip(names, output.split(), strict=True))
