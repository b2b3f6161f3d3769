"""The event loop that the server and the supervisor run on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end: on uvloop, with which a message costs a fifth less CPU than with asyncio's own loop."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:  # a platform without it
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def kill(process: Process) -> None:
    """Send SIGKILL to a process that the loop started, unless it has ended.

    Not ``Process.kill()``: on asyncio's own loop that asks first whether the process has ended, and so takes its exit status away from
    the one who waits for it (https://github.com/python/cpython/issues/87744).
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
