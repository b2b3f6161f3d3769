"""One server at a time holds a document: an OS lock on a file of the document's id.

The lock goes with its process, however that ends. The file says who holds it, so that the other server can be named.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

from homeport.errors import Locked
from homeport.folders import private


class DocumentLock:
    """The lock of one document. Held from :meth:`take` to :meth:`release`.

    Args:
        folder: the folder of the lock files; made (private) when it is not there.
        document: the document's id.
    """

    def __init__(self, folder: Path, document: str) -> None:
        self._folder = folder
        self._name = f"{document}.lock"
        self._descriptor: int | None = None

    def take(self, *, path: str, url: str) -> None:
        """Take the lock, and write down who holds it.

        Args:
            path: the notebook, for the error.
            url: where this server is reached; told to a server that is refused.

        Raises:
            Locked: another server holds it; ``data`` has its ``url`` when known.
        """
        descriptor = os.open(private(self._folder) / self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            where = holder.get("url") or (f"process {holder['pid']}" if "pid" in holder else "")
            message = (
                f"“{path}” is open in another Homeport server{f' ({where})' if where else ''}; open it there, or close it there first."
            )
            raise Locked(message, path=path, **holder) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        # Who holds it is only told: a full disk is no reason not to open a notebook.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two servers lock two files of one name."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _holder(descriptor: int) -> dict[str, object]:
    try:
        found: object = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return {key: value for key, value in found.items() if key in ("pid", "url")} if isinstance(found, dict) else {}  # type: ignore[reportUnknownVariableType]
