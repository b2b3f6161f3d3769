"""Counting out-of-memory kills: by the files of a control group, also when systemd has removed the group with its last process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from homeport.supervisor.processes import MemoryKills


class Group:
    """The files of a control group of one kernel, in the slice of all kernels, as Linux has them."""

    def __init__(self, folder: Path) -> None:
        self.above = folder
        self.own = folder / "homeport-kernel-1.scope"
        self.own.mkdir()
        self.counts = {self.own: 0, self.above: 5}
        self._write()

    def kill(self, *, own: bool) -> None:
        for folder in (self.own, self.above) if own else (self.above,):
            self.counts[folder] += 1
        self._write()

    def _write(self) -> None:
        for folder, count in self.counts.items():
            (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax {count}\noom {count}\noom_kill {count}\noom_group_kill 0\n")


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_kill_is_counted_though_the_group_may_be_gone(group: Group, own: bool, gone: bool) -> None:
    kills = MemoryKills(group.own / "memory.events")
    assert not kills.happened()
    if own:
        group.kill(own=True)
    if gone:
        shutil.rmtree(group.own)
    assert kills.happened() is own


def test_the_kill_of_another_is_not_its_own(group: Group) -> None:
    kills = MemoryKills(group.own / "memory.events")
    group.kill(own=False)
    kills.look()
    shutil.rmtree(group.own)
    assert not kills.happened()


def test_a_look_between_the_kill_and_the_end_does_not_forget_it(group: Group) -> None:
    kills = MemoryKills(group.own / "memory.events")
    group.kill(own=True)
    kills.look()
    shutil.rmtree(group.own)
    assert kills.happened()


def test_version_1_counts_in_another_file(tmp_path: Path) -> None:
    file = tmp_path / "memory.oom_control"
    file.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    kills = MemoryKills(file)
    assert not kills.happened()
    file.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert kills.happened()


def test_where_nothing_is_counted_nothing_happened() -> None:
    assert not MemoryKills(None).happened()
