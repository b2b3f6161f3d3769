"""A public server with one flag: asked for a password on a terminal, then used by a browser that trusts the local authority."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import expect
from ptyprocess import PtyProcessUnicode

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import MakeServer, stop_supervisor
from homeport.auth.passwords import check_password, hash_password
from homeport.commands.password_files import reread


def said_by_cert(*more: str) -> str:
    return subprocess.run([sys.executable, "-m", "homeport", "cert", *more], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def trusting(home: Path) -> None:
    """The device trusts the authority, by the words of 'homeport cert'; before the browser is started."""
    command = re.search(r"^Chrome on Linux +(certutil .*)$", said_by_cert(), re.MULTILINE)
    assert command is not None
    (home / "homeport.crt").write_text(said_by_cert("--print"))
    (home / ".pki" / "nssdb").mkdir(parents=True)
    # A browser that has run once has made its database.
    subprocess.run(["certutil", "-d", f"sql:{home}/.pki/nssdb", "-N", "--empty-password"], check=True)
    subprocess.run(command[1], shell=True, cwd=home, check=True)


async def test_it_asks_for_a_password_once_and_says_where_it_is(home: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "homeport",
        str(tmp_path),
        "--public",
        "--port=0",
        "--no-browser",
        "--allow-root",
        "--on-stop=shutdown",
    ]
    text = ""
    for start in ("first", "second"):
        process = PtyProcessUnicode.spawn(command, env=dict(os.environ), dimensions=(24, 500))
        text = ""
        try:
            asked = []
            while "Ctrl-C" not in text:
                text += process.read(1)
                if text.endswith(("Enter password: ", "Verify password: ")):
                    process.waitnoecho()
                    asked.append(text[-17:])
                    process.write("correct horse\n")
                    text += process.read(1)
                elif text.endswith("[y/N] "):
                    process.write("n\n")
            assert len(asked) == (2 if start == "first" else 0), "asked once, and verified"
        finally:
            process.kill(15)
            while True:
                try:
                    process.read(1000)
                except EOFError:
                    break
            process.wait()
            await stop_supervisor()
    assert re.search(r"https://[\w.:\[\]-]+:\d+/ +\(with your password\)", text)
    fingerprint = re.search(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", text)
    assert fingerprint is not None
    shown = await asyncio.to_thread(said_by_cert)
    assert fingerprint[0] in shown
    hashed = reread(home / "jupyter" / "jupyter_notebook_config.json")
    assert hashed is not None
    assert check_password(hashed, "correct horse").right
    assert "correct horse" not in text
    assert "token" not in text


@pytest.mark.needs("chromium", "certutil")
@pytest.mark.usefixtures("trusting")
async def test_a_browser_that_trusts_the_authority_works_over_https(make_server: MakeServer, open_page: OpenPage) -> None:
    server = make_server(options=("--public",), environment={"HOMEPORT_PASSWORD_HASH": hash_password("geheim")}, scheme="https")
    await server.start()
    notebooks.write(server.root / "a.ipynb", "print(6 * 7)")
    page = await open_page(server, "notebooks/a.ipynb", login=False)
    await page.get_by_label("Password or token").fill("geheim")
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{server.url}notebooks/a.ipynb")
    notebook = await NotebookPage(page).loaded()
    await notebook.run_all()
    await expect(notebook.cell(0)).to_contain_text("42")
    cookies = await page.context.cookies()
    assert cookies
    assert all(cookie["secure"] for cookie in cookies)
    await page.goto(f"http://127.0.0.1:{server.port}/tree")
    await expect(page.get_by_role("button", name="New notebook").first).to_be_visible()
    assert page.url == f"{server.url}tree", "plain http leads to https"
