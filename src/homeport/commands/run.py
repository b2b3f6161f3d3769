"""``homeport run NOTEBOOK…``: run notebooks on the server, as a page would, and tell how it goes.

The runs are the server's: this command only looks on, so that a cut link, a killed server or a closed terminal stops
nothing. A server that serves the notebook already is used; otherwise one is started, which ends afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.arguments import COMMAND_LINE, Parser
from homeport.commands.ending import run_on
from homeport.commands.own_server import OwnServer, root_of, server_of
from homeport.commands.progress import Progress
from homeport.commands.question import Question, can_ask
from homeport.commands.reach import the_supervisor
from homeport.commands.run_notebook import NotebookRun
from homeport.commands.running import RunningServer, running_servers
from homeport.errors import BadRequest, HomeportError, NotFound, SupervisorUnavailable
from homeport.options import BadOption

if TYPE_CHECKING:
    from homeport.folders import Folders
    from homeport.web.page_link import Place

INTERRUPTED = 130
_TICK = 0.25


class Answer(Enum):
    """What Ctrl-C means."""

    INTERRUPT = "interrupt"
    LEAVE = "leave"
    GO_ON = "go on"


@dataclass(frozen=True)
class Wanted:
    """What a command line asks for."""

    files: list[Path]
    """Absolute, their folders without symbolic links."""
    names: list[str]
    """As they were given."""
    jobs: int
    restart: bool
    keep_going: bool
    server_options: list[str]


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport run",
        "Run all cells of notebooks on the server, and save the outputs in them as they come.",
        "A server that serves the notebook's folder is used, with the notebook's kernel if it has one; that kernel runs on\n"
        "afterwards. Otherwise a server is started, which ends afterwards with the kernels that it started. Exit status: 0 when\n"
        "all went well, 1 when a cell failed or a notebook could not be run, 130 when Ctrl-C interrupted it.",
    )
    parser.add_argument("notebooks", nargs="+", metavar="NOTEBOOK", help="a notebook file")
    parser.add_argument("-j", "--jobs", metavar="N", default="1", help="how many notebooks run at the same time [1]")
    parser.add_argument("--restart", action="store_true", help="restart the kernel first when the notebook has one")
    parser.add_argument("--keep-going", action="store_true", help="go on with the next cell when one fails")
    parser.add_argument("--allow-root", action="store_true", help="for the server that is started: run it also as root")
    return parser


def read_command_line(arguments: Sequence[str]) -> Wanted:
    """What is to be done.

    Raises:
        BadOption: an option has a bad value.
        NotFound: a notebook is not there.
        BadRequest: it is a folder.
    """
    given = make_parser().parse(arguments)
    if not given.jobs.isdecimal() or not int(given.jobs):
        raise BadOption(f"--jobs {given.jobs} is not a number of notebooks", source=COMMAND_LINE)
    # Each once, under the name that it has first.
    named: dict[Path, str] = {}
    for name in given.notebooks:
        named.setdefault(_without_links(Path(os.path.expanduser(name))), name)
    files, names = list(named), list(named.values())
    for name, file in zip(names, files, strict=True):
        if file.is_dir():
            raise BadRequest(f"{name} is a folder; name the notebooks in it. Nothing was run.", path=name)
        if not file.exists():
            raise NotFound(f"There is no notebook {name}. Nothing was run.", path=name)
    options = ["--allow-root"] if given.allow_root else []
    return Wanted(files, names, int(given.jobs), given.restart, given.keep_going, options)


def _without_links(file: Path) -> Path:
    return file.parent.resolve() / file.name


def run(arguments: Sequence[str]) -> int:
    """Run the notebooks; the exit status.

    Raises:
        HomeportError: nothing could be run.
    """
    wanted = read_command_line(arguments)

    from homeport.folders import Folders

    return asyncio.run(_Command(wanted, Folders.from_environment()).run())


class _Command:
    """One call of the command."""

    def __init__(self, wanted: Wanted, folders: Folders) -> None:
        self._wanted = wanted
        self._folders = folders
        self._progress = Progress()
        self._question = Question(
            _write,
            {"i": Answer.INTERRUPT, "l": Answer.LEAVE, "c": Answer.GO_ON},
            words={"interrupt": "i", "leave": "l", "continue": "c"},
            gone=Answer.LEAVE,
            silence=(Answer.GO_ON, "the run goes on."),
        )
        self._own: OwnServer | None = None
        self._begun: list[NotebookRun] = []
        self._running: dict[NotebookRun, asyncio.Task[bool]] = {}
        self._fine = True
        self._ending: Answer | None = None
        self._asking: asyncio.Task[None] | None = None
        self._left: asyncio.Event = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._decide, Answer.INTERRUPT)
        loop.add_signal_handler(signal.SIGHUP, self._decide, Answer.LEAVE)
        ticking = asyncio.create_task(self._tick())
        try:
            await self._run_all()
        finally:
            ticking.cancel()
            if self._asking is not None:
                self._asking.cancel()  # it has ended before the answer
                await asyncio.gather(self._asking, return_exceptions=True)
            self._progress.close()
            if not await self._end_server():
                await self._tell_kernels()
        if self._ending is Answer.INTERRUPT:
            return INTERRUPTED
        return 0 if self._fine else 1

    async def _run_all(self) -> None:
        waiting = list(zip(self._wanted.names, self._wanted.files, strict=True))
        leaving = asyncio.create_task(self._left.wait())
        try:
            while waiting or self._running:
                while waiting and self._ending is None and len(self._running) < self._wanted.jobs:
                    await self._begin(*waiting.pop(0))
                if not self._running or self._left.is_set():
                    break
                await asyncio.wait([*self._running.values(), leaving], return_when=asyncio.FIRST_COMPLETED)
                for notebook in [each for each, task in self._running.items() if task.done()]:
                    self._fine = self._running.pop(notebook).result() and self._fine
        finally:
            leaving.cancel()
            await self._leave()
        if waiting:
            self._progress.say(f"Not begun: {', '.join(name for name, _ in waiting)}")

    async def _begin(self, name: str, file: Path) -> None:
        server = self._server_of(file)
        if server is None:
            self._own = self._own or await self._start_server()
            server = self._own.find()
        if server is None:
            raise HomeportError("The server that was started has ended.")
        own = self._own is not None and server == self._own.find()
        notebook = NotebookRun(name, file.relative_to(root_of(server)).as_posix(), lambda: self._place_of(file), self._progress)
        options = {"restart": self._wanted.restart, "stop_on_error": not self._wanted.keep_going, "shut_down": own}
        self._begun.append(notebook)
        self._running[notebook] = asyncio.create_task(notebook.run(**options), name=name)

    def _server_of(self, file: Path) -> RunningServer | None:
        return server_of(file, running_servers(self._folders.runtime))

    def _place_of(self, file: Path) -> Place | None:
        from homeport.web.page_link import Place

        server = self._server_of(file)
        if server is None and self._own is not None and self._own.ended:
            raise HomeportError(f"{self._own.end} {self._own.words}")
        return None if server is None else Place(server.url, server.token, server.local_url, server.certificate)

    async def _start_server(self) -> OwnServer:
        """One for all notebooks that nobody serves."""
        alone = [file for file in self._wanted.files if self._server_of(file) is None]
        own = OwnServer(self._folders, Path(os.path.commonpath([file.parent for file in alone])), self._wanted.server_options)
        self._progress.tell(f"Starting a server on {own.root}")
        await own.start()
        return own

    async def _end_server(self) -> bool:
        """End the server that was started. True: it goes on, since what runs was left to it; how to end it was said."""
        if self._own is None:
            return False
        if self._ending is Answer.LEAVE and not self._own.ended:
            server = self._own.find()
            self._own.leave()
            if server is not None:
                self._progress.say(f"The server goes on:  {server.link}\n'homeport stop {server.port} --kernels' ends it.")
            return True
        await self._own.stop()
        return False

    async def _tell_kernels(self) -> None:
        """Which of the notebooks' kernels run on: all, with a server that ran already; otherwise those of before, or when it was killed."""
        seen = dict.fromkeys(notebook.kernel_id for notebook in self._begun if notebook.kernel_id)
        if not seen:
            return
        with contextlib.suppress(SupervisorUnavailable):
            async with the_supervisor(self._folders) as supervisor:
                alive = {info.kernel_id for info in supervisor.kernels.values() if info.state != "dead"} if supervisor is not None else ()
            if left := [each for each in seen if each in alive]:
                self._progress.say(run_on(left, again=False))

    async def _leave(self) -> None:
        """What still runs is left to the server."""
        left = [notebook.name for notebook in self._running if notebook.queued]
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        if left:
            self._progress.say(f"Left to the server: {', '.join(left)}")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self._progress.draw()

    # ---- Ctrl-C ---------------------------------------------------------------------------------------------------

    def _on_interrupt(self) -> None:
        if self._question.stands:
            self._question.again()
        elif self._ending is not None:
            self._decide(Answer.LEAVE)
        elif can_ask():
            self._asking = asyncio.create_task(self._ask())
        else:
            self._decide(Answer.INTERRUPT)

    async def _ask(self) -> None:
        self._progress.hold()
        try:
            answer = await self._question.ask(
                "\n[i]nterrupt the run, [l]eave it to the server, or [c]ontinue to watch? (Ctrl-C again: leave) "
            )
        finally:
            self._progress.release()
        self._decide(answer)

    def _decide(self, answer: Answer) -> None:
        if answer is Answer.GO_ON:
            return
        self._ending = answer
        if answer is Answer.LEAVE:
            self._left.set()
        else:
            self._interrupting = asyncio.gather(*(notebook.interrupt() for notebook in self._running), return_exceptions=True)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
