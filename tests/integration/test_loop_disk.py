"""The event loop waits for no disk: while one is busy for a second, everybody else's messages go on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import requests

from harness import disk_watch, notebooks
from harness.document_client import OpenDocument
from harness.rest import rest
from harness.server import MakeServer

PICTURE = """\
import base64, os
from IPython.display import display
display({"image/png": base64.b64encode(os.urandom(200_000)).decode()}, raw=True)
"""
SHOWING = f"""\
import base64, os, threading
from IPython.display import display
stop = threading.Event()
def show():
    while not stop.is_set():
        {PICTURE.splitlines()[-1]}
threading.Thread(target=show, daemon=True).start()
"""
ASKING = f"""\
{SHOWING}
for _ in range(4): input("more? ")
stop.set()
"""
UPDATED = """\
handle = display({"text/plain": "x"}, raw=True, display_id=True)
handle.update({"image/png": base64.b64encode(os.urandom(200_000)).decode()}, raw=True)
"""


async def test_the_loop_touches_no_file(make_server: MakeServer, open_document: OpenDocument, tmp_path: Path) -> None:
    watch = Path(disk_watch.__path__[0])
    touched = tmp_path / "touched"
    server = make_server(environment={"DISK_WATCH": str(touched), "PYTHONPATH": os.pathsep.join([str(watch), *filter(None, sys.path)])})
    notebooks.write(server.root / "a.ipynb", PICTURE, UPDATED, PICTURE)
    notebooks.write(server.root / "asking.ipynb", PICTURE, ASKING, SHOWING)
    await server.start()
    # A browser: the token in the address, a page and all that it loads, the pages of files, logins and tokens, and out again.
    with requests.Session() as browser:
        page = browser.get(f"{server.url}notebooks/a.ipynb?token={server.token}", timeout=30)
        assert page.status_code == 200
        for name in (server_assets := sorted({word for word in page.text.replace('"', " ").split() if "static/assets/" in word})):
            assert browser.get(server.url + name.removeprefix("/"), timeout=30).ok
        assert server_assets
        for name in ("tree", "frame", "access", "favicon.ico", "api/status"):
            assert browser.get(server.url + name, timeout=30).ok, name
        assert browser.get(server.url + "logout", timeout=30).ok

    # A notebook: opened, run, with big outputs, saved, its kernel restarted and shut down.
    document = await open_document(server, "a.ipynb")
    await document.run()
    await document.idle()
    await document.operate("save")
    assert server.root.joinpath("a.ipynb").stat().st_size > 700_000
    await document.operate("restart")
    await document.run("cell-0")
    await document.idle()
    await document.operate("shutdown_kernel")
    await document.close()

    # Questions that are answered while another thread shows one picture after the other.
    document = await open_document(server, "asking.ipynb")
    await document.run()
    for _ in range(4):
        await document.until(lambda: bool(document.state.get("inputs")), "the question")
        (asked,) = document.state.pop("inputs")
        await document.operate("input", request=asked["request"], value="yes")
    await document.idle()
    # The kernel is restarted, shut down, and the notebook closed while such a thread outlives its cell.
    for end in ("restart", "shutdown_kernel", ""):
        await document.run("cell-2")
        await document.idle()
        if end:
            await document.operate(end)
    await document.close()

    # A client: files, sessions and kernels, tokens.
    await rest(server, "PUT", "api/contents/b.txt", json={"type": "file", "format": "text", "content": "text"})
    await rest(server, "PUT", "api/contents/b.txt", json={"type": "file", "format": "text", "content": "text" * 1_000_000})
    await rest(server, "GET", "api/contents/b.txt")
    await rest(server, "GET", "files/b.txt")
    await rest(server, "GET", "api/contents/")
    session = (await rest(server, "POST", "api/sessions", json={"path": "b.txt", "type": "file", "name": "", "kernel": {}})).json()
    await rest(server, "PATCH", "api/contents/b.txt", json={"path": "c.txt"})
    await rest(server, "PATCH", f"api/sessions/{session['id']}", json={"kernel": {"name": session["kernel"]["name"]}})
    await rest(server, "DELETE", f"api/sessions/{session['id']}")
    await rest(server, "DELETE", "api/contents/c.txt")
    token = (await rest(server, "POST", "api/tokens", json={"name": "one", "scope": "read"})).json()
    shown = {"Authorization": f"token {token['token']}"}
    await rest(server, "GET", "api/contents/", headers=shown)
    await rest(server, "DELETE", f"api/tokens/{token['id']}")
    wrong = await rest(server, "GET", "api/contents/", ok=False, headers={"Authorization": "token wrong"})
    assert wrong.status_code == 401

    watching, *lines = touched.read_text().splitlines()
    assert watching == "listening"
    assert not lines, "\n".join(lines)
