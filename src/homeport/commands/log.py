"""The server's log on the terminal: one line a record, whatever is in it."""

from __future__ import annotations

import logging
import sys


class OneLine(logging.Formatter):
    """``[I 2026-01-31 12:00:00 homeport.web] message``, as Jupyter writes its own.

    Line ends inside a message are shown as ``\\n``, so that nobody can forge a record.
    A traceback follows its record on indented lines.
    """

    def __init__(self) -> None:
        super().__init__("[%(levelname).1s %(asctime)s %(name)s] %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """See :class:`logging.Formatter`."""
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")

    def formatException(self, ei: object) -> str:  # noqa: N802  # logging's name
        """See :class:`logging.Formatter`."""
        return "    " + super().formatException(ei).replace("\n", "\n    ")  # pyright: ignore[reportArgumentType]


def set_up_log(level: str) -> None:
    """Send records from ``level`` up (``debug info warning error``) to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Libraries tell their life stories at "info".
    for name in ("asyncio", "tornado.general", "watchfiles", "traitlets"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
