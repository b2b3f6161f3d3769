"""Runs a Homeport that kills itself at a named point: ``python -m harness.kill_at POINT PYTHON -m homeport …``.

A point is ``module:Class.method:before`` or ``…:after``. The process ends as by SIGKILL at the first passage after a file named
``armed`` is in its working folder. At ``…:hold``, a method that runs in threads, each passage waits as long as that file is there, as on
a busy disk: the first tells so by a file ``held-1`` and goes on when it is taken away, the second by ``held-2`` …
Nothing of this is known to Homeport: the method is wrapped here, before it starts.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARMED = "armed"


def main() -> None:
    """See the module."""
    point, _python, _m, module, *arguments = sys.argv[1:]
    place, _, when = point.rpartition(":")
    name, _, path = place.partition(":")
    owner: Any = importlib.import_module(name)
    *parents, method = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    wrap = functools.partial(wrapped, before=when == "before") if when != "hold" else held
    setattr(owner, method, wrap(getattr(owner, method), Path.cwd() / ARMED))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def wrapped(method: Callable[..., Any], armed: Path, *, before: bool) -> Callable[..., Any]:
    """``method``, which ends the process before or after it has done its work, once ``armed`` exists."""

    def pass_by(now: bool) -> None:
        if now and armed.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def coroutine(*arguments: Any, **named: Any) -> Any:
            pass_by(before)
            result = await method(*arguments, **named)
            pass_by(not before)
            return result

        return coroutine

    @functools.wraps(method)
    def function(*arguments: Any, **named: Any) -> Any:
        pass_by(before)
        result = method(*arguments, **named)
        pass_by(not before)
        return result

    return function


def held(method: Callable[..., Any], armed: Path) -> Callable[..., Any]:
    """``method``, which waits before it does its work as long as ``armed`` and a file of its own exist."""
    passages = itertools.count(1)

    @functools.wraps(method)
    def function(*arguments: Any, **named: Any) -> Any:
        if armed.exists():
            mine = armed.with_name(f"held-{next(passages)}")
            mine.touch()
            while mine.exists() and armed.exists():
                time.sleep(0.01)
        return method(*arguments, **named)

    return function


if __name__ == "__main__":
    main()
