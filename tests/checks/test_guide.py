"""The guide: its links lead somewhere, and every command of Homeport's in it is one that there is."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeport.commands import COMMANDS
from homeport.commands.command_line import make_parser

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGES = sorted(GUIDE.glob("*.md"))


_BEFORE = r"\$ |\$\(|&& |; |@reboot |--scope |docker exec homeport |docker run .* homeport "
_COMMAND = re.compile(rf"(?:^|{_BEFORE})(homeport(?: [^#)&;<>|]*)?)(?:$|[#)&;<>|])")


def commands_of(text: str) -> Iterator[str]:
    """Every ``homeport …`` that somebody is to type: in code blocks and between backticks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        match = _COMMAND.search(line)
        if match is not None:
            yield match[1].strip()


def flags_of(word: str) -> set[str]:
    """The flags of a command, or of ``homeport`` itself."""
    parser = importlib.import_module(f"homeport.commands.{COMMANDS[word].module}").make_parser() if word in COMMANDS else make_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    return set(parser._option_string_actions)


def wrong_flags(command: str) -> list[str]:
    """The flags of a command line that its command does not have."""
    words = shlex.split(command.replace("…", "x"))[1:]
    word = words[0] if words and words[0] in COMMANDS else ""
    takes_all = word in ("config", "service")  # these take the options of `homeport` as they are
    known = flags_of(word) | (flags_of("") if takes_all else set())
    return [each for each in words if each.startswith("-") and each.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_that_there_is(page: Path) -> None:
    wrong = {command: wrong_flags(command) for command in commands_of(page.read_text())}
    assert not {command: flags for command, flags in wrong.items() if flags}


def test_commands_are_found() -> None:
    found = {command for page in PAGES for command in commands_of(page.read_text())}
    assert len(found) > 40
    assert {"homeport --public ~/work", "homeport password", "homeport list", "homeport tokens remove ci"} <= found
    assert wrong_flags("homeport tokens create x --scpoe=read") == ["--scpoe=read"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{target} is not there"
        titles = [line.lstrip("# ") for line in file.read_text().splitlines() if line[:1] == "#"]
        headings = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
        assert not anchor or anchor in headings, f"{target} has no heading {anchor}"


def test_every_page_is_in_the_index() -> None:
    index = (GUIDE / "index.md").read_text()
    assert [page.name for page in PAGES if page.name != "index.md" and f"({page.name})" not in index] == []
