"""Runs the layers in their order, and says at the end which promises were shown and what was left out, and why."""

from __future__ import annotations

from collections import Counter

import pytest

from harness import manifest


def _layer(item: pytest.Item) -> int:
    parts = item.nodeid.split("/")
    name = parts[1] if len(parts) > 1 and parts[0] == "tests" else parts[0]
    return manifest.LAYERS.index(name) if name in manifest.LAYERS else len(manifest.LAYERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_layer)  # stable: cheap and telling layers first


def _test_name(nodeid: str) -> str:
    return nodeid.removeprefix("tests/").split("[", 1)[0]


def _outcomes(reporter: pytest.TerminalReporter) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, []):
            if isinstance(report, pytest.TestReport):
                found.setdefault(_test_name(report.nodeid), set()).add("failed" if outcome == "error" else outcome)
    return found


def _verdict(row: manifest.Row, outcomes: dict[str, set[str]]) -> str:
    seen: Counter[str] = Counter()
    for test in row.tests:
        for name, results in outcomes.items():
            if name == test or name.startswith(test + "::"):
                seen.update(["failed" if "failed" in results else "passed" if "passed" in results else "skipped"])
    if not seen:
        return "not run"
    return ", ".join(f"{seen[word]} {word}" for word in ("passed", "failed", "skipped") if seen[word])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = _outcomes(terminalreporter)
    if len(outcomes) < 30:
        return  # somebody runs a few tests: the summary of the whole would only push them off the screen
    terminalreporter.section("what was shown")
    for row in manifest.rows():
        terminalreporter.write_line(f"{row.kind:10} {row.key:24} {_verdict(row, outcomes):28} {row.says}")
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reasons[str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix("Skipped: ")] += 1
    terminalreporter.section("what was left out")
    for reason, times in reasons.most_common():
        terminalreporter.write_line(f"{times:4} x {reason}")
    if not reasons:
        terminalreporter.write_line("nothing")
