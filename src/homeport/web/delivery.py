"""How far what was written to a client has arrived at the other end of its TCP connection.

Jupyter's clients acknowledge nothing, and what was handed to the system may still be lost with the link. The system knows which
bytes the other end has not acknowledged; what was written before those has arrived there (at a proxy, if there is one).
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from collections import deque


def unacknowledged(link: socket.socket) -> int:
    """Bytes that the system has taken and the other end has not acknowledged: ``SIOCOUTQ`` of tcp(7); ``SO_NWRITE`` on macOS."""
    try:
        if sys.platform == "darwin":
            return link.getsockopt(socket.SOL_SOCKET, 0x1024)
        return int(struct.unpack("i", fcntl.ioctl(link, termios.TIOCOUTQ, b"\0" * 4))[0])
    except OSError:
        return 0  # the link is gone; what it took last is not known


class Delivery:
    """The writes to one client that have not arrived yet."""

    def __init__(self) -> None:
        self._written = 0
        self._marks: deque[tuple[int, int]] = deque()

    def wrote(self, size: int, seq: int) -> None:
        """``size`` bytes were written, which hold everything up to ``seq``."""
        self._written += size
        self._marks.append((self._written, seq))

    @property
    def pending(self) -> bool:
        """Whether something was written that is not known to have arrived."""
        return bool(self._marks)

    def arrived(self, waiting: int) -> int | None:
        """The seq up to which everything has arrived when the last ``waiting`` bytes have not; None: no further than was told."""
        seq = None
        while self._marks and self._marks[0][0] <= self._written - waiting:
            seq = self._marks.popleft()[1]
        return seq
