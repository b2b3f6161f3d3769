"""As process 1 of a container: fork, let the child be the server, and be a tiny init for it.

Process 1 inherits every orphan of its container and has to reap it. The server cannot do that itself: a
``waitpid(-1)`` would take the exit status of the children that it waits for. So process 1 stays behind here, small
(nothing has been imported yet), hands signals on, and leaves with the server's exit status.
"""

from __future__ import annotations

import os
import signal

_KERNEL_SENT = 0x80
"""``SI_KERNEL`` of Linux's siginfo: a terminal sent this to its whole foreground group, so the child has it already."""

_HANDED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT}


def stay_behind_as_init() -> bool:
    """When this is process 1, fork; the parent never returns from here.

    Returns:
        True in a child whose parent is such an init; False when this is not process 1, and then nothing has happened.
    """
    if os.getpid() != 1:
        return False
    # Blocked before the fork, so that no signal falls between the fork and the first wait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return True
    os._exit(_watch(child))


def _watch(child: int) -> int:
    while True:
        facts = signal.sigwaitinfo(_HANDED_ON | {signal.SIGCHLD})
        if facts.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status
        elif facts.si_code != _KERNEL_SENT:
            os.kill(child, facts.si_signo)


def _reap(child: int) -> int | None:
    """Take every process that has ended; the exit status (128 + signal, as shells have it) when ``child`` is among them."""
    ended: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            ended = code if code >= 0 else 128 - code
