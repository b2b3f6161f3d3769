"""kernels/sessions.py: one session per path, kept in a file, gone with its kernel.

The supervisor here is a fake that only keeps a mapping of kernels: what is tested is the book-keeping.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from homeport.errors import NotFound
from homeport.folders import Folders
from homeport.kernels.environment import kernel_environment
from homeport.kernels.sessions import Session, Sessions


@dataclass
class FakeSupervisor:
    kernels: dict[str, Any] = field(default_factory=dict)
    connected: bool = True
    callbacks: list[Any] = field(default_factory=list)
    started: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def subscribe(self, callback: Any) -> Any:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    async def kernelspecs(self) -> Any:
        return SimpleNamespace(default="python3", specs={})

    async def start_kernel(self, name: str, *, cwd: str, env: dict[str, str], kernel_id: str | None = None) -> Any:
        await asyncio.sleep(0)
        self.started.append((name, cwd, env))
        info = SimpleNamespace(kernel_id=kernel_id or f"k{len(self.started)}", name=name)
        self.kernels[info.kernel_id] = info
        return info

    async def shutdown(self, kernel_id: str) -> None:
        if kernel_id not in self.kernels:
            raise NotFound("There is no such kernel.")
        self.stopped.append(kernel_id)
        self.ends(kernel_id)

    def ends(self, kernel_id: str) -> None:
        info = self.kernels.pop(kernel_id)
        for callback in tuple(self.callbacks):
            callback(info)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(state=tmp_path / "state", config=tmp_path / "config", runtime=tmp_path / "run", sockets=tmp_path / "s")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "deep").mkdir(parents=True)
    return tmp_path / "root"


async def test_one_session_per_path_even_when_asked_at_once(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    sessions = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    both = await asyncio.gather(sessions.create(path="deep/a.ipynb"), sessions.create(path="deep/a.ipynb"))
    assert both[0] == both[1]
    ((name, cwd, env),) = supervisor.started
    assert name == "python3"
    assert cwd == str(root / "deep")
    assert env["JPY_SESSION_NAME"] == str(root / "deep" / "a.ipynb")


async def test_sessions_outlive_the_server_and_go_with_their_kernel(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    first = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    session = await first.create(path="a.ipynb", name="a.ipynb")
    first.close()

    second = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    assert second.by_path("a.ipynb") == session
    changed: list[str] = []
    second.subscribe(changed.append)
    supervisor.ends(session.kernel_id)
    assert changed == ["a.ipynb"]
    assert second.list() == []
    deadline = time.monotonic() + 10
    while Sessions(folders, supervisor, root).list():  # type: ignore[arg-type]
        assert time.monotonic() < deadline, "the session is still in the file"
        await asyncio.sleep(0.01)  # another thread writes it


async def test_nothing_is_pruned_while_the_supervisor_is_away(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    sessions = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    session = await sessions.create(path="a.ipynb")
    kept = dict(supervisor.kernels)
    supervisor.kernels.clear()
    supervisor.connected = False
    supervisor.callbacks[0](None)
    await asyncio.sleep(0)
    assert sessions.list() == [session]
    supervisor.kernels.update(kept)
    supervisor.connected = True
    supervisor.callbacks[0](None)
    await asyncio.sleep(0)
    assert sessions.list() == [session]


async def test_two_servers_of_one_root_see_each_others_sessions(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    one = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    two = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    a = await one.create(path="a.ipynb")
    b = await two.create(path="b.ipynb")
    assert {s.id for s in one.list()} == {s.id for s in two.list()} == {a.id, b.id}


async def test_a_renamed_folder_takes_its_sessions_along(folders: Folders, root: Path) -> None:
    sessions = Sessions(folders, FakeSupervisor(), root)  # type: ignore[arg-type]
    await sessions.create(path="deep/a.ipynb", name="a.ipynb")
    await sessions.create(path="deeper/a.ipynb", name="mine")
    await sessions.renamed("deep", "shallow")
    assert {s.path for s in sessions.list()} == {"shallow/a.ipynb", "deeper/a.ipynb"}
    await sessions.renamed("shallow/a.ipynb", "b.ipynb")
    found = sessions.by_path("b.ipynb")
    assert found is not None
    assert found.name == "b.ipynb"


async def test_a_renamed_session_is_found_before_that_is_written(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    sessions = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    session = await sessions.create(path="a.ipynb")
    renaming = asyncio.create_task(sessions.renamed("a.ipynb", "b.ipynb"))
    await asyncio.sleep(0)
    assert (await sessions.create(path="b.ipynb")).id == session.id, "no second kernel"
    await renaming
    assert [each.path for each in Sessions(folders, supervisor, root).list()] == ["b.ipynb"]  # type: ignore[arg-type]
    assert len(supervisor.kernels) == 1


async def test_changes_at_once_leave_no_kernel_to_nobody(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    sessions = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    for number in range(10):
        session = await sessions.create(path=f"{number}.ipynb")
        results = await asyncio.gather(
            sessions.change(session.id, kernel_name="ir"),
            sessions.delete(session.id),
            sessions.renamed(f"{number}.ipynb", f"{number}-renamed.ipynb"),
            sessions.create(path=f"{number}-other.ipynb"),
            return_exceptions=True,
        )
        assert all(result is None or isinstance(result, Session | NotFound) for result in results), results
        deadline = time.monotonic() + 10
        while {each.kernel_id for each in Sessions(folders, supervisor, root).list()} != set(supervisor.kernels):  # type: ignore[arg-type]
            assert time.monotonic() < deadline, "a kernel without a session, or a session without a kernel"
            await asyncio.sleep(0.01)  # what is over is forgotten by tasks of their own


async def test_a_kernel_ends_with_its_last_session(folders: Folders, root: Path) -> None:
    supervisor = FakeSupervisor()
    sessions = Sessions(folders, supervisor, root)  # type: ignore[arg-type]
    one = await sessions.create(path="a.ipynb")
    two = await sessions.create(path="console", type="console", kernel_id=one.kernel_id)
    await sessions.delete(one.id)
    assert supervisor.stopped == []
    await sessions.change(two.id, kernel_name="ir")
    assert supervisor.stopped == [one.kernel_id]
    assert [*supervisor.kernels] == [sessions.get(two.id).kernel_id]
    with pytest.raises(NotFound):
        await sessions.delete(one.id)
    with pytest.raises(NotFound):
        await sessions.create(path="b.ipynb", kernel_id="nope")


def test_a_kernel_gets_the_environment_without_the_servers_secrets() -> None:
    env = kernel_environment({"PATH": "/bin", "JUPYTER_TOKEN": "s", "HOMEPORT_TOKEN": "s", "JPY_PARENT_PID": "1", "MINE_TOKEN": "kept"})
    assert env == {"PATH": "/bin", "MINE_TOKEN": "kept"}


@pytest.mark.expect_log("cannot be read")
async def test_a_broken_file_loses_nothing_that_is_known(folders: Folders, root: Path) -> None:
    sessions = Sessions(folders, FakeSupervisor(), root)  # type: ignore[arg-type]
    session = await sessions.create(path="a.ipynb")
    (file,) = (folders.state / "sessions").glob("*.json")
    file.write_text("[{")
    assert sessions.list() == [session]


@pytest.mark.expect_log("cannot be written")
async def test_a_rename_that_cannot_be_written_is_kept_in_memory(folders: Folders, root: Path) -> None:
    sessions = Sessions(folders, FakeSupervisor(), root)  # type: ignore[arg-type]
    session = await sessions.create(path="a.ipynb")
    lock = next((folders.state / "sessions").glob("*.lock"))
    lock.unlink()
    lock.mkdir()
    await sessions.renamed("a.ipynb", "b.ipynb")
    assert sessions.by_path("b.ipynb") == msgspec.structs.replace(session, path="b.ipynb")
    lock.rmdir()
    await sessions.renamed("b.ipynb", "c.ipynb")
    assert [each.path for each in Sessions(folders, FakeSupervisor(), root).list()] == ["c.ipynb"]  # type: ignore[arg-type]
