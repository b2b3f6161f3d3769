"""The kernel of one document: which one it is, getting one when there is none, and what pages see of it.

The kernel is that of the session of the document's path; without a session one is started: the kernelspec that the
notebook names, or the default one when it names none. A kernelspec that does not exist is never replaced silently: another
language, or another environment, would be worse than no kernel. What runs in the kernel is ``documents/runner.py``'s affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pycrdt import Map

from homeport.documents.room import Room
from homeport.documents.schema import JSON, plain, read
from homeport.errors import HomeportError, KernelGone, NotFound

if TYPE_CHECKING:
    from homeport.kernels.client import KernelInfo, Kernelspecs, SupervisorClient
    from homeport.kernels.sessions import Sessions

_NOTICE = "kernel"


class KernelLink:
    """See the module.

    Args:
        room: whose ``kernel`` and ``link`` state and whose metadata are kept.
        path: the document's API path.
        changed: called after every change of the kernel or of the link to the supervisor.
    """

    def __init__(self, *, room: Room, supervisor: SupervisorClient, sessions: Sessions, path: str, changed: Callable[[], None]) -> None:
        self.path = path
        self._room = room
        self._supervisor = supervisor
        self._sessions = sessions
        self._changed = changed
        self._lock = asyncio.Lock()
        self._waiting: list[asyncio.Future[None]] = []
        self._failed: dict[str, JSON] | None = None
        self._kernel_id = ""
        self._unsubscribe = (supervisor.subscribe(self._on_kernel), sessions.subscribe(self._on_session))

    def close(self) -> None:
        """Stop listening. The kernel stays."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    @property
    def connected(self) -> bool:
        """Whether the supervisor can be reached just now."""
        return self._supervisor.connected

    @property
    def info(self) -> KernelInfo | None:
        """The kernel of the document's session, dead or alive; None when there is none."""
        session = self._sessions.by_path(self.path)
        return self._supervisor.kernels.get(session.kernel_id) if session is not None else None

    async def change(self) -> None:
        """Wait for the next change of a kernel of this document or of the link to the supervisor."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    async def ensure(self) -> KernelInfo:
        """A kernel that takes requests: the session's, or a new one.

        A kernel that has died is started again: the person who runs a cell has seen that it died.

        Raises:
            NotFound: there is no such kernelspec; ``data["choices"]`` has the names of others.
            KernelFailed: it died at start.
        """
        async with self._lock:
            while True:
                info = self.info
                if not self.connected or (info is not None and info.state in ("starting", "restarting")):
                    await self.change()
                elif info is not None and info.state != "dead":
                    return info
                else:
                    return await (self._start(self._wanted()) if info is None else self._revive(info))

    async def start(self, name: str) -> KernelInfo:
        """Change to a new kernel of the kernelspec ``name``. Errors as for :meth:`ensure`."""
        async with self._lock:
            return await self._start(name)

    async def interrupt(self) -> None:
        """Interrupt the kernel. Raises KernelGone when there is none."""
        await self._supervisor.interrupt(self._there().kernel_id)

    async def restart(self) -> KernelInfo:
        """Restart the kernel; all its variables are gone. Raises KernelGone when there is none."""
        async with self._lock:
            info = await self._supervisor.restart(self._there().kernel_id)
            self._succeeded()
            return info

    async def shutdown(self) -> None:
        """Shut the kernel down and end its session. Raises KernelGone when there is none."""
        async with self._lock:
            session = self._sessions.by_path(self.path)
            if session is None:
                raise KernelGone("The notebook has no kernel.")
            await self._sessions.delete(session.id)

    def failed(self, error: HomeportError) -> None:
        """No kernel could be had: say why, and what else there is."""
        reason, stderr = error.data.get("reason"), error.data.get("stderr")
        name = error.data.get("kernelspec") or self._wanted() or ""
        self._failed = {
            "id": None,
            "name": name,
            "display_name": name,
            "language": "",
            "state": "dead",
            "generation": 0,
            "lost": False,
            "reason": str(reason or error.message),
            "stderr": str(stderr or ""),
        }
        choices = cast("list[JSON]", error.data.get("choices") or [])
        self._room.notice(_NOTICE, "error", error.message, action={"op": "start_kernel", "choices": choices})
        self.show()

    async def check(self) -> None:
        """Say at once that the kernel which the notebook wants is not installed, and not only when somebody runs a cell.

        Waits for the supervisor. Raises SupervisorUnavailable when it goes away again meanwhile.
        """
        while not self.connected:
            await self.change()
        wanted = self._wanted()
        if self.info is not None or wanted is None:
            return
        specs = await self._supervisor.kernelspecs()
        if wanted not in specs.specs and self.info is None and self._failed is None:
            text = f"The kernel {wanted!r}, which this notebook wants, is not installed on this machine. Choose another to run it."
            self._room.notice(_NOTICE, "warning", text, action={"op": "start_kernel", "choices": _choices(specs)})

    def show(self) -> None:
        """Tell pages what the kernel is now."""
        info = self.info
        self._room.set_state("link", {"supervisor": self.connected, "reason": self._supervisor.problem})
        if info is None:
            self._room.set_state("kernel", self._failed)
            return
        fields = ("name", "display_name", "language", "state", "generation", "reason", "stderr", "lost")
        self._room.set_state("kernel", {"id": info.kernel_id, **{field: getattr(info, field) for field in fields}})

    async def describe(self, info: KernelInfo) -> None:
        """Write the kernelspec into the notebook's metadata, as JupyterLab does; nothing when it says so already."""
        found = (await self._supervisor.kernelspecs()).specs.get(info.name)
        if found is not None:
            spec = {key: found.spec.get(key, "") for key in ("display_name", "language")}
            self.set_metadata("kernelspec", {**cast("dict[str, JSON]", spec), "name": info.name})

    def set_metadata(self, key: str, value: JSON) -> None:
        """Set one key of the notebook's metadata if it is another now."""
        metadata = self._room.meta.get("metadata")
        if isinstance(metadata, Map):
            shared = cast("Map[object]", metadata)
            there = shared.get(key)
            if (read(cast("Map[object]", there)) if isinstance(there, Map) else there) != plain(value):
                with self._room.transaction("kernel"):
                    shared[key] = plain(value)

    def _there(self) -> KernelInfo:
        info = self.info
        if info is None:
            raise KernelGone("The notebook has no kernel.")
        return info

    def _wanted(self) -> str | None:
        """The kernelspec that the notebook names."""
        metadata = self._room.meta.get("metadata")
        members = cast("dict[str, JSON]", read(cast("Map[object]", metadata))) if isinstance(metadata, Map) else {}
        spec = members.get("kernelspec")
        name = spec.get("name") if isinstance(spec, dict) else None
        return name if isinstance(name, str) and name else None

    async def _start(self, name: str | None) -> KernelInfo:
        specs = await self._supervisor.kernelspecs()
        choices = _choices(specs)
        if name is not None and name not in specs.specs:
            message = f"The kernel {name!r}, which the notebook wants, is not installed on this machine. Choose another, or install it."
            raise NotFound(message, kernelspec=name, choices=choices)
        self._room.set_state("kernel", _starting(name or specs.default, specs))
        session = self._sessions.by_path(self.path)
        try:
            if session is None:
                session = await self._sessions.create(path=self.path, name=self.path.rsplit("/", 1)[-1], kernel_name=name)
            else:
                session = await self._sessions.change(session.id, kernel_name=name or specs.default)
        except HomeportError as error:
            error.data.setdefault("choices", choices)
            error.data.setdefault("kernelspec", name or specs.default)
            raise
        finally:
            self.show()
        self._succeeded()
        info = self.info
        if info is None:
            raise KernelGone(f"The kernel of {self.path} ended as soon as it was started.", choices=choices)
        return info

    async def _revive(self, dead: KernelInfo) -> KernelInfo:
        info = await self._supervisor.restart(dead.kernel_id)
        self._succeeded()
        text = f"The kernel had ended ({dead.reason}), so a new one was started. What earlier cells defined is gone."
        self._room.notice("kernel-revived", "warning", text)
        return info

    def _succeeded(self) -> None:
        self._failed = None
        self._room.drop_notice(_NOTICE)
        self._room.drop_notice("kernel-revived")
        self.show()

    def _on_session(self, path: str) -> None:
        if path == self.path:
            self._tell()

    def _on_kernel(self, info: KernelInfo | None) -> None:
        if info is None:
            self._tell()
            return
        # The session of a kernel that goes is gone before we hear of it.
        current = self.info
        if info.kernel_id in (self._kernel_id, current.kernel_id if current else ""):
            self._tell()

    def _tell(self) -> None:
        info = self.info
        self._kernel_id = info.kernel_id if info is not None else ""
        if info is not None and info.state != "dead":
            # Whoever started it: that none could be had is over.
            self._failed = None
            self._room.drop_notice(_NOTICE)
        self.show()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._changed()


def _choices(specs: Kernelspecs) -> list[JSON]:
    """Names and labels of all kernelspecs, the default one first."""
    names = sorted(specs.specs, key=lambda name: (name != specs.default, name))
    return [{"name": name, "display_name": cast("JSON", specs.specs[name].spec.get("display_name", name))} for name in names]


def _starting(name: str, specs: Kernelspecs) -> JSON:
    spec = specs.specs[name].spec if name in specs.specs else {}
    return {
        "id": None,
        "name": name,
        "state": "starting",
        "generation": 0,
        "reason": "",
        "stderr": "",
        "lost": False,
        "display_name": cast("JSON", spec.get("display_name", name)),
        "language": cast("JSON", spec.get("language", "")),
    }
