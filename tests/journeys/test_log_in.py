"""The journey "Log in", in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from harness import notebooks
from harness.browser import OpenPage, page_url
from harness.notebook_page import NotebookPage
from harness.server import MakeServer, Server

pytestmark = pytest.mark.needs("chromium")


async def test_the_printed_address_logs_in_and_loses_its_token(server: Server, open_page: OpenPage) -> None:
    page = await open_page(server, "tree")
    await expect(page.get_by_role("button", name="New notebook").first).to_be_visible()
    assert "token" not in page.url
    await page.goto(page_url(server, "tree", login=False))
    await expect(page.get_by_role("button", name="New notebook").first).to_be_visible()
    cookies = await page.context.cookies()
    assert [cookie["sameSite"] for cookie in cookies if cookie["httpOnly"]] == ["Lax"]


async def test_without_a_token_the_login_page_asks_and_leads_on(server: Server, open_page: OpenPage) -> None:
    notebooks.write(server.root / "wanted.ipynb", "1")
    page = await open_page(server, "notebooks/wanted.ipynb", login=False)
    assert page.url.startswith(f"{server.url}login")
    field = page.get_by_label("Token")
    await field.fill(server.token)
    await field.press("Enter")
    await page.wait_for_url(f"{server.url}notebooks/wanted.ipynb")
    await NotebookPage(page).loaded()


@pytest.mark.expect_console(r"status of 40[13]")
async def test_a_wrong_token_is_refused(server: Server, open_page: OpenPage) -> None:
    page = await open_page(server, "tree", login=False)
    field = page.get_by_label("Token")
    await field.fill("0" * 48)
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    assert page.url.startswith(f"{server.url}login")
    assert [cookie for cookie in await page.context.cookies() if cookie["httpOnly"]] == []


@pytest.mark.expect_log("webapp_settings has no meaning here: static files lie below base_url by themselves")
async def test_everything_lives_below_base_url(make_server: MakeServer, open_page: OpenPage) -> None:
    """As an old guide has it in its configuration file, for a server behind another site's."""
    config = Path(os.environ["JUPYTER_CONFIG_DIR"])
    config.mkdir(exist_ok=True)
    (config / "jupyter_notebook_config.py").write_text(
        "c = get_config()\nc.NotebookApp.base_url = '/ipython/'\n"
        "c.NotebookApp.webapp_settings = {'static_url_prefix': '/ipython/static/'}\n"
    )
    server = make_server()
    await server.start()
    notebooks.write(server.root / "deep.ipynb", "print('below')")
    asked: set[str] = set()
    opened = await open_page(server, "ipython")
    assert opened.url == f"{server.url}ipython/tree", "the address without its last slash"
    opened.context.on("request", lambda request: asked.add(request.url))
    opened.on("websocket", lambda socket: asked.add(socket.url))
    await opened.reload()
    await opened.get_by_role("link", name="deep.ipynb").click()
    await opened.wait_for_url(f"{server.url}ipython/notebooks/deep.ipynb")
    page = await NotebookPage(opened).loaded()
    await page.run_all()
    await expect(page.cell(0)).to_contain_text("below")
    below = f"{server.url}ipython/"
    socket = below.replace("http", "ws", 1)
    assert {url for url in asked if url.startswith(("http", "ws")) and not url.startswith((below, socket))} == set()
    for kind in (f"{below}static/", f"{below}api/", f"{below}notebooks/", socket):
        assert any(url.startswith(kind) for url in asked), f"{kind} of {sorted(asked)}"
