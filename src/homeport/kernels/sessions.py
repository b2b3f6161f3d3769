"""Sessions as Jupyter means them: which kernel belongs to which path.

A session is a path (a notebook, or the made-up path of a console), a name and a kernel. Sessions outlive the
server as their kernels do: they are kept in one JSON file per root folder, and a session goes when its kernel goes.
Two servers on one root share that file, so every change is a read, a change and an atomic replace under a lock: in a
thread, for the other server may have the lock, and the disk may be busy. Only the event loop says what is known here;
changes are made one after the other, in the order in which they were asked for.

What runs in a kernel is the documents' affair; the HTTP shape of a session is ``protocol/rest.py``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from homeport.errors import BadRequest, KernelFailed, KernelGone, NotFound, SupervisorUnavailable
from homeport.folders import Folders, keep_private, private
from homeport.kernels.environment import kernel_environment

if TYPE_CHECKING:
    from homeport.kernels.client import KernelInfo, SupervisorClient

log = logging.getLogger(__name__)

T = TypeVar("T")


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """One session. ``path`` is an API path: relative to the root, ``/``-separated, without a leading slash."""

    id: str
    path: str
    """Empty: it was ended, and its kernel is to go with it."""
    name: str
    type: str
    kernel_id: str
    next_kernel_id: str = ""
    """A kernel that is being started to take the place of this one."""
    old_kernel_id: str = ""
    """A kernel whose place was taken: it is to be shut down unless another session uses it."""


_decode = msgspec.json.Decoder(list[Session]).decode


class Sessions:
    """The sessions of one root folder. Persistent; at most one session per path."""

    def __init__(self, folders: Folders, supervisor: SupervisorClient, root: Path) -> None:
        self._supervisor = supervisor
        self._root = root
        key = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._file = folders.state / "sessions" / f"{key}.json"
        self._listed = _Listed(None, {})
        self._changing = asyncio.Lock()
        self._renames: list[_Rename] = []
        self._starting: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._beginning: set[str] = set()
        self._underway: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._callbacks: list[Callable[[str], None]] = []
        self._unsubscribe = supervisor.subscribe(self._on_kernel)

    def close(self) -> None:
        """Stop listening to the supervisor. Sessions and kernels stay."""
        self._unsubscribe()
        for task in self._tasks:
            task.cancel()

    def list(self) -> Sequence[Session]:
        """Every session, oldest first."""
        return [session for session in self._load().values() if self._visible(session)]

    def get(self, session_id: str) -> Session:
        """Raises NotFound."""
        session = self._load().get(session_id)
        if session is None or not self._visible(session):
            raise NotFound(f"There is no session {session_id}.", session=session_id)
        return session

    def by_path(self, path: str) -> Session | None:
        """The session of a path, or None."""
        return next((session for session in self._load().values() if session.path == path and self._visible(session)), None)

    async def create(
        self, *, path: str, type: str = "notebook", name: str = "", kernel_name: str | None = None, kernel_id: str | None = None
    ) -> Session:
        """The session of ``path``; when there is none, a new one on a new kernel, or on the kernel ``kernel_id``.

        Raises:
            BadRequest: no path.
            NotFound: no such kernel or kernelspec.
            KernelFailed: the kernel died at start; ``data["stderr"]`` has its last lines.
        """
        if not path:
            raise BadRequest("A session needs a path.")
        async with self._starting.setdefault(path, asyncio.Lock()):
            there = self.by_path(path)
            if there is not None:
                return there
            chosen = self._known(kernel_id) if kernel_id else str(uuid.uuid4())
            session = Session(id=str(uuid.uuid4()), path=path, name=name, type=type or "notebook", kernel_id=chosen)
            if kernel_id:
                await self._put(session)
            else:
                await self._begin(session, kernel_name)
                # Another server may have taken it for one whose kernel is gone; a rename meanwhile stays.
                session = await self._change(lambda sessions: sessions.setdefault(session.id, session))
                self._tell({path, session.path})
            return session

    async def change(
        self,
        session_id: str,
        *,
        path: str | None = None,
        name: str | None = None,
        type: str | None = None,
        kernel_name: str | None = None,
        kernel_id: str | None = None,
    ) -> Session:
        """Move a session to another path, name or kernel. A kernel that no session uses any more is shut down.

        Raises:
            NotFound: no such session, kernel or kernelspec.
            KernelFailed: the new kernel died at start; the session keeps the old one.
        """
        before = self.get(session_id)
        place = path if path is not None else before.path
        async with self._starting.setdefault(place, asyncio.Lock()):
            with self._at_work(session_id):
                new_kernel = before.kernel_id
                if kernel_id is not None:
                    new_kernel = self._known(kernel_id)
                elif kernel_name is not None:
                    new_kernel = await self._start_next(before, place, kernel_name)

                def change(sessions: dict[str, Session]) -> tuple[str, Session] | None:
                    # It may have been renamed or ended while a kernel was started.
                    now = sessions.get(session_id)
                    if now is None or not now.path:
                        return None
                    sessions[session_id] = after = Session(
                        id=now.id,
                        path=path if path is not None else now.path,
                        name=name if name is not None else now.name,
                        type=type if type is not None else now.type,
                        kernel_id=new_kernel,
                        old_kernel_id=now.kernel_id if new_kernel != now.kernel_id else "",
                    )
                    return now.path, after

                changed = await self._change(change)
                if changed is None:
                    await self._release(new_kernel)
                    raise NotFound(f"The session {session_id} was ended meanwhile.", session=session_id)
                left, after = changed
                self._tell({left, after.path})
                await self._leave(after)
        return msgspec.structs.replace(after, old_kernel_id="")

    async def delete(self, session_id: str) -> None:
        """End a session, and its kernel unless another session uses it. Raises NotFound."""
        self.get(session_id)

        def end(sessions: dict[str, Session]) -> tuple[str, Session] | None:
            # It may have been changed while another change was being written.
            session = sessions.get(session_id)
            if session is None or not session.path:
                return None
            ended = msgspec.structs.replace(session, path="", kernel_id="", old_kernel_id=session.kernel_id)
            sessions[session_id] = ended
            return session.path, ended

        with self._at_work(session_id):
            done = await self._change(end)
            if done is not None:
                path, ended = done
                self._tell({path})
                await self._leave(ended)

    async def renamed(self, old: str, new: str) -> None:
        """A file or folder has moved: its sessions move along. Their kernels keep the folder they were started in."""
        rename = _Rename(old, new)
        # Known here at once: whoever asks by the new path must not start a second kernel.
        self._renames.append(rename)
        try:
            moved = await self._change(rename.apply)
        finally:
            self._renames.remove(rename)
        self._tell(moved)

    async def deleted(self, path: str) -> None:
        """A file or folder was deleted on purpose: the sessions of its files end. A console is no file, and stays."""
        for session in self.list():
            if session.type != "console" and (session.path == path or session.path.startswith(path + "/")):
                with contextlib.suppress(NotFound):
                    await self.delete(session.id)

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(path)`` whenever the session of ``path`` came, went or changed. Returns "unsubscribe"."""
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    def _visible(self, session: Session) -> bool:
        """A session whose kernel is just being asked for is not there yet."""
        if not session.path or session.id in self._gone:
            return False
        return session.id not in self._beginning or session.kernel_id in self._supervisor.kernels

    def _known(self, kernel_id: str) -> str:
        if kernel_id not in self._supervisor.kernels:
            raise NotFound(f"There is no kernel {kernel_id}.", kernel=kernel_id)
        return kernel_id

    async def _begin(self, session: Session, kernel_name: str | None) -> None:
        """Start the kernel of a new session. The session is written down before: a server that is killed meanwhile is followed by one that
        finds the kernel, instead of starting another and leaving this one to nobody."""
        self._beginning.add(session.id)
        try:
            await self._change(lambda sessions: sessions.update({session.id: session}))
            await self._start(session.path, kernel_name, session.kernel_id)
        except (NotFound, KernelFailed):
            await self._change(lambda sessions: sessions.pop(session.id, None))
            raise
        finally:
            self._beginning.discard(session.id)

    async def _start(self, path: str, kernel_name: str | None, kernel_id: str | None = None) -> str:
        if not kernel_name:
            kernel_name = (await self._supervisor.kernelspecs()).default
        absolute = self._root.joinpath(*path.split("/"))
        cwd = absolute.parent
        while not cwd.is_dir() and cwd != cwd.parent:  # a console's path, or a folder that has been removed
            cwd = cwd.parent
        env = kernel_environment(os.environ, absolute)
        return (await self._supervisor.start_kernel(kernel_name, cwd=str(cwd), env=env, kernel_id=kernel_id)).kernel_id

    async def _start_next(self, session: Session, path: str, kernel_name: str) -> str:
        """Start the kernel that takes the place of a session's. Written down before, as in :meth:`_begin`."""
        chosen = str(uuid.uuid4())

        def following(kernel_id: str) -> Callable[[dict[str, Session]], None]:
            def change(sessions: dict[str, Session]) -> None:
                if session.id in sessions:
                    sessions[session.id] = msgspec.structs.replace(sessions[session.id], next_kernel_id=kernel_id)

            return change

        await self._change(following(chosen))
        try:
            return await self._start(path, kernel_name, chosen)
        except (NotFound, KernelFailed):
            await self._change(following(""))
            raise

    async def _leave(self, session: Session) -> None:
        """Shut down the kernel that the session had, unless another uses it, and forget it; also a session that was ended."""
        if not session.old_kernel_id:
            return
        await self._release(session.old_kernel_id)

        def forget(sessions: dict[str, Session]) -> None:
            now = sessions.get(session.id)
            if now is not None and not now.path:
                del sessions[session.id]
            elif now is not None and now.old_kernel_id == session.old_kernel_id:
                sessions[session.id] = msgspec.structs.replace(now, old_kernel_id="")

        await self._change(forget)

    async def _go_on(self, session_id: str) -> None:
        """Finish what a server that was killed had begun: the change to another kernel, or the end of a session."""
        with self._at_work(session_id), contextlib.suppress(SupervisorUnavailable):
            session = self._load().get(session_id)
            if session is None:
                return
            following = self._supervisor.kernels.get(session.next_kernel_id)
            # A session that was ended meanwhile moves on to nothing.
            if session.path and following is not None and following.state != "dead":
                log.info("%s: the change to another kernel, which was cut short, is finished.", session.path)
                moved = await self._change(lambda sessions: _moved_on(sessions, session_id, following.kernel_id))
                if moved is None:
                    await self._release(following.kernel_id)
                    return
                session = moved
                self._tell({session.path})
            elif following is not None:
                await self._release(session.next_kernel_id)
            await self._leave(session)

    @contextlib.contextmanager
    def _at_work(self, session_id: str) -> Generator[None]:
        """Somebody changes that session, and finishes it himself."""
        self._underway[session_id] += 1
        try:
            yield
        finally:
            self._underway[session_id] -= 1
            if not self._underway[session_id]:
                del self._underway[session_id]

    async def _release(self, kernel_id: str) -> None:
        if any(session.kernel_id == kernel_id for session in self._load().values()):
            return
        with contextlib.suppress(KernelGone, NotFound):
            await self._supervisor.shutdown(kernel_id)

    async def _put(self, session: Session) -> None:
        await self._change(lambda sessions: sessions.update({session.id: session}))
        self._tell({session.path})

    def _on_kernel(self, info: KernelInfo | None) -> None:
        if info is None:
            # The link was found: the mirror of kernels is complete when this turn of the loop is over.
            asyncio.get_running_loop().call_soon(self._prune)
        elif info.kernel_id not in self._supervisor.kernels:
            self._prune()

    def _prune(self) -> None:
        """Drop the sessions whose kernels are gone; they may have ended while no server was looking."""
        if not self._supervisor.connected:
            return
        gone = {session.id: session for session in self._load().values() if self._is_gone(session)}
        if gone:
            self._gone |= gone.keys()
            self._tell({session.path for session in gone.values()})
            self._do(self._drop(gone), "sessions that are over")
        for session in self._load().values():
            unfinished = session.old_kernel_id or session.next_kernel_id in self._supervisor.kernels
            if unfinished and session.id not in self._underway:
                self._do(self._go_on(session.id), f"session {session.id}")

    def _is_gone(self, session: Session) -> bool:
        return bool(
            session.path
            and session.kernel_id not in self._supervisor.kernels
            and session.next_kernel_id not in self._supervisor.kernels
            and session.id not in self._beginning | self._underway.keys() | self._gone
        )

    async def _drop(self, gone: Mapping[str, Session]) -> None:
        def drop(sessions: dict[str, Session]) -> None:
            for session_id, session in gone.items():
                now = sessions.get(session_id)
                if now is not None and now.kernel_id == session.kernel_id and now.next_kernel_id == session.next_kernel_id:
                    del sessions[session_id]

        try:
            await self._change(drop)
        finally:
            self._gone -= gone.keys()

    def _do(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, paths: set[str]) -> None:
        for path in paths:
            for callback in tuple(self._callbacks):
                callback(path)

    def _load(self) -> dict[str, Session]:
        """The sessions as the file has them, read again only when it has been replaced; what is being renamed has its new path."""
        self._listed = _read(self._file, self._listed)
        if not self._renames:
            return self._listed.sessions
        sessions = dict(self._listed.sessions)
        for rename in self._renames:
            rename.apply(sessions)
        return sessions

    async def _change(self, change: Callable[[dict[str, Session]], T]) -> T:
        """Let ``change`` change the sessions, read afresh under the lock, and replace them. Returns what it returns."""
        async with self._changing:
            self._listed, result = await asyncio.to_thread(_change_file, self._file, self._listed, change)
        return result


class _Listed(NamedTuple):
    """Which file it was, and the sessions that it had (or has, had the last change been written)."""

    version: tuple[int, int, int] | None
    sessions: dict[str, Session]


class _Rename(NamedTuple):
    """A file or folder that moves, by its API paths."""

    old: str
    new: str

    def apply(self, sessions: dict[str, Session]) -> set[str]:
        """Let the sessions move along. Returns the paths that they left and have. Doing it twice does it once."""
        moved: set[str] = set()
        for session in list(sessions.values()):
            if session.path == self.old or session.path.startswith(self.old + "/"):
                path = self.new + session.path[len(self.old) :]
                # The name of a notebook's session is its file's name; one that somebody chose stays.
                name = path.rsplit("/", 1)[-1] if session.name == session.path.rsplit("/", 1)[-1] else session.name
                sessions[session.id] = msgspec.structs.replace(session, path=path, name=name)
                moved |= {session.path, path}
        return moved


def _version(facts: os.stat_result) -> tuple[int, int, int]:
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


def _read(path: Path, known: _Listed) -> _Listed:
    """What the file has; ``known`` when it is that file, or there is none that can be read."""
    try:
        version = _version(os.stat(path))
    except OSError:  # there is none yet, or it cannot be looked at
        return known
    if version == known.version:
        return known
    try:
        return _Listed(version, {session.id: session for session in _decode(path.read_bytes())})
    except (msgspec.MsgspecError, OSError) as error:
        log.warning("The list of sessions %s cannot be read (%s); going on with what is known.", path, error)
        return _Listed(version, known.sessions)


def _change_file(path: Path, known: _Listed, change: Callable[[dict[str, Session]], T]) -> tuple[_Listed, T]:
    """In a thread: change the sessions of the file. Returns what it has now, and what ``change`` returned."""
    with contextlib.ExitStack() as stack:
        failure: OSError | None = None
        try:
            private(path.parent)
            lock = stack.enter_context(open(path.with_suffix(".lock"), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            failure = error
        there = _read(path, known)
        sessions = dict(there.sessions)
        result = change(sessions)
        version = there.version
        try:
            if failure is None:
                keep_private(path, msgspec.json.encode(list(sessions.values())))
                version = _version(os.stat(path))
        except OSError as error:
            failure = error
        if failure is not None:
            log.warning("The list of sessions %s cannot be written (%s); it is kept in memory.", path, failure)
        return _Listed(version, sessions), result


def _moved_on(sessions: dict[str, Session], session_id: str, kernel_id: str) -> Session | None:
    """Give the session the kernel that was started to take the place of its own; None when it is not waiting for that one any more."""
    session = sessions.get(session_id)
    if session is None or not session.path or session.next_kernel_id != kernel_id:
        return None
    moved = msgspec.structs.replace(session, kernel_id=kernel_id, next_kernel_id="", old_kernel_id=session.kernel_id)
    sessions[session_id] = moved
    return moved
