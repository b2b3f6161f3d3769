"""The journey "Log in", in a real browser."""

from __future__ import annotations

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
@pytest.mark.expect_log(r"40[13] POST|[Ll]ogin|token")
async def test_a_wrong_token_is_refused(server: Server, open_page: OpenPage) -> None:
    page = await open_page(server, "tree", login=False)
    field = page.get_by_label("Token")
    await field.fill("0" * 48)
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    assert page.url.startswith(f"{server.url}login")
    assert [cookie for cookie in await page.context.cookies() if cookie["httpOnly"]] == []


async def test_everything_lives_below_base_url(make_server: MakeServer, open_page: OpenPage) -> None:
    server = make_server(base_url="/some/where/")
    await server.start()
    notebooks.write(server.root / "deep.ipynb", "print('below')")
    page = await NotebookPage(await open_page(server, "notebooks/deep.ipynb")).loaded()
    await page.run_all()
    await expect(page.cell(0)).to_contain_text("below")
