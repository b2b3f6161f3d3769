"""The welcoming notebook: offered once, in a folder that has no notebook."""

from __future__ import annotations

import os
import shutil
from importlib.resources import as_file, files
from itertools import islice
from pathlib import Path

from homeport.commands.question import can_ask
from homeport.errors import Conflict, StoreFailed

NAME = "Welcome to Homeport.ipynb"
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
    with as_file(files("homeport") / "sample" / NAME) as source:
        try:
            with open(source, "rb") as reading, open(target, "xb") as writing:
                shutil.copyfileobj(reading, writing)
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
        answer = input(f"There is no notebook in {folder}. Put one there that shows what Homeport does? [y/N] ").strip().lower()
    except (EOFError, OSError):
        return None
    if answer in ("y", "yes"):
        return put_welcome(folder)
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(memory, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{folder}\n")
    return None


def _refused(memory: Path) -> list[str]:
    try:
        return memory.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
