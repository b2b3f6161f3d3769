"""An unexpected log line of level warning or above fails the test that caused it.

Lines of this process are caught here; lines of a real server are judged by harness.server with the same marks:
``@pytest.mark.expect_log("regular expression")``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest


class _Collect(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


def expected(request: pytest.FixtureRequest) -> list[re.Pattern[str]]:
    """The patterns of the test's ``expect_log`` marks."""
    return [re.compile(pattern) for mark in request.node.iter_markers("expect_log") for pattern in mark.args]


def unexpected(lines: list[str], patterns: list[re.Pattern[str]]) -> list[str]:
    """The lines that no pattern matches."""
    return [line for line in lines if not any(pattern.search(line) for pattern in patterns)]


@pytest.fixture(autouse=True)
def log_guard(home: object, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test when it logged a warning or an error that it did not expect."""
    collect = _Collect()
    root = logging.getLogger()
    root.addHandler(collect)
    try:
        yield
    finally:
        root.removeHandler(collect)
    lines = unexpected(collect.lines, expected(request))
    if lines:
        pytest.fail("Unexpected log lines (expect_log names expected ones):\n  " + "\n  ".join(lines), pytrace=False)
