"""The outputs of one run, between the kernel's messages and the document.

Messages come one by one and fast; a document is written a few times a second. :class:`OutputBuffer` takes the messages and
gives out :class:`Patch` es that obey what JupyterLab's view can follow: a stream's text grows only at the tail of the last
output, two adjacent outputs are never the same stream, and to change output i, i and all after it are written anew.
It also bounds how many outputs there are. Pure; Yjs, blobs and the message format are ``documents/outputs.py``'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from homeport.core.coalesce import StreamLimits, StreamState, StreamText

Output = dict[str, Any]
"""One output as nbformat 4 has it, JSON values, text joined."""

STREAM_KEY = "application/vnd.homeport.stream+json"
"""The key of a stream output that shows only head and tail: ``{lines, size, key, rest}``; see docs/architecture.md."""

_LATER = "[... written after the cell had ended ...]"
# A document write that replaces more than this many characters is worth waiting a little for.
_HEAVY = 4096


@dataclass(frozen=True)
class OutputLimits:
    """How much one run may put into its cell."""

    stream: StreamLimits = field(default_factory=StreamLimits)
    """For each stream output; ``kept`` counts for the run as a whole."""
    small_stream: int = 2048
    """Characters of head and of tail of a stream output once the run's streams show more than ``shown`` characters."""
    shown: int = 256 * 1024
    outputs: int = 1000
    """Outputs kept from the beginning."""
    last: int = 24
    """Outputs kept from the end when there are more."""
    option: str = "--output-limit"


@dataclass(slots=True)
class Patch:
    """One change of a cell's outputs: first ``append``, or else ``cut`` and ``insert``."""

    append: str = ""
    """Text to add to the last output, which is a stream."""
    cut: int | None = None
    """Outputs from here to the end are deleted. None: nothing is."""
    insert: list[Output] = field(default_factory=list[Output])
    """Outputs to add at the end after that."""
    stored: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    """Text to be stored: key of the stream, running number, text."""
    dropped: list[str] = field(default_factory=list[str])
    """Keys of streams whose stored text goes."""


class BufferState(TypedDict):
    """An :class:`OutputBuffer` as JSON, without the outputs, which the document has."""

    count: int
    left_out: int
    size: int
    clear: bool
    open: StreamState | None
    displays: dict[str, list[int]]
    streams: int
    stored: dict[str, int]
    kept: int
    shown: int


class _Item:
    __slots__ = ("dirty", "display", "output", "raw")

    def __init__(self, output: Output | StreamText, display: str | None = None, *, raw: bool = False) -> None:
        self.output = output
        self.display = display
        self.dirty = False
        self.raw = raw  # as the kernel sent it: not yet in the form that the document holds


class OutputBuffer:
    """The outputs of one run.

    Args:
        key: names the run in the keys of stored text.
        limits: see :class:`OutputLimits`.

    A new buffer's first patch clears the cell: a run begins with empty outputs.
    """

    def __init__(self, key: str, limits: OutputLimits) -> None:
        self._key = key
        self._limits = limits
        self._items: list[_Item] = []
        self._clean = 0  # items that the document has as they are (the growth of an open stream aside)
        self._in_document: int | None = None  # outputs in the document; None: it is to be emptied first
        self._text_size = -1  # bytes of the open stream's text in the document
        self._open: StreamText | None = None
        self._grown = False
        self._rewrites = False
        self._clear = False
        self._left_out = 0
        self._displays: dict[str, list[_Item]] = {}
        self._any_dirty = False
        self._streams = 0
        self._stored: dict[str, int] = {}
        self._dropped: list[str] = []
        self._kept = limits.stream.kept
        self._shown = 0
        self._loaded = True

    @classmethod
    def restore(cls, key: str, limits: OutputLimits, state: BufferState) -> OutputBuffer:
        """Go on with a run; :meth:`load` gives it the outputs before anything else is done with it."""
        self = cls(key, limits)
        self._loaded = False
        self._in_document = state["count"] + (state["left_out"] > 0)
        self._text_size = state["size"]
        self._saved = state
        self._clear = state["clear"]
        self._left_out = state["left_out"]
        self._streams = state["streams"]
        self._stored = dict(state["stored"])
        self._kept, self._shown = state["kept"], state["shown"]
        return self

    @property
    def loaded(self) -> bool:
        """Whether the outputs are in memory; if not, :meth:`load` them from the document first."""
        return self._loaded

    def load(self, outputs: Sequence[Output]) -> None:
        """The outputs that the document has."""
        assert not self._loaded
        state = self._saved
        whole = len(outputs) == self._in_document
        items = [_Item(output) for output in outputs]
        if whole and self._left_out:
            del items[self._limits.outputs]
        self._loaded = True
        self._in_document = len(outputs)
        self._items, self._clean = items, len(items)
        if not whole:
            # Somebody cleared, moved or pasted: what is there is what there is.
            self._left_out, self._text_size = 0, -1
            return
        for display, indices in state["displays"].items():
            for index in indices:
                items[index].display = display
                self._displays.setdefault(display, []).append(items[index])
        opened = state["open"]
        if opened is not None and items and outputs[-1].get("output_type") == "stream":
            self._open = StreamText.restore(opened, str(outputs[-1].get("text", "")), self._limits.stream)
            items[-1].output = self._open

    def unload(self) -> None:
        """Forget the outputs, which the document has; nothing may be pending."""
        assert not self.pending
        self._saved = self.state
        self._items, self._open, self._displays, self._loaded = [], None, {}, False

    @property
    def state(self) -> BufferState:
        """What :meth:`restore` needs. Taken after a patch is in the document."""
        if not self._loaded:
            return self._saved
        displays: dict[str, list[int]] = {}
        if self._displays:
            for index, item in enumerate(self._items):
                if item.display is not None:
                    displays.setdefault(item.display, []).append(index)
        return {
            "count": len(self._items),
            "left_out": self._left_out,
            "size": self._text_size,
            "clear": self._clear,
            "open": self._open.state if self._open else None,
            "displays": displays,
            "streams": self._streams,
            "stored": self._stored,
            "kept": self._kept,
            "shown": self._shown,
        }

    @property
    def pending(self) -> bool:
        """Whether :meth:`take` would give something."""
        return self._loaded and (self._grown or self._any_dirty or self._in_document is None or self._clean < len(self._items))

    @property
    def heavy(self) -> bool:
        """Whether the next patch replaces much that is in the document already, so that it had better come less often."""
        return self._rewrites or self._left_out > 0

    @property
    def stored(self) -> Mapping[str, int]:
        """Streams with stored text: key and number of pieces."""
        return self._stored

    # ---- what the kernel says -------------------------------------------------------------------------------------

    def stream(self, name: str, text: str) -> None:
        """Text on ``stdout`` or ``stderr``."""
        if not text:
            return
        self._apply_clear()
        if self._open is None or self._open.name != name:
            self._close()
            last = self._items[-1].output if self._items else None
            if isinstance(last, dict) and last.get("name") == name:
                # It was sealed: two adjacent outputs must not be the same stream.
                self._add(_Item({"output_type": "display_data", "data": {"text/plain": _LATER}, "metadata": {}}))
            self._open = StreamText(name, self._streams, self._stream_limits())
            self._streams += 1
            self._add(_Item(self._open))
        self._open.feed(text)
        self._grown = True

    def add(self, output: Output, display: str | None = None) -> None:
        """Any output that is not a stream; ``display`` is its display id."""
        self._apply_clear()
        self._close()
        item = _Item(output, display, raw=True)
        self._add(item)
        if display is not None:
            self._displays.setdefault(display, []).append(item)

    def update(self, display: str, data: Any, metadata: Any) -> bool:
        """``update_display_data``. Returns whether this run has an output with that display id."""
        items = self._displays.get(display)
        if not items:
            return False
        for item in items:
            assert isinstance(item.output, dict)
            item.output = {**item.output, "data": data, "metadata": metadata}
            item.dirty = item.raw = self._any_dirty = True
        return True

    def shows(self, display: str) -> bool:
        """Whether this run has an output with that display id (also when not loaded)."""
        return display in (self._displays if self._loaded else self._saved["displays"])

    def clear(self, wait: bool) -> None:
        """``clear_output``; with ``wait`` only when the next output comes."""
        self._clear = wait
        if not wait:
            self._empty()

    # ---- what the document gets -----------------------------------------------------------------------------------

    @property
    def raw(self) -> list[Output]:
        """The outputs, as the kernel sent them, that the next patch has to convert."""
        return [item.output for item in self._raw_items() if isinstance(item.output, dict)]

    def converted(self, output: Output, form: Output) -> None:
        """``form`` is what the document holds of ``output``, one of :attr:`raw`, unless that was replaced or written meanwhile."""
        for item in self._raw_items():
            if item.output is output:
                item.output, item.raw = form, False

    def _raw_items(self) -> list[_Item]:
        return [item for item in (self._items if self._any_dirty else self._items[self._clean :]) if item.raw]

    def take(self, count: int, text_size: int, convert: Callable[[Output], Output]) -> Patch | None:
        """What to change in the document now; it counts as done.

        Args:
            convert: makes of an output as the kernel sent it the form that the document holds (large data become blobs).
            count: outputs that the cell has in the document.
            text_size: bytes of the last one's text if it is a stream, else -1.
        """
        self._reconcile(count, text_size)
        if not self.pending:
            return None
        if self._any_dirty:
            first = next((index for index, item in enumerate(self._items) if item.dirty), len(self._items))
            self._clean = min(self._clean, first)
        patch = Patch(dropped=self._dropped)
        self._dropped = []
        grows = self._grown and self._clean == len(self._items)
        if grows and self._open is not None:
            growth = self._open.take_growth()
            if growth is None:
                self._clean -= 1
            else:
                patch.append = growth
                self._text_size += len(growth.encode(errors="replace"))
                self._rewrites = False
        if self._clean < len(self._items) or self._in_document is None:
            self._rewrite(patch, convert)
        self._store(patch)
        self._grown = self._any_dirty = False
        return patch

    def _rewrite(self, patch: Patch, convert: Callable[[Output], Output]) -> None:
        limit, clean = self._limits.outputs, self._clean
        before = self._in_document or 0
        patch.cut = clean if clean <= limit or not self._left_out else clean + 1
        for item in self._raw_items():
            assert isinstance(item.output, dict)
            item.output, item.raw = convert(item.output), False
        patch.insert = [self._render(item) for item in self._items[clean:]]
        for item in self._items[clean:]:
            if isinstance(item.output, StreamText):
                item.output.written()
        replaced = sum(len(output["text"]) for output in patch.insert if "text" in output) if before > patch.cut else 0
        self._rewrites = replaced > _HEAVY or before - patch.cut > 8
        if self._left_out and clean <= limit:
            patch.insert.insert(limit - clean, self._notice())
        if patch.cut == before and self._in_document is not None:
            patch.cut = None
        self._clean = len(self._items)
        self._in_document = self._clean + (self._left_out > 0)
        self._text_size = len(patch.insert[-1]["text"].encode(errors="replace")) if self._open is not None and patch.insert else -1

    def _store(self, patch: Patch) -> None:
        # Streams that were closed since the last patch stand before the open one, or in the part that moves.
        for item in self._items[-(len(patch.insert) + 1) :]:
            if isinstance(item.output, StreamText):
                stream = item.output
                text = stream.take_stored()
                key = self._stream_key(stream)
                if text:
                    number = self._stored.get(key, 0)
                    self._stored[key] = number + 1
                    patch.stored.append((key, number, text))
                if stream is not self._open:
                    item.output = self._render(item)

    def _reconcile(self, count: int, text_size: int) -> None:
        """Somebody else changed the outputs: an empty cell was cleared, anything else (a cell moved with old outputs) is put right."""
        expected = self._in_document
        if expected is None:
            return
        shown = self._open is not None and self._clean == len(self._items)
        if count == expected and (not shown or text_size == self._text_size):
            return
        if count == 0:
            self._forget_shown()
        else:
            self._clean, self._in_document = 0, count

    def _forget_shown(self) -> None:
        """A person cleared the cell while it runs: what came since is shown, from the beginning of the line it came in."""
        goes_on = self._grown and self._clean == len(self._items)
        opened, fresh, grown, clear = self._open, self._items[self._clean - goes_on :], self._grown, self._clear
        self._empty()
        self._in_document, self._clear = 0, clear
        for item in fresh:
            if isinstance(item.output, StreamText):
                stream = item.output.onward(self._streams, self._stream_limits())
                self._streams += 1
                if item.output is opened:
                    self._open = stream
                item.output = stream
            if item.display is not None:
                self._displays.setdefault(item.display, []).append(item)
        self._items, self._grown = fresh, grown and self._open is not None

    def seal(self, key: str) -> None:
        """The stored text of a stream is kept elsewhere from now on, and its output cannot grow any more."""
        if not self._loaded:
            self._saved["stored"].pop(key, None)
            opened = self._saved["open"]
            if opened is not None and key == f"{self._key}/{opened['number']}":
                self._saved["open"] = None
            return
        self._stored.pop(key, None)
        if self._open is not None and key == self._stream_key(self._open):
            self._close()

    def _render(self, item: _Item) -> Output:
        item.dirty = False
        if not isinstance(item.output, StreamText):
            return item.output
        stream = item.output
        shown = stream.render()
        output: Output = {"output_type": "stream", "name": stream.name, "text": shown.text}
        if shown.overlong:
            output[STREAM_KEY] = {"lines": shown.lines, "size": shown.size, "key": self._stream_key(stream), "rest": shown.rest}
        return output

    def _notice(self) -> Output:
        text = (
            f"[... {self._left_out:,} {'output' if self._left_out == 1 else 'outputs'} left out: "
            f"limit of {self._limits.outputs:,} a cell, option {self._limits.option} ...]"
        )
        return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}

    def _stream_key(self, stream: StreamText) -> str:
        return f"{self._key}/{stream.number}"

    def _stream_limits(self) -> StreamLimits:
        limits = self._limits.stream
        if self._shown > self._limits.shown:
            small = self._limits.small_stream
            return StreamLimits(min(small, limits.head), min(small, limits.tail), self._kept, limits.option)
        return StreamLimits(limits.head, limits.tail, self._kept, limits.option)

    # ---- the list -------------------------------------------------------------------------------------------------

    def _apply_clear(self) -> None:
        if self._clear:
            self._clear = False
            self._empty()

    def _close(self) -> None:
        if self._open is None:
            return
        item = self._items[-1]
        output = self._render(item)
        if self._grown:
            # The output after it must not be there before its text is: it is written anew together with that.
            self._clean = min(self._clean, len(self._items) - 1)
        else:
            item.output = output
        self._shown += len(output["text"])
        self._kept = max(0, self._kept - self._open.stored_size)
        self._open, self._grown = None, False

    def _add(self, item: _Item) -> None:
        self._items.append(item)
        limit = self._limits.outputs
        if len(self._items) <= limit + self._limits.last:
            return
        gone = self._items.pop(limit)
        self._left_out += 1
        self._clean = min(self._clean, limit)
        if gone.display is not None:
            self._displays[gone.display].remove(gone)
        if isinstance(gone.output, StreamText):
            self._drop(self._stream_key(gone.output))
        elif STREAM_KEY in gone.output:
            self._drop(gone.output[STREAM_KEY]["key"])

    def _drop(self, key: str) -> None:
        if self._stored.pop(key, None) is not None:
            self._dropped.append(key)

    def _empty(self) -> None:
        self._dropped.extend(self._stored)
        self._stored = {}
        self._items, self._clean, self._in_document = [], 0, None
        self._open, self._grown, self._rewrites, self._text_size = None, False, False, -1
        self._displays, self._any_dirty, self._left_out = {}, False, 0
        self._kept, self._shown = self._limits.stream.kept, 0

    def check(self) -> None:
        """The invariants; tests call it after every step."""
        assert 0 <= self._clean <= len(self._items) <= self._limits.outputs + self._limits.last
        assert self._open is None or self._items[-1].output is self._open
        names = [item.output.name if isinstance(item.output, StreamText) else item.output.get("name") for item in self._items]
        streams = [name if name in ("stdout", "stderr") else None for name in names]
        border = self._limits.outputs - 1 if self._left_out else -1
        assert all(a is None or a != b or index == border for index, (a, b) in enumerate(itertools.pairwise(streams)))
