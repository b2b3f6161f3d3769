"""What ``homeport run`` shows while notebooks run: a bar for each on a terminal, plain lines elsewhere.

On a terminal the bars of the notebooks that are running stand at the bottom and are drawn over; everything else that is said
goes above them and stays. Not a library's: two of the three things that matter here (a question of Ctrl-C between the bars, lines that
stay above several bars) are what libraries make hard, and the rest is twenty lines.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import unicodedata
from dataclasses import dataclass, field
from typing import TextIO

_BAR = 24
_BESIDE_THE_BAR = 36
"""Columns of a bar, and those that are left to what stands beside it before the bar gets any."""
_LONGEST_NAME = 32


@dataclass
class Row:
    """One notebook that runs."""

    name: str
    total: int = 0
    """Cells to run."""
    done: int = 0
    doing: str = "starting"
    """What it does just now, for people."""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began


class Progress:
    """See the module. ``live`` says whether bars are drawn.

    Args:
        out: where to; a terminal or not.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self.live = self._out.isatty() and os.environ.get("TERM") not in ("", "dumb", None)
        self._rows: list[Row] = []
        self._drawn: list[str] = []
        self._held = False
        encoding = (self._out.encoding or "").lower().replace("-", "")
        self._full, self._empty = ("█", "░") if encoding.startswith("utf") else ("#", ".")

    def add(self, row: Row) -> None:
        """A notebook begins."""
        self._rows.append(row)
        self.draw()

    def remove(self, row: Row) -> None:
        """It has ended; its line goes."""
        self._rows.remove(row)
        self.draw()

    def say(self, text: str) -> None:
        """A line, or several, that stay."""
        self._erase()
        self._write(text + "\n")
        self.draw()

    def tell(self, text: str) -> None:
        """A line that only matters where no bar says it."""
        if not self.live:
            self._write(text + "\n")

    def hold(self) -> None:
        """Draw nothing: the terminal is somebody else's until :meth:`release`."""
        self._erase()
        self._held = True

    def release(self) -> None:
        """Draw again."""
        self._held = False
        self.draw()

    def close(self) -> None:
        """Take the bars away."""
        self._erase()
        self._rows.clear()

    def draw(self) -> None:
        """Draw the bars anew if they have changed. To be called a few times a second: a slow terminal holds us up."""
        if not self.live or self._held:
            return
        width, height = shutil.get_terminal_size()
        # Figures say more than a bar where there is no room for both.
        bar = min(_BAR, max(0, width - _BESIDE_THE_BAR))
        # A line that wraps, or more lines than the screen has, could not be drawn over.
        lines = [cut(self._line(row, bar), width - 1) for row in self._rows[: height - 1]]
        if lines != self._drawn:
            self._erase()
            self._write("".join(line + "\n" for line in lines))
            self._drawn = lines

    def _line(self, row: Row, columns: int) -> str:
        name = cut(row.name, _LONGEST_NAME)
        filled = columns * row.done // row.total if row.total else 0
        bar = self._full * filled + self._empty * (columns - filled) + ("  " if columns else "")
        return f"{name}  {bar}{row.done}/{row.total}  {clock(row.seconds)}  {row.doing}"

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{len(self._drawn)}F\x1b[J")
            self._drawn = []

    def _write(self, text: str) -> None:
        # A terminal that is gone does not end the run.
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text)
            self._out.flush()


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def cut(text: str, columns: int) -> str:
    """``text`` on one line, and so short that it takes at most ``columns`` columns."""
    shown, taken = "", 0
    for char in text:
        wide = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if taken + wide > columns:
            return shown[:-1] + "…" if shown else ""
        shown += char if char.isprintable() else " "
        taken += wide
    return shown
