"""Every test has a home folder of its own, and leaves no process behind.

`home` is applied to every test: HOME, the XDG and the Jupyter variables point into a fresh, short folder (socket paths
are limited to 107 characters), and the environment carries a mark by which left-behind processes are found. Of a test that
failed the folder is kept in test-results/homes: its journals, state and logs say what each process knew.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes

REAL_HOME = os.environ.get("HOME", "")
"""The home folder of whoever runs the tests: for tools that keep a cache (npm, pyright), never for Homeport."""

# Under nohup SIGHUP is ignored, and children inherit that: a server would rightly outlive its terminal, and the tests would not test that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

KEPT = Path(__file__).parents[2] / "test-results" / "homes"
"""Home folders of tests that failed, as they were then."""

_LEAVING = 8.0
"""Seconds that a test's processes have to be gone after its end."""


def variables(home: Path, test_id: str) -> dict[str, str]:
    """The environment variables that put everything that Homeport and Jupyter write below ``home``."""
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_RUNTIME_DIR": str(home / "xdg-run"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jdata"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "IPYTHONDIR": str(home / "ipython"),
        "MPLCONFIGDIR": str(home / "mpl"),
        processes.VARIABLE: test_id,
    }


_REMOVED = (
    "JUPYTER_TOKEN",
    "JUPYTER_CONFIG_PATH",
    "JUPYTER_PATH",
    "JUPYTER_PREFER_ENV_PATH",
    "JPY_PARENT_PID",
    "JPY_SESSION_NAME",
    "DISPLAY",
)


def _enter(patch: pytest.MonkeyPatch, home: Path, test_id: str) -> None:
    for name, value in variables(home, test_id).items():
        patch.setenv(name, value)
    for name in _REMOVED:
        patch.delenv(name, raising=False)
    for folder in ("xdg-run",):
        (home / folder).mkdir(mode=0o700)


@pytest.fixture(scope="session", autouse=True)
def session_home() -> Iterator[Path]:
    """What fixtures of a wider scope than one test see; they stop what they started before the session ends."""
    home = Path(tempfile.mkdtemp(prefix="hp-"))
    test_id = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        _enter(patch, home, test_id)
        yield home
    _judge(test_id, home)


@pytest.fixture(autouse=True)
def home(session_home: Path) -> Iterator[Path]:
    """The test's own home folder; gone afterwards, like every process that the test started."""
    folder = Path(tempfile.mkdtemp(prefix="hp-"))
    test_id = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        _enter(patch, folder, test_id)
        yield folder
    _judge(test_id, folder)


@pytest.fixture
def test_id(home: Path) -> str:
    """The mark in the environment of every process that this test starts."""
    return os.environ[processes.VARIABLE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    home = getattr(item, "funcargs", {}).get("home")
    if report.when == "call" and report.failed and home is not None:
        # Now: what ends the test's processes tidies up, too.
        kept = KEPT / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', item.name)}-{os.getpid()}"
        shutil.rmtree(kept, ignore_errors=True)
        with contextlib.suppress(OSError):
            shutil.copytree(home, kept, symlinks=True, ignore=_not_to_be_kept)
        report.sections.append(("home folder", f"kept in {kept}"))
    return report


def _not_to_be_kept(folder: str, names: list[str]) -> list[str]:
    """Sockets, which cannot be copied, and caches."""
    return [name for name in names if name == "cache" or not (os.path.isfile(path := os.path.join(folder, name)) or os.path.isdir(path))]


def _judge(test_id: str, home: Path) -> None:
    left = processes.wait_gone(test_id, _LEAVING)
    for process in left:
        process.kill()
    if left:
        processes.wait_gone(test_id, _LEAVING)
    shutil.rmtree(home, ignore_errors=True)
    if left:
        lines = "\n".join(f"  {process.pid}: {process.command[:200]}" for process in left)
        pytest.fail(f"The test left processes behind (killed now):\n{lines}", pytrace=False)
