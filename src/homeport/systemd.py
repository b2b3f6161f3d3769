"""What Homeport says to systemd and asks of it, where there is one; everywhere else nothing of this does anything.

A server that systemd started tells it that it is ready, alive, and leaving (:class:`Notifier`). A supervisor and each kernel get a
control group of their own (:func:`scope`), so that what ends a server, or one kernel, ends nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

KERNELS_SLICE = "homeport-kernels.slice"
"""The slice of all kernels: a limit that is set on it holds for all of them together."""

_LINGERING = Path("/var/lib/systemd/linger")
# Whoever inherits these would speak for the server.
_FOR_THE_SERVICE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """The line to the service manager that started this process (sd_notify(3)).

    Args:
        address: of the manager's datagram socket; ``@`` at its beginning stands for the abstract namespace.
        watchdog: seconds of silence after which the manager takes this process for hung; None: it does not watch.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Notifier | None:
        """What ``environment`` says, which is taken out of it: it is for this process alone. None: no manager waits for word."""
        address, microseconds, pid = (environment.pop(name, "") for name in _FOR_THE_SERVICE)
        if not address:
            return None
        watched = microseconds.isdecimal() and int(microseconds) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(microseconds) / 1e6 if watched else None)

    def ready(self, status: str) -> None:
        """It serves. ``status``: one line for whoever asks how it is."""
        self._send("READY=1", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """It has begun to leave."""
        self._send("STOPPING=1", f"STATUS={status}")

    async def beat(self) -> None:
        """Say again and again that the event loop which runs this is alive; for as long as it is."""
        if self.watchdog is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 3)

    def _send(self, *lines: str) -> None:
        # A manager that restarts itself just now must not take the server along.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line, contextlib.suppress(OSError):
            line.sendto("\n".join(lines).encode(), self._address)


def runtime_folder(environment: Mapping[str, str]) -> Path | None:
    """The folder (``XDG_RUNTIME_DIR``) in which this user's systemd can be reached; None when it cannot. A command that was started by
    ``su``, ``sudo`` or cron has no such variable, though the folder may be there."""
    if sys.platform != "linux":
        return None
    for folder in (environment.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.getuid()}"):
        if os.path.isabs(folder) and Path(folder, "systemd", "private").is_socket():
            return Path(folder)
    return None


def lingers() -> bool:
    """Whether this user's systemd goes on after the last logout (``loginctl enable-linger``)."""
    import pwd

    with contextlib.suppress(OSError, KeyError):
        return (_LINGERING / pwd.getpwuid(os.getuid()).pw_name).exists()
    return False


def _belongs_to_user_manager() -> bool:
    with contextlib.suppress(OSError):
        return f"/user@{os.getuid()}.service/" in Path("/proc/self/cgroup").read_text()
    return False


def scope(name: str, description: str, *, slice_: str = "", environment: Mapping[str, str] = os.environ) -> list[str]:
    """What to put before a command so that it runs in a scope of its own: the words ``systemd-run --scope …``, which become that command
    by exec, with the same pid.

    Empty where that would be of no use: without a systemd of this user, and where that systemd could end before us, since it ends with
    the last login unless the user lingers, and all scopes with it.

    Args:
        name: the beginning of the unit's name; letters, digits and ``-``.
        slice_: the slice it is put in.
        environment: of the command.
    """
    runtime = runtime_folder(environment)
    command, env = shutil.which("systemd-run"), shutil.which("env")
    if runtime is None or command is None or env is None or not (_belongs_to_user_manager() or lingers()):
        return []
    return [
        *([] if environment.get("XDG_RUNTIME_DIR") == str(runtime) else [env, f"XDG_RUNTIME_DIR={runtime}"]),
        *(
            command,
            "--user",
            "--scope",
            "--quiet",
            "--collect",
            f"--unit={name}-{secrets.token_hex(4)}",
            f"--description={' '.join(description.split())}",
        ),
        # Delegated: it may divide its group further, and one process that runs out of memory does not stop all that are in it.
        "--property=Delegate=yes",
        *([f"--slice={slice_}"] if slice_ else []),
        "--",
    ]
