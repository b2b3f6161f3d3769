"""The comms of a document's kernel, kept so that a page that comes later can be told of them.

A comm is opened, talked on and closed by kernel and pages alike (jupyter_client, "Custom Messages"). Widgets put their state
into ``data.state`` and large values into buffers that ``data.buffer_paths`` name (ipywidgets' messaging protocol 2). Pure;
who sends a message is the caller's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

Path = tuple[str | int, ...]
State = dict[str, Any]


@dataclass(slots=True)
class Comm:
    """One open comm. ``state`` is its widget state, merged from all updates; ``buffers`` by their place in it."""

    comm_id: str
    target: str
    module: str | None
    state: State = field(default_factory=dict[str, Any])
    buffers: dict[Path, bytes] = field(default_factory=dict[Path, bytes])


class Comms:
    """The open comms of one kernel generation, oldest first."""

    def __init__(self) -> None:
        self._open: dict[str, Comm] = {}

    def __iter__(self) -> Any:
        return iter(self._open.values())

    def handle(self, msg_type: str, content: State, buffers: Sequence[bytes]) -> None:
        """``comm_open``, ``comm_msg`` or ``comm_close``; what is malformed or about an unknown comm is ignored."""
        comm_id = content.get("comm_id")
        if not isinstance(comm_id, str):
            return
        if msg_type == "comm_close":
            self._open.pop(comm_id, None)
            return
        data = content.get("data")
        members = cast("State", data) if isinstance(data, dict) else {}
        if msg_type == "comm_open":
            module = content.get("target_module")
            comm = Comm(comm_id, str(content.get("target_name", "")), module if isinstance(module, str) else None)
            self._open[comm_id] = comm
            self._merge(comm, members, buffers)
        elif comm_id in self._open and members.get("method") in ("update", "echo_update"):
            self._merge(self._open[comm_id], members, buffers)

    def clear(self) -> None:
        """The kernel is gone, and its comms with it."""
        self._open.clear()

    def _merge(self, comm: Comm, data: State, buffers: Sequence[bytes]) -> None:
        update = data.get("state")
        if not isinstance(update, dict):
            return
        state = cast("State", update)
        for path in [path for path in comm.buffers if path and path[0] in state]:
            del comm.buffers[path]
        comm.state.update(state)
        paths = data.get("buffer_paths")
        if isinstance(paths, list):
            for path, buffer in zip(cast("list[Any]", paths), buffers, strict=False):
                if isinstance(path, list):
                    comm.buffers[tuple(cast("list[str | int]", path))] = bytes(buffer)
