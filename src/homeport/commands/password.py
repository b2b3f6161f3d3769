"""``homeport password``: sets the password, as ``jupyter notebook password`` does, and in the same file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from homeport.commands.arguments import Parser


def make_parser() -> Parser:
    """The command's own command line."""
    return Parser(
        "homeport password",
        "Ask for a password twice, and write its hash to jupyter_notebook_config.json in Jupyter's configuration folder, where Homeport\n"
        "and Jupyter's servers read it. Browsers that have logged in before have to log in again.",
    )


def run(arguments: Sequence[str]) -> int:
    """Write the hash; exit status 0.

    Raises:
        BadRequest: no password was given, two different ones, or the file is no JSON.
        StoreFailed: it cannot be written.
    """
    make_parser().parse(arguments)
    set_password()
    return 0


LEAST_IN_PUBLIC = 8
"""Characters of a password that is set for a server that everybody can reach."""


def set_public_password() -> Path:
    """As :func:`set_password`; refuses what guessing would find."""
    return set_password(LEAST_IN_PUBLIC)


def set_password(least: int = 1) -> Path:
    """Ask, write, and say so with the sentence of ``jupyter notebook password``. Gives the file."""
    from homeport.auth.passwords import hash_password
    from homeport.commands.password_files import JUPYTER_NAME, ask_twice, write_hash
    from homeport.folders import Folders

    folders = Folders.from_environment()
    hashed = hash_password(ask_twice(least))
    file = folders.config / JUPYTER_NAME
    write_hash(file, "NotebookApp", "password", hashed)
    print(f"[NotebookPasswordApp] Wrote hashed password to {file}")
    for line in _what_else(os.environ, hashed):
        print(line)
    return file


def _what_else(environment: Mapping[str, str], hashed: str) -> list[str]:
    """What stands against the new password: a stronger place that sets another one."""
    from jupyter_core.paths import jupyter_config_path

    from homeport.commands.config_files import read_configuration
    from homeport.options import environment_layers, resolve

    configuration = read_configuration(map(Path, jupyter_config_path()))
    settings = resolve([*configuration.layers, *environment_layers(environment)])
    if settings.password_file is not None:
        return [f"It does not count as long as {settings.sources['password_file']} names the password file {settings.password_file}."]
    if settings.password != hashed:
        return [f"It does not count as long as another password is set: {settings.sources.get('password', '')}."]
    return []
