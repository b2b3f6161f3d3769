"""The guard against left-behind processes sees what it must see."""

from __future__ import annotations

import subprocess
import sys

from harness import processes


def test_a_detached_child_is_found_and_a_dead_one_is_not(test_id: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        assert [left.pid for left in processes.marked(test_id)] == [child.pid]
        assert processes.wait_gone(test_id, 0.0)
    finally:
        child.communicate(b"\n")
    assert processes.wait_gone(test_id, 5) == []


def test_another_tests_processes_are_not_mine() -> None:
    assert processes.marked("no-such-test") == []
