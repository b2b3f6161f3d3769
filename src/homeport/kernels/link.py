"""One connection to a supervisor, and how a supervisor is launched. What is said over it is client.py's."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from homeport import __version__
from homeport.errors import ProtocolError, SupervisorUnavailable
from homeport.event_loop import kill
from homeport.folders import Folders
from homeport.kernels.environment import without_secrets
from homeport.protocol import supervisor as wire
from homeport.protocol.supervisor import VERSIONS, FrameReader, frame
from homeport.systemd import scope

log = logging.getLogger(__name__)

GREETING_PATIENCE: Final = 10.0
LAUNCH_PATIENCE: Final = 20.0
"""Seconds for a supervisor to greet, and to begin to listen."""


class Replaced(Exception):
    """The supervisor that was asked leaves, to make room for one of our release."""


class Link(asyncio.Protocol):
    """See :func:`connect`. ``closed`` is done once the connection is gone."""

    def __init__(self, received: Callable[[wire.Event, int], None]) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.greeting: asyncio.Future[wire.Greeting] = loop.create_future()
        self._received = received
        self._frames = FrameReader(wire.MAX_FRAME)
        self._transport: asyncio.Transport | None = None
        self._loop = loop
        self._out: list[bytes] = []
        self._turn: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.greeting.done():
            self.greeting.set_exception(ConnectionResetError("the supervisor hung up without a word: it was just leaving"))
            # It may be that nobody waits for it any more.
            self.greeting.exception()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._frames.feed(data):
                if self.greeting.done():
                    self._received(wire.decode_event(payload), len(payload))
                else:
                    self.greeting.set_result(wire.decode_greeting(payload))
        except ProtocolError as error:
            if not self.greeting.done():
                self.greeting.set_exception(SupervisorUnavailable(f"What answers there is no supervisor: {error.message}"))
            self.close()

    def send(self, data: bytes) -> None:
        """Send a frame: the first one in a turn of the loop at once, the others together at its end. On a closed link it goes nowhere."""
        if self._turn is None:
            self._turn = self._loop.call_soon(self._end_turn)
            self._write(data)
        else:
            self._out.append(data)

    def _end_turn(self) -> None:
        self._turn = None
        if self._out:
            out, self._out = self._out, []
            self._write(b"".join(out))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._end_turn()
            self._transport.close()


async def connect(folders: Folders, received: Callable[[wire.Event, int], None]) -> tuple[Link, wire.Welcome]:
    """Connect to the supervisor of this user and host, and greet it.

    Args:
        received: gets each event with the size of its frame, from the moment of the greeting.

    Raises:
        FileNotFoundError, ConnectionRefusedError, ConnectionResetError: none is there (any more).
        Replaced: one was there, and leaves.
        SupervisorUnavailable: it speaks no version that we speak, or says nothing.
    """
    from jupyter_core.paths import jupyter_path

    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: Link(received), str(folders.sockets / "supervisor.sock"))
    link.send(frame(wire.Hello(list(VERSIONS), __version__, sys.executable, jupyter_path("kernels"))))
    try:
        greeting = await asyncio.wait_for(link.greeting, GREETING_PATIENCE)
    except TimeoutError:
        link.close()
        raise SupervisorUnavailable(f"The supervisor at {folders.sockets} does not answer") from None
    except BaseException:
        link.close()
        raise
    if isinstance(greeting, wire.Welcome):
        return link, greeting
    await link.closed
    if greeting.again:
        raise Replaced
    raise SupervisorUnavailable(greeting.reason, versions=greeting.versions, build=greeting.build)


async def launch(folders: Folders, *, linger: float) -> None:
    """Start a supervisor that lives on by itself, and wait until it listens. One that runs already is as good.

    Under systemd it becomes a unit of its own: the end of the server's unit is not its end.

    Raises:
        SupervisorUnavailable: it could not be started; the message has what it said.
    """
    arguments = [f"--{name}={getattr(folders, name)}" for name in ("state", "config", "runtime", "sockets")]
    command = [sys.executable, "-P", "-m", "homeport.supervisor", *arguments, f"--linger={linger}", "--detach"]
    apart = scope("homeport-supervisor", "Homeport's supervisor, which has the kernels")
    if apart:
        refused = await _run([*apart, *command])
        if not refused:
            return
        log.warning("The supervisor cannot be a unit of its own, and is started without: %s", refused)
    said = await _run(command)
    if said:
        raise SupervisorUnavailable(f"The supervisor could not be started: {said}")


async def _run(command: Sequence[str]) -> str:
    """Run it to its end; what it said when it failed, otherwise the empty text."""
    environment = without_secrets(os.environ)
    root = str(Path(__file__).parents[2])
    if root not in sysconfig.get_paths().values():
        # A source tree that is not installed: the supervisor must find it as we did.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), LAUNCH_PATIENCE)
    except TimeoutError:
        kill(process)
        await process.wait()
        raise SupervisorUnavailable(f"The supervisor did not start within {LAUNCH_PATIENCE:.0f} s") from None
    except asyncio.CancelledError:
        # Nobody waits for it any more. If it has begun to serve already, that is another process, which leaves by itself.
        kill(process)
        await process.wait()
        raise
    if process.returncode == 0:
        return ""
    return said.decode(errors="replace").strip()[-2000:] or f"it ended with status {process.returncode}"
