"""What is not a notebook, or cannot be read, is said by name; the file stays as it is."""

from __future__ import annotations

import json
import os
import socket
import stat
from datetime import datetime
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from harness import notebooks
from harness.rest import rest
from harness.server import MakeServer, Server
from homeport.folders import Folders

GOOD = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
CELL = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
BAD: dict[str, tuple[bytes, str]] = {
    "not JSON": (b'{"cells": [,]}', "is not JSON"),
    "empty": (b"", "is empty"),
    "only blanks": (b" \n\n", "is empty"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "is not JSON"),
    "cut short": (json.dumps(GOOD).encode()[:-9], "is not JSON"),
    "a conflict of git": (b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n", "is not JSON"),
    "a list": (b"[]", "not a notebook"),
    "a number": (b"4", "not a notebook"),
    "another file": (b'{"name": "package", "version": "1.0"}', "does not say which nbformat"),
    "nbformat as text": (json.dumps({**GOOD, "nbformat": "4"}).encode(), "does not say which nbformat"),
    "newer": (json.dumps({**GOOD, "nbformat": 5}).encode(), "newer than the 4 that Homeport knows"),
    "no cells": (json.dumps({**GOOD, "cells": None}).encode(), "no list of cells"),
    "a cell that is none": (json.dumps({**GOOD, "cells": [7]}).encode(), "its cell 1 is not an object"),
    "an unknown type of cell": (
        json.dumps({**GOOD, "cells": [{**CELL, "cell_type": "slide"}]}).encode(),
        'its cell 1 has the type "slide"',
    ),
    "a source that is none": (json.dumps({**GOOD, "cells": [CELL, {**CELL, "source": 1}]}).encode(), "the source of its cell 2"),
    "outputs that are none": (json.dumps({**GOOD, "cells": [{**CELL, "outputs": {}}]}).encode(), "the outputs of its cell 1"),
    "metadata that are none": (json.dumps({**GOOD, "metadata": []}).encode(), "its metadata are not an object"),
    "an old one that is broken": (json.dumps({"nbformat": 3, "worksheets": [{"cells": [3]}]}).encode(), "cannot be upgraded"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "not"),
}


def facts(path: Path) -> tuple[int, int, int, int]:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode


async def refused(server: Server, address: str, status: int, words: str) -> None:
    """The link of a page is closed with a reason, and the page itself is an error with this status that says these words."""
    ticket = (await rest(server, "POST", "api/documents/ticket")).json()["ticket"]
    url = f"{server.url.replace('http', 'ws', 1)}api/documents/socket?path={address}&ticket={ticket}"
    async with connect(url, additional_headers=server.headers, origin=None) as socket:
        await socket.wait_closed()
    assert socket.close_code not in (1000, 1006)
    assert socket.close_reason
    answer = await rest(server, "GET", f"notebooks/{address}", ok=False, headers={"Accept": "application/json"})
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), f"{address}: {answer.status_code} {answer.text[:300]}"
    page = await rest(server, "GET", f"notebooks/{address}", ok=False, headers={"Accept": "text/html"})
    assert page.status_code == status
    assert "Traceback" not in page.text


async def test_what_is_no_notebook_is_said_and_left_alone(server: Server) -> None:
    for number, (name, (content, words)) in enumerate(BAD.items()):
        file = server.root / f"bad-{number}.ipynb"
        file.write_bytes(content)
        before = facts(file)
        await refused(server, file.name, 422, words)
        assert facts(file) == before, name
        assert file.read_bytes() == content, name
    assert not [entry for entry in server.root.iterdir() if not entry.name.startswith("bad-")]


async def test_what_is_too_large_is_not_read(server: Server) -> None:
    file = server.root / "large.ipynb"
    with file.open("wb") as large:
        large.truncate(100 * 1024 * 1024)
    before = facts(file)
    await refused(server, "large.ipynb", 413, "--notebook-limit")
    assert facts(file) == before


async def test_strange_paths(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside.ipynb"
    notebooks.write(outside, "secret = 1")
    (server.root / "out.ipynb").symlink_to(outside)
    (server.root / "round.ipynb").symlink_to("round.ipynb")
    (server.root / "broken.ipynb").symlink_to("nothing.ipynb")
    (server.root / "folder.ipynb").mkdir()
    os.mkfifo(server.root / "pipe.ipynb")
    (server.root / "dir.out").symlink_to(tmp_path)
    (server.root / "in.ipynb").symlink_to("folder.ipynb")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(server.root, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/socket.ipynb")  # a socket's path has at most 107 characters
        os.close(folder)
    before = facts(outside)
    wrong: list[str] = []
    for address, status, words in (
        ("out.ipynb", 403, "leads out of the served folder"),
        ("%2e%2e/outside.ipynb", 403, "leaves the served folder"),
        ("sub/%2e%2e/%2e%2e/outside.ipynb", 403, "leaves the served folder"),
        ("a%00.ipynb", 400, "NUL"),
        ("round.ipynb", 404, "circle"),
        ("broken.ipynb", 404, "does not exist"),
        ("nothing.ipynb", 404, "does not exist"),
        ("pipe.ipynb", 400, "is a named pipe"),
        ("socket.ipynb", 400, "is a socket"),
        ("x" * 300 + ".ipynb", 400, "at most 255 bytes"),
    ):
        answer = await rest(server, "GET", f"notebooks/{address}", ok=False, headers={"Accept": "application/json"})
        if answer.status_code != status or words not in answer.json()["message"]:
            wrong.append(f"{address}: {answer.status_code} {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)
    # A page offers no download of what is not served, and the folder that the link lies in.
    page = await rest(server, "GET", "notebooks/out.ipynb", ok=False, headers={"Accept": "text/html"})
    assert "Open its folder" in page.text
    assert "Download the file" not in page.text
    assert facts(outside) == before
    listed = {entry["name"]: entry for entry in (await rest(server, "GET", "api/contents")).json()["content"]}
    assert sorted(listed) == sorted(entry.name for entry in server.root.iterdir())
    assert {name: entry.get("broken") for name, entry in listed.items()} == {
        "broken.ipynb": "Broken link",
        "dir.out": "Link out of the folder",
        "folder.ipynb": None,
        "in.ipynb": None,
        "out.ipynb": "Link out of the folder",
        "pipe.ipynb": "Named pipe",
        "round.ipynb": "Broken link",
        "socket.ipynb": "Socket",
    }
    link = (server.root / "out.ipynb").lstat().st_mtime
    assert listed["out.ipynb"]["size"] is None
    told = datetime.fromisoformat(listed["out.ipynb"]["last_modified"]).timestamp()
    assert told == pytest.approx(link, abs=0.001), "its own time, not its target's"
    body = {"type": "file", "format": "text", "content": "x"}
    for name in ("pipe.ipynb", "socket.ipynb", "out.ipynb"):
        tries = (("PUT", f"api/contents/{name}", body), ("GET", f"files/{name}", None), ("GET", f"api/contents/{name}", None))
        for method, path, given in tries:
            answer = await rest(server, method, path, ok=False, json=given)
            assert answer.status_code in (400, 403), (method, path, answer.text)
    assert stat.S_ISFIFO((server.root / "pipe.ipynb").lstat().st_mode)


@pytest.mark.needs("linux", "unprivileged")
async def test_what_may_not_be_read(make_server: MakeServer) -> None:
    # For root there is no such file, unless it gives up that power.
    powerless = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    server = make_server(prefix=powerless)
    await server.start()
    file = server.root / "mine.ipynb"
    notebooks.write(file, "x = 1")
    file.chmod(0)
    before = facts(file)
    await refused(server, "mine.ipynb", 403, "does not permit")
    assert facts(file) == before
    file.chmod(0o600)
    assert (await rest(server, "GET", "notebooks/mine.ipynb")).status_code == 200


@pytest.mark.expect_log("cannot be kept|PUT /api/contents/a.txt 507")
async def test_a_body_that_cannot_be_kept(server: Server) -> None:
    body = {"type": "file", "format": "text", "content": "text" * 1_000_000}
    uploads = Folders.from_environment().state / "uploads"
    assert not uploads.exists()
    uploads.write_text("in the way")
    answer = await rest(server, "PUT", "api/contents/a.txt", ok=False, json=body)
    assert answer.status_code == 507
    assert "What was sent cannot be kept: File exists" in answer.json()["message"]
    assert not (server.root / "a.txt").exists()
    uploads.unlink()
    await rest(server, "PUT", "api/contents/a.txt", json=body)
    assert (server.root / "a.txt").read_text() == body["content"]
