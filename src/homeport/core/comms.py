"""The comms of a document's kernel, kept so that a page that comes later can be told of them.

A comm is opened, talked on and closed by kernel and pages alike (jupyter_client, "Custom Messages"). Widgets put their state
into ``data.state`` and large values into buffers that ``data.buffer_paths`` name (ipywidgets' messaging protocol 2). What an
Output widget captures is put into its ``outputs``, as front ends do. Pure; who sends a message, and where comms are
kept, is the caller's affair.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

Path = tuple[str | int, ...]
State = dict[str, Any]

CAPTURED: Final = 1 << 20
MOST_CAPTURED: Final = 1000
"""Characters and number of the newest outputs that an Output widget keeps; its cell has them all."""


@dataclass(slots=True)
class Comm:
    """One open comm. ``state`` is its widget state, merged from all updates; ``buffers`` by their place in it."""

    comm_id: str
    target: str
    module: str | None
    state: State = field(default_factory=dict[str, Any])
    buffers: dict[Path, bytes] = field(default_factory=dict[Path, bytes])
    clear_next: bool = False
    """Of an Output widget: what it holds goes when the next output comes."""


class Comms:
    """The open comms of one kernel generation, oldest first."""

    def __init__(self) -> None:
        self._open: dict[str, Comm] = {}
        self._changed: dict[str, None] = {}
        self._capturing: dict[str, str] = {}

    def __iter__(self) -> Iterator[Comm]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def restore(self, comm: Comm) -> None:
        """A comm that was kept; the oldest first."""
        self._open[comm.comm_id] = comm
        self._note_capturing(comm)

    def take(self) -> dict[str, Comm | None]:
        """What has changed since the last call; None: it was closed."""
        changed, self._changed = self._changed, {}
        return {comm_id: self._open.get(comm_id) for comm_id in changed}

    def handle(self, msg_type: str, content: State, buffers: Sequence[bytes]) -> None:
        """``comm_open``, ``comm_msg`` or ``comm_close``; what is malformed or about an unknown comm is ignored."""
        comm_id = content.get("comm_id")
        if not isinstance(comm_id, str):
            return
        if msg_type == "comm_close":
            self._capturing.pop(comm_id, None)
            if self._open.pop(comm_id, None) is not None:
                self._changed[comm_id] = None
            return
        data = content.get("data")
        members = cast("State", data) if isinstance(data, dict) else {}
        if msg_type == "comm_open":
            module = content.get("target_module")
            comm = Comm(comm_id, str(content.get("target_name", "")), module if isinstance(module, str) else None)
            self._open[comm_id] = comm
            self._changed[comm_id] = None
            self._merge(comm, members, buffers)
        elif comm_id in self._open and members.get("method") in ("update", "echo_update"):
            self._changed[comm_id] = None
            self._merge(self._open[comm_id], members, buffers)

    def forget(self, comm_id: str) -> None:
        """Keep a comm no longer, although it is open: there is no room for it."""
        self._capturing.pop(comm_id, None)
        del self._open[comm_id]
        self._changed[comm_id] = None

    def clear(self) -> None:
        """The kernel is gone, and its comms with it."""
        self._changed.update(dict.fromkeys(self._open))
        self._open.clear()
        self._capturing.clear()

    def capturing(self, msg_id: str) -> list[Comm]:
        """The Output widgets that capture what the request ``msg_id`` puts out."""
        return [self._open[comm_id] for comm_id, captured in self._capturing.items() if captured == msg_id]

    def _note_capturing(self, comm: Comm) -> None:
        captured = comm.state.get("msg_id")
        if isinstance(captured, str) and captured and _is_output(comm):
            self._capturing[comm.comm_id] = captured
        else:
            self._capturing.pop(comm.comm_id, None)

    def capture(self, comm: Comm, output: State | None, *, wait: bool = False) -> None:
        """Put an nbformat output into an Output widget; None: ``clear_output``, and with ``wait`` when the next output comes."""
        self._changed[comm.comm_id] = None
        outputs = comm.state.get("outputs")
        there = cast("list[State]", list(cast("list[Any]", outputs))) if isinstance(outputs, (list, tuple)) else []
        if output is None:
            comm.clear_next = wait
            if not wait:
                comm.state["outputs"] = []
            return
        if comm.clear_next:
            comm.clear_next, there = False, []
        last = there[-1] if there else {}
        if output.get("output_type") == "stream" and (last.get("output_type"), last.get("name")) == ("stream", output.get("name")):
            there[-1] = {**last, "text": str(last.get("text", "")) + str(output.get("text", ""))}
        else:
            there.append(output)
        comm.state["outputs"] = _newest(there)

    def _merge(self, comm: Comm, data: State, buffers: Sequence[bytes]) -> None:
        update = data.get("state")
        if not isinstance(update, dict):
            return
        state = cast("State", update)
        for path in [path for path in comm.buffers if path and path[0] in state]:
            del comm.buffers[path]
        comm.state.update(state)
        self._note_capturing(comm)
        paths = data.get("buffer_paths")
        if isinstance(paths, list):
            for path, buffer in zip(cast("list[Any]", paths), buffers, strict=False):
                if isinstance(path, list):
                    comm.buffers[tuple(cast("list[str | int]", path))] = bytes(buffer)


def widget_models(comms: Iterable[Comm]) -> Iterator[tuple[str, State]]:
    """The widgets among ``comms``, each as it stands in the ``state`` of ``application/vnd.jupyter.widget-state+json``
    (ipywidgets' ``Widget.get_manager_state``)."""
    return ((comm.comm_id, _model(comm)) for comm in comms if comm.target == "jupyter.widget")


def _model(comm: Comm) -> State:
    buffers = [{"encoding": "base64", "path": [*path], "data": b64encode(data).decode()} for path, data in comm.buffers.items()]
    named = {"model_name": "_model_name", "model_module": "_model_module", "model_module_version": "_model_module_version"}
    return {**{name: comm.state.get(key) for name, key in named.items()}, "state": comm.state, **({"buffers": buffers} if buffers else {})}


def _newest(outputs: list[State]) -> list[State]:
    """The last outputs that have room in :data:`CAPTURED`; of the oldest of them, if it is text, its end."""
    outputs, room = outputs[-MOST_CAPTURED:], CAPTURED
    for index in range(len(outputs) - 1, -1, -1):
        output = outputs[index]
        room -= _length(output)
        if room < 0:
            text = output.get("text")
            cut = [{**output, "text": text[-room:]}] if isinstance(text, str) and -room < len(text) else []
            return cut + outputs[index + 1 :] or outputs[-1:]
    return outputs


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_length, cast("dict[str, object]", value).values()))
    return sum(map(_length, cast("list[object]", value))) if isinstance(value, list) else 1


def _is_output(comm: Comm) -> bool:
    return comm.state.get("_model_name") == "OutputModel" and str(comm.state.get("_model_module")).startswith("@jupyter-widgets/output")
