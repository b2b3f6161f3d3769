"""Every option, command and route is in the reference, as the tables in the code have it."""

from __future__ import annotations

import sys

from harness.tools import run


def test_the_reference_is_up_to_date() -> None:
    run(sys.executable, "tools/reference.py", "--check")
