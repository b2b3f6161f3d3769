"""The open WebSockets: how many a kernel has, and which to close when a login or the server ends."""

from __future__ import annotations

from collections import Counter
from typing import Protocol


class Closable(Protocol):
    """An open WebSocket."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Say goodbye."""
        ...

    def abort(self) -> None:
        """Leave without one."""
        ...


class Connections:
    """The open WebSockets of a server."""

    def __init__(self) -> None:
        self._open: dict[Closable, tuple[str, str]] = {}
        self._kernels: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def logins(self) -> frozenset[str]:
        """Ids of the logins that have one."""
        return frozenset(login for login, _ in self._open.values())

    @property
    def kernels(self) -> frozenset[str]:
        """Ids of the kernels that have one."""
        return frozenset(self._kernels)

    def count(self, kernel_id: str) -> int:
        """How many a kernel has."""
        return self._kernels[kernel_id]

    def add(self, socket: Closable, *, login: str, kernel_id: str = "") -> None:
        """A socket has been opened."""
        self._open[socket] = (login, kernel_id)
        if kernel_id:
            self._kernels[kernel_id] += 1

    def remove(self, socket: Closable) -> None:
        """A socket is gone; not an error when it never was here."""
        _, kernel_id = self._open.pop(socket, ("", ""))
        if kernel_id:
            self._kernels[kernel_id] -= 1
            if not self._kernels[kernel_id]:
                del self._kernels[kernel_id]

    def close_login(self, login: str) -> None:
        """A login has ended: its sockets end."""
        for socket, (of, _) in tuple(self._open.items()):
            if of == login:
                socket.close(4401, "This login has ended.")

    def close_all(self) -> None:
        """The server ends."""
        for socket in tuple(self._open):
            socket.close(1001, "The server is going away; it may be back soon.")

    def abort_all(self) -> None:
        """The server has ended: whoever did not read its goodbye is left."""
        for socket in tuple(self._open):
            socket.abort()
