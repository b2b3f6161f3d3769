"""Passwords and files: asking for one, and the files in which a hash may stand.

Password files and configuration files are read here; ``auth/`` checks passwords and knows neither.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import cast

from homeport.errors import BadRequest, NotFound, StoreFailed
from homeport.option_values import read_password_hash
from homeport.options import BadOption, Settings

JUPYTER_NAME = "jupyter_notebook_config.json"
"""Where ``jupyter notebook password`` writes, and Jupyter's own servers read."""


def read_password_file(file: Path) -> str:
    """The hash that a password file holds: its first line that is not empty.

    Raises:
        NotFound, StoreFailed: it is not there, or cannot be read.
        BadOption: it holds something else.
    """
    try:
        text = file.read_text("utf-8", "replace")
    except FileNotFoundError:
        raise NotFound(f"There is no password file {file}; 'homeport passwd > {file}' makes one.", path=str(file)) from None
    except OSError as error:
        raise StoreFailed(f"The password file {file} cannot be read: {error.strerror}.", path=str(file)) from None
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    try:
        hashed = read_password_hash(first)
    except ValueError as error:
        raise BadOption(f"The password file {file} cannot be used: {error}", option="password_file", source=str(file)) from None
    if not hashed:
        raise BadOption(f"The password file {file} is empty; 'homeport passwd > {file}' fills it", option="password_file", source=str(file))
    return hashed


def with_password_file(settings: Settings) -> Settings:
    """The settings with the hash of their password file, when they name one and no stronger place sets a hash."""
    file = settings.password_file
    if file is None or settings.sources.get("password", "").startswith("environment"):
        return settings
    return replace(settings, password=read_password_file(file), sources={**settings.sources, "password": str(file)})


def reread(file: Path) -> str | None:
    """The hash that a file holds now, be it a configuration file or a password file; None when it holds none."""
    from homeport.commands.config_files import read_file

    if file.suffix not in (".py", ".json"):
        return read_password_file(file)
    value = read_file(file).values.get("password")
    return read_password_hash(value) if value is not None else None


def ask_twice(least: int = 1) -> str:
    """A new password, from the terminal without showing it, or the first line of a standard input that is no terminal.

    On a terminal what is too short or differs is asked for again, twice at most.

    Args:
        least: how many characters it has to have.

    Raises:
        BadRequest: nothing was given, something too short, or two different ones.
    """
    asks = sys.stdin.isatty()
    for last in (False, False, True) if asks else (True,):
        try:
            password = getpass.getpass("Enter password: ") if asks else sys.stdin.readline().rstrip("\r\n")
            if not password:
                raise BadRequest("An empty password lets everybody in; nothing was changed.")
            trouble = f"That is too short: {least} characters are the least" if len(password) < least else ""
            if asks and not trouble and getpass.getpass("Verify password: ") != password:
                trouble = "The two passwords differ"
        except EOFError:  # Ctrl-D
            raise BadRequest("No password was given; nothing was changed.") from None
        if not trouble:
            return password
        if last:
            raise BadRequest(f"{trouble}; nothing was changed.")
        print(f"{trouble}. Once more:", file=sys.stderr)
    raise AssertionError("the last round returns or raises")


def write_hash(file: Path, section: str, name: str, hashed: str) -> None:
    """Set ``section.name`` in a JSON configuration file, keep the rest, and let nobody else read it.

    Raises:
        BadRequest: the file is there and is no JSON.
        StoreFailed: it cannot be written.
    """
    try:
        loaded: object = json.loads(file.read_text("utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise BadRequest(f"{file} cannot be read ({error}); mend or remove it first.", path=str(file)) from None
    if not isinstance(loaded, dict):
        raise BadRequest(f"{file} does not hold a JSON object; mend or remove it first.", path=str(file))
    content = cast("dict[str, object]", loaded)
    inner = content.get(section)
    content[section] = {**(cast("dict[str, object]", inner) if isinstance(inner, dict) else {}), name: hashed}
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # 0600 from the start
        with open(handle, "w", encoding="utf-8") as target:
            json.dump(content, target, indent=2)
            target.write("\n")
        os.replace(new, file.resolve())
    except OSError as error:
        raise StoreFailed(f"{file} cannot be written: {error.strerror}.", path=str(file)) from None
