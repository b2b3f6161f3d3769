"""``homeport tokens`` beside a running server and without one: what it makes lets in at once, what it removes nobody any more."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from websockets.asyncio.client import connect

from harness.rest import rest
from harness.server import Server
from homeport.folders import Folders


def environment() -> dict[str, str]:
    """For a command that is run in another folder than the tests'."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path)}


Tokens = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tokens(home: Path, tmp_path: Path) -> Tokens:
    """``tokens("create", "ci")`` runs the command, in ``cwd`` when that is given."""

    def run(*arguments: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "homeport", "tokens", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=60)

    return run


def kept() -> str:
    """All that lies in the state folder."""
    return "\n".join(file.read_text(errors="replace") for file in Folders.from_environment().state.rglob("*") if file.is_file())


def status(server: Server, token: str, path: str = "api/contents", method: str = "GET") -> int:
    return requests.request(method, server.url + path, headers={"Authorization": f"token {token}"}, json={}, timeout=30).status_code


async def test_a_running_server_notices(server: Server, tokens: Tokens) -> None:
    (server.root / "data" / "raw").mkdir(parents=True)
    (server.root / "data" / "raw" / "a.txt").write_text("a")
    made = {
        "ci": tokens("create", "ci"),
        "reader": tokens("create", "reader", "--scope=read", "--expires=2h"),
        "uploads": tokens("create", "uploads", "--folder=data/raw", "--expires=never"),
    }
    text = {name: each.stdout.strip() for name, each in made.items()}
    assert all(each.returncode == 0 and each.stdout.startswith("hp_") for each in made.values()), made
    assert not any(token in kept() or token in server.output() for token in text.values()), "only a hash is kept"
    assert f"for {server.root}: files in data/raw, without an end." in made["uploads"].stderr

    assert [status(server, text[name], "api/kernels", "POST") for name in text] == [201, 403, 403]
    assert [status(server, text[name]) for name in text] == [200, 200, 403]
    assert [status(server, text[name], "api/contents/data/raw/a.txt") for name in text] == [200, 200, 200]
    listed = tokens().stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", "ci", "reader", "uploads"]
    assert "never" not in listed[1], "it was used"
    assert {token["name"] for token in (await rest(server, "GET", "api/tokens")).json()} == {"ci", "reader", "uploads"}

    assert tokens("remove", "ci", "uploads").stdout == "ci: removed\nuploads: removed\n"
    assert [status(server, text[name]) for name in text] == [401, 200, 401]
    again = (await rest(server, "POST", "api/tokens", json={"name": "of the page"})).json()["token"]
    assert status(server, again) == 200
    assert [line.split()[0] for line in tokens().stdout.splitlines()] == ["NAME", "reader", "of"]
    lines = Folders.from_environment().state.joinpath("audit", "audit.jsonl").read_text().splitlines()
    told = [(line["event"], line["name"]) for line in map(json.loads, lines) if line["event"].startswith("token")]
    assert told == [
        *(("token made", name) for name in made),
        ("token removed", "ci"),
        ("token removed", "uploads"),
        ("token made", "of the page"),
    ]


async def test_the_open_socket_of_a_removed_token_ends(server: Server, tokens: Tokens) -> None:
    token = tokens("create", "client").stdout.strip()
    kernel = (await rest(server, "POST", "api/kernels", json={})).json()["id"]
    url = f"{server.url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?token={token}"
    async with connect(url, origin=None) as socket:
        assert tokens("remove", "client").returncode == 0
        await asyncio.wait_for(socket.wait_closed(), 60)
        assert socket.close_code == 4401


async def test_without_a_server_it_is_for_the_folder_that_would_be_served(server: Server, tokens: Tokens, tmp_path: Path) -> None:
    await server.end()
    assert tokens("list", cwd=server.root).stdout == f"There are no tokens for {server.root}. 'homeport tokens create NAME' makes one.\n"
    text = tokens("create", "cron", cwd=server.root).stdout.strip()
    assert "cron" in tokens("list", "--root-dir", str(server.root)).stdout
    assert "There are no tokens" in tokens("list", cwd=tmp_path).stdout, "another folder has its own"
    await server.start()
    assert status(server, text) == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create"], "Give the new token one name"),
        (["create", "a", "b"], "Give the new token one name"),
        (["create", "there"], "There is a token “there” already"),
        (["create", "x", "--scope=god"], "--scope is all or read, not god"),
        (["create", "x", "--scope=read", "--folder=a"], "leave --scope out"),
        (["create", "x", "--folder=nowhere"], "There is no folder nowhere in"),
        (["create", "x", "--folder=/etc"], "/etc is not in the served folder"),
        (["create", "x", "--folder=a/../.."], "leaves the served folder"),
        (["create", "x", "--expires=tomorrow"], "a duration such as 90, 30min, 2h or 1d is wanted"),
        (["create", "x", "--expires=9999d"], "at most ten years"),
        (["remove"], "Which tokens?"),
        (["remove", "there", "nothing"], "There is no token “nothing”"),
        (["list", "x"], "takes no name"),
        (["list", "--root-dir=/nowhere/at/all"], "There is no folder /nowhere/at/all"),
        (["remove", "there", "--scope=all"], "belong to 'homeport tokens create'"),
        (["make", "x"], "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_said(tokens: Tokens, arguments: list[str], says: str) -> None:
    assert tokens("create", "there").returncode == 0
    done = tokens(*arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert [line.split()[0] for line in tokens().stdout.splitlines()] == ["NAME", "there"], "nothing has changed"


def test_two_at_once_lose_nothing(tokens: Tokens, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "homeport", "tokens", "create"]
    pipe = subprocess.PIPE
    started = [subprocess.Popen([*command, f"t{each}"], cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe) for each in range(6)]
    assert [len(each.communicate()[0]) > 40 for each in started] == [True] * 6
    assert {line.split()[0] for line in tokens().stdout.splitlines()[1:]} == {f"t{number}" for number in range(6)}
