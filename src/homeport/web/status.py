"""The server itself over REST: ``/api``, ``/api/status``, ``/api/me``, ``/api/shutdown``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import cast

import msgspec

from homeport import __version__
from homeport.auth.policies import Action
from homeport.errors import BadRequest
from homeport.protocol.rest import IdentityModel, MeModel, timestamp
from homeport.web.base import Handler


class Version(Handler):
    """``/api``: the version; all that a stranger is told."""

    async def get(self) -> None:
        """GET."""
        await self.send_json({"version": __version__})


class Status(Handler):
    """``/api/status``."""

    async def get(self) -> None:
        """GET, as Jupyter has it; ``homeport`` is ours: the longest stall of the event loop, and the link to the supervisor."""
        parts = self.parts
        kernels = parts.supervisor.kernels.values()
        longest = parts.loop_watch.longest
        if "reset_stall" in self.request.arguments:
            parts.loop_watch.reset()
        ours = {
            "version": __version__,
            "longest_stall_ms": round(longest.seconds * 1000, 1),
            "longest_stall_work_ms": round(longest.work * 1000, 1),
            "longest_stall_page_reads": longest.reads,
            "supervisor": parts.supervisor.connected,
        }
        await self.send_json(
            {
                "started": timestamp(parts.started),
                "last_activity": timestamp(max([parts.started, *(info.last_activity for info in kernels)])),
                "connections": parts.connections.total,
                "kernels": len(kernels),
                "homeport": ours,
            }
        )


class Me(Handler):
    """``/api/me``: who asks, and which of the permissions asked about they have."""

    async def get(self) -> None:
        """GET: ``?permissions={"contents": ["read", "write"]}``."""
        try:
            asked = msgspec.json.decode(self.get_query_argument("permissions", "{}"), type=dict[str, list[str]])
        except (msgspec.MsgspecError, json.JSONDecodeError):
            raise BadRequest('permissions must be JSON such as {"contents": ["read"]}.', field="permissions") from None
        permits = self.parts.auth.authorizer.permits
        permissions = {
            resource: [action for action in actions if permits(self.who, cast("Action", action), resource)]
            for resource, actions in asked.items()
        }
        await self.send_json(MeModel(IdentityModel(**asdict(self.who.identity)), permissions))


class _Shutdown(msgspec.Struct):
    kernels: str = "shutdown"


class Shutdown(Handler):
    """``/api/shutdown``: ends the server; as in Jupyter its kernels too, unless the body says ``{"kernels": "keep"}``."""

    async def post(self) -> None:
        """POST."""
        kernels = self.json_body(_Shutdown).kernels
        if kernels not in ("keep", "shutdown"):
            raise BadRequest("kernels can be 'keep' or 'shutdown'.", field="kernels")
        self.end()
        self.parts.stop(kernels == "shutdown")
