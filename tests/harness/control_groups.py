"""Linux's control groups, of either version: which ones this process is in, and the removal of others."""

from __future__ import annotations

import os
import time
from pathlib import Path


def memory_can_be_limited() -> bool:
    """Whether a machine can have a limit of memory here: not below a group whose children have none (cgroup v2)."""
    if not Path("/proc/self/cgroup").exists():  # not Linux
        return False
    groups = own_groups()
    children = [group / "cgroup.subtree_control" for group in groups]
    return any((group / "memory.limit_in_bytes").exists() for group in groups) or any(
        "memory" in file.read_text().split() for file in children if file.exists()
    )


def own_groups() -> list[Path]:
    """This process' control groups of the hierarchies that matter to a systemd, and of memory."""
    groups: list[Path] = []
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, options = after.split()[0], after.split()[2].split(",")
        mounted_root, point = before.split()[3:5]
        name = "" if kind == "cgroup2" else next((each for each in ("name=systemd", "memory") if each in options), None)
        if kind in ("cgroup", "cgroup2") and name is not None and name in own:
            groups.append(Path(point) / os.path.relpath(own[name], mounted_root))
    return groups


def remove_group(group: Path) -> None:
    """With those in it. Its processes are gone, but Linux takes its time to notice."""
    deadline = time.monotonic() + 10
    for folder in [*sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True), group]:
        while True:
            try:
                folder.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
