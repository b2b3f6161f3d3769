"""``homeport config``: what is in force, and where each value came from; and the file to change it in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from homeport.commands.arguments import Parser
from homeport.commands.command_line import read_command_line
from homeport.errors import Conflict
from homeport.option_values import read_duration, read_ip, read_size, show_duration, show_size
from homeport.options import BEFORE_FILES, GROUPS, Option, Settings, options


def make_parser() -> Parser:
    """The command's own command line; it takes the options of ``homeport`` as they are."""
    return Parser(
        "homeport config",
        "Show what is in force, and where each value came from. Takes the options of 'homeport', and shows what they would change.",
    )


def run(arguments: Sequence[str]) -> int:
    """Print the settings that ``homeport`` with the same arguments would have; exit status 0."""
    if list(arguments) in (["-h"], ["--help"]):
        make_parser().print_help()
        return 0

    wanted = read_command_line(arguments)
    for note in wanted.notes:
        print(note, file=sys.stderr)
    print(describe(wanted.settings))
    if wanted.files:
        print("\nRead, the later over the earlier:")
        for file in wanted.files:
            print(f"  {file}")
    return 0


def describe(settings: Settings) -> str:
    """A table of every option: its value, and its source when it is not the default."""
    rows = [(option.name, shown(option, settings), settings.sources.get(option.name, "default")) for option in options()]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:<{name_width}}  {value:<{min(value_width, 48)}}  {source}" for name, value, source in rows)


def shown(option: Option, settings: Settings) -> str:
    """An option's value for people; a secret is only said to be set."""
    value: object = getattr(settings, option.name)
    if option.is_secret:
        return "(none)" if value is None else "(set)" if value else "(empty)"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if option.read is read_ip and not value:
        return "*"
    if option.read is read_duration and isinstance(value, float):
        return show_duration(value)
    if option.read is read_size and isinstance(value, int):
        return show_size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "(none)" if value in (None, "") else str(value)


def template(section: str = "Homeport") -> str:
    """A configuration file with every option in it, commented out.

    Args:
        section: whose names are used for the options that it has; the others have Homeport's own.
    """
    lines = ["# Configuration of Homeport. Remove the '# ' before a line that you change.", "c = get_config()  # noqa: F821"]
    for group, heading in GROUPS.items():
        lines += ["", "", f"# ---- {heading} " + "-" * (100 - len(heading))]
        for option in options():
            if option.group == group and option.name not in BEFORE_FILES:
                default = str(option.default) if isinstance(option.default, Path) else option.default
                key = next((key for key in option.config_keys if key.startswith(f"{section}.")), option.config_keys[0])
                lines += ["", f"# {option.help[:1].upper()}{option.help[1:]}.", f"# c.{key} = {default!r}"]
    return "\n".join(lines) + "\n"


def generate_config(file: Path, section: str = "Homeport", *, overwrite: bool) -> bool:
    """Write :func:`template` to ``file``; asks on a terminal before it overwrites.

    Returns:
        Whether it was written.

    Raises:
        Conflict: the file is there, and there is nobody to ask.
    """
    if file.exists() and not overwrite:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Conflict(f"{file} exists. Say -y to overwrite it.", path=str(file))
        if input(f"Overwrite {file} with default config? [y/N]").strip().lower() not in ("y", "yes"):
            return False
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.write_text(template(section), encoding="utf-8")
    new.replace(file)
    print(f"Writing default config to: {file}")
    return True
