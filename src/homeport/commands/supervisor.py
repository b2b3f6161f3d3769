"""``homeport supervisor``: run the supervisor in the foreground, for a look at it, or for systemd. Servers start one by themselves."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Hand over to the supervisor's own entry."""
    from homeport.supervisor.__main__ import main

    return main(arguments)
