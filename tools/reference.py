"""Writes docs/reference/ from the tables in the code: options, commands and routes. `make docs` calls it.

    python tools/reference.py            write
    python tools/reference.py --check    exit 1 and say which page is out of date

Nothing in those pages is written by hand, so nothing in them can be forgotten.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_MADE = "<!-- Written by `make docs` from the tables in the code; edit those instead. -->\n\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def _head(*cells: str) -> str:
    return _row(*cells) + "|" + " --- |" * len(cells) + "\n"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def options_page() -> str:
    """Every option: flags, default, configuration keys, environment."""
    from homeport.option_values import show_duration
    from homeport.options import GROUPS, options

    page = "# Options\n\nThe command line wins over environment variables, and those over configuration files.\n"
    for group, heading in GROUPS.items():
        page += f"\n## {heading[0].upper()}{heading[1:]}\n\n" + _head("option", "default", "meaning", "configuration keys", "environment")
        for option in options():
            if option.group == group:
                value = option.default
                if option.metavar == "DURATION" and value is not None:
                    value = show_duration(value)
                default = "" if value in (None, "", ()) else f"`{value}`"
                flags = _code((*option.flags, *option.off_flags)) or "(configuration only)"
                page += _row(flags, default, option.help, _code(option.config_keys), _code(option.environment))
    return page


def _command(parser: argparse.ArgumentParser) -> str:
    page = f"{(parser.description or '').strip()}\n\n" + _head("argument", "meaning")
    for action in parser._actions:  # argparse has no public list
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            name += f" {action.metavar or action.dest.upper()}"
        if action.help != argparse.SUPPRESS:
            page += _row(f"`{name}`", (action.help or "").replace("%%", "%"))
    return page + (f"\n{parser.epilog.strip()}\n" if parser.epilog else "")


def commands_page() -> str:
    """Every command of the command line with its arguments; those of `homeport [FOLDER]` itself are options."""
    from homeport.commands import COMMANDS

    page = "# Commands\n\n`homeport [FOLDER]` serves a folder; its options have [a page of their own](options.md).\n"
    for word, command in COMMANDS.items():
        module = importlib.import_module(f"homeport.commands.{command.module}")
        page += f"\n## homeport {word}\n\n{_command(module.make_parser())}"
    return page


def routes_page() -> str:
    """Every route with the policy that guards it."""
    from homeport.web.routes import ROUTES

    page = "# Routes\n\nAll below `base_url`. A method that is not named is refused. Actions are checked against the caller's rights.\n\n"
    page += _head("route", "methods", "resource", "who may")
    for route in ROUTES:
        shown = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"{\1}", route.pattern).replace("(?:/{path})?", "/{path}")
        shown = shown.replace("\\.", ".").replace("/?", "")
        methods = ", ".join(f"{method} ({action})" for method, action in route.policy.actions.items())
        page += _row(f"`/{shown}`", methods, route.policy.resource, "everybody" if route.policy.public else "whoever is logged in")
    return page


PAGES: dict[str, Callable[[], str]] = {"options.md": options_page, "commands.md": commands_page, "routes.md": routes_page}


def stale() -> list[str]:
    """The pages that are not what the tables say, made or not."""
    return [
        name
        for name, make in PAGES.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != _MADE + make()
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` only look."""
    if arguments == ["--check"]:
        out_of_date = stale()
        if out_of_date:
            print(f"Out of date in {FOLDER}: {', '.join(out_of_date)}. `make docs` writes them.", file=sys.stderr)
        return 1 if out_of_date else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(_MADE + make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
