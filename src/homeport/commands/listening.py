"""Whether a server may listen as it was asked to, with which certificate, and what is said about it at the start."""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.auth.addresses import is_loopback, machine_names
from homeport.errors import Forbidden
from homeport.options import BadOption, Settings

if TYPE_CHECKING:
    from homeport.auth.certificates import Authority, Served
    from homeport.commands.running import RunningServer
    from homeport.folders import Folders


def authority(folders: Folders) -> Authority:
    """The local authority of this user, whose certificates ``--public`` serves."""
    from homeport.auth.certificates import Authority

    return Authority(folders.state / "certificates")


def certificate_maker(settings: Settings, folders: Folders) -> Callable[[datetime.datetime], Served] | None:
    """What gives the server its certificate; None when it speaks plain http.

    Raises:
        BadOption: there is a key without a certificate.
    """
    certfile, keyfile = settings.certfile, settings.keyfile
    if certfile is not None:
        from homeport.auth.certificates import check_files

        return lambda now: check_files(certfile, keyfile, now=now)
    if keyfile is not None:
        raise BadOption(f"A key without its certificate serves nothing; add --certfile=FILE to --keyfile={keyfile}", option="keyfile")
    if settings.public:
        ours = authority(folders)
        return lambda now: ours.serve(machine_names(settings.names), now=now)
    return None


def as_public(settings: Settings, set_password: Callable[[], Path] | None) -> Settings:
    """The settings of ``--public``: all addresses, and a password, which is asked for when there is none yet.

    Args:
        set_password: asks, and gives the file in which the hash now stands; None when there is nobody to ask.

    Raises:
        Forbidden: there is neither a password nor a token that somebody chose, and nobody can be asked.
    """
    if not settings.public:
        return settings
    if not settings.given("ip"):
        settings = replace(settings, ip="")
    if settings.password or settings.token:
        return settings
    if set_password is None:
        raise Forbidden(
            "A public server needs a password, and there is no terminal to ask for one. Run 'homeport password' first, or put what "
            "'homeport passwd' prints into the variable HOMEPORT_PASSWORD_HASH, or into a file that --password-file names."
        )
    print("Everybody who can reach this machine will be able to try to log in, so it needs a good password, of 8 characters or more.")
    from homeport.commands.password_files import reread

    file = set_password()
    return replace(settings, password=reread(file) or "", sources={**settings.sources, "password": str(file)})


def check_exposure(settings: Settings) -> Sequence[str]:
    """Refuse to listen beyond this machine without a lock on the door, or with a glass one.

    Returns:
        Warnings, for somebody who insists.

    Raises:
        Forbidden: nothing is asked for, or nothing encrypts.
    """
    if settings.ip and is_loopback(settings.ip):
        return ()
    where = settings.ip or "all addresses"
    if settings.token == "" and not settings.password:
        raise Forbidden(
            f"Listening on {where} without a password or a token would let everybody run programs on this machine. "
            "Set a password with 'homeport password', or leave out the empty token."
        )
    if settings.certfile is not None or settings.public:
        return ()
    if settings.given("trusted_proxies") and not settings.insecure:
        proxies = ", ".join(settings.trusted_proxies)
        return (f"Nothing but the proxies at {proxies} and this machine itself is answered, since only they encrypt.",)
    if settings.insecure:
        warning = (
            f"Warning: listening on {where} without TLS: everybody on the way can read passwords, tokens and notebooks. "
            "--certfile=FILE serves https, --public makes a certificate by itself, and an SSH tunnel needs neither."
        )
        return (warning,)
    raise Forbidden(
        f"Listening on {where} without TLS would show passwords, tokens and notebooks to everybody on the way. One of these helps: "
        "--public (makes a certificate by itself), --certfile=FILE --keyfile=FILE, --trusted-proxies=ADDRESS when a proxy there speaks "
        "https, an SSH tunnel instead of --ip, or --insecure to do it all the same."
    )


def who_is_there(port: int, servers: Sequence[RunningServer], *, let_in: bool) -> str:
    """What to say of the server of this user that has ``port`` already; empty when another program has it.

    Args:
        servers: that run.
        let_in: whether its link may be shown, with the token: on a terminal, not in a log, which others may read.
    """
    there = next((server for server in servers if server.port == port), None)
    if there is None:
        return ""
    kind = "Homeport" if there.is_homeport else "Jupyter server"
    link = there.link if let_in or not there.token else f"{there.url}   ('homeport list' shows the link that lets in)"
    return f"Your own {kind} serves {there.root_dir} there:\n    {link}\n'homeport stop {port}' stops it."


def can_ask_for_password() -> bool:
    """True when somebody sits at a terminal."""
    with contextlib.suppress(ValueError, AttributeError):
        return sys.stdin.isatty() and sys.stdout.isatty()
    return False


def describe_certificate(served: Served, settings: Settings) -> str:
    """A sentence on the certificate, for the start."""
    until = f"{served.expires:%d %B %Y}"
    if settings.certfile is not None:
        return f"Certificate {served.certfile}, good until {until}."
    return (
        f"The certificate's fingerprint (SHA-256), which a browser shows when it asks whether to go on:\n    {served.fingerprint}\n"
        "'homeport cert' says how a device trusts it for good."
    )
