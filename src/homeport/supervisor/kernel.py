"""One kernel: started, watched, interrupted, restarted, stopped, and found again by the next supervisor.

What a supervisor must know to take a kernel over lies in ``kernel.json`` of the kernel's folder; the folder of each generation
holds its journal. A kernel that ended by itself stays, dead, with its reason and its journal, until somebody restarts it or
shuts it down. It is never restarted unasked.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec
import zmq

from homeport.core.journal import Limits
from homeport.errors import HomeportError, KernelFailed, KernelGone
from homeport.folders import private
from homeport.protocol.jupyter import Parts
from homeport.protocol.supervisor import MACHINE_RESTARTED, Channel, KernelInfo, KernelState
from homeport.supervisor import provisioning
from homeport.supervisor.generation import Generation, message
from homeport.supervisor.processes import (
    Identity,
    MemoryKills,
    ProcessWatch,
    boot_id,
    describe,
    find_by_argument,
    identify,
    signal_group,
    tail,
)
from homeport.supervisor.provisioning import ForeignKernel, Launch, Launched

log = logging.getLogger(__name__)

START_PATIENCE: Final = 60.0
"""Seconds after which a start is answered although the kernel has neither spoken nor died."""

GRACE: Final = 5.0
"""Seconds from the polite request to end to SIGKILL; SIGTERM comes half-way."""

QUIET: Final = 30.0
"""Seconds of silence after which a journal leaves memory."""

_OUTPUT_LIMIT = 16 << 20
_READERS_PATIENCE = 30.0


@dataclass(frozen=True)
class Places:
    """Where kernels put things: ``state`` has a folder per kernel, ``sockets`` their ipc folders, ``runtime`` their connection files."""

    state: Path
    sockets: Path
    runtime: Path
    limits: Limits


class Saved(msgspec.Struct):
    """``kernel.json``. ``identity`` is ``None`` from before the launch until it is known, and for kernels elsewhere."""

    kernel_id: str
    launch: Launch
    generation: int
    started: float
    launched: Launched | None = None
    identity: Identity | None = None
    dead: bool = False
    reason: str = ""
    stderr: str = ""
    lost: bool = False


class Body(Protocol):
    """The running kernel: a process of this host, or whatever a provisioner made of it."""

    pid: int | None

    def watch(self, ended: Callable[[str], None]) -> None:
        """Call ``ended`` once with the reason when it is no more."""
        ...

    async def signal(self, number: int) -> None:
        """Send it a signal; one that is gone is no error."""
        ...

    def settled(self) -> None:
        """It has begun to answer, and is where it will stay."""
        ...

    def tick(self) -> None:
        """Every second or so."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class LocalBody:
    """A process of this host, our child or adopted."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None) -> None:
        self.pid: int | None = pid
        self._pid = pid
        self._child = child
        self._kills = MemoryKills.of(pid)
        self._watch: ProcessWatch | None = None

    def watch(self, ended: Callable[[str], None]) -> None:
        def over() -> None:
            status = self._child.wait() if self._child is not None else None
            ended(describe(status, out_of_memory=self._kills.happened()))

        self._watch = ProcessWatch(self._pid, over)

    async def signal(self, number: int) -> None:
        signal_group(self._pid, number)

    def settled(self) -> None:
        # What starts a kernel (systemd-run, a wrapper script) may have moved it to a control group of its own.
        self._kills = MemoryKills.of(self._pid)

    def tick(self) -> None:
        self._kills.look()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()


class ForeignBody:
    """A kernel of another provisioner."""

    def __init__(self, kernel: ForeignKernel) -> None:
        self.pid: int | None = None
        self._kernel = kernel
        self._task: asyncio.Task[None] | None = None

    def watch(self, ended: Callable[[str], None]) -> None:
        async def wait() -> None:
            ended(describe(await self._kernel.wait(), out_of_memory=False))

        self._task = asyncio.create_task(wait())

    async def signal(self, number: int) -> None:
        if number == signal.SIGKILL:
            await self._kernel.kill()
        else:
            await self._kernel.signal(number)

    def settled(self) -> None:
        pass

    def tick(self) -> None:
        pass

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()


class Kernel:
    """See the module. ``changed(kernel)`` is called whenever :attr:`info` has changed."""

    def __init__(self, places: Places, context: zmq.Context[zmq.Socket[bytes]], saved: Saved, changed: Callable[[Kernel], None]) -> None:
        self.touched = time.monotonic()
        self._places = places
        self._context = context
        self._saved = saved
        self._changed = changed
        self._folder = private(places.state / saved.kernel_id)
        self._generations: dict[int, Generation] = {}
        self._body: Body | None = None
        self._over = asyncio.Event()
        self._ready = False
        self._restarting = False
        self._stop_reason: str | None = None
        self._starting: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def kernel_id(self) -> str:
        """Chosen by the server."""
        return self._saved.kernel_id

    @property
    def alive(self) -> bool:
        """Whether there is something to lose: it runs, or is about to."""
        return not self._saved.dead or self._restarting

    @property
    def info(self) -> KernelInfo:
        """As the server sees it."""
        saved, launched = self._saved, self._saved.launched
        return KernelInfo(
            kernel_id=saved.kernel_id,
            name=saved.launch.name,
            generation=saved.generation,
            state=self._state(),
            pid=self._body.pid if self._body is not None and not saved.dead else None,
            started=saved.started,
            last_activity=self._current.last_activity,
            cwd=saved.launch.cwd,
            reason=saved.reason,
            stderr=saved.stderr,
            display_name=launched.display_name if launched is not None else saved.launch.name,
            language=launched.language if launched is not None else "",
            lost=saved.lost,
        )

    def _state(self) -> KernelState:
        if self._restarting:
            return "restarting"
        if self._saved.dead:
            return "dead"
        return (self._current.state or "idle") if self._ready else "starting"

    @property
    def _current(self) -> Generation:
        number = self._saved.generation
        if number not in self._generations:
            self._generations[number] = self._open(number)
        return self._generations[number]

    def _open(self, number: int) -> Generation:
        return Generation(number, self._folder / str(number), self._places.limits, self._generation_changed)

    def generation(self, number: int) -> Generation | None:
        """The generation, if its journal is still there."""
        if number not in self._generations and (self._folder / str(number)).is_dir():
            self._generations[number] = self._open(number)
        return self._generations.get(number)

    def idle_for(self, now: float) -> float:
        """Seconds since it ran or was looked at; 0 while it is busy."""
        return 0.0 if self._lock.locked() else self._idle(now)

    def _idle(self, now: float) -> float:
        if self._state() != "idle":
            return 0.0
        return max(0.0, min(now - self.touched, time.time() - self._current.last_activity))

    # --- its life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin the first generation.

        Raises:
            NotFound: no such kernelspec.
            KernelFailed: it died at once, or could not be started; the kernel is then to be removed.
        """
        async with self._lock:
            generation = await self._begin()
        await self._await_ready(generation)

    async def restart(self, generation: int) -> None:
        """End ``generation`` and begin the next; nothing when another one is there already.

        Raises:
            KernelFailed: the new one died at once, or could not be started; the kernel stays, dead.
        """
        async with self._lock:
            if generation != self._saved.generation:
                return
            self._restarting = True
            self._changed(self)
            try:
                await self._end("was restarted", restart=True, grace=GRACE)
                old = self._saved
                self._saved = Saved(old.kernel_id, old.launch, old.generation + 1, time.time())
                self._forget_generations(before=old.generation)
                begun = await self._begin()
            except HomeportError as error:
                self._note_death(str(error.data.get("reason", error.message)), str(error.data.get("stderr", "")))
                raise
            finally:
                self._restarting = False
                self._changed(self)
        await self._await_ready(begun)

    async def stop(self, reason: str, *, grace: float = GRACE) -> None:
        """End it and keep it, dead, with this reason."""
        async with self._lock:
            await self._end(reason, restart=False, grace=grace)

    async def stop_idle(self, seconds: float, reason: str) -> None:
        """As :meth:`stop`, if it still has been idle for so long: a request may have come since that was seen."""
        async with self._lock:
            if self._idle(time.monotonic()) >= seconds:
                await self._end(reason, restart=False, grace=GRACE)

    async def remove(self, *, grace: float = GRACE) -> None:
        """End it, give its readers time to read to the end, and delete everything about it."""
        await self.stop("was shut down", grace=grace)
        readers = [generation.unread() for generation in self._generations.values()]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*readers), _READERS_PATIENCE)
        self.close()
        self._connection_file.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def interrupt(self) -> None:
        """Interrupt what runs, by SIGINT or by message as the kernelspec says. Waits while it is starting: SIGINT would kill it.

        Raises:
            KernelGone: it is dead.
        """
        if self._starting is not None:
            await asyncio.wait([self._starting], timeout=START_PATIENCE)
        async with self._lock:
            if self._body is None or self._saved.dead:
                raise KernelGone("This kernel has ended, so there is nothing to interrupt; restart it", kernel_id=self.kernel_id)
            await self._interrupt(self._body)

    async def _interrupt(self, body: Body) -> None:
        if self._saved.launched is not None and self._saved.launched.interrupt_mode == "message":
            self._current.submit("control", message("interrupt_request", {}))
        else:
            await body.signal(signal.SIGINT)

    @property
    def opening(self) -> asyncio.Future[None] | None:
        """Done when the kernel can be reached; until then a message that is submitted is only held, and dies with us."""
        return None if self._saved.dead else self._current.opening

    def submit(self, generation: int, channel: Channel, parts: Parts) -> None:
        """Send a message. Raises KernelGone when ``generation`` is not the one that lives."""
        if generation != self._saved.generation or self._saved.dead:
            raise KernelGone("This kernel has ended or was restarted in the meantime", kernel_id=self.kernel_id, generation=generation)
        self.touched = time.monotonic()
        self._current.submit(channel, parts)

    def tick(self) -> None:
        """To be called every second or so."""
        current = self._current
        current.tick(quiet=time.time() - current.last_activity > QUIET)
        _shorten(self._output(self._saved.generation))
        if self._body is not None:
            self._body.tick()

    async def _begin(self) -> Generation:
        saved = self._saved
        generation = self._current
        self._ready = False
        self._over.clear()
        self._save()
        ipc = self._ipc_folder(saved.generation)
        shutil.rmtree(ipc, ignore_errors=True)
        private(ipc)
        saved.launched, process = await provisioning.launch(
            saved.launch, self.kernel_id, ipc, self._connection_file, self._output(saved.generation)
        )
        self._save()
        if isinstance(process, ForeignKernel):
            self._live(ForeignBody(process), saved.launched)
        else:
            saved.identity = identify(process.pid)
            self._save()
            self._live(LocalBody(process.pid, process), saved.launched)
        self._starting = self._spawn(self._probe(generation))
        self._changed(self)
        return generation

    def _live(self, body: Body, launched: Launched) -> None:
        self._body = body
        self._current.connect(self._context, launched.connection, self._routing_id)
        body.watch(self._ended)

    async def _await_ready(self, generation: Generation) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting], timeout=START_PATIENCE)
        ended = generation.ended
        if ended is not None:
            name = self.info.display_name
            raise KernelFailed(f"The kernel {name!r} {ended.reason} while it was starting", reason=ended.reason, stderr=ended.stderr)

    async def _probe(self, generation: Generation) -> None:
        with contextlib.suppress(KernelGone):
            await generation.probe()
            self._ready = True
            if self._body is not None:
                self._body.settled()
            self._changed(self)

    async def _end(self, reason: str, *, restart: bool, grace: float) -> None:
        body = self._body
        if body is None or self._saved.dead:
            return
        self._stop_reason = reason
        if self._ready and self._current.occupied:
            # Else the polite request waits behind the cell, until SIGTERM.
            try:
                await asyncio.wait_for(self._interrupt(body), grace / 4)
            except Exception as error:  # noqa: BLE001 - a provisioner may raise anything, and the kernel is to end all the same
                log.info("Kernel %s is ended without being interrupted: %r", self.kernel_id, error)
        with contextlib.suppress(KernelGone):
            self._current.submit("control", message("shutdown_request", {"restart": restart}))
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                await asyncio.wait_for(self._over.wait(), grace / 2)
                break
            except TimeoutError:
                await body.signal(number)
        await self._over.wait()
        self._stop_reason = None

    def _ended(self, reason: str) -> None:
        """The process is no more."""
        stderr = "" if self._stop_reason else tail(self._output(self._saved.generation))
        self._note_death(self._stop_reason or reason, stderr, died=not self._stop_reason)
        self._over.set()
        self._changed(self)

    def _note_death(self, reason: str, stderr: str, *, died: bool = True) -> None:
        saved = self._saved
        self._current.end(reason, stderr, died=died)
        saved.dead, saved.reason, saved.stderr = True, reason, stderr
        self._save()
        if self._body is not None:
            self._body.close()
            self._body = None
        shutil.rmtree(self._ipc_folder(saved.generation), ignore_errors=True)

    def _generation_changed(self) -> None:
        if self._current.lost and not self._saved.lost:
            self._saved.lost = True
            self._save()
        self._changed(self)

    # --- from one supervisor to the next ---------------------------------------------------------------------------------

    @classmethod
    def adopt(
        cls, places: Places, context: zmq.Context[zmq.Socket[bytes]], folder: Path, changed: Callable[[Kernel], None]
    ) -> Kernel | None:
        """The kernel that an earlier supervisor kept in ``folder``; ``None`` (and the folder is deleted) when nothing can be made of it."""
        try:
            saved = msgspec.json.decode((folder / "kernel.json").read_bytes(), type=Saved)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s is not a kernel's folder and is deleted: %s", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
            return None
        kernel = cls(places, context, saved, changed)
        kernel._take_over()
        return kernel

    def _take_over(self) -> None:
        saved = self._saved
        if saved.dead:
            return
        launched = saved.launched
        if launched is not None and launched.pid is None:
            self._spawn(self._take_over_foreign(launched))
            return
        identity = saved.identity or self._identify_by_file()
        if launched is None or identity is None or identify(identity.pid) != identity:
            restarted = identity is not None and identity.boot != boot_id()
            reason = MACHINE_RESTARTED if restarted else "ended while no supervisor was there"
            self._note_death(reason, tail(self._output(saved.generation)))
            return
        saved.identity = identity
        self._take_in(LocalBody(identity.pid, None), launched)

    async def _take_over_foreign(self, launched: Launched) -> None:
        try:
            kernel = await provisioning.reattach(self._saved.launch, self.kernel_id, self._connection_file, launched)
        except (HomeportError, OSError, ValueError) as error:
            self._note_death(f"cannot be found again: {error}", "")
            self._changed(self)
            return
        self._take_in(ForeignBody(kernel), launched)

    def _take_in(self, body: Body, launched: Launched) -> None:
        self._current.lost = self._saved.lost
        self._current.adopt()
        self._live(body, launched)
        self._ready = True
        self._generation_changed()
        self._spawn(self._settle(self._current, "shell"))
        self._spawn(self._settle(self._current, "control"))

    async def _settle(self, generation: Generation, channel: Channel) -> None:
        with contextlib.suppress(KernelGone):
            await generation.probe(channel)

    def _identify_by_file(self) -> Identity | None:
        pid = find_by_argument(str(self._connection_file))
        return None if pid is None else identify(pid)

    def close(self) -> None:
        """Let go of it: it lives on, and another supervisor may take it over."""
        for task in list(self._tasks):
            task.cancel()
        if self._body is not None:
            self._body.close()
        for generation in self._generations.values():
            generation.drain()
            generation.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- its files ----------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        file = self._folder / "kernel.json"
        new = file.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(msgspec.json.encode(self._saved))
            new.replace(file)
        except OSError as error:
            log.warning("What is known about kernel %s could not be saved: %s", self.kernel_id, error)

    def _forget_generations(self, *, before: int) -> None:
        """Readers may still want the generation that has just ended, but not those before it."""
        for entry in self._folder.iterdir():
            if entry.name.isdecimal() and int(entry.name) < before:
                generation = self._generations.pop(int(entry.name), None)
                if generation is not None:
                    generation.close()
                shutil.rmtree(entry, ignore_errors=True)

    @property
    def _connection_file(self) -> Path:
        return self._places.runtime / f"kernel-{self.kernel_id}.json"

    def _output(self, generation: int) -> Path:
        return self._folder / str(generation) / "output"

    def _ipc_folder(self, generation: int) -> Path:
        # Kernel ids are long, paths of Unix sockets short.
        short = hashlib.sha256(self.kernel_id.encode()).hexdigest()[:12]
        return self._places.sockets / f"{short}.{generation}"

    @property
    def _routing_id(self) -> bytes:
        return b"homeport-" + self.kernel_id.encode()


def _shorten(output: Path) -> None:
    """Keep a kernel that writes without end to its own stdout from filling the disk. It appends, so it goes on at the new end."""
    with contextlib.suppress(OSError):
        if output.stat().st_size > _OUTPUT_LIMIT:
            rest = tail(output, 64 << 10)
            os.truncate(output, 0)
            with output.open("a") as stream:
                stream.write(f"[what stood here was cut off at {_OUTPUT_LIMIT >> 20} MiB]\n{rest}\n")
