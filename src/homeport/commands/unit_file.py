"""The text of the systemd user unit, and of its parts: how systemd wants words written (systemd.syntax(7), systemd.service(5))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from homeport.errors import BadRequest

UNIT = "homeport.service"
MARK = "# Written by 'homeport service install', which replaces it; 'homeport service uninstall' removes it."

_TEXT = """\
{mark}
# What you change belongs into a file of its own: systemctl --user edit homeport

[Unit]
Description=Homeport notebook server
# A start that fails again and again is given up.
StartLimitIntervalSec=2min
StartLimitBurst=5

[Service]
Type=notify
SyslogIdentifier=homeport
ExecStart={command}
WorkingDirectory={folder}
{environment}
# It is started again when it was killed, has crashed, or has hung for so long; not when it does not understand an option (2).
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=2
WatchdogSec=30
# Kernels are units of their own. This holds for them also where that failed: nobody but the server itself is ended with it.
KillMode=process
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def unit_text(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """The unit.

    Args:
        command: the server's; the first word is an absolute path.
        folder: its working directory: relative paths in ``command`` begin there.

    Raises:
        BadRequest: something holds what no unit can hold.
    """
    if "\n" in str(folder) or str(folder) != str(folder).strip():
        raise BadRequest(f"systemd cannot start a program in a folder of such a name: {str(folder)!r}. Do it from another one.")
    return _TEXT.format(
        mark=MARK,
        command=" ".join([quoted(command[0]), *(quoted(word, variables=True) for word in command[1:])]),
        # A path to the end of the line: without quotes.
        folder=str(folder).replace("%", "%%"),
        environment="\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in environment.items()),
    )


def quoted(word: str, *, variables: bool = False) -> str:
    """``word`` as one word of a unit.

    Args:
        variables: ``$`` begins a variable here, as it does in the arguments of a command.
    """
    # "%" begins a specifier, in quotes too; "\\" an escape as in C.
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r"), ("%", "%%")):
        word = word.replace(special, written)
    if variables:
        word = word.replace("$", "$$")
    plain = word and all(character.isalnum() or character in "-_./=:,+@%$" for character in word)
    return word if plain else f'"{word}"'
