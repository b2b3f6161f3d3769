"""Process 1 of a container, in a real PID namespace: orphans are reaped, signals handed on, the exit status is the server's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def _can_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False, timeout=10).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="PID namespaces need root, or user namespaces")


@contextmanager
def first_process(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` behind ``stay_behind_as_init()`` as process 1, up to its line "ready"; gives unshare's process."""
    program = "from homeport.commands.reaper import stay_behind_as_init\nassert stay_behind_as_init()\n" + textwrap.dedent(code)
    with subprocess.Popen([*UNSHARE, sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_not_process_one() -> None:
    from homeport.commands.reaper import stay_behind_as_init

    assert not stay_behind_as_init()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_handed_on_and_the_status_comes_back(sent: signal.Signals) -> None:
    code = f"""
        import signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, {{{int(sent)}}})
        print("ready")
        signal.sigwait({{{int(sent)}}})
        sys.exit(7)"""
    with first_process(code) as process:
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), sent)
        assert process.wait(10) == 7


def test_a_killed_server_is_told_as_shells_do() -> None:
    code = """
        import os, signal
        print("ready")
        os.kill(os.getpid(), signal.SIGKILL)"""
    with first_process(code) as process:
        assert process.wait(10) == 137


def test_orphans_are_reaped_and_own_children_keep_their_status() -> None:
    code = """
        import os, subprocess, sys, time
        for _ in range(3):
            subprocess.run(["sh", "-c", "sleep 0.05 &"], check=True)
        assert subprocess.run(["sh", "-c", "exit 5"], check=False).returncode == 5
        def states():
            found = []
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    found.append(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0])
                except FileNotFoundError:
                    pass
            return found
        deadline = time.monotonic() + 10
        while len(states()) > 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        print("ready")
        sys.exit(len(states()))  # process 1 and this one"""
    with first_process(code) as process:
        assert process.wait(15) == 2
