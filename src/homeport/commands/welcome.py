"""The welcoming notebook: offered once, in a folder that has no notebook."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import islice
from pathlib import Path

from homeport.commands.question import Question, can_ask
from homeport.errors import Conflict, StoreFailed
from homeport.stores.welcome import NAME, welcome_notebook

_LOOK_AT = 5000


def has_notebook(folder: Path) -> bool:
    """True when ``folder`` or a folder right below it holds a notebook. Looks at so many entries only: a large folder is in use."""
    seen = 0
    for pattern in ("*.ipynb", "*/*.ipynb"):
        if next(folder.glob(pattern), None) is not None:
            return True
        seen += sum(1 for _ in islice(folder.iterdir(), _LOOK_AT))
        if seen >= _LOOK_AT:
            return True
    return False


def put_welcome(folder: Path) -> Path:
    """Copy the welcoming notebook into ``folder`` and return its path there.

    Raises:
        Conflict: a file of that name is there already; it is left as it is.
        StoreFailed: it cannot be written.
    """
    target = folder / NAME
    try:
        with open(target, "xb") as file:
            file.write(welcome_notebook())
    except FileExistsError:
        raise Conflict(f"'{NAME}' is there already.", path=NAME) from None
    except OSError as error:
        raise StoreFailed(f"'{NAME}' cannot be written: {error.strerror}.", path=NAME) from None
    return target


def offer_welcome(folder: Path, *, memory: Path) -> Path | None:
    """On a terminal, ask once per folder without a notebook whether to put one there.

    Args:
        folder: the folder that is served.
        memory: a file of ours that holds the folders in which the answer was no, one a line.

    Returns:
        The new notebook, or None.
    """
    try:
        if not can_ask() or has_notebook(folder) or not os.access(folder, os.W_OK) or str(folder) in _refused(memory):
            return None
        answer = asyncio.run(ask_for_welcome(folder))
    except OSError:
        return None
    if answer is None:
        return None
    if answer:
        return put_welcome(folder)
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(memory, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{folder}\n")
    return None


async def ask_for_welcome(folder: Path) -> bool | None:
    """Yes, no, or None when no answer comes within some seconds: a server is not to wait for somebody who looks elsewhere."""
    later = "the server starts without it; 'homeport --welcome' puts it there later."
    question = Question[bool | None](
        _write, {"": True, "y": True, "n": False}, words={"yes": "y", "no": "n"}, gone=None, silence=(None, later)
    )
    return await question.ask(f"There is no notebook in {folder}. Put one there that shows what Homeport does? [Y/n] ")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _refused(memory: Path) -> list[str]:
    try:
        return memory.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
