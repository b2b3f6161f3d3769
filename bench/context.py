"""What a benchmark is, and what it gets: servers that are kept for the whole run, fresh ones, and folders of test notebooks."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar, cast

from bench import notebooks
from bench.servers import KERNEL, RunningServer
from bench.subjects import Subject

T = TypeVar("T")


@dataclass(frozen=True)
class Metric:
    """One row of the table. ``key`` names it in the JSON, ``unit`` is shown, ``digits`` after the point."""

    key: str
    title: str
    unit: str
    digits: int = 2


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: a module of ``bench.measures`` has one as ``BENCHMARK``.

    ``measure`` does one round for one subject and gives one value for each metric that it could measure.
    """

    name: str
    subjects: tuple[Subject, ...]
    metrics: tuple[Metric, ...]
    measure: Callable[[Subject, Context], Awaitable[Mapping[str, float]]]
    rounds: int = 5
    """How often, unless the command line says otherwise."""


class Context:
    """Owns every server and file of one run of the benchmarks. Use it as a context manager."""

    def __init__(self, peer_python: Path, *, quick: bool) -> None:
        self.quick = quick
        self._peer_python = peer_python
        self._stack = ExitStack()
        self._servers: dict[str, RunningServer] = {}
        self._kept: dict[str, object] = {}
        self._kept_stack = ExitStack()

    def __enter__(self) -> Context:
        self._files = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hpb-files-")))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.let_go()
        self._stack.close()

    def kept(self, name: str, make: Callable[[ExitStack], T]) -> T:
        """What ``make`` made under that name, once; what it enters on the stack is left at the end of the benchmark."""
        if name not in self._kept:
            self._kept[name] = make(self._kept_stack)
        return cast("T", self._kept[name])

    def let_go(self) -> None:
        """The end of a benchmark."""
        self._kept.clear()
        self._kept_stack.close()

    def fresh_server(self, subject: Subject) -> RunningServer:
        """A server that nobody has used; to be entered, and left, by the caller."""
        return RunningServer(subject, self.root(subject), self._peer_python)

    def server(self, subject: Subject) -> RunningServer:
        """The server of ``subject``, started when first asked for and kept until the end."""
        if subject.name not in self._servers:
            self._servers[subject.name] = self._stack.enter_context(self.fresh_server(subject))
        return self._servers[subject.name]

    def root(self, subject: Subject) -> Path:
        """The folder of notebooks of ``subject``: the same content for each, but not the same files."""
        root = self._files / subject.name
        if not root.exists():
            root.mkdir()
        return root

    def notebook(self, subject: Subject, name: str, file: str = "") -> str:
        """A test notebook (see :mod:`bench.notebooks`) in the root of ``subject``, written afresh as ``file``.ipynb; its API path."""
        path = f"{file or name}.ipynb"
        (self.root(subject) / path).write_bytes(notebooks.make(name, KERNEL))
        return path
