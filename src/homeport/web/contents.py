"""``/api/contents``: files, folders and notebooks, as Jupyter has them.

An open notebook wins over its file: what is read comes from the document, what is written is merged into it, and a rename or
delete tells it. What is hidden is not served. Big bodies go through files and another process (``uploads.py``, ``notebook_worker.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec
from tornado.web import stream_request_body

from homeport.auth.policies import Policy
from homeport.core import paths
from homeport.errors import BadRequest, Conflict, Forbidden, HomeportError, NotFound, StoreFailed, TooLarge
from homeport.protocol.rest import CheckpointModel, ContentsModel, NewContents, RenameContents, timestamp
from homeport.stores.base import Stat
from homeport.stores.files import pieces_of
from homeport.stores.welcome import NAME as WELCOME
from homeport.stores.welcome import welcome_notebook
from homeport.web import notebook_json
from homeport.web.base import COMPRESSED, Handler, read_json
from homeport.web.file_json import as_json
from homeport.web.gate import Rules
from homeport.web.notebook_json import Saving
from homeport.web.parts import Parts
from homeport.web.uploads import Upload

T = TypeVar("T")

LARGEST_BODY = 2 * 1024**3
"""Bytes of the largest upload in one request; larger files come in pieces."""
LARGEST_READ = 512 * 1024**2
"""Bytes of the largest file that is given inside JSON; larger ones are at ``/files/``."""
SMALL = 1024 * 1024
"""Up to this many bytes JSON is read in the server's own process, in a thread: some ms."""
_IN_MEMORY = 256 * 1024
_EMPTY_NOTEBOOK = b'{\n "cells": [],\n "metadata": {},\n "nbformat": 4,\n "nbformat_minor": 5\n}\n'
_UNTITLED = {"directory": "Untitled Folder", "notebook": "Untitled", "file": "untitled"}


def served(path: str) -> str:
    """An API path in its normal form.

    Raises:
        BadRequest, Forbidden: it is none (``core/paths.py``).
        NotFound: it is hidden.
    """
    path = paths.parse(path)
    if paths.is_hidden(path):
        raise NotFound(f"“{path}” is hidden, and hidden files are not served.", path=path)
    return path


def model_of(stat: Stat) -> ContentsModel:
    """The model of an entry, without content."""
    kind = "file" if stat.type == "broken" else stat.type
    model = ContentsModel(
        name=paths.name(stat.path),
        path=stat.path,
        last_modified=timestamp(stat.modified),
        created=timestamp(stat.created),
        type=kind,
        size=stat.size,
        writable=stat.writable,
    )
    if stat.type == "broken":
        model.broken = stat.why
    elif kind == "file":
        model.mimetype = mimetypes.guess_type(stat.path)[0]
    return model


class ContentsHandler(Handler):
    """Base of the handlers here."""

    def served_to_caller(self, path: str) -> str:
        """:func:`served`, for a path in a body: the gate has seen the one in the address only.

        Raises:
            Forbidden: it is outside of the caller's scope.
        """
        path = served(path)
        if not self.who.scope.covers(path):
            raise Forbidden(f"What you logged in with is good for the files in “{self.who.scope.folder}” only.", reason="Scope", path=path)
        return path

    @property
    def folder(self) -> Path:
        """Where bodies and answers wait, private to this user."""
        return self.parts.folders.state / "uploads"

    async def model(self, path: str) -> ContentsModel:
        """The model of ``path``, without content."""
        return model_of(await self.parts.store.stat(path))

    async def notebook(self, path: str) -> bytes:
        """A notebook's JSON as the API gives it, from the open document or the file.

        Raises:
            InvalidNotebook: the file is no notebook.
        """
        whole = await self.parts.documents.model(path)
        if whole is not None:
            return await self.for_api(whole, path)
        stat = await self.parts.store.stat(path)
        if (stat.size or 0) <= SMALL:
            return await self.for_api([(await self.parts.store.read(path))[0]], path)
        return await self._big_for_api(self.parts.store.absolute(path), path)

    async def for_api(self, content: Sequence[bytes], path: str) -> bytes:
        """A notebook's JSON as the API gives it, from the pieces of its file.

        Raises:
            InvalidNotebook: it is no notebook.
        """
        if sum(map(len, content)) <= SMALL:
            return await asyncio.to_thread(notebook_json.for_api, b"".join(content), path)
        with contextlib.closing(await asyncio.to_thread(Upload, self.folder, content)) as source:
            return await self._big_for_api(source.file, path)

    async def _big_for_api(self, file: Path, path: str) -> bytes:
        with contextlib.closing(await asyncio.to_thread(Upload, self.folder)) as answer:
            await self.parts.notebook_worker.work("for_api", file, answer.file, path)
            return await answer.read()


@stream_request_body
class Contents(ContentsHandler):
    """``/api/contents/<path>``."""

    def initialize(self, parts: Parts, rules: Rules, policy: Policy | None = None) -> None:
        """Take what the table of routes gives."""
        super().initialize(parts, rules, policy)
        self._upload: Upload | None = None
        self._held = bytearray()
        self._over = False
        self._failure: HomeportError | None = None

    # ---- the body ----

    def prepare(self) -> None:
        """Pass the gate; only then a big body is taken."""
        super().prepare()
        connection = self.request.connection
        if self.request.method == "PUT" and connection is not None:
            connection.set_max_body_size(LARGEST_BODY)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """A piece of the body: small bodies stay in memory. The next is read when what is returned is done."""
        if self._over or self._finished:
            return None
        self._held += chunk
        return self._to_file() if len(self._held) > _IN_MEMORY else None

    async def _to_file(self) -> None:
        held, self._held = self._held, bytearray()
        try:
            if self._upload is None:
                self._upload = await asyncio.to_thread(Upload, self.folder)
                if self._over:
                    self._upload.close()
            await asyncio.to_thread(self._upload.take, held)
        except OSError as error:
            # Said when the whole request is there: a client that is still sending reads no answer.
            self._failure = StoreFailed(f"What was sent cannot be kept: {error.strerror or error} (the state folder).")
            self._over = True

    def on_finish(self) -> None:
        """Forget the body."""
        super().on_finish()
        self.on_connection_close()

    def on_connection_close(self) -> None:
        """Forget the body of a client that has left."""
        self._over = True
        super().on_connection_close()
        if self._upload is not None:
            self._upload.close()

    async def _raw_body(self) -> bytes:
        upload = await self._complete()
        return bytes(self._held) if upload is None else await upload.read()

    async def _complete(self) -> Upload | None:
        """The file that has the whole body; None when it is small."""
        if self._upload is not None:
            await self._to_file()
        if self._failure is not None:
            raise self._failure
        return self._upload

    async def _body(self, type: type[T]) -> T:
        return read_json(await self._raw_body(), type)

    # ---- reading ----

    async def get(self, path: str | None = None) -> None:
        """GET: a file, a notebook, or a folder with its entries (``type``, ``format``, ``content``, ``hash``)."""
        path = served(path or "")
        wanted = self.get_query_argument("type", "") or None
        form = self.get_query_argument("format", "") or None
        if wanted not in (None, "directory", "file", "notebook"):
            raise BadRequest(f"There is no type {wanted!r}.", reason="bad type")
        if form not in (None, "text", "base64", "json"):
            raise BadRequest(f"There is no format {form!r}.", reason="bad format")
        content = self._flag("content", default=True)
        stat = await self.parts.store.stat(path)
        model = model_of(stat)
        if (model.type == "directory") != (wanted == "directory") and wanted is not None:
            is_folder = model.type == "directory"
            raise BadRequest(f"“{path}” is {'a folder' if is_folder else 'not a folder'}.", reason="bad type", path=path)
        if wanted is not None:
            model.type = wanted
        if model.type == "directory":
            await self.send_body(await self._listing(model, path) if content else msgspec.json.encode(model), "application/json")
            return
        if model.type == "file" and stat.type == "notebook":
            model.mimetype = "application/json"
        if self._flag("hash", default=False):
            model.hash, model.hash_algorithm = await self.parts.store.hash(path), "sha256"
        pieces: Sequence[bytes] = await self._content(model, stat, form) if content else ()
        if sum(map(len, pieces)) > COMPRESSED:
            await self._send_big(model, pieces)
            return
        if pieces:
            model.content = msgspec.Raw(b"".join(pieces))
        await self.send_json(model)

    async def _send_big(self, model: ContentsModel, content: Sequence[bytes]) -> None:
        """Send a model whose content is not to be copied into one JSON: that would hold up everybody."""
        mark = msgspec.json.encode(uuid.uuid4())
        model.content = msgspec.Raw(mark)
        before, _, after = msgspec.json.encode(model).partition(mark)
        self.set_header("Content-Type", "application/json")
        await self.send_parts(before, *content, after)

    def _flag(self, name: str, *, default: bool) -> bool:
        value = self.get_query_argument(name, "1" if default else "0")
        if value not in ("0", "1"):
            raise BadRequest(f"{name} can be 0 or 1, not {value!r}.", reason=f"bad {name}")
        return value == "1"

    async def _listing(self, model: ContentsModel, path: str) -> bytes:
        entries = [model_of(stat) for stat in await self.parts.store.list(path) if not stat.hidden]
        model.content = msgspec.Raw(msgspec.json.encode(entries))
        model.format = "json"
        return msgspec.json.encode(model)

    async def _content(self, model: ContentsModel, stat: Stat, format: str | None) -> Sequence[bytes]:
        """The content of a file as JSON, in pieces; what it is stands in the model then."""
        if model.type == "notebook":
            model.format = "json"
            return [await self.notebook(stat.path)]
        if (stat.size or 0) > LARGEST_READ:
            message = f"“{stat.path}” is too big to be given as JSON; get it from files/{stat.path}."
            raise TooLarge(message, path=stat.path, limit=LARGEST_READ)
        # A notebook that is asked for as text is that of the open document too.
        whole = await self.parts.documents.model(stat.path) if stat.type == "notebook" else None
        if whole is None:
            whole = [(await self.parts.store.read(stat.path))[0]]
        wanted = "text" if format == "text" else "base64" if format == "base64" else None
        pieces, model.format = await asyncio.to_thread(as_json, whole, wanted, stat.path)
        if model.mimetype is None:
            model.mimetype = "text/plain" if model.format == "text" else "application/octet-stream"
        return pieces

    # ---- writing ----

    async def post(self, path: str | None = None) -> None:
        """POST: something new in a folder: untitled, a copy of a file, or the welcoming notebook."""
        folder = served(path or "")
        stat = await self.parts.store.stat(folder)
        if stat.type != "directory":
            raise BadRequest(f"“{folder}” is not a folder.", path=folder)
        body = await self._body(NewContents)
        if body.welcome:
            new = await self._welcome(folder)
        else:
            new = await self._copy(folder, body.copy_from) if body.copy_from else await self._untitled(folder, body)
        await self._created(await self.model(new))

    async def _created(self, model: ContentsModel) -> None:
        self.set_header("Location", f"{self.base_url}api/contents/{quote(model.path)}")
        await self.send_json(model, status=201)

    async def _untitled(self, folder: str, body: NewContents) -> str:
        kind = body.type or ("notebook" if body.ext == ".ipynb" else "file")
        if "/" in body.ext or "\0" in body.ext:
            raise BadRequest("An extension cannot hold a slash.", field="ext")
        ending = ".ipynb" if kind == "notebook" else "" if kind == "directory" else body.ext
        gap = " " if kind == "directory" else ""
        async for path in self._free(folder, _UNTITLED[kind], ending, gap):
            with contextlib.suppress(Conflict):
                if kind == "directory":
                    await self.parts.store.make_folder(path)
                else:
                    await self.parts.store.write(path, _EMPTY_NOTEBOOK if kind == "notebook" else b"", create_only=True)
                return path
        raise Conflict(f"“{folder}” is full of things called {_UNTITLED[kind]}.", path=folder)

    async def _welcome(self, folder: str) -> str:
        notebook = await asyncio.to_thread(welcome_notebook)
        async for path in self._free(folder, WELCOME.removesuffix(".ipynb"), ".ipynb", " "):
            with contextlib.suppress(Conflict):
                await self.parts.store.write(path, notebook, create_only=True)
                return path
        raise Conflict(f"“{folder}” is full of welcoming notebooks.", path=folder)

    async def _copy(self, folder: str, source: str) -> str:
        source = self.served_to_caller(source)
        stem, dot, ending = paths.name(source).rpartition(".")
        if not dot:
            stem, ending = ending, ""
        # Jupyter's names: a.ipynb, a-Copy1.ipynb, a-Copy2.ipynb; a copy of a copy is not called -Copy1-Copy1.
        stem = re.sub(r"-Copy\d*$", "", stem)
        whole = await self.parts.documents.model(source)
        async for path in self._free(folder, f"{stem}-Copy", dot + ending, "", first=1):
            with contextlib.suppress(Conflict):
                if whole is not None:
                    await self.parts.store.write(path, whole, size=sum(map(len, whole)), create_only=True)
                else:
                    await self.parts.store.copy(source, path)
                return path
        raise Conflict(f"“{folder}” is full of copies.", path=folder)

    async def _free(self, folder: str, stem: str, ending: str, gap: str, first: int = 0) -> AsyncIterator[str]:
        taken = {paths.name(stat.path) for stat in await self.parts.store.list(folder)}
        for number in range(first, first + len(taken) + 10):
            name = f"{stem}{gap if number else ''}{number or ''}{ending}"
            if name not in taken:
                yield paths.join(folder, name)

    async def put(self, path: str | None = None) -> None:
        """PUT: a file, a notebook or a folder; with ``chunk`` a piece of a file."""
        path = served(path or "")
        if not path:
            raise BadRequest("A file needs a name.")
        there = await self._there(path)
        upload = await self._complete()
        if upload is not None and upload.size > SMALL:
            with contextlib.closing(await asyncio.to_thread(Upload, self.folder)) as result:
                saving = await self.parts.notebook_worker.work("read_body", upload.file, result.file, path)
                assert saving is not None
                await self._put(path, saving, result.file, there)
        else:
            body = await self._raw_body()
            saving, data = await asyncio.to_thread(notebook_json.read_body, body, path)
            await self._put(path, saving, data, there)
        model = await self.model(path) if await self._there(path) is not None else _unfinished(path)
        if there is None:
            await self._created(model)
        else:
            await self.send_json(model)

    async def _there(self, path: str) -> Stat | None:
        try:
            return await self.parts.store.stat(path)
        except NotFound:
            return None

    async def _put(self, path: str, saving: Saving, data: bytes | Path, there: Stat | None) -> None:
        if saving.type == "directory":
            if there is None:
                await self.parts.store.make_folder(path)
            elif there.type != "directory":
                raise Conflict(f"“{path}” is a file.", path=path)
        elif there is not None and there.type == "directory":
            raise BadRequest(f"“{path}” is a folder.", path=path)
        elif saving.copy_from:
            await self.parts.store.copy(self.served_to_caller(saving.copy_from), path)
        elif saving.chunk is None:
            await self._store(path, data)
        else:
            await self.parts.pieces.add(path, saving.chunk, data)
            if saving.chunk == -1:
                with self.parts.pieces.whole(path) as file:
                    await self._store(path, file)

    async def _store(self, path: str, data: bytes | Path) -> None:
        if paths.is_notebook(path):
            await self.parts.documents.write(path, [data] if isinstance(data, bytes) else data)
        elif isinstance(data, bytes):
            await self.parts.store.write(path, data)
        else:
            await self.parts.store.write(path, pieces_of(data), size=data.stat().st_size)

    async def patch(self, path: str | None = None) -> None:
        """PATCH: another name or folder."""
        path = served(path or "")
        wanted = (await self._body(RenameContents)).path
        if not wanted:
            raise BadRequest("The body needs the new path.", field="path")
        new = self.served_to_caller(wanted)
        if new != path:
            await self.parts.store.rename(path, new)
            await self.parts.documents.renamed(path, new)
            await self.parts.sessions.renamed(path, new)
        model = await self.model(new)
        self.set_header("Location", f"{self.base_url}api/contents/{quote(model.path)}")
        await self.send_json(model)

    async def delete(self, path: str | None = None) -> None:
        """DELETE: to the trash; the session of a notebook ends with it, and its kernel unless another session uses it."""
        path = served(path or "")
        await self.parts.store.delete(path)
        # Pages are told why before their kernel goes.
        await self.parts.documents.deleted(path)
        await self.parts.sessions.deleted(path)
        self.set_status(204)


class CheckpointList(ContentsHandler):
    """``/api/contents/<path>/checkpoints``: the states of the last saves, and those that were asked for."""

    async def get(self, path: str) -> None:
        """GET: all of them, the oldest first."""
        path = served(path)
        await self.parts.store.stat(path)
        documents = self.parts.documents
        found = await asyncio.to_thread(documents.history.list, self.parts.store.absolute(path))
        await self.send_json([CheckpointModel(each.id, timestamp(each.at)) for each in found])

    async def post(self, path: str) -> None:
        """POST: keep the file as it is now; an open notebook is saved first."""
        path = served(path or "")
        documents = self.parts.documents
        document = documents.get(path)
        if document is not None:
            await document.saver.save()
        content, digest = await self.parts.store.read(path)
        file = self.parts.store.absolute(path)
        made = await asyncio.to_thread(documents.history.keep, file, [content], digest)
        if made is None:
            kept = await asyncio.to_thread(documents.history.list, file)
            if not kept:
                raise BadRequest("This server keeps no history (--history-count=0), and so no checkpoints.")
            made = kept[-1]
        await self.send_json(CheckpointModel(made.id, timestamp(made.at)), status=201)


class OneCheckpoint(ContentsHandler):
    """``/api/contents/<path>/checkpoints/<id>``."""

    async def post(self, path: str, checkpoint: str) -> None:
        """POST: bring that state back."""
        path = served(path)
        documents = self.parts.documents
        if documents.get(path) is not None:
            await documents.restore(path, checkpoint)
        else:
            content = await asyncio.to_thread(documents.history.read, self.parts.store.absolute(path), checkpoint)
            if paths.is_notebook(path):
                await documents.write(path, content)
            else:
                await self.parts.store.write(path, content, size=sum(map(len, content)))
        self.set_status(204)

    async def delete(self, path: str, checkpoint: str) -> None:
        """DELETE."""
        path = served(path)
        await asyncio.to_thread(self.parts.documents.history.remove, self.parts.store.absolute(path), checkpoint)
        self.set_status(204)


class TrustNotebook(ContentsHandler):
    """``/api/contents/<path>/trust``: nothing to do, since no output of ours ever runs on the server's origin."""

    async def post(self, path: str) -> None:
        """POST."""
        await self.parts.store.stat(served(path))
        self.set_status(201)


class NotebooksRedirect(Handler):
    """``/api/notebooks/<path>``: where ``/api/contents`` was in old versions."""

    def get(self, path: str | None = None) -> None:
        """Every method: to the new address."""
        self.redirect(f"{self.base_url}api/contents/{quote(path or '')}", status=308)

    put = patch = post = delete = get


def _unfinished(path: str) -> ContentsModel:
    """The model of a file of which only some pieces have come."""
    return ContentsModel(paths.name(path), path, timestamp(0), timestamp(0), "file", None, writable=True)
