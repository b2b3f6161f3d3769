"""Tells the audit log which kernels run and when they end, whoever caused it: a page, a client, a command or the kernel itself.

Who asked for it stands in the lines of the requests; a notebook's own kernel is started for the page that opened it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homeport.auth.audit import Audit
    from homeport.kernels.client import KernelInfo


class KernelAudit:
    """Follows the kernels of a supervisor.

    Args:
        since: seconds since the epoch; kernels that were started before are known already.
    """

    def __init__(self, audit: Audit, since: float) -> None:
        self._audit = audit
        self._since = since
        self._running: dict[str, int] = {}

    def note(self, info: KernelInfo | None) -> None:
        """A kernel has changed; None says that the link to the supervisor was lost or found, which tells nothing of kernels."""
        if info is None:
            return
        facts: dict[str, Any] = {"kernel": info.kernel_id, "name": info.name, "generation": info.generation, "folder": info.cwd}
        if info.state == "dead":
            if self._running.pop(info.kernel_id, None) is not None:
                self._audit.record("kernel gone", reason=info.reason, **facts)
        elif self._running.get(info.kernel_id) != info.generation:
            self._running[info.kernel_id] = info.generation
            if info.started >= self._since:
                self._audit.record("kernel running", pid=info.pid, **facts)
