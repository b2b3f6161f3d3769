"""What of the server's environment the programs that it starts are given: kernels, the supervisor, workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Ways into this server, and handshakes of the process that started it: no other program has a use for them.
_THE_SERVERS_OWN = frozenset(
    {
        "CONFIGPROXY_AUTH_TOKEN",
        "HOMEPORT_PASSWORD",
        "HOMEPORT_PASSWORD_FILE",
        "HOMEPORT_PASSWORD_HASH",
        "HOMEPORT_TOKEN",
        "JPY_API_TOKEN",
        "JPY_COOKIE_NAME",
        "JPY_PARENT_PID",
        "JPY_SESSION_NAME",
        "JUPYTER_TOKEN",
        "JUPYTER_TOKEN_FILE",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The server's environment without what lets somebody in to it, for every program that it starts."""
    return {key: value for key, value in environ.items() if key not in _THE_SERVERS_OWN}


def kernel_environment(environ: Mapping[str, str], session_path: Path | None = None) -> dict[str, str]:
    """The environment that a kernel gets: the server's, without the server's own secrets.

    Args:
        environ: the server's environment.
        session_path: absolute path of the notebook, for ``JPY_SESSION_NAME`` (as jupyter_server sets it).
    """
    env = without_secrets(environ)
    if session_path is not None:
        env["JPY_SESSION_NAME"] = str(session_path)
    return env
