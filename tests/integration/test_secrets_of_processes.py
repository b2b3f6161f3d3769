"""What everybody on the machine can see, and what the programs that a server starts are told: no password, hash, token or ticket."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from harness import notebooks, processes
from harness.rest import rest
from harness.server import MakeServer, Server
from homeport.auth.passwords import hash_password
from homeport.folders import Folders

pytestmark = pytest.mark.needs("linux")

PASSWORD = "correct-horse-battery"
TOKEN = "a-token-that-somebody-chose-and-that-is-long"


def command_lines() -> Iterator[tuple[int, str]]:
    """Those of every process of the machine, as everybody sees them."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue  # ended meanwhile


def log_in(server: Server) -> tuple[str, str]:
    """The values of the cookies of a browser that logged in with the password, and a ticket of it."""
    with requests.Session() as browser:
        browser.get(f"{server.url}login", timeout=60)
        xsrf = browser.cookies["_xsrf"]
        browser.post(f"{server.url}login", data={"_xsrf": xsrf, "password": PASSWORD}, timeout=60).raise_for_status()
        [cookie] = [each.value or "" for each in browser.cookies if each.name.startswith("homeport-")]
        ticket = browser.post(f"{server.url}api/documents/ticket", headers={"X-XSRFToken": browser.cookies["_xsrf"]}, timeout=60)
        return cookie, ticket.json()["ticket"]


async def secrets_of(server: Server) -> dict[str, str]:
    """All that lets somebody in to this server, or to its kernels."""
    cookie, ticket = log_in(server)
    named = (await rest(server, "POST", "api/tokens", json={"name": "named"})).json()["token"]
    folders = Folders.from_environment()
    hashed = server.environment.get("HOMEPORT_PASSWORD_HASH", "")
    secrets = {"hash": hashed, "token": server.token, "named token": named, "cookie": cookie, "ticket": ticket, "password": PASSWORD}
    secrets["what signs cookies"] = (folders.state / "auth" / "cookie_secret").read_text().strip()
    keys = [
        match for file in folders.own for each in file.rglob("*.json") for match in re.findall(r'"key": *"([^"]{8,})"', each.read_text())
    ]
    return {name: text for name, text in secrets.items() if text} | {f"key {number}": key for number, key in enumerate(keys)}


async def run_everything(server: Server) -> None:
    """A kernel of a notebook, one of a client, and the process that reads big notebooks."""
    notebooks.write(server.root / "a.ipynb", "1")
    notebooks.write(server.root / "big.ipynb", ("markdown", "x" * 5_000_000))
    await rest(server, "GET", "api/contents/big.ipynb")
    session = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    await rest(server, "POST", "api/sessions", json=session)
    await rest(server, "POST", "api/kernels", json={})


@pytest.mark.parametrize("chosen", [True, False], ids=["in variables", "made by the server"])
async def test_no_process_shows_or_is_told_a_secret(make_server: MakeServer, chosen: bool, home: Path) -> None:
    hashed = hash_password(PASSWORD)
    (home / "hash").write_text(hashed)
    stated = {"HOMEPORT_PASSWORD_HASH": hashed, "HOMEPORT_TOKEN": TOKEN} if chosen else {"HOMEPORT_PASSWORD_FILE": str(home / "hash")}
    server = make_server(environment=stated)
    await server.start()
    await run_everything(server)
    secrets = await secrets_of(server)
    shown = [(name, pid, line[:100]) for pid, line in command_lines() for name, text in secrets.items() if text in line]
    assert not shown, "in the list of processes"
    started = processes.marked(os.environ[processes.VARIABLE])
    commands = " ".join(each.command for each in started)
    assert "supervisor" in commands
    assert "notebook_json" in commands
    assert commands.count("ipykernel_launcher") == 2
    for each in started:
        told = Path(f"/proc/{each.pid}/environ").read_text(errors="replace")
        found = [name for name, text in secrets.items() if text in told]
        assert not found or (each.pid == server.pid and chosen), f"{found} in the environment of {each.command}"


async def test_nobody_else_can_read_what_lies_in_our_folders(make_server: MakeServer) -> None:
    server = make_server(environment={"HOMEPORT_PASSWORD_HASH": hash_password(PASSWORD)})
    await server.start()
    await run_everything(server)
    secrets = await secrets_of(server)
    holding = 0
    for folder in Folders.from_environment().own:
        for file in (each for each in folder.rglob("*") if each.is_file()):
            mode = file.stat().st_mode
            if any(text.encode() in file.read_bytes() for text in secrets.values()):
                holding += 1
                assert not mode & 0o077, f"{file} holds a secret, and others can read it"
    assert holding >= 3, "the token for 'homeport list', what signs cookies, and the keys of kernels are kept in files"
