"""Kernels, kernelspecs and sessions over REST, as Jupyter has them."""

from __future__ import annotations

import contextlib
import mimetypes
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from homeport.core import paths
from homeport.errors import BadRequest, NotFound, SupervisorUnavailable
from homeport.kernels.environment import kernel_environment
from homeport.kernels.sessions import Session
from homeport.protocol.rest import KernelModel, KernelspecModel, KernelspecsModel, NewKernel, SessionBody, SessionModel, timestamp
from homeport.web.base import Handler
from homeport.web.gate import Kind
from homeport.web.parts import Parts

if TYPE_CHECKING:
    from homeport.kernels.client import KernelInfo, Kernelspec

UNKNOWN = "unknown"


def kernel_model(info: KernelInfo, connections: int) -> KernelModel:
    """Jupyter's model of a kernel."""
    model = KernelModel(info.kernel_id, info.name, timestamp(info.last_activity), info.state, connections)
    if info.reason:
        model.reason = info.reason
        model.stderr = info.stderr
    return model


class KernelHandler(Handler):
    """Base of the handlers here."""

    async def info(self, kernel_id: str) -> KernelInfo:
        """Raises NotFound, and SupervisorUnavailable while it is not known which kernels there are."""
        await self.parts.supervisor.known()
        info = self.parts.supervisor.kernels.get(kernel_id)
        if info is None:
            raise NotFound(f"There is no kernel {kernel_id}.", kernel=kernel_id)
        return info

    def model(self, info: KernelInfo) -> KernelModel:
        """The model, with how many sockets it has."""
        return kernel_model(info, self.parts.connections.count(info.kernel_id))


class Kernels(KernelHandler):
    """``/api/kernels``."""

    async def get(self) -> None:
        """GET: all of them."""
        await self.parts.supervisor.known()
        await self.send_json([self.model(info) for info in self.parts.supervisor.kernels.values()])

    async def post(self) -> None:
        """POST: a new one, without a session."""
        body = self.json_body(NewKernel)
        path = paths.parse(body.path)
        folder = self.parts.store.absolute(path)
        cwd = folder if folder.is_dir() else folder.parent if folder.parent.is_dir() else self.parts.store.absolute("")
        name = body.name or (await self.parts.supervisor.kernelspecs()).default
        info = await self.parts.supervisor.start_kernel(name, cwd=str(cwd), env=kernel_environment(os.environ, folder if path else None))
        self.set_header("Location", f"{self.base_url}api/kernels/{info.kernel_id}")
        await self.send_json(self.model(info), status=201)


class OneKernel(KernelHandler):
    """``/api/kernels/<id>``."""

    async def get(self, kernel_id: str) -> None:
        """GET."""
        await self.send_json(self.model(await self.info(kernel_id)))

    async def delete(self, kernel_id: str) -> None:
        """DELETE: shut it down."""
        await self.info(kernel_id)
        await self.parts.supervisor.shutdown(kernel_id)
        self.set_status(204)


class KernelAction(KernelHandler):
    """``/api/kernels/<id>/interrupt`` and ``/restart``."""

    async def post(self, kernel_id: str, action: str) -> None:
        """POST."""
        await self.info(kernel_id)
        if action == "interrupt":
            await self.parts.supervisor.interrupt(kernel_id)
            self.set_status(204)
        else:
            await self.send_json(self.model(await self.parts.supervisor.restart(kernel_id)))


def _spec_model(parts: Parts, name: str, spec: Kernelspec) -> KernelspecModel:
    base = f"{parts.settings.base_url}kernelspecs/{quote(name)}/"
    return KernelspecModel(name, spec.spec, {key: base + quote(file) for key, file in spec.resources.items()})


class Kernelspecs(Handler):
    """``/api/kernelspecs``."""

    async def get(self) -> None:
        """GET: all of them."""
        found = await self.parts.supervisor.kernelspecs()
        models = {name: _spec_model(self.parts, name, spec) for name, spec in found.specs.items()}
        await self.send_json(KernelspecsModel(found.default, models))


class OneKernelspec(Handler):
    """``/api/kernelspecs/<name>``."""

    async def get(self, name: str) -> None:
        """GET."""
        found = (await self.parts.supervisor.kernelspecs()).specs.get(name)
        if found is None:
            raise NotFound(f"There is no kernelspec {name}.", kernelspec=name)
        await self.send_json(_spec_model(self.parts, name, found))


class KernelspecFile(Handler):
    """``/kernelspecs/<name>/<file>``: a logo, or a script for JupyterLab."""

    kind = Kind.API

    async def get(self, name: str, file: str) -> None:
        """GET."""
        body = await self.parts.supervisor.kernelspec_file(name, file)
        self.set_header("Cache-Control", "private, max-age=3600")
        await self.send_body(body, mimetypes.guess_type(file)[0] or "application/octet-stream")


class SessionHandler(KernelHandler):
    """Base of the handlers of sessions."""

    def session_model(self, session: Session) -> SessionModel:
        """Jupyter's model of a session."""
        info = self.parts.supervisor.kernels.get(session.kernel_id)
        # While the supervisor is away its kernels are not known, and are not gone either.
        kernel = self.model(info) if info is not None else KernelModel(session.kernel_id, "", timestamp(0), UNKNOWN, 0)
        model = SessionModel(session.id, session.path, session.name, session.type, kernel)
        if session.type == "notebook":
            model.notebook = {"path": session.path, "name": session.name}
        return model


class Sessions(SessionHandler):
    """``/api/sessions``."""

    async def get(self) -> None:
        """GET: all of them."""
        with contextlib.suppress(SupervisorUnavailable):
            await self.parts.supervisor.known()
        await self.send_json([self.session_model(session) for session in self.parts.sessions.list()])

    async def post(self) -> None:
        """POST: the session of a path; a new one when there is none."""
        body = self.json_body(SessionBody)
        path = body.path or (body.notebook.path if body.notebook else None)
        if not path:
            raise BadRequest("A session needs a path.", field="path")
        kernel = body.kernel
        session = await self.parts.sessions.create(
            path=paths.parse(path),
            type=body.type or "notebook",
            name=body.name or (body.notebook.name if body.notebook else None) or "",
            kernel_name=kernel.name if kernel else None,
            kernel_id=kernel.id if kernel else None,
        )
        self.set_header("Location", f"{self.base_url}api/sessions/{session.id}")
        await self.send_json(self.session_model(session), status=201)


class OneSession(SessionHandler):
    """``/api/sessions/<id>``."""

    async def get(self, session_id: str) -> None:
        """GET."""
        await self.send_json(self.session_model(self.parts.sessions.get(session_id)))

    async def patch(self, session_id: str) -> None:
        """PATCH: another path, name, type or kernel."""
        body = self.json_body(SessionBody)
        path = body.path or (body.notebook.path if body.notebook else None)
        before = self.parts.sessions.get(session_id)
        kernel = body.kernel
        kernel_id = kernel.id if kernel and kernel.id != before.kernel_id else None
        session = await self.parts.sessions.change(
            session_id,
            path=paths.parse(path) if path else None,
            name=body.name,
            type=body.type,
            # A model that is sent back whole names the kernel it has.
            kernel_name=kernel.name if kernel and kernel.name and not kernel.id else None,
            kernel_id=kernel_id,
        )
        await self.send_json(self.session_model(session))

    async def delete(self, session_id: str) -> None:
        """DELETE: the session and its kernel."""
        await self.parts.sessions.delete(session_id)
        self.set_status(204)
