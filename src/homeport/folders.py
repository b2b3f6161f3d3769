"""Where state, configuration and runtime files live.

State: ``$XDG_STATE_HOME/homeport`` (the XDG base directory specification).
Configuration: Jupyter's (``JUPYTER_CONFIG_DIR``), runtime: ``JUPYTER_RUNTIME_DIR``
or its default below Jupyter's data folder. Never ``/run/user/UID``: a logout without
linger empties it, and kernels outlive logouts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# The longest path that fits sun_path with its final NUL, less room for a socket's own name below it.
_LONGEST_SOCKET_FOLDER = 107 - 45


def private(folder: Path) -> Path:
    """Create ``folder`` (and parents) with mode 0700, and return it.

    Raises:
        PermissionError: it exists and belongs to somebody else, or is open to others and cannot be closed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; Homeport keeps its sockets and state only in a folder of yours")
    if facts.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def keep_private(file: Path, content: bytes) -> None:
    """Write ``content`` to ``file``, atomically, readable by its owner only.

    Its time of change is that of now to the nanosecond, not that of the file system's last tick: one file that took another's
    place, and its inode's number, within a tick can be told from it.

    Raises:
        OSError: the folder cannot be written.
    """
    private(file.parent)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # 0600 from the start
    try:
        with open(handle, "wb") as target:
            target.write(content)
        now = time.time_ns()
        os.utime(temporary, ns=(now, now))
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _goes_at_logout(folder: Path) -> bool:
    login = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder.is_relative_to("/run/user") or (bool(login) and folder.is_relative_to(login))


@dataclass(frozen=True)
class Folders:
    """The folders of one user on one host. Nothing is created until it is asked for through :func:`private`."""

    state: Path
    config: Path
    runtime: Path
    sockets: Path
    """The supervisor's socket and the kernels' ipc sockets: short enough for ``sun_path``, one per user and host."""

    @property
    def own(self) -> tuple[Path, ...]:
        """All of them: what is in them may be secret, and is never served."""
        return (self.state, self.config, self.runtime, self.sockets)

    @classmethod
    def from_environment(cls) -> Folders:
        """Read ``HOME``, ``XDG_STATE_HOME``, ``JUPYTER_CONFIG_DIR`` and ``JUPYTER_RUNTIME_DIR``."""
        from jupyter_core.paths import jupyter_config_dir, jupyter_runtime_dir

        xdg = os.environ.get("XDG_STATE_HOME", "")
        state = Path(xdg) if os.path.isabs(xdg) else Path.home() / ".local" / "state"
        runtime = Path(jupyter_runtime_dir())
        host = socket.gethostname().split(".")[0] or "localhost"
        sockets = runtime / f"homeport-{host}"
        if len(os.fsencode(sockets)) > _LONGEST_SOCKET_FOLDER or _goes_at_logout(sockets):
            # /tmp is shared: the owner check in private() is what makes this safe.
            short = hashlib.sha256(os.fsencode(sockets)).hexdigest()[:16]
            sockets = Path("/tmp") / f"homeport-{os.getuid()}-{short}"
        return cls(state=state / "homeport", config=Path(jupyter_config_dir()), runtime=runtime, sockets=sockets)
