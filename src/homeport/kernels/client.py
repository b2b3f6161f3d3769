"""The server's side of a supervisor.

A :class:`SupervisorClient` mirrors the supervisor's kernels, passes requests on, and hands out :class:`Cursor`s. A cut link is mended
in here, by reconnecting and, if need be, launching another supervisor: cursors go on behind the last item that they received,
requests that may be repeated are repeated, the others fail with SupervisorUnavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, cast

import msgspec

from homeport.errors import KernelGone, SupervisorUnavailable
from homeport.folders import Folders
from homeport.kernels.link import Link, Replaced, connect, launch
from homeport.protocol import supervisor as wire
from homeport.protocol.jupyter import Parts
from homeport.protocol.supervisor import (
    BACK,
    RESULT_UNKNOWN,
    RUNNING,
    SUPERVISOR_SESSION,
    TAIL,
    Channel,
    Ended,
    Entry,
    Item,
    KernelInfo,
    Kernelspec,
    Kernelspecs,
    Truncated,
    frame,
)

__all__ = [
    "BACK",
    "RESULT_UNKNOWN",
    "RUNNING",
    "SUPERVISOR_SESSION",
    "Channel",
    "Cursor",
    "Ended",
    "Entry",
    "KernelInfo",
    "Kernelspec",
    "Kernelspecs",
    "SupervisorClient",
    "Truncated",
]

log = logging.getLogger(__name__)

WINDOW: Final = 1 << 20
"""Bytes that the supervisor sends to a cursor ahead of what was read."""

PATIENCE: Final = 10.0
"""Seconds that a request waits for a lost link to come back."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0

Subscriber = Callable[[KernelInfo | None], None]
_Waiting = asyncio.Future[wire.Reply]


class SupervisorClient:
    """See the module.

    Args:
        launch: start a supervisor when none runs; otherwise that is an error at first, and waited for later.
        linger: seconds that a supervisor launched by us stays without kernels and servers.
        ipython_arguments: what is added to the command line of IPython's kernels that are started through this client.
    """

    def __init__(self, folders: Folders, *, launch: bool = True, linger: float = 60.0, ipython_arguments: Sequence[str] = ()) -> None:
        self._folders = folders
        self._launch = launch
        self._linger = linger
        self._ipython_arguments = tuple(ipython_arguments)
        self._link: Link | None = None
        self._kernels: dict[str, KernelInfo] = {}
        self._subscribers: dict[object, Subscriber] = {}
        self._calls: dict[int, tuple[wire.Request, _Waiting, bool]] = {}
        self._cursors: dict[int, Cursor] = {}
        self._numbers = 0
        self._keeper: asyncio.Task[None] | None = None
        self._idle_shutdown: float | None = None
        self._configured = False
        self._giving_up: asyncio.TimerHandle | None = None
        self._met = False
        self._answered = asyncio.Event()
        self.problem = ""
        """Why there is no link now, once that is known: what a person should read."""
        self.kernels: Mapping[str, KernelInfo] = MappingProxyType(self._kernels)
        """A live mirror, kept by events."""

    @property
    def connected(self) -> bool:
        """Whether there is a link to a supervisor now."""
        return self._link is not None

    async def start(self, *, patient: bool = False) -> None:
        """Connect, launching a supervisor if need be.

        Args:
            patient: try until there is a link; :attr:`problem` says meanwhile why there is none.

        Raises:
            SupervisorUnavailable: it cannot be reached or started, or speaks another protocol.
        """
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep_connected(first, patient=patient))
        try:
            await first
        except BaseException:
            await self.close()
            raise

    async def known(self) -> None:
        """Wait until :attr:`kernels` tells which kernels there are: before the first link there seem to be none.

        Raises:
            SupervisorUnavailable: there was no link yet, for the reason that it names.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._answered.wait()
        if not self._met:
            raise SupervisorUnavailable(self.problem or "The kernels cannot be reached yet; try again soon.")

    async def close(self) -> None:
        """Hang up; kernels run on. Cursors that are being read raise KernelGone."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        for cursor in list(self._cursors.values()):
            cursor.close()
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._fail_calls(lambda _: True)
        if self._link is not None:
            self._link.close()
            await asyncio.wait([self._link.closed])
            self._link = None

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Have ``callback`` called with every kernel that changed, and with ``None`` when the link was lost or found.

        A kernel that was shut down is told once more, as dead, when it is no longer in :attr:`kernels`. Returns what unsubscribes.
        """
        key = object()
        self._subscribers[key] = callback
        return lambda: cast(None, self._subscribers.pop(key, None))

    # --- requests ----------------------------------------------------------------------------------------------------

    async def kernelspecs(self) -> Kernelspecs:
        """All kernelspecs of the supervisor's host."""
        reply = await self._call(wire.GetKernelspecs, repeatable=True)
        assert isinstance(reply, wire.SpecsReply)
        return reply.kernelspecs

    async def kernelspec_file(self, name: str, file: str) -> bytes:
        """The content of one of a kernelspec's resources. Raises NotFound."""
        reply = await self._call(lambda call: wire.GetKernelspecFile(call, name, file), repeatable=True)
        assert isinstance(reply, wire.FileReply)
        return reply.content

    async def start_kernel(self, name: str, *, cwd: str, env: Mapping[str, str], kernel_id: str | None = None) -> KernelInfo:
        """Start a kernel and wait until it answers (at most a minute: then it is still ``starting``).

        Args:
            cwd: its working folder, absolute.
            env: its whole environment, secrets left out; a restart uses it again.
            kernel_id: to be used; a kernel that has it already is returned as it is.

        Raises:
            NotFound: no such kernelspec, or no such folder.
            KernelFailed: it died at start; ``data`` has ``reason`` and ``stderr``.
        """
        chosen = kernel_id or str(uuid.uuid4())
        return await self._kernel_call(lambda call: wire.Start(call, chosen, name, cwd, dict(env), list(self._ipython_arguments)))

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt what the kernel runs. Raises KernelGone; SupervisorUnavailable if the link broke and it may have happened or not."""
        await self._call(lambda call: wire.Interrupt(call, kernel_id), repeatable=False)

    async def restart(self, kernel_id: str) -> KernelInfo:
        """End the present generation and begin the next; wait until it answers.

        Raises:
            KernelGone: no such kernel.
            KernelFailed: the new generation died at start; the kernel stays, dead.
        """
        info = self._kernels.get(kernel_id)
        if info is None:
            raise KernelGone("There is no such kernel (any more)", kernel_id=kernel_id)
        return await self._kernel_call(lambda call: wire.Restart(call, kernel_id, info.generation))

    async def shutdown(self, kernel_id: str) -> None:
        """End the kernel and forget it; one that is not there is no error."""
        await self._call(lambda call: wire.Shutdown(call, kernel_id), repeatable=True)
        self._remove(kernel_id)

    async def submit(self, kernel_id: str, generation: int, channel: Channel, parts: Parts) -> None:
        """Send a message to the kernel: at most once by (kernel, generation, msg_id), however often this is called.

        Returns when the supervisor has it. Raises KernelGone when that generation is over.
        """
        await self.post(kernel_id, generation, channel, parts)

    def post(self, kernel_id: str, generation: int, channel: Channel, parts: Parts) -> asyncio.Future[wire.Reply]:
        """As :meth:`submit`, for who does not wait before the next one (they keep their order); the errors are in what is returned."""
        return self._begin(lambda call: wire.Submit(call, kernel_id, generation, channel, parts), repeatable=True)

    async def touch(self, kernel_id: str) -> None:
        """Somebody looks at it: put its idle shutdown off."""
        await self._call(lambda call: wire.Touch(call, kernel_id), repeatable=True)

    async def configure(self, *, idle_shutdown: float | None) -> None:
        """Stop kernels that neither ran nor were touched for so many seconds; ``None``: never. Told to every supervisor that is met."""
        self._idle_shutdown, self._configured = idle_shutdown, True
        await self._call(lambda call: wire.Configure(call, idle_shutdown), repeatable=True)

    async def shutdown_supervisor(self, *, kernels: bool) -> None:
        """Have the supervisor leave, with its kernels or without them. The link is gone then, and not mended."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
        await self._call(lambda call: wire.Stop(call, kernels), repeatable=False)
        if self._link is not None:
            await asyncio.wait([self._link.closed])
            self._lost()

    def attach(self, kernel_id: str, *, generation: int, after: int | None, session: str | None = None) -> Cursor:
        """A cursor on a generation's journal.

        Args:
            after: the last seq already had; 0 from the beginning; ``None`` from the tail; :data:`RUNNING` from the first message
                of the request that runs now (from the tail when none does); :data:`BACK` from where a client with that ``session``
                had come by :meth:`Cursor.reached`, which outlives this server (as ``RUNNING`` when that is not known).
            session: replies and input requests on shell, control and stdin are given only to the session of their request.
        """
        self._numbers += 1
        cursor = Cursor(
            self, self._numbers, wire.Attach(self._numbers, kernel_id, generation, TAIL if after is None else after, session, WINDOW)
        )
        self._cursors[self._numbers] = cursor
        self.send(cursor.request())
        return cursor

    # --- for cursors ---------------------------------------------------------------------------------------------------

    def send(self, request: wire.Request) -> None:
        """Send what needs no answer; without a link it is not sent."""
        if self._link is not None:
            self._link.send(frame(request))

    def forget(self, number: int) -> None:
        """The cursor is closed."""
        self._cursors.pop(number, None)

    # --- calls -----------------------------------------------------------------------------------------------------------

    async def _kernel_call(self, make: Callable[[int], wire.Request]) -> KernelInfo:
        reply = await self._call(make, repeatable=True)
        assert isinstance(reply, wire.KernelReply)
        # The event that tells everybody comes a moment later; who asked may look at the mirror at once.
        self._note(reply.kernel)
        return reply.kernel

    async def _call(self, make: Callable[[int], wire.Request], *, repeatable: bool) -> wire.Reply:
        return await self._begin(make, repeatable=repeatable)

    def _begin(self, make: Callable[[int], wire.Request], *, repeatable: bool) -> _Waiting:
        self._numbers += 1
        number = self._numbers
        request = make(number)
        waiting: _Waiting = asyncio.get_running_loop().create_future()
        self._calls[number] = request, waiting, repeatable
        self.send(request)
        waiting.add_done_callback(lambda _: cast(None, self._calls.pop(number, None)))
        if self._link is None:
            self._start_giving_up()
        return waiting

    def _start_giving_up(self) -> None:
        if self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self._giving_up = None
        if self._link is None:
            self._fail_calls(lambda _: True)

    def _fail_calls(self, which: Callable[[bool], bool]) -> None:
        for _, waiting, repeatable in list(self._calls.values()):
            if which(repeatable) and not waiting.done():
                waiting.set_exception(SupervisorUnavailable("The link to the supervisor broke; whether this was still done is not known"))

    # --- the link ----------------------------------------------------------------------------------------------------------

    async def _keep_connected(self, first: asyncio.Future[None], *, patient: bool) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                link, welcome = await self._connect()
            except (SupervisorUnavailable, OSError) as error:
                if not isinstance(error, SupervisorUnavailable):
                    error = SupervisorUnavailable(f"No supervisor can be reached: {error}")
                if not first.done() and not patient:
                    first.set_exception(error)
                    return
                self._note_problem(error.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except Replaced:
                continue
            self._found(link, welcome)
            if not first.done():
                first.set_result(None)
            await asyncio.wait([link.closed])
            self._lost()
            # A supervisor that is met and lost over and over is not asked without a pause.
            await asyncio.sleep(_FIRST_PAUSE)
            pause = _FIRST_PAUSE

    def _note_problem(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("%s", problem)
            self.problem = problem
            self._answered.set()
            self._tell(None)

    async def _connect(self) -> tuple[Link, wire.Welcome]:
        try:
            return await connect(self._folders, self._received)
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            if not self._launch:
                raise
        await launch(self._folders, linger=self._linger)
        return await connect(self._folders, self._received)

    def _found(self, link: Link, welcome: wire.Welcome) -> None:
        self._link = link
        self._met = True
        self._answered.set()
        self.problem = ""
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._configured:
            self.send(wire.Configure(0, self._idle_shutdown))
        for cursor in self._cursors.values():
            self.send(cursor.request())
        for request, _, _ in self._calls.values():
            self.send(request)
        # The mirror first: who hears of the link looks at it, and must not take kernels for gone that are not told of yet.
        present = {info.kernel_id: info for info in welcome.kernels}
        gone = [info for kernel_id, info in self._kernels.items() if kernel_id not in present]
        changed = [info for info in welcome.kernels if info != self._kernels.get(info.kernel_id)]
        self._kernels.clear()
        self._kernels.update(present)
        self._tell(None)
        for info in gone:
            self._tell(_gone(info))
        for info in changed:
            self._tell(info)

    def _lost(self) -> None:
        if self._link is None:
            return
        self._link = None
        self._fail_calls(lambda repeatable: not repeatable)
        if self._calls:
            self._start_giving_up()
        self._tell(None)

    def _received(self, event: wire.Event, size: int) -> None:
        match event:
            case wire.Batch(reader, items):
                cursor = self._cursors.get(reader)
                if cursor is not None:
                    cursor.push(items, size)
            case wire.Attached(reader, after):
                cursor = self._cursors.get(reader)
                if cursor is not None:
                    cursor.placed(after)
            case wire.Changed(info):
                self._note(info)
            case wire.Removed(kernel_id):
                self._remove(kernel_id)
            case wire.Refused(reason=reason):
                log.warning("The supervisor hung up: %s", reason)
            case _:
                call = self._calls.get(event.call)
                if call is not None and not call[1].done():
                    if isinstance(event, wire.Failed):
                        call[1].set_exception(wire.raised(event))
                    else:
                        call[1].set_result(event)

    def _note(self, info: KernelInfo) -> None:
        known = self._kernels.get(info.kernel_id)
        if info == known or (known is not None and info.generation < known.generation):
            return
        self._kernels[info.kernel_id] = info
        self._tell(info)

    def _remove(self, kernel_id: str) -> None:
        info = self._kernels.pop(kernel_id, None)
        if info is not None:
            self._tell(_gone(info))

    def _tell(self, info: KernelInfo | None) -> None:
        for callback in list(self._subscribers.values()):
            try:
                callback(info)
            except Exception:
                log.exception("A subscriber failed")


def _gone(info: KernelInfo) -> KernelInfo:
    return info if info.state == "dead" else msgspec.structs.replace(info, state="dead", pid=None, reason="was shut down")


class Cursor:
    """A place in the journal of one kernel generation; made by :meth:`SupervisorClient.attach`."""

    def __init__(self, client: SupervisorClient, number: int, attach: wire.Attach) -> None:
        self.head = max(0, attach.after)
        """The last seq handed out."""
        self._client = client
        self._number = number
        self._attach = attach
        self._place: int | None = attach.after if attach.after >= 0 else None
        self._items: list[Item] = []
        self._size = 0
        self._owed = 0
        self._state: Literal["open", "ended", "closed"] = "open"
        self._more: asyncio.Future[None] | None = None

    async def read(self) -> list[Entry | Truncated | Ended]:
        """The next items, as many as there are, at least one; waits for them. Cancelling it loses nothing.

        One reader at a time. An ``Ended`` is the last item of all.

        Raises:
            KernelGone: the cursor is closed, or its ``Ended`` has been read.
        """
        while not self._items:
            if self._state != "open":
                raise KernelGone(
                    "Nothing more comes from this cursor", kernel_id=self._attach.kernel_id, generation=self._attach.generation
                )
            self._more = asyncio.get_running_loop().create_future()
            try:
                await self._more
            finally:
                self._more = None
        items, self._items = self._items, []
        self._owed, self._size = self._owed + self._size, 0
        if isinstance(items[-1], Ended):
            self._state = "ended"
            self._client.forget(self._number)
        elif self._owed > WINDOW // 8:
            self._client.send(wire.Credit(self._number, self._owed))
            self._owed = 0
        for item in reversed(items):
            if not isinstance(item, Ended):
                self.head = item.seq if isinstance(item, Entry) else item.last
                break
        return items

    def reached(self, seq: int) -> None:
        """Everything up to ``seq`` has arrived at the client that this cursor reads for: :data:`BACK` goes on behind it."""
        if self._state != "closed":
            self._client.send(wire.Reached(self._number, seq))

    def close(self) -> None:
        """Want no more. A :meth:`read` that waits raises KernelGone."""
        if self._state == "open":
            self._state = "closed"
            self._client.send(wire.Detach(self._number))
            self._client.forget(self._number)
            self._items.clear()
            self._wake()

    # --- for the client ------------------------------------------------------------------------------------------------

    def request(self) -> wire.Attach:
        """What attaches this cursor behind the last item that it received."""
        after = self._attach.after if self._place is None else self._place
        self._owed = 0
        return msgspec.structs.replace(self._attach, after=after)

    def placed(self, after: int) -> None:
        """The supervisor says where the cursor stands."""
        if self._place is None:
            self._place = self.head = after

    def push(self, items: list[Item], size: int) -> None:
        """Items have arrived, in a frame of so many bytes."""
        if not items or self._state != "open":
            return
        last = items[-1]
        if not isinstance(last, Ended):
            self._place = last.seq if isinstance(last, Entry) else last.last
        self._items += items
        self._size += size
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
