"""What a kernel writes to stdout or stderr, as the text that a notebook shows.

:class:`Line` is the line discipline: carriage return, backspace and erase-in-line act as on a terminal, so that a
progress bar is one line and not a thousand. :class:`StreamText` is one stream output: it keeps the text, and of a text
that is too long the head, the tail and a sentence about the rest. However a text is cut into messages, the result is the
same; both hold a bounded amount of text. Pure; which outputs a cell has is :mod:`homeport.core.output_buffer`'s affair,
and where the rest of a long text is kept is its caller's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypedDict

LINE_WIDTH = 8192
"""Columns of the terminal that is imitated: a longer line goes on in the next row without a newline in the text."""

# Control sequences of ECMA-48 that take no column: CSI … final byte, OSC … BEL or ST (hyperlinks), character sets.
_ESCAPE = r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)|[()*+][!-~]|[=>78])"
_TOKEN = re.compile(rf"(?P<escape>{_ESCAPE})|(?P<control>[\r\b\n])|(?P<lone>\x1b)|(?P<text>[^\x1b\r\b\n]+)")
_CELL = re.compile(rf"(?:{_ESCAPE})*[^\x1b]", re.DOTALL)
_TRAIL = re.compile(rf"(?:{_ESCAPE})+\Z")
_SLOW = re.compile(rf"\x1b\[[012]?K|(?!{_ESCAPE})\x1b")
_ERASE = re.compile(r"\x1b\[([012]?)K")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|\][^\x07\x1b]{0,1000}\x1b?|[()*+])?\Z")
_LONGEST_ESCAPE = 1024
_ESCAPE_PICTURE = "\u241b"  # an escape character that begins nothing we know is shown, and cannot begin something later


class LineState(TypedDict):
    """A :class:`Line` as JSON, to go on with after a restart."""

    line: str
    column: int | None
    pen: str
    unfinished: str


class Line:
    """The last line of a terminal: the only one that can still change.

    A cell is one character with the escape sequences before it. The line is kept as a string; ``column`` is None while
    the cursor is at its end, which is the common case and costs one search for control characters.
    """

    __slots__ = ("_column", "_line", "_pen", "_unfinished")

    def __init__(self, state: LineState | None = None) -> None:
        self._line = state["line"] if state else ""
        self._column: int | None = state["column"] if state else None
        # Escape sequences seen where the cursor stands inside the line: they belong to the next character written.
        self._pen = state["pen"] if state else ""
        self._unfinished = state["unfinished"] if state else ""

    @property
    def state(self) -> LineState:
        """What :class:`Line` can be made from again."""
        return {"line": self._line, "column": self._column, "pen": self._pen, "unfinished": self._unfinished}

    @property
    def text(self) -> str:
        """The line as it looks now."""
        if not self._pen or not self._column:
            return self._line
        cells, trail = _cells(self._line)
        return "".join([*cells[: self._column], self._pen, *cells[self._column :], trail])

    def feed(self, text: str) -> str:
        """Write ``text`` at the cursor. Returns what has scrolled out of the line and cannot change any more."""
        if self._unfinished:
            text = self._unfinished + text
            self._unfinished = ""
        escapes = "\x1b" in text
        if escapes and (cut := _UNFINISHED.search(text, max(0, len(text) - _LONGEST_ESCAPE))):
            self._unfinished = text[cut.start() :]
            text = text[: cut.start()]
        if self._column is None and "\r" not in text and "\b" not in text and not (escapes and _SLOW.search(text)):
            return self._append(text)
        return self._write(text)

    def finish(self) -> str:
        """The stream is closed: the rest of the line."""
        rest = self.text + self._unfinished.replace("\x1b", _ESCAPE_PICTURE)
        self._line, self._column, self._pen, self._unfinished = "", None, "", ""
        return rest

    def _append(self, text: str) -> str:
        end = text.rfind("\n") + 1
        if end:
            settled = self._line + text[:end]
            self._line = text[end:]
        else:
            settled = ""
            self._line += text
        return settled + self._wrap() if len(self._line) > LINE_WIDTH else settled

    def _wrap(self) -> str:
        """Only at the end of the line: rows that are full can no longer be reached by a carriage return."""
        line = self._line
        if "\x1b" not in line:
            full = (len(line) - 1) // LINE_WIDTH * LINE_WIDTH
            self._line = line[full:]
            return line[:full]
        cells, trail = _cells(line)
        full = max(0, len(cells) - 1) // LINE_WIDTH * LINE_WIDTH
        self._line = "".join(cells[full:]) + trail
        return "".join(cells[:full])

    def _write(self, text: str) -> str:
        settled: list[str] = []
        for token in _TOKEN.finditer(text):
            kind, value = token.lastgroup, token.group()
            if kind == "text":
                settled.append(self._put(value))
            elif kind == "lone":
                settled.append(self._put(_ESCAPE_PICTURE))
            elif kind == "escape":
                self._escape(value)
            elif value == "\n":
                settled.append(self.text + "\n")
                self._line, self._column, self._pen = (self._pen if self._column == 0 else ""), None, ""
            else:
                self._move(value)
        return "".join(settled)

    def _put(self, text: str) -> str:
        if self._column is None:
            self._line += text
            return self._wrap() if len(self._line) > LINE_WIDTH else ""
        column, line = self._column, self._line
        if not self._pen and "\x1b" not in line and "\x1b" not in text:
            end = column + len(text)
            if end < len(line):
                self._line = line[:column] + text + line[end:]
                self._column = end
                return ""
            cut = len(line) - column
            self._line, self._column = line[:column] + text[:cut], None
            return self._put(text[cut:]) if cut < len(text) else ""
        cells, trail = _cells(line)
        fits = min(len(text), len(cells) - column)
        if fits:
            cells[column : column + fits] = text[:fits]
            cells[column] = self._pen + cells[column]
            self._pen = ""
        self._line = "".join(cells) + trail
        self._column = column + fits
        if self._column < len(cells):
            return ""
        self._line, self._column, self._pen = self._line + self._pen, None, ""
        return self._put(text[fits:]) if fits < len(text) else ""

    def _move(self, control: str) -> None:
        width = len(_cells(self._line)[0]) if "\x1b" in self._line else len(self._line)
        column = width if self._column is None else self._column
        column = 0 if control == "\r" else max(0, column - 1)
        if column < width:
            self._column = column

    def _escape(self, escape: str) -> None:
        erase = _ERASE.fullmatch(escape)
        if erase is None:
            if self._column is None:
                self._line += escape
            else:
                # A kernel that only ever changes colours must not fill the memory.
                self._pen = self._pen + escape if len(self._pen) < _LONGEST_ESCAPE else escape
            return
        cells, trail = _cells(self._line)
        column = len(cells) if self._column is None else self._column
        how = erase.group(1) or "0"
        if how == "1":
            blank = min(column + 1, len(cells))
            cells[:blank] = " " * blank
        else:
            del cells[column:]
            if how == "2":
                cells[:column] = " " * column
        self._line = "".join(cells) + trail
        if self._column is not None and self._column >= len(cells):
            self._line, self._column, self._pen = self._line + self._pen, None, ""


def _cells(line: str) -> tuple[list[str], str]:
    """The cells of a line, and the escape sequences after the last one."""
    if "\x1b" not in line:
        return list(line), ""
    trail = _TRAIL.search(line)
    end = trail.start() if trail else len(line)
    return _CELL.findall(line, 0, end), line[end:]


@dataclass(frozen=True)
class StreamLimits:
    """How much of one stream output is kept where."""

    head: int = 16 * 1024
    """Characters shown of the beginning of a text that is too long."""
    tail: int = 16 * 1024
    """Characters shown of its end. Up to ``head + tail`` finished characters are shown as they are."""
    kept: int = 10 * 1024 * 1024
    """Bytes (UTF-8) of a text that is too long that are kept for the file."""
    option: str = "--stream-limit"
    """The option that sets ``kept``, for the sentence that says what was left out."""


class StreamState(TypedDict):
    """A :class:`StreamText` as JSON, without the text itself, which the document has."""

    name: str
    number: int
    line: LineState
    lines: int
    size: int
    length: int
    head: int | None
    stored: tuple[int, int, int]
    full: bool
    rest: int
    kept: int


@dataclass(frozen=True)
class Rendered:
    """A stream output as the document shows it now."""

    text: str
    overlong: bool
    lines: int
    """Finished lines of the whole text."""
    size: int
    """Bytes of the whole text."""
    rest: int
    """The whole text that is kept is what was stored, followed by the last ``rest`` characters of ``text``."""


class StreamText:
    """One stream output.

    Args:
        name: ``stdout`` or ``stderr``.
        number: which stream of the run it is; with the run it names the stored text.
        limits: what to keep.
    """

    def __init__(self, name: str, number: int, limits: StreamLimits) -> None:
        self.name = name
        self.number = number
        self._limits = limits
        self._line = Line()
        self._body: list[str] = []  # finished text, while all of it is shown
        self._length = 0  # characters of finished text
        self._lines = 0
        self._size = 0
        self._head: str | None = None  # set once the text is too long
        self._tail = ""
        self._tail_aligned = False  # it begins where it was shown to begin before a restart
        self._stored_size = self._stored_length = self._stored_lines = 0
        self._full = False
        self._pending: list[str] = []
        self._written: tuple[int, str] | None = None  # finished characters and line as of the last take()

    @classmethod
    def restore(cls, state: StreamState, text: str, limits: StreamLimits) -> StreamText:
        """Go on with a stream whose output in the document has ``text``."""
        self = cls(state["name"], state["number"], limits)
        self._limits = StreamLimits(limits.head, limits.tail, state["kept"], limits.option)
        self._line = Line(state["line"])
        line = self._line.text
        body = text[: len(text) - len(line)] if line and text.endswith(line) else text
        self._length, self._lines, self._size = state["length"], state["lines"], state["size"]
        self._stored_size, self._stored_length, self._stored_lines = state["stored"]
        self._full = state["full"]
        self._written = (self._length, line)
        if state["head"] is None:
            self._body = [body]
        else:
            self._head = body[: state["head"]]
            self._tail = body[len(body) - (state["rest"] - len(line)) :] if state["rest"] > len(line) else ""
            self._tail_aligned = True
        return self

    @property
    def state(self) -> StreamState:
        """What :meth:`restore` needs beside the text in the document."""
        tail = self._shown_tail() if self.overlong else ""
        return {
            "name": self.name,
            "number": self.number,
            "line": self._line.state,
            "lines": self._lines,
            "size": self._size,
            "length": self._length,
            "head": None if self._head is None else len(self._head),
            "stored": (self._stored_size, self._stored_length, self._stored_lines),
            "full": self._full,
            "rest": len(tail) + len(self._line.text),
            "kept": self._limits.kept,
        }

    @property
    def overlong(self) -> bool:
        """Whether only head and tail are shown."""
        return self._head is not None

    @property
    def stored_size(self) -> int:
        """Bytes given out by :meth:`take_stored` and those it would give out now."""
        return self._stored_size

    def feed(self, text: str) -> None:
        """The kernel wrote ``text``."""
        settled = self._line.feed(text)
        if settled:
            self._settle(settled)

    def take_stored(self) -> str:
        """The text to be stored since the last call: all finished text of an output that is too long, up to the limit."""
        text = "".join(self._pending)
        self._pending.clear()
        return text

    def take_growth(self) -> str | None:
        """What to add at the end of the output in the document, or None when it must be written anew.

        Counts as written from then on.
        """
        before = self._written
        line = self._line.text
        self._written = (self._length, line)
        if before is None or self._head is not None:
            return None
        length, old = before
        body = "".join(self._body)
        self._body = [body]
        new = body[len(body) - (self._length - length) :] + line if self._length > length else line
        return new[len(old) :] if new.startswith(old) else None

    def written(self) -> None:
        """The output was written as it is now; :meth:`take_growth` and :meth:`onward` go on from here."""
        self._written = (self._length, self._line.text)

    def onward(self, number: int, limits: StreamLimits) -> StreamText:
        """A stream that has only what is new since this one was last written, and goes on in the line that can still change.

        To be asked before :meth:`take_stored`. Of a text that is too long and not kept any more, the end is taken.
        """
        fresh = StreamText(self.name, number, limits)
        length = self._length - (self._written[0] if self._written is not None else 0)
        kept = "".join(self._body if self._head is None else self._pending)
        new = kept if len(kept) >= length else self._tail
        fresh._settle(new[max(0, len(new) - length) :])
        fresh._line = Line(self._line.state)
        return fresh

    def render(self) -> Rendered:
        """The output as it is now."""
        line = self._line.text
        size = self._size + len(line.encode(errors="replace"))
        if self._head is None:
            body = "".join(self._body)
            self._body = [body]
            return Rendered(body + line, False, self._lines, size, 0)
        return self._render_overlong(self._head, line, size)

    def _render_overlong(self, head: str, line: str, size: int) -> Rendered:
        tail = self._shown_tail()
        beyond = self._length - self._stored_length
        lost = beyond - len(tail)
        notices: list[str] = []
        hidden_length = self._length - len(head) - len(tail) - max(0, lost)
        tail_lines, tail_size = tail.count("\n"), len(tail.encode(errors="replace"))
        if lost > 0:
            hidden_size = self._stored_size - len(head.encode(errors="replace"))
            hidden_lines = self._stored_lines - head.count("\n")
        else:
            hidden_size = self._size - len(head.encode(errors="replace")) - tail_size
            hidden_lines = self._lines - head.count("\n") - tail_lines
        start = "" if head.endswith("\n") else "\n"
        if hidden_length > 0:
            notices.append(f"{start}[... {_amount(hidden_lines, hidden_size)} not shown here, kept in the file ...]\n")
            start = ""
        rest = ""
        if lost > 0:
            limit = _bytes(self._limits.kept, binary=True)
            left_out = _amount(self._lines - self._stored_lines - tail_lines, self._size - self._stored_size - tail_size)
            # In the file this stands right after the stored text, which may end within a line.
            rest = f"[... {left_out} left out: limit of {limit} a cell, option {self._limits.option} ...]\n"
            if not notices and start:
                rest = start + rest
            rest = rest + tail + line
        elif beyond > 0:
            rest = tail[len(tail) - beyond :] + line
        else:
            rest = line
        shown = rest if lost > 0 else tail + line
        return Rendered(head + "".join(notices) + shown, True, self._lines, size, len(rest))

    def _shown_tail(self) -> str:
        """The end of the finished text, from the beginning of a line if it has one."""
        tail = self._tail[-self._limits.tail :]
        if self._tail_aligned and len(self._tail) <= self._limits.tail:
            return tail
        newline = tail.find("\n", 0, len(tail) - 1)
        return tail[newline + 1 :] if newline >= 0 else tail

    def _settle(self, text: str) -> None:
        size = len(text.encode(errors="replace"))
        lines = text.count("\n")
        self._size += size
        self._lines += lines
        self._length += len(text)
        if self._head is not None:
            self._store(text, size, lines)
            self._keep_tail(text)
            return
        self._body.append(text)
        if self._length > self._limits.head + self._limits.tail:
            body = "".join(self._body)
            self._body = []
            cut = body.rfind("\n", self._limits.head // 2, self._limits.head) + 1 or self._limits.head
            self._head = body[:cut]
            self._keep_tail(body[cut:])
            self._store(body, self._size, self._lines)

    def _keep_tail(self, text: str) -> None:
        most = self._limits.tail
        if len(text) >= most:
            self._tail, self._tail_aligned = text[-most:], False
        else:
            self._tail += text
        if len(self._tail) > 4 * most:
            self._tail, self._tail_aligned = self._tail[-most:], False

    def _store(self, text: str, size: int, lines: int) -> None:
        if self._full:
            return
        room = self._limits.kept - self._stored_size
        if size > room:
            # The first character that does not fit closes the store: the same wherever messages are cut.
            self._full = True
            text = text.encode(errors="replace")[:room].decode(errors="ignore")
            size, lines = len(text.encode()), text.count("\n")
        self._stored_size += size
        self._stored_length += len(text)
        self._stored_lines += lines
        if text:
            self._pending.append(text)


def _amount(lines: int, size: int) -> str:
    return f"{lines:,} {'line' if lines == 1 else 'lines'} ({_bytes(size)})"


def _bytes(size: int, *, binary: bool = False) -> str:
    step, units = (1024, ("bytes", "KiB", "MiB", "GiB")) if binary else (1000, ("bytes", "kB", "MB", "GB"))
    value = float(size)
    unit = units[0]
    for unit in units:
        if value < step or unit == units[-1]:
            break
        value /= step
    return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
