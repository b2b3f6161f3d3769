"""Where a login may lead afterwards: a path on this server, never another site. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote

# One slash, then no second one; no backslash (browsers read it as a slash), no control characters, no whitespace.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def safe_next(wanted: str | None, base_url: str) -> str:
    """``wanted`` when it is a path below ``base_url`` on this server, otherwise ``base_url``.

    Args:
        wanted: a ``next`` argument, percent-encoded once as browsers send it in a Location.
        base_url: starts and ends with a slash.
    """
    if not wanted or not _LOCAL.fullmatch(wanted):
        return base_url
    # Some proxy may decode once more than we do: what is left must be a local path too.
    path = unquote(wanted.partition("?")[0].partition("#")[0])
    if not _LOCAL.fullmatch(path.replace(" ", "")) or ".." in path.split("/") or "//" in path:
        return base_url
    return wanted if path.startswith(base_url) or path + "/" == base_url else base_url
