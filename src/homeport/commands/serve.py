"""``homeport [FOLDER]``: the composition root. Builds the parts, serves, and ends as asked.

Alone here everybody is known: the supervisor's client, sessions, store, documents and the web edge are made and joined.
What a signal means, and the question of Ctrl-C, are in ``ending.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from homeport import event_loop
from homeport.commands import daemon
from homeport.commands.announcement import announcement, service_announcement
from homeport.commands.command_line import Wanted, read_command_line
from homeport.commands.ending import (
    Answer,
    Kernels,
    describe_kernels,
    is_main_of_container,
    kept,
    kernel_question,
    kernels_of,
    kernels_running,
    on_terminate,
    shut_down,
)
from homeport.commands.listening import as_public, can_ask_for_password, certificate_maker, check_exposure, who_is_there
from homeport.commands.names import HOMEPORT, NOTEBOOK, Name
from homeport.commands.password import set_public_password
from homeport.commands.password_files import reread
from homeport.commands.profiles import CONFIG_NAME, profile_folder
from homeport.commands.question import can_ask
from homeport.commands.reaper import stay_behind_as_init
from homeport.errors import Forbidden, HomeportError, SupervisorUnavailable
from homeport.options import Settings
from homeport.systemd import Notifier

if TYPE_CHECKING:
    from homeport.documents.registry import Documents
    from homeport.folders import Folders
    from homeport.kernels.client import KernelInfo, SupervisorClient
    from homeport.kernels.sessions import Sessions
    from homeport.web.server import Server

log = logging.getLogger(__name__)

# Kernels get this long to go by themselves; `docker stop` kills after 10 s, and people expect less.
_KERNELS_TIMEOUT = 1.2
_LAUNCH_TIMEOUT = 2.0


def run(arguments: Sequence[str], name: Name = HOMEPORT) -> int:
    """Serve until stopped; the exit status.

    Args:
        name: under which name Homeport was started.

    Raises:
        HomeportError: it cannot start; the message says why and what to do.
    """
    wanted = read_command_line(arguments, name)
    if wanted.generate_config:
        return _generate_config(wanted)
    for note in wanted.notes:
        print(f"{name.program}: {note}", file=sys.stderr)
    refuse_root(wanted.settings)
    wanted = replace(wanted, settings=as_public(wanted.settings, set_public_password if can_ask_for_password() else None))
    for warning in check_exposure(wanted.settings):
        print(f"{name.program}: {warning}", file=sys.stderr)
    notifier = Notifier.take(os.environ)
    behind_init = stay_behind_as_init()
    container = is_main_of_container(behind_own_init=behind_init)

    from homeport.commands.welcome import NAME, offer_welcome, put_welcome
    from homeport.folders import Folders

    folders = Folders.from_environment()
    root = wanted.settings.root_dir
    if wanted.welcome:
        if not (root / NAME).exists():
            put_welcome(root)
        wanted = replace(wanted, page=NAME)
    elif offer_welcome(root, memory=folders.state / "welcome-refused"):
        wanted = replace(wanted, page=NAME)
    try:
        if wanted.daemon:
            serve = partial(_run_loop, wanted, folders, container, None)
            return daemon.start(folders, wanted.settings, container=container, serve=serve)
        return _run_loop(wanted, folders, container, notifier, say)
    except HomeportError as error:
        there = _who_is_there(folders, error.data["port"]) if error.data.get("taken") else ""
        if not there:
            raise
        raise HomeportError(f"{error.message}\n{there}", **error.data) from error


def _who_is_there(folders: Folders, port: int) -> str:
    from homeport.commands.running import running_servers

    return who_is_there(port, running_servers(folders.runtime), let_in=sys.stderr.isatty())


def _generate_config(wanted: Wanted) -> int:
    from homeport.commands.config import generate_config
    from homeport.folders import Folders

    settings = wanted.settings
    if settings.profile and settings.config_file is None:
        # What else somebody comes from who has such a profile: the names that its guides use.
        file, section = profile_folder(settings.profile, os.environ) / f"{CONFIG_NAME}.py", NOTEBOOK.section
    else:
        file, section = settings.config_file or Folders.from_environment().config / f"{wanted.name.config_name}.py", wanted.name.section
    return 0 if generate_config(file, section, overwrite=wanted.yes) else 1


def refuse_root(settings: Settings) -> None:
    """Raises Forbidden when this is root and nobody said that it may be."""
    if os.geteuid() == 0 and not settings.allow_root:
        raise Forbidden(
            "Running as root would let every notebook do anything to this machine. Start Homeport as another user, or add --allow-root."
        )


def _run_loop(wanted: Wanted, folders: Folders, container: bool, notifier: Notifier | None, tell: Callable[[str], None]) -> int:
    from homeport.commands.log import set_up_log

    set_up_log(wanted.settings.log_level)
    if notifier is not None:
        faulthandler.enable()  # a server that hangs is ended by SIGABRT: the log shows where it hung
    return event_loop.run(_serve(wanted, folders, container, notifier, tell))


def say(text: str) -> None:
    """Tell the person at the terminal; a terminal that is gone does not matter."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


@dataclass(frozen=True)
class _Built:
    """The parts, in the order in which they were built; they are closed in the reverse one."""

    settings: Settings
    folders: Folders
    supervisor: SupervisorClient
    sessions: Sessions
    documents: Documents
    server: Server


async def _serve(wanted: Wanted, folders: Folders, container: bool, notifier: Notifier | None, tell: Callable[[str], None]) -> int:
    """Serve until the end; ``tell`` gets what there is to say once the server answers, a link that lets in among it."""
    built = await _build(wanted.settings, folders, wanted.kernel_arguments)
    ending = _Ending(built, container, notifier)
    ending.watch_signals()
    helpers: list[asyncio.Task[None]] = []
    try:
        await built.server.start(ending.stop_for)
        # What was imported stays: a collection that looks through all of it would hold the event loop for 20 to 60 ms.
        gc.freeze()
        if notifier is None:
            log_file = daemon.log_file(folders, wanted.settings.port) if wanted.daemon else None
            tell(announcement(wanted.settings, built.server, log_file=log_file, container=container))
        else:
            say(service_announcement(wanted.settings, built.server))
            notifier.ready(f"Serves {wanted.settings.root_dir} at {built.server.url}")
            helpers.append(asyncio.create_task(notifier.beat()))
        reaching = asyncio.create_task(built.supervisor.start(patient=True))
        helpers.append(asyncio.create_task(_go_on_with_kernels(built, reaching)))
        helpers.append(asyncio.create_task(_open_browser(wanted, built)))
        await ending.decided()
        if not built.supervisor.problem:
            # A supervisor that is just being launched is not left half-way.
            await asyncio.wait([reaching], timeout=_LAUNCH_TIMEOUT)
        reaching.cancel()
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await ending.close()
    return 0


async def _build(settings: Settings, folders: Folders, kernel_arguments: Sequence[str]) -> _Built:
    from homeport.auth.access import Access
    from homeport.documents.limits import Limits
    from homeport.documents.registry import Documents
    from homeport.kernels.client import SupervisorClient
    from homeport.kernels.sessions import Sessions
    from homeport.stores.files import FileStore
    from homeport.web.parts import Parts
    from homeport.web.server import Server

    store = FileStore(settings.root_dir, private=folders.own)
    supervisor = SupervisorClient(folders, ipython_arguments=kernel_arguments)
    sessions = Sessions(folders, supervisor, settings.root_dir)
    limits = Limits(
        stream=settings.stream_limit,
        outputs=max(1, settings.output_limit),
        notebook=settings.notebook_limit,
        history_count=settings.history_count,
        history_size=settings.history_size,
    )
    documents = Documents(store=store, supervisor=supervisor, sessions=sessions, folders=folders, limits=limits)
    await documents.start()
    parts = Parts(
        settings=settings,
        documents=documents,
        supervisor=supervisor,
        sessions=sessions,
        store=store,
        auth=Access(settings, folders, reread=reread),
        folders=folders,
    )
    server = Server(parts, certificate_maker(settings, folders))
    return _Built(settings, folders, supervisor, sessions, documents, server)


async def _go_on_with_kernels(built: _Built, reaching: asyncio.Task[None]) -> None:
    """Find the kernels of before and go on with what ran; the server answers meanwhile, and also while this cannot be done."""
    await reaching
    await built.supervisor.configure(idle_shutdown=built.settings.idle_shutdown)
    await built.documents.resume()
    mine = kernels_of(built.supervisor, built.sessions, every=False)
    if mine:
        say(f"Still running from before: {len(mine)} kernel{'' if len(mine) == 1 else 's'}.")


async def _open_browser(wanted: Wanted, built: _Built) -> None:
    from homeport.commands.browser import has_display, open_browser

    settings = wanted.settings
    if not settings.open_browser or not has_display(os.environ):
        return
    opener = opener_file(built.folders)
    link = built.server.link_to(wanted.page)
    if not await asyncio.to_thread(open_browser, link, settings.browser, opener):
        say("No browser could be opened; open the link above.")


def opener_file(folders: Folders) -> Path:
    """The page by which the browser is opened, named as jupyter_server names it."""
    return folders.runtime / f"jpserver-{os.getpid()}-open.html"


class _Ending:
    """When the server ends, and what becomes of its kernels. ``stop`` is the one way in: signals and the REST API come here."""

    def __init__(self, built: _Built, container: bool, notifier: Notifier | None) -> None:
        self._built = built
        self._container = container
        self._notifier = notifier
        self._kernels: asyncio.Future[Kernels] = asyncio.get_running_loop().create_future()
        self._question = kernel_question(_prompt)
        self._asking: asyncio.Task[None] | None = None

    def watch_signals(self) -> None:
        """From here on signals end the server as they should."""
        loop = asyncio.get_running_loop()
        terminated = on_terminate(self._built.settings.on_stop, main_of_container=self._container)
        loop.add_signal_handler(signal.SIGTERM, self.stop, terminated)
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt, terminated)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup says that the server shall outlive its terminal
            loop.add_signal_handler(signal.SIGHUP, self.stop, Kernels.KEEP)

    def stop(self, kernels: Kernels) -> None:
        """End the server. What was decided first counts."""
        if not self._kernels.done():
            self._kernels.set_result(kernels)

    def stop_for(self, with_kernels: bool) -> None:
        """End the server because a client asked for it; see :meth:`stop`."""
        self.stop(Kernels.SHUT_DOWN if with_kernels else Kernels.KEEP)

    async def decided(self) -> None:
        """Wait until the server is to end."""
        await asyncio.shield(self._kernels)

    async def close(self) -> None:
        """Save everything, then leave kernels as decided, let go of the supervisor, and say which kernels run on."""
        if self._asking is not None:
            self._asking.cancel()
        built = self._built
        if self._notifier is not None:
            self._notifier.stopping("Saves what is open, and leaves")
        await built.server.stop()
        await built.documents.close()
        how = ""
        if self._kernels.done() and self._kernels.result() is Kernels.SHUT_DOWN:
            await self._shut_kernels_down()
        elif self._kernels.done():
            left = [info.kernel_id for info in self._own_kernels()]
            how = kept(left) if left or self._notifier is not None else ""
        if how and self._notifier is not None:
            self._notifier.stopping(how)
        built.sessions.close()
        await built.supervisor.close()
        opener_file(built.folders).unlink(missing_ok=True)
        if how:
            say(how)

    async def _shut_kernels_down(self) -> None:
        supervisor = self._built.supervisor
        try:
            async with asyncio.timeout(_KERNELS_TIMEOUT):
                if self._container:  # nothing is left in the container that could use the supervisor
                    await supervisor.shutdown_supervisor(kernels=True)
                else:
                    await shut_down(supervisor, self._own_kernels())
        except SupervisorUnavailable:
            pass  # then it has no kernels either
        except TimeoutError:
            log.warning("Some kernels did not stop within %s s.", _KERNELS_TIMEOUT)

    def _own_kernels(self) -> list[KernelInfo]:
        from homeport.commands.running import running_servers

        others = [server for server in running_servers(self._built.folders.runtime) if server.is_homeport and server.pid != os.getpid()]
        return kernels_of(self._built.supervisor, self._built.sessions, every=not others)

    def _on_interrupt(self, terminated: Kernels) -> None:
        if self._kernels.done():
            say("\nLeaving at once. What was acknowledged is safe, and kernels run on.")
            os._exit(130)
        if self._question.stands:
            self._question.again()
        elif not can_ask():
            self.stop(terminated)
        elif self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        kernels = self._own_kernels()
        if not kernels:
            say("")
            self.stop(Kernels.KEEP)
            return
        answer = await self._question.ask(kernels_running(describe_kernels(kernels, self._built.sessions, time.time())))
        if answer is not Answer.GO_ON:
            self.stop(Kernels.SHUT_DOWN if answer is Answer.SHUT_DOWN else Kernels.KEEP)


def _prompt(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()
