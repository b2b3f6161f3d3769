"""The built user interface: which files there are, which a page needs first, and how they are sent."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from homeport.errors import NotFound
from homeport.web.base import Handler
from homeport.web.gate import Kind

FOLDER = Path(__file__).resolve().parent.parent / "static"
"""Where the build puts them."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))


class PageAssets(msgspec.Struct, frozen=True):
    """What a page's shell loads first; names are relative to the static folder."""

    script: str
    styles: Sequence[str] = ()
    preload: Sequence[str] = ()


@dataclass
class Assets:
    """The built files of one folder. ``pages.json`` there names what each page needs (written by the build)."""

    folder: Path = FOLDER
    _version: int = 0
    _pages: Mapping[str, PageAssets] | None = None

    def of_page(self, page: str) -> PageAssets | None:
        """What ``page`` needs first; None when the user interface has not been built."""
        file = self.folder / "pages.json"
        try:
            version = os.stat(file).st_mtime_ns
            if self._pages is None or version != self._version:
                self._pages = msgspec.json.decode(file.read_bytes(), type=dict[str, PageAssets])
                self._version = version
        except (OSError, msgspec.MsgspecError):
            return None
        return self._pages.get(page)

    def find(self, name: str) -> Path:
        """The file of ``name``.

        Raises:
            NotFound: there is none, or it is not in the folder.
        """
        parts = name.split("/")
        if name and "\0" not in name and not any(part in ("", ".", "..") or part.startswith(".") for part in parts):
            file = self.folder.joinpath(*parts)
            if file.is_file() and file.resolve().is_relative_to(self.folder.resolve()):
                return file
        raise NotFound("There is no such part of the user interface; perhaps the server has been upgraded: reload the page.")

    def read(self, name: str, encodings: Collection[str]) -> tuple[str, str, bytes]:
        """The suffix of ``name``, the content coding of the built file that serves best, and its bytes. For threads.

        Args:
            encodings: the content codings that the client takes.

        Raises:
            NotFound: see :meth:`find`.
        """
        file = self.find(name)
        for encoding, ending in _ENCODINGS:
            packed = file.with_name(file.name + ending)
            if encoding in encodings and packed.is_file():
                return file.suffix.lower(), encoding, packed.read_bytes()
        return file.suffix.lower(), "", file.read_bytes()


ASSETS = Assets()
"""Those that came with this package."""


class AssetHandler(Handler):
    """``/static/<name>``: the file, compressed as it was built, cached for ever: the names hold a hash."""

    kind = Kind.ASSET

    async def get(self, name: str) -> None:
        """GET and HEAD."""
        accepted = {word.partition(";")[0].strip() for word in self.request.headers.get("Accept-Encoding", "").split(",")}
        suffix, encoding, body = await asyncio.to_thread(ASSETS.read, name, accepted)
        if encoding:
            self.set_header("Content-Encoding", encoding)
        self.set_header("Vary", "Accept-Encoding")
        self.set_header("Content-Type", _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream")
        # Files at the top (pages.json) keep their names from build to build.
        self.set_header("Cache-Control", "public, max-age=31536000, immutable" if "/" in name else "no-cache")
        self.set_header("Content-Length", str(len(body)))
        if self.request.method != "HEAD":
            self.end(body)

    async def head(self, name: str) -> None:
        """As GET, without the body."""
        await self.get(name)
