"""The systemd of this user, asked by its own programs: ``systemctl --user``, ``loginctl``, ``journalctl``."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from homeport.commands.unit_file import UNIT
from homeport.errors import HomeportError
from homeport.systemd import lingers, runtime_folder

LOG_COMMAND = "journalctl --user -u homeport"
_JOURNAL_PATIENCE = 2.0
_OWN_WORDS = "homeport: "
_INSTEAD = "'homeport --daemon' keeps a server in the background without it."


class UserSystemd:
    """Asks it.

    Raises:
        HomeportError: there is none, or it cannot be reached; the message says what to do.
    """

    def __init__(self) -> None:
        user = getpass.getuser()
        if sys.platform != "linux" or shutil.which("systemctl") is None or not Path("/run/systemd/system").exists():
            raise HomeportError(f"This machine was not started by systemd, so there is nothing that could run a service. {_INSTEAD}")
        runtime = runtime_folder(os.environ)
        if runtime is None:
            raise HomeportError(
                f"The systemd of {user} cannot be reached: there is no /run/user/{os.getuid()}/systemd. It runs while {user} is "
                "logged in by SSH or at a console; 'su' and 'sudo' do not start it. Log in by SSH as that user, or have an administrator "
                f"run 'loginctl enable-linger {user}', and try again. {_INSTEAD}"
            )
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_PAGER": "cat", "SYSTEMD_COLORS": "0"}

    def ask(self, *words: str) -> str:
        """What ``systemctl --user`` with ``words`` prints; what it does not like is the empty text."""
        return self._run("systemctl", "--user", *words).stdout.strip()

    def tell(self, *words: str) -> None:
        """``systemctl --user`` with ``words``.

        Raises:
            HomeportError: it did not work; the message has what it said.
        """
        done = self._run("systemctl", "--user", *words)
        if done.returncode != 0:
            raise HomeportError(f"'systemctl --user {' '.join(words)}' has failed: {done.stderr.strip()}")

    def unit(self, name: str) -> str:
        """A property of the server's unit."""
        return self.ask("show", "--property", name, "--value", UNIT)

    @property
    def server_pid(self) -> int:
        """The pid of the server; 0 when none runs."""
        pid = self.unit("MainPID")
        return int(pid) if pid.isdecimal() else 0

    def log(self, lines: int = 15, *, since: float = 0.0) -> str:
        """The newest lines of the server's log, from the time ``since`` on; empty when there are none, or they may not be read."""
        words = ("--user", "--unit", UNIT, f"--lines={lines}", f"--since=@{since:.3f}", "--output=cat", "--no-pager", "--quiet")
        return self._run("journalctl", *words).stdout.strip()

    def last_words(self, since: float) -> str:
        """Why the server ended, in its own words; or all that its log has from the time ``since`` on."""
        deadline = time.monotonic() + _JOURNAL_PATIENCE
        while True:
            lines = self.log(since=since).splitlines()
            words = [line for line in lines if line.startswith(_OWN_WORDS)]
            if words or time.monotonic() > deadline:
                return "\n".join(words or lines)
            time.sleep(0.1)  # the journal may be a little behind

    def make_linger(self) -> bool:
        """Let this user's services go on after the last logout, and start with the machine; whether that is so now."""
        if not lingers():
            self._run("loginctl", "--no-ask-password", "enable-linger")
        return lingers()

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return _completed(command, self._environment)


def _completed(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
