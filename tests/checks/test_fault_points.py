"""The table of faults has a row for everything that must be survived."""

from __future__ import annotations

from pathlib import Path

from harness.faults import POINTS

FAULTS = Path(__file__).parents[1] / "faults"


def test_every_point_is_counted_somewhere() -> None:
    sources = "".join(file.read_text() for file in FAULTS.glob("test_*.py"))
    absent = [point for point in POINTS if f'record_fault("{point}"' not in sources and f'"{point}",' not in sources]
    assert not absent
