"""``/api/history``: the states of the last saves of a notebook: which there are, what changed since, and going back to one."""

from __future__ import annotations

import asyncio

import msgspec

from homeport.protocol.rest import timestamp
from homeport.web.contents import ContentsHandler, served


class VersionModel(msgspec.Struct):
    """A kept state. ``size``: bytes of the file."""

    id: str
    last_modified: str
    size: int


class VersionList(ContentsHandler):
    """``/api/history/<path>``."""

    async def get(self, path: str) -> None:
        """GET: what is kept, the newest first."""
        path = served(path)
        await self.parts.store.stat(path)
        found = await asyncio.to_thread(self.parts.documents.history.list, self.parts.store.absolute(path))
        await self.send_json([VersionModel(each.id, timestamp(each.at), each.size) for each in reversed(found)])


class OneVersion(ContentsHandler):
    """``/api/history/<path>/versions/<id>``."""

    async def get(self, path: str, version: str) -> None:
        """GET: that state as a notebook."""
        path = served(path)
        content = await asyncio.to_thread(self.parts.documents.history.read, self.parts.store.absolute(path), version)
        await self.send_json(await self.for_api(content, path))

    async def post(self, path: str, version: str) -> None:
        """POST: make that state the notebook's again."""
        await self.parts.documents.restore(served(path), version)
        self.set_status(204)


class VersionDiff(ContentsHandler):
    """``/api/history/<path>/versions/<id>/diff``."""

    async def get(self, path: str, version: str) -> None:
        """GET: what changed from that state to the notebook of now, cell by cell."""
        await self.send_json(await self.parts.documents.compare(served(path), version))
