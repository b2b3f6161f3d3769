"""How far property tests look: quickly for every commit, further with ``HYPOTHESIS_PROFILE=deep`` (`make deep`).

No profile has a deadline for one example: on a busy machine that would test the machine.
"""

from __future__ import annotations

import os

from hypothesis import settings

_DEEP = 25

settings.register_profile("quick", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=100 * _DEEP)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def examples(quick: int) -> int:
    """How many examples a test shall see that sees ``quick`` of them on every commit."""
    return quick * _DEEP if settings.get_current_profile_name() == "deep" else quick
