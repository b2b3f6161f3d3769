"""Tells when something happened in the folders of open notebooks.

A hint only: whether a file changed is found by its hash (``saver.py``). Network file systems tell nothing of what other
machines do, so that all are looked at now and then as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol, cast

log = logging.getLogger(__name__)

_LOOK_EVERY_MS = 10_000
# It tells of every event, ours too.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


class _Watch(Protocol):
    """The part of ``watchfiles.awatch`` that is used: its own type names parts of anyio that are not typed."""

    def __call__(
        self,
        *paths: Path,
        watch_filter: None,
        debounce: int,
        step: int,
        stop_event: asyncio.Event,
        rust_timeout: int,
        yield_on_timeout: bool,
        recursive: bool,
    ) -> AsyncGenerator[set[tuple[object, str]], None]: ...


class Watcher:
    """Watches folders, not what lies deeper in them.

    Args:
        changed: called on the loop with the files that something happened to; None: look at all of them.
    """

    def __init__(self, changed: Callable[[set[Path] | None], None]) -> None:
        self._changed = changed
        self._folders: frozenset[Path] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.Event | None = None

    def watch(self, folders: set[Path]) -> None:
        """Watch exactly these folders from now on."""
        wanted = frozenset(folders)
        if self._folders == wanted:
            return
        self._folders = wanted
        if self._again is not None:
            self._again.set()
        if self._task is None and folders:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop watching."""
        task, self._task = self._task, None
        if task is not None and self._again is not None:
            self._folders = frozenset()
            self._again.set()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        from watchfiles import awatch  # type: ignore[reportUnknownVariableType]

        while self._folders:
            again = self._again = asyncio.Event()
            there = [folder for folder in self._folders if folder.is_dir()]
            if not there:
                await _first(again, _LOOK_EVERY_MS / 1000)
                self._changed(None)
                continue
            try:
                watching = cast("_Watch", awatch)(
                    *there,
                    watch_filter=None,
                    debounce=300,
                    step=50,
                    stop_event=again,
                    rust_timeout=_LOOK_EVERY_MS,
                    yield_on_timeout=True,
                    recursive=False,
                )
                seen = [_identity(folder) for folder in there]
                async for changes in watching:
                    self._changed({Path(file) for _, file in changes} if changes else None)
                    if not changes and seen != [_identity(folder) for folder in there]:
                        again.set()  # another folder of that name is there now, which is not watched yet
            except (OSError, RuntimeError) as error:
                # Too few inotify watches, or a folder that went away: looking now and then has to do.
                log.info("folders cannot be watched (%s); they are looked at every %d s", error, _LOOK_EVERY_MS // 1000)
                await _first(again, _LOOK_EVERY_MS / 1000)
                self._changed(None)
        self._task = None


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


async def _first(event: asyncio.Event, timeout: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except TimeoutError:
        return
