"""``homeport takeover``: point ``jupyter notebook`` and ``jupyter lab`` of this environment at Homeport, and back again.

For environments that have Jupyter's own servers (Anaconda has them). The commands are small files in the environment's folder
of programs; the originals are kept, so that nothing has to be installed to undo it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homeport.commands.arguments import Parser
from homeport.errors import HomeportError, StoreFailed

NAMES = {"jupyter-notebook": "jupyter_notebook", "jupyter-lab": "jupyter_lab"}
"""The programs, and the functions of ``homeport.cli`` that stand for them."""

_MARK = "homeport takeover"
# Linux cuts the first line of a script here (BINPRM_BUF_SIZE of older kernels, less "#!").
_LONGEST_INTERPRETER = 125


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport takeover",
        "Point the commands 'jupyter notebook' and 'jupyter lab' of this Python environment at Homeport. Shows what it would change,\n"
        "and asks. The originals are kept; --undo brings them back.",
    )
    parser.add_argument("--undo", action="store_true", help="bring back what was there before")
    parser.add_argument("-y", "--yes", action="store_true", help="do it without asking")
    return parser


@dataclass(frozen=True)
class Step:
    """One program: what is there, and what would become of it."""

    program: Path
    kept: Path
    """Where the original is, or will be."""
    undo: bool

    @property
    def ours(self) -> bool:
        """Whether the program leads to Homeport because of a takeover."""
        return _MARK in _beginning(self.program)

    @property
    def needed(self) -> bool:
        """Whether there is something to do."""
        if self.undo:
            return self.ours or (self.kept.exists() and not self.program.exists())
        return not self.ours and f"homeport.cli import {NAMES[self.program.name]}" not in _beginning(self.program)

    def describe(self) -> str:
        """What would be done, or why nothing is."""
        if not self.needed:
            return f"{self.program}  stays: it {'is not ours' if self.undo else 'leads to Homeport already'}"
        if self.undo:
            return f"{self.program}  {'becomes again what it was' if self.kept.exists() else 'goes: there was none before'}"
        if self.program.exists():
            return f"{self.program}  is to start Homeport; what is there now is kept as {self.kept}"
        return f"{self.program}  is new, and starts Homeport"

    def do(self) -> None:
        """Do it. The program is replaced in one step: at every moment there is a whole one.

        Raises:
            OSError: the folder cannot be written.
        """
        if self.undo:
            if self.kept.exists():
                self.kept.replace(self.program)
            else:
                self.program.unlink()
            return
        if self.program.exists():
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            self.kept.unlink(missing_ok=True)
            # A second name for the same file; rename below takes the first one away from it.
            os.link(self.program, self.kept, follow_symlinks=False)
        new = self.program.with_name(f".{self.program.name}.{os.getpid()}")
        new.write_text(script(NAMES[self.program.name]))
        new.chmod(0o755)
        new.replace(self.program)


def script(function: str, interpreter: str = sys.executable) -> str:
    """A program that calls ``function`` of ``homeport.cli``."""
    head = f"#!{interpreter}\n"
    if " " in interpreter or len(interpreter) > _LONGEST_INTERPRETER:
        # Read as shell it starts Python on itself; read as Python it begins with a text. pip writes its scripts so.
        head = f"#!/bin/sh\n'''exec' \"{interpreter}\" \"$0\" \"$@\"\n' '''\n"
    return (
        f"{head}# Written by '{_MARK}'; 'homeport takeover --undo' brings back what was here.\n"
        f"import sys\nfrom homeport.cli import {function}\nsys.exit({function}())\n"
    )


def steps(*, undo: bool, programs: Path | None = None) -> list[Step]:
    """What there is to do for each program of the environment.

    Args:
        programs: the environment's folder of programs; that of this Python by default.
    """
    folder = programs or Path(sysconfig.get_path("scripts"))
    kept = folder.parent / "share" / "homeport" / "taken-over"
    return [Step(folder / name, kept / name, undo) for name in NAMES]


def run(arguments: Sequence[str]) -> int:
    """Show, ask, and do; exit status 1 when it was not done.

    Raises:
        StoreFailed: the environment cannot be written.
        HomeportError: this platform's programs are not scripts.
    """
    given = make_parser().parse(arguments)
    if sys.platform == "win32":
        raise HomeportError("On Windows the commands are programs of their own, which this cannot replace; say 'homeport' instead.")
    plan = steps(undo=given.undo)
    for step in plan:
        print(step.describe())
    if not any(step.needed for step in plan):
        return 0
    if not given.yes and not _agreed():
        return 1
    try:
        for step in plan:
            if step.needed:
                step.do()
    except OSError as error:
        raise StoreFailed(f"{error.filename} cannot be changed: {error.strerror}. Nothing was lost; mend that and try again.") from None
    print("Done." if given.undo else "Done. 'homeport takeover --undo' takes it back.")
    return 0


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("Nothing was changed. Say -y to do it.")
        return False
    try:
        return input("Do it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _beginning(program: Path) -> str:
    try:
        with program.open("rb") as stream:
            return stream.read(4096).decode("utf-8", "replace")
    except OSError:
        return ""
