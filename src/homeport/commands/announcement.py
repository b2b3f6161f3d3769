"""What is said once a server answers: on the terminal, and in the log of a service."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from homeport import __version__
from homeport.commands.ending import Kernels, on_terminate
from homeport.commands.listening import describe_certificate

if TYPE_CHECKING:
    from homeport.options import Settings
    from homeport.web.server import Server


def announcement(settings: Settings, server: Server, *, log_file: Path | None, container: bool) -> str:
    """For the person who started it: with a link that lets in.

    Args:
        log_file: where it writes its log, when it runs in the background.
        container: it is what a container runs.
    """
    url, *others = server.urls
    # A token that somebody chose is known to them, and has no business in a log; nor has one that nobody needs.
    own_token = settings.given("token") and bool(settings.token)
    how = "   (with your password)" if settings.password else "   (with the token that you set)" if own_token else ""
    lines = [f"Homeport {__version__} serves {settings.root_dir}\n", f"    {url if how else server.link}{how}"]
    lines += [*(f"    {other}" for other in others), ""]
    if server.certificate is not None:
        lines.append(describe_certificate(server.certificate, settings) + "\n")
    hint = tunnel_hint(os.environ, url, socket.gethostname(), getpass.getuser)
    if hint:
        lines.append(hint)
    if container and on_terminate(settings.on_stop, main_of_container=True) is Kernels.SHUT_DOWN:
        lines.append("Stopping the container saves what is open and shuts the kernels down.")
        return "\n".join(lines)
    ends = "Ctrl-C stops the server."
    if log_file is not None:
        ends = f"It runs in the background, with its log in {log_file}.\n'homeport stop {server.port}' stops the server."
    lines.append(f"{ends} What runs in kernels runs on, and is here again at the next start.")
    return "\n".join(lines)


def service_announcement(settings: Settings, server: Server) -> str:
    """For a log, which others may read: without a link that lets in."""
    how = "with your password" if settings.password else "'homeport list' shows the link that lets in"
    lines = [f"Homeport {__version__} serves {settings.root_dir} at {server.url}  ({how})"]
    if server.certificate is not None:
        lines.append(describe_certificate(server.certificate, settings))
    return "\n".join(lines)


def tunnel_hint(environment: Mapping[str, str], url: str, host: str, user: Callable[[], str]) -> str:
    """How to reach a server that listens on loopback only, for somebody who came by SSH; otherwise the empty text."""
    parts = urlsplit(url)
    if not environment.get("SSH_CONNECTION") or parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        return ""
    port = parts.port or 80
    return f"From your own computer: ssh -N -L {port}:127.0.0.1:{port} {user()}@{host}  and open that link there.\n"
