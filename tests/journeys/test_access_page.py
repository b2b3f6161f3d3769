"""The page of logins and tokens, and logging in with a password, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from harness.browser import OpenPage
from harness.server import MakeServer
from homeport.auth.passwords import hash_password

pytestmark = pytest.mark.needs("chromium")


async def test_a_password_lets_in_and_the_page_ends_logins_and_makes_tokens(make_server: MakeServer, open_page: OpenPage) -> None:
    server = make_server(environment={"HOMEPORT_PASSWORD_HASH": hash_password("geheim")})
    await server.start()
    assert server.token not in await server.printed("with your password"), "nobody needs it, so it is not in the log"

    page = await open_page(server, "access", login=False)
    field = page.get_by_label("Password or token")
    await field.fill("geheim")
    await field.press("Enter")
    await page.wait_for_url(f"{server.url}access")
    logins = page.get_by_role("region", name="Logins").get_by_role("listitem")
    await expect(logins).to_have_count(1)
    await expect(logins.first).to_contain_text("This browser, Chrome on")
    await expect(logins.first).to_contain_text("last seen")

    other = await open_page(server, "tree", login=False)
    await other.get_by_label("Password or token").fill("geheim")
    await other.get_by_role("button", name="Log in").click()
    await expect(other.get_by_role("button", name="New notebook").first).to_be_visible()
    await page.reload()
    await expect(logins).to_have_count(2)
    await page.get_by_role("button", name=re.compile("End the login of Chrome")).click()
    await expect(logins).to_have_count(1)
    await other.reload()
    await expect(other.get_by_role("heading", name="Log in to Homeport")).to_be_visible()

    await page.get_by_label("Name").fill("nightly job")
    await page.get_by_label("Good for").select_option("Reading only")
    await page.get_by_role("button", name="Make a token").click()
    text = await page.locator(".access-token").inner_text()
    assert text.startswith("hp_")
    await page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no clipboard')); }")
    await page.get_by_role("button", name="Copy").click()
    await page.wait_for_function("text => getSelection().toString().trim() === text", arg=text)  # to be copied by hand
    await page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("() => window.copied") == text
    tokens = page.get_by_role("region", name="Tokens").get_by_role("listitem")
    await expect(tokens.first).to_contain_text("Read only")
    await page.reload()
    await expect(tokens).to_have_count(1)
    await expect(page.locator(".access-token")).to_have_count(0)
    await page.get_by_role("button", name="Remove the token nightly job").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(tokens).to_have_count(0)
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in to Homeport")).to_be_visible()
