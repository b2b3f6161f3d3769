"""Command lines from the table of options: parsers, help in groups, and what a mistyped option probably meant."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from homeport.option_values import show_duration, show_size
from homeport.options import GROUPS, BadOption, Layer, Option

COMMAND_LINE = "command line"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Prose is filled to the terminal's width, paragraph by paragraph; what is set in columns stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(fill_prose(paragraph, width, indent) for paragraph in text.split("\n\n"))


def fill_prose(paragraph: str, width: int, indent: str = "") -> str:
    """The lines of a paragraph of at most ``width`` columns; columns (two spaces on end) stay as they are."""
    if "  " in paragraph:
        return "\n".join(indent + line for line in paragraph.splitlines())
    return textwrap.fill(paragraph, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """argparse, with errors as :class:`BadOption` and the nearest right flag in them."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,  # an abbreviation would change its meaning when an option is added
            formatter_class=_Help,
            add_help=False,
        )
        self.add_argument("-h", "--help", action="help", help="show this text and leave")

    def error(self, message: str) -> NoReturn:
        """Raises BadOption."""
        raise BadOption(f"{message}; '{self.prog} --help' shows what there is", source=COMMAND_LINE)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all of ``arguments``.

        Raises:
            BadOption: something is unknown, missing or too much.
        """
        namespace, unknown = self.parse_known_args(arguments)
        if unknown:
            self._refuse(next((word for word in unknown if word.startswith("-")), unknown[0]))
        return namespace

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            self.error(f"'{word}' is one argument too many")
        flag = word.split("=", 1)[0]
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = get_close_matches(flag, known, n=1, cutoff=0.6)
        self.error(f"there is no option {flag}" + (f"; did you mean {near[0]}?" if near else ""))


def add_options(parser: Parser, rows: Iterable[Option]) -> None:
    """Give ``parser`` the flags of ``rows``, in the groups of the table. Only what is given appears in the namespace."""
    rows = list(rows)
    for key, heading in GROUPS.items():
        of_group = [row for row in rows if row.group == key]
        if not of_group:
            continue
        group = parser.add_argument_group(heading)
        for row in of_group:
            _add(group, row)


def _add(group: argparse._ArgumentGroup, row: Option) -> None:  # pyright: ignore[reportPrivateUsage]  # argparse has no public name for it
    words = row.help.replace("%", "%%")
    default = "" if row.is_switch or row.default is None or row.default in ("", ()) or row.name == "root_dir" else _shown(row)
    if row.is_switch:
        if row.flags:
            group.add_argument(*row.flags, dest=row.name, action="store_const", const=True, default=argparse.SUPPRESS, help=words)
        if row.off_flags:
            group.add_argument(*row.off_flags, dest=row.name, action="store_const", const=False, default=argparse.SUPPRESS, help=words)
        return
    if not row.flags:
        return  # for configuration files and variables only
    # Choices are checked by the table's reader, whose message says more than argparse's.
    metavar = "|".join(row.choices) or row.metavar
    group.add_argument(*row.flags, dest=row.name, metavar=metavar, default=argparse.SUPPRESS, help=words + default)


def _shown(row: Option) -> str:
    value = row.default
    if isinstance(value, tuple):
        value = ",".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    elif row.metavar == "DURATION" and isinstance(value, float):
        value = show_duration(value)
    elif row.metavar == "SIZE" and isinstance(value, int):
        value = show_size(value)
    return f" [{value}]"


_OLD_FLAGS = {
    "--debug": ("Homeport.log_level", "debug"),
    "--pylab": ("NotebookApp.pylab", "auto"),
    "--no-mathjax": ("NotebookApp.enable_mathjax", "false"),
    "--script": ("FileContentsManager.save_script", "true"),
    "--no-script": ("FileContentsManager.save_script", "false"),
    "--autoreload": ("NotebookApp.autoreload", "true"),
    "--transport": ("KernelManager.transport", None),
    "--gateway-url": ("GatewayClient.url", None),
    "--client-ca": ("NotebookApp.client_ca", None),
}
"""Flags of Jupyter's servers that are short for a key; None: the flag takes its value."""

_CLASS_OPTION = re.compile(r"--([A-Z]\w*\.\w+)(?:=(.*))?", re.DOTALL)


def class_options(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Take ``--Section.name=value`` (or ``--Section.name value``) out of a command line, as traitlets' programs read them, and the
    flags of Jupyter's servers that are short for such keys.

    Returns:
        The rest, and the keys with their values; a key without a value is a switch that is on.
    """
    rest: list[str] = []
    keys: list[tuple[str, str]] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        match = _CLASS_OPTION.fullmatch(word)
        flag, equals, given = word.partition("=")
        if flag in _OLD_FLAGS and (bool(equals) or _OLD_FLAGS[flag][1] is not None or words):
            key, value = _OLD_FLAGS[flag]
            keys.append((key, given if equals else value if value is not None else words.pop(0)))
        elif match is None:
            rest.append(word)
        elif match[2] is not None:
            keys.append((match[1], match[2]))
        elif words and not words[0].startswith("-"):
            keys.append((match[1], words.pop(0)))
        else:
            keys.append((match[1], "true"))
    return rest, keys


def layer(namespace: argparse.Namespace, rows: Iterable[Option]) -> Layer:
    """What of ``rows`` the command line gave."""
    given = vars(namespace)
    return Layer(COMMAND_LINE, {row.name: given[row.name] for row in rows if row.name in given})
