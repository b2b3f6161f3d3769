"""``/files/<path>``: files as they are, for downloads and for pages that show them; and the blobs of open notebooks.

What a user's file holds is never trusted: HTML and SVG run in a sandbox on a null origin, nothing is sniffed, nothing can be embedded
by another site.
"""

from __future__ import annotations

import asyncio
import codecs
import mimetypes
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from itertools import accumulate
from pathlib import Path

import msgspec

from homeport.core import paths
from homeport.core.comms import widget_models
from homeport.errors import BadRequest, NotFound
from homeport.stores.files import regular
from homeport.web.base import Handler, content_disposition
from homeport.web.contents import served
from homeport.web.gate import Kind
from homeport.web.pages import Shown

SANDBOX = "sandbox allow-scripts allow-popups allow-forms allow-downloads; frame-ancestors 'self'"
"""For what a user's notebook or file holds: it may run, and nothing that it does is done in the name of our origin."""

_PIECE = 1 << 18
_SHOWN = frozenset({"text/html", "text/plain", "text/xml"})
# Bytes of a file that tell whether it is text.
_HEAD = 4096
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Files(Shown):
    """``/files/<path>``. Somebody who follows a link to text in a browser is shown it, whatever kind of text it is."""

    kind = Kind.CONTENT

    async def get(self, path: str) -> None:
        """GET and HEAD: the file, or a range of it; ``download=1`` to save it."""
        path = served(path)
        self.set_header("Content-Security-Policy", SANDBOX)
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Accept-Ranges", "bytes")
        attachment = self.get_query_argument("download", "") not in ("", "0", "false")
        self.set_header("Content-Disposition", content_disposition(paths.name(path), attachment=attachment))
        self.set_header("Content-Type", _type_of(path))
        whole = await self.parts.documents.model(path) if paths.is_notebook(path) else None
        if whole is not None:
            # The open document is newer than its file.
            await self._send(sum(map(len, whole)), _reader(whole))
            return
        real = self.parts.store.absolute(path)
        handle, size, modified = await asyncio.to_thread(_open, real, path)
        try:
            self.set_header("Last-Modified", formatdate(modified, usegmt=True))
            self.set_header("ETag", f'"{modified:.6f}-{size}"')
            self.set_header("Vary", "Accept")
            if self.wants_html() and not attachment and await asyncio.to_thread(_only_saved_though_text, path, handle):
                self.set_header("Content-Type", "text/plain; charset=utf-8")
            if self.check_etag_header():
                self.set_status(304)
                return
            await self._send(size, partial(os.pread, handle))
        finally:
            os.close(handle)

    async def head(self, path: str) -> None:
        """As GET, without the body."""
        await self.get(path)

    async def _send(self, size: int, read: Callable[[int, int], bytes]) -> None:
        first, last = self._range(size)
        self.set_header("Content-Length", str(last - first + 1))
        if self.request.method == "HEAD":
            return
        for start in range(first, last + 1, _PIECE):
            count = min(_PIECE, last + 1 - start)
            piece = await asyncio.to_thread(read, count, start)
            if len(piece) < count:
                # It became shorter while it was sent; the length was promised, so the connection has to break.
                await self.send_piece(piece)
                self.detach().close()
                return
            await self.send_piece(piece)

    def _range(self, size: int) -> tuple[int, int]:
        """First and last byte to send (RFC 9110, section 14); a range that we do not understand is ignored."""
        match = _RANGE.fullmatch(self.request.headers.get("Range", "").strip())
        condition = self.request.headers.get("If-Range")
        if match is None or match[0] == "bytes=-" or (condition and condition != self._headers.get("ETag")):
            return 0, size - 1
        first = int(match[1]) if match[1] else max(0, size - int(match[2]))
        last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
        if first >= size or first > last:
            self.set_header("Content-Range", f"bytes */{size}")
            raise _BadRange(f"The file has {size} bytes.", size=size)
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {first}-{last}/{size}")
        return first, last


def _reader(pieces: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """Reads ``count`` bytes from ``start`` on of what stands in pieces, as ``os.pread`` reads a file."""
    ends = list(accumulate(map(len, pieces)))

    def read(count: int, start: int) -> bytes:
        found: list[bytes] = []
        for number in range(bisect_right(ends, start), len(pieces)):
            if count <= 0:
                break
            at = start - (ends[number] - len(pieces[number]))
            found.append(pieces[number][at : at + count])
            start += len(found[-1])
            count -= len(found[-1])
        return b"".join(found)

    return read


class _BadRange(BadRequest):
    """Nothing of that range is in the file."""

    code = "bad_range"
    status = 416


def _open(real: Path, path: str) -> tuple[int, int, float]:
    """A descriptor, the size, and the time of the last change."""
    try:
        regular(os.stat(real), path)
        # Not blocking: a named pipe would wait for its writer for ever.
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"“{path}” does not exist.", path=path) from None
    facts = os.fstat(handle)
    return handle, facts.st_size, facts.st_mtime


def _type_of(path: str) -> str:
    if paths.is_notebook(path):
        return "application/x-ipynb+json"
    kind, encoding = mimetypes.guess_type(path)
    if encoding is not None:  # a .tar.gz is to be saved as it is, not unpacked on the way
        return "application/octet-stream"
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in ("application/json", "application/javascript") else kind


def _only_saved_though_text(path: str, handle: int) -> bool:
    """Whether browsers would save the file for its type (they show but a few), and it is text to look at. Reads its beginning."""
    kind, encoding = mimetypes.guess_type(path)
    if encoding is not None or kind in _SHOWN or (kind is not None and not kind.startswith("text/")):
        return False
    head = os.pread(handle, _HEAD, 0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


class StreamText(Handler):
    """``/api/documents/streams/<key>``: the whole text of a long stream in an open notebook."""

    kind = Kind.CONTENT

    async def get(self, key: str) -> None:
        """GET: plain text; ``download=1`` to save it."""
        body = await self.parts.documents.stream_text(key)
        self.set_header("Content-Security-Policy", SANDBOX)
        attachment = self.get_query_argument("download", "") not in ("", "0", "false")
        self.set_header("Content-Disposition", content_disposition("output.txt", attachment=attachment))
        await self.send_body(body, "text/plain; charset=utf-8")


class Blob(Handler):
    """``/api/documents/blobs/<sha256>``: a big output of an open notebook."""

    kind = Kind.CONTENT

    async def get(self, name: str) -> None:
        """GET."""
        body, kind = await self.parts.documents.blobs.content(name)
        self.set_header("Content-Security-Policy", SANDBOX)
        self.set_header("Cache-Control", "private, max-age=31536000, immutable")
        self.set_header("Content-Disposition", content_disposition(name[:12], attachment=False))
        await self.send_body(body, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)


class Widgets(Handler):
    """``/api/documents/widgets/<path>``: the widgets of an open notebook's kernel, with their buffers, as nbformat keeps them."""

    async def get(self, path: str) -> None:
        """GET: ``application/vnd.jupyter.widget-state+json``."""
        document = await self.parts.documents.open(served(path))
        state: dict[str, msgspec.Raw] = {}
        for comm_id, model in widget_models(list(document.runner.comms)):
            state[comm_id] = msgspec.Raw(msgspec.json.encode(model))
            await asyncio.sleep(0)  # together they may have megabytes of buffers
        await self.send_json({"version_major": 2, "version_minor": 0, "state": state})
