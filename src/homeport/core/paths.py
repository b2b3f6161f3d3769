"""API paths: how a path in a URL or a frame names a file below the served folder. Pure: no file system is looked at.

An API path is relative to the root, ``/``-separated, without a leading or trailing slash; the root is ``""``. Whether
links lead out of the root is the store's to find out (:func:`contains` compares what it resolved).
"""

from __future__ import annotations

import posixpath

from homeport.errors import BadRequest, Forbidden

_LONGEST_NAME = 255


def parse(path: str) -> str:
    """The normal form of ``path`` as a client sent it (already percent-decoded).

    Raises:
        BadRequest: it holds a NUL, a name that no file system takes, or text that is not Unicode.
        Forbidden: it goes above the root.
    """
    if "\0" in path:
        raise BadRequest("A path cannot hold a NUL character.")
    names: list[str] = []
    for name in path.split("/"):
        if name in ("", "."):
            continue
        if name == "..":
            raise Forbidden("The path leaves the served folder: it holds “..”.", path=path)
        try:
            length = len(name.encode())
        except UnicodeEncodeError as error:
            raise BadRequest("A path has to be Unicode text.") from error
        if length > _LONGEST_NAME:
            raise BadRequest(f"A name has at most {_LONGEST_NAME} bytes; “{name[:40]}…” has {length}.")
        names.append(name)
    return "/".join(names)


def parent(path: str) -> str:
    """The folder that holds ``path`` (in normal form)."""
    return posixpath.dirname(path)


def name(path: str) -> str:
    """The last component of ``path`` (in normal form)."""
    return posixpath.basename(path)


def join(folder: str, entry: str) -> str:
    """The path of ``entry`` in ``folder``."""
    return f"{folder}/{entry}" if folder else entry


def is_hidden(path: str) -> bool:
    """Whether a component of ``path`` begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def is_notebook(path: str) -> bool:
    """Whether ``path`` names a notebook, by its extension, as Jupyter decides it."""
    return path.endswith(".ipynb")


def contains(root: str, path: str) -> bool:
    """Whether the absolute, resolved ``path`` is ``root`` or lies below it, by component: /srv/a does not contain /srv/ab."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def moved(path: str, old: str, new: str) -> str | None:
    """Where ``path`` is after ``old`` (a file or a folder) became ``new``; None when it is not affected."""
    if path == old:
        return new
    if path.startswith(old + "/"):
        return new + path[len(old) :]
    return None
