"""The supervisor itself: all kernels of one user on one host, and the servers that are connected to it.

A connection is a Unix socket that speaks protocol/supervisor.py. Whoever cannot speak it is told why and hung up on; that concerns
nobody else. Each reader of a journal has a window of bytes that may be on their way to it, and the socket has a high-water mark:
a reader or a server that does not read costs that much memory and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, cast

import zmq

from homeport import __version__
from homeport.core.journal import Limits
from homeport.errors import BadRequest, HomeportError, KernelGone, NotFound, ProtocolError
from homeport.folders import Folders, private
from homeport.protocol import supervisor as wire
from homeport.protocol.supervisor import NOT_THERE, VERSIONS, Ended, FrameReader, KernelInfo, batch_frame, frame
from homeport.supervisor import provisioning
from homeport.supervisor.generation import Generation
from homeport.supervisor.kernel import Kernel, Places, Saved
from homeport.supervisor.provisioning import Launch, Origin

log = logging.getLogger(__name__)

HIGH_WATER: Final = 1 << 20
"""Bytes that wait for a server's socket before its readers pause."""

PIECE: Final = 256 << 10
"""Bytes that are read from a journal at a time."""

_TICK = 1.0
# Changes between idle and busy are told at most so often.
_CHANGES = 0.05
# So long an acknowledgement may wait for something else that goes the same way: each write wakes the server.
_ACKNOWLEDGED = 0.01
_KERNEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class JournalReader:
    """One reader's place in a journal, for a server on the other end of ``connection``."""

    def __init__(self, connection: Connection, number: int, generation: Generation, after: int, session: str | None, window: int) -> None:
        self._connection = connection
        self._number = number
        self._generation = generation
        self._after = after
        self._session = session
        self._room = self._window = max(1, window)
        self._over = False
        generation.attach(self)
        if session is not None:
            generation.follow(session, self, after)

    def wake(self) -> None:
        """Send what there is and what there is room for."""
        while not self._over and self._room > 0 and self._connection.writable:
            before = self._after
            items, count, self._after, self._over = self._generation.read(before, min(self._room, PIECE), self._session)
            if count:
                self._room -= len(items)
                self._connection.write(batch_frame(self._number, count, items))
            if self._after == before or (self._after >= self._generation.last and self._generation.ended is None):
                break
        if self._over:
            self.close()

    def credit(self, size: int) -> None:
        """The server has read ``size`` bytes."""
        self._room = min(self._window, self._room + size)
        self.wake()

    def reached(self, seq: int) -> None:
        """So much has arrived at the client that is read for."""
        if self._session is not None:
            self._generation.note_reached(self._session, self, seq)

    def close(self) -> None:
        """Read no more."""
        self._over = True
        self._generation.detach(self)


class Connection(asyncio.Protocol):
    """One server."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(wire.MAX_GREETING)
        self._transport: asyncio.Transport | None = None
        self._acknowledged: list[bytes] = []
        self._later: asyncio.TimerHandle | None = None
        self._greeted = False
        self._changed: set[str] = set()
        self._readers: dict[int, JournalReader] = {}
        self.origin = Origin()
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self._supervisor.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._supervisor.disconnected(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._tell_changes()
        for reader in list(self._readers.values()):
            reader.wake()

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                if self._greeted:
                    self._supervisor.handle(self, wire.decode_request(payload))
                else:
                    self._greet(wire.decode_hello(payload))
        except ProtocolError as error:
            log.warning("A connection is closed: %s", error.message)
            self.refuse(error.message)

    def _greet(self, hello: wire.Hello) -> None:
        common = [version for version in VERSIONS if version in hello.versions]
        if self._supervisor.replaceable(self) and (not common or hello.build != __version__):
            self.refuse(f"This idle supervisor is Homeport {__version__}; it makes room for one of {hello.build}", again=True)
            self._supervisor.leave()
        elif not common:
            self.refuse(_no_common_version(hello))
        else:
            self._greeted = True
            self._frames.limit = wire.MAX_FRAME
            self.origin = Origin(hello.python, hello.kernel_dirs)
            self.write(frame(wire.Welcome(common[0], __version__, os.getpid(), self._supervisor.infos())))

    def refuse(self, reason: str, *, again: bool = False) -> None:
        """Hang up, saying why."""
        self.write(frame(wire.Refused(reason, list(VERSIONS), __version__, again)))
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.write(b"")
        if self._transport is not None:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send a frame, and the acknowledgements that wait before it."""
        if self._acknowledged:
            data = self._take_acknowledged() + data
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def acknowledge(self, data: bytes) -> None:
        """Send a frame with the next one, or a little later."""
        self._acknowledged.append(data)
        if self._later is None:
            self._later = self._loop.call_later(_ACKNOWLEDGED, self.write, b"")

    def _take_acknowledged(self) -> bytes:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        data = b"".join(self._acknowledged)
        self._acknowledged.clear()
        return data

    def tell(self, kernel_id: str) -> None:
        """A kernel has changed; a server that does not read is told of the newest state once it does."""
        self._changed.add(kernel_id)
        if self.writable:
            self._tell_changes()

    def _tell_changes(self) -> None:
        if not self._greeted:
            self._changed.clear()
        for kernel_id in self._changed:
            info = self._supervisor.info(kernel_id)
            self.write(frame(wire.Removed(kernel_id) if info is None else wire.Changed(info)))
        self._changed.clear()

    # --- readers -------------------------------------------------------------------------------------------------------

    def attach(self, request: wire.Attach, generation: Generation | None) -> None:
        """Begin to read."""
        self.detach(request.reader)
        if generation is None:
            ended = wire.encode_item(Ended(request.generation, NOT_THERE))
            self.write(frame(wire.Attached(request.reader, max(0, request.after))) + batch_frame(request.reader, 1, ended))
            return
        after = _begin(request, generation)
        self.write(frame(wire.Attached(request.reader, after)))
        reader = JournalReader(self, request.reader, generation, after, request.session, request.window)
        self._readers[request.reader] = reader
        reader.wake()

    def detach(self, number: int) -> None:
        """Read no more for this reader; one that is not there is no error."""
        reader = self._readers.pop(number, None)
        if reader is not None:
            reader.close()

    def credit(self, number: int, size: int) -> None:
        """Give a reader room again; one that is not there is no error."""
        reader = self._readers.get(number)
        if reader is not None and size > 0:
            reader.credit(size)

    def reached(self, number: int, seq: int) -> None:
        """What a reader's client has; a reader that is not there is no error."""
        reader = self._readers.get(number)
        if reader is not None:
            reader.reached(seq)


def _begin(request: wire.Attach, generation: Generation) -> int:
    """The seq behind which a reader begins."""
    reached = generation.reached(request.session) if request.after == wire.BACK and request.session is not None else None
    if reached is not None:
        return min(reached, generation.last)
    if request.after in (wire.RUNNING, wire.BACK) and generation.running is not None:
        return generation.running - 1
    return generation.last if request.after < 0 else min(request.after, generation.last)


def _no_common_version(hello: wire.Hello) -> str:
    ours, theirs = (", ".join(map(str, versions)) or "none" for versions in (VERSIONS, hello.versions))
    return (
        f"The supervisor that runs here is Homeport {__version__} and speaks version {ours} of its protocol; this server is Homeport"
        f" {hello.build or 'of an unknown release'} and speaks {theirs}. The kernels run on. Start Homeport {__version__} again to go"
        f" on with them there; or end the supervisor with `kill {os.getpid()}`: then one of this server's release takes the kernels"
        " over, and what they print in that second may be missing."
    )


class Supervisor:
    """See the module.

    Args:
        linger: seconds without a living kernel and without a server after which it leaves.
    """

    def __init__(self, folders: Folders, *, linger: float = 60.0, limits: Limits | None = None) -> None:
        state = state_folder(folders)
        self._places = Places(private(state / "kernels"), private(folders.sockets), folders.runtime, limits or Limits())
        self._socket = folders.sockets / "supervisor.sock"
        self._linger = linger
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._kernels: dict[str, Kernel] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._leaving = asyncio.Event()
        self._idle_shutdown: float | None = None
        self._alone_since = time.monotonic()
        self._changed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- its own life --------------------------------------------------------------------------------------------------

    async def serve(self, listening: Callable[[], None] = lambda: None) -> None:
        """Take over what an earlier supervisor left, listen, and return when it is time to leave. Kernels run on."""
        for folder in sorted(self._places.state.iterdir()):
            kernel = Kernel.adopt(self._places, self._context, folder, self._kernel_changed)
            if kernel is not None:
                self._kernels[kernel.kernel_id] = kernel
        await self._listen()
        listening()
        try:
            while not self._leaving.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), min(_TICK, self._linger / 4))
                await self._tick()
        finally:
            self._close()

    async def _listen(self) -> None:
        # Whoever holds the lock on the state folder is the only one who may do this.
        self._socket.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(lambda: Connection(self), str(self._socket))
        finally:
            os.umask(before)

    def leave(self) -> None:
        """Be gone soon; kernels run on. From now on servers are not listened to: they ask the next supervisor."""
        self._leaving.set()
        self._stop_listening()
        for connection in self._connections:
            connection.close()

    def _close(self) -> None:
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        for kernel in self._kernels.values():
            kernel.close()
        self._context.term()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        with contextlib.suppress(OSError):
            self._socket.unlink()

    async def _tick(self) -> None:
        now = time.monotonic()
        for kernel in list(self._kernels.values()):
            kernel.tick()
            if self._idle_shutdown is not None and kernel.idle_for(now) >= self._idle_shutdown:
                self._spawn(kernel.stop_idle(self._idle_shutdown, f"was stopped: idle for {duration(self._idle_shutdown)}"))
        if self._connections or self._starting or any(kernel.alive for kernel in self._kernels.values()):
            self._alone_since = now
        elif now - self._alone_since >= self._linger:
            self.leave()
        if not self._leaving.is_set() and not self._socket.exists():
            # Somebody tidied up. Without its socket this supervisor could not be found, and no other can start while it lives.
            log.warning("The socket %s was gone; listening again", self._socket)
            private(self._socket.parent)
            if self._server is not None:
                self._server.close()
            await self._listen()

    # --- connections ---------------------------------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """A server has come."""
        self._connections.add(connection)
        if self._leaving.is_set():
            connection.close()

    def disconnected(self, connection: Connection) -> None:
        """A server has gone."""
        self._connections.discard(connection)
        self._alone_since = time.monotonic()

    def replaceable(self, asking: Connection) -> bool:
        """Whether nothing is lost when this supervisor leaves: no living kernel, and no server but the one that asks."""
        return not self._starting and not any(kernel.alive for kernel in self._kernels.values()) and self._connections <= {asking}

    def infos(self) -> list[KernelInfo]:
        """All kernels."""
        return [kernel.info for kernel in self._kernels.values()]

    def info(self, kernel_id: str) -> KernelInfo | None:
        """One kernel."""
        kernel = self._kernels.get(kernel_id)
        return None if kernel is None else kernel.info

    def _kernel_changed(self, kernel: Kernel) -> None:
        if not self._changed:
            asyncio.get_running_loop().call_later(_CHANGES, self._tell_changes)
        self._changed.add(kernel.kernel_id)

    def _tell_changes(self) -> None:
        changed, self._changed = self._changed, set()
        for connection in self._connections:
            for kernel_id in changed:
                connection.tell(kernel_id)

    # --- requests --------------------------------------------------------------------------------------------------------

    def handle(self, connection: Connection, request: wire.Request) -> None:
        """Do what a server asks for. What takes time goes on by itself and is answered when it is done."""
        match request:
            case wire.Submit():
                kernel = self._kernels.get(request.kernel_id)
                opening = None if kernel is None else kernel.opening
                if opening is None:
                    self._submit_now(connection, request)
                else:
                    self._later(connection, request.call, self._submit_when_open(request, opening))
            case wire.Credit(reader, size):
                connection.credit(reader, size)
            case wire.Reached(reader, seq):
                connection.reached(reader, seq)
            case wire.Attach():
                kernel = self._kernels.get(request.kernel_id)
                connection.attach(request, None if kernel is None else kernel.generation(request.generation))
            case wire.Detach(reader):
                connection.detach(reader)
            case wire.Touch():
                self._answer(connection, request.call, lambda: self._touch(request.kernel_id))
            case wire.Configure():
                self._idle_shutdown = request.idle_shutdown
                connection.write(frame(wire.Done(request.call)))
            case wire.GetKernelspecs(call):
                self._later(connection, call, self._kernelspecs(call, connection.origin))
            case wire.GetKernelspecFile(call, name, file):
                self._later(connection, call, self._kernelspec_file(call, connection.origin, name, file))
            case wire.Start():
                self._later(connection, request.call, self._start(request, connection.origin))
            case wire.Restart():
                self._later(connection, request.call, self._restart(request))
            case wire.Interrupt(call, kernel_id):
                self._later(connection, call, self._interrupt(call, kernel_id))
            case wire.Shutdown(call, kernel_id):
                self._later(connection, call, self._shutdown(call, kernel_id))
            case wire.Stop(call, kernels):
                self._later(connection, call, self._stop(call, kernels=kernels))

    def _answer(self, connection: Connection, call: int, work: Callable[[], None]) -> None:
        try:
            work()
        except HomeportError as error:
            connection.write(frame(wire.failed(call, error)))
        else:
            connection.write(frame(wire.Done(call)))

    def _later(self, connection: Connection, call: int, work: Coroutine[None, None, wire.Reply]) -> None:
        async def answer() -> None:
            try:
                reply = await work
            except HomeportError as error:
                reply = wire.failed(call, error)
            except Exception as error:
                log.exception("A request failed unexpectedly")
                reply = wire.failed(call, HomeportError(f"The supervisor failed at this request: {error!r}"))
            connection.write(frame(reply))

        self._spawn(answer())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _submit_now(self, connection: Connection, request: wire.Submit) -> None:
        try:
            self._submit(request)
        except HomeportError as error:
            connection.write(frame(wire.failed(request.call, error)))
        else:
            connection.acknowledge(frame(wire.Done(request.call)))

    def _submit(self, request: wire.Submit) -> None:
        self._kernel(request.kernel_id).submit(request.generation, request.channel, request.parts)

    async def _submit_when_open(self, request: wire.Submit, opening: asyncio.Future[None]) -> wire.Reply:
        # Not acknowledged, nor remembered as sent, before it can be sent: were we killed in between, it would never be sent again.
        # Nothing stands between this and the future: what is submitted later must not overtake it.
        await opening
        self._submit(request)
        return wire.Done(request.call)

    def _kernel(self, kernel_id: str) -> Kernel:
        kernel = self._kernels.get(kernel_id)
        if kernel is None:
            raise KernelGone("There is no such kernel (any more)", kernel_id=kernel_id)
        return kernel

    def _touch(self, kernel_id: str) -> None:
        self._kernel(kernel_id).touched = time.monotonic()

    async def _kernelspecs(self, call: int, origin: Origin) -> wire.Reply:
        return wire.SpecsReply(call, await asyncio.to_thread(provisioning.kernelspecs, origin))

    async def _kernelspec_file(self, call: int, origin: Origin, name: str, file: str) -> wire.Reply:
        return wire.FileReply(call, await asyncio.to_thread(provisioning.kernelspec_file, origin, name, file))

    async def _start(self, request: wire.Start, origin: Origin) -> wire.Reply:
        kernel_id = request.kernel_id
        if not _KERNEL_ID.fullmatch(kernel_id):
            raise BadRequest(f"{kernel_id!r} cannot be a kernel's id: letters, digits, dots, dashes and underscores are allowed")
        if kernel_id not in self._kernels:
            if not os.path.isdir(request.cwd):
                raise NotFound(f"The kernel cannot be started in {request.cwd}: there is no such folder", cwd=request.cwd)
            launch = Launch(request.name, request.cwd, request.env, origin, request.ipython_arguments)
            kernel = Kernel(self._places, self._context, Saved(kernel_id, launch, 1, time.time()), self._kernel_changed)
            self._kernels[kernel_id] = kernel
            self._starting[kernel_id] = asyncio.create_task(self._start_new(kernel))
        starting = self._starting.get(kernel_id)
        if starting is not None:
            await asyncio.shield(starting)
        return wire.KernelReply(request.call, self._kernel(kernel_id).info)

    async def _start_new(self, kernel: Kernel) -> None:
        try:
            await kernel.start()
        except BaseException:
            self._forget(kernel)
            await kernel.remove()
            raise
        finally:
            del self._starting[kernel.kernel_id]
            self._kernel_changed(kernel)

    async def _restart(self, request: wire.Restart) -> wire.Reply:
        kernel = self._kernel(request.kernel_id)
        await kernel.restart(request.generation)
        return wire.KernelReply(request.call, kernel.info)

    async def _interrupt(self, call: int, kernel_id: str) -> wire.Reply:
        kernel = self._kernel(kernel_id)
        kernel.touched = time.monotonic()
        await kernel.interrupt()
        return wire.Done(call)

    async def _shutdown(self, call: int, kernel_id: str) -> wire.Reply:
        kernel = self._kernels.get(kernel_id)
        if kernel is not None:
            await kernel.stop("was shut down")
            self._forget(kernel)
            self._spawn(kernel.remove())
        return wire.Done(call)

    def _forget(self, kernel: Kernel) -> None:
        if self._kernels.get(kernel.kernel_id) is kernel:
            del self._kernels[kernel.kernel_id]
            self._kernel_changed(kernel)

    async def _stop(self, call: int, *, kernels: bool) -> wire.Reply:
        if kernels:
            await self.shut_kernels_down()
        asyncio.get_running_loop().call_later(0.05, self.leave)
        return wire.Done(call)

    async def shut_kernels_down(self, grace: float = 2.0) -> None:
        """End all kernels and forget them."""
        everyone = list(self._kernels.values())
        for kernel in everyone:
            self._forget(kernel)
        await asyncio.gather(*(kernel.remove(grace=grace) for kernel in everyone))


def state_folder(folders: Folders) -> Path:
    """What the supervisor of this host keeps; a home folder may be shared by many hosts."""
    return private(folders.state / "supervisor" / folders.sockets.name)


def duration(seconds: float) -> str:
    """``7200`` as ``2 h``, ``90`` as ``1.5 min``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
