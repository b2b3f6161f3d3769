"""A browser's first visit to the login page: it has no cookie yet, and the form must work all the same."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness.edge import TOKEN, Edge, cookies_of, header_of, serving


@pytest.fixture
async def edge(home: Path) -> AsyncIterator[Edge]:
    async with serving(home) as edge:
        yield edge


async def test_the_form_holds_what_the_cookie_holds(edge: Edge) -> None:
    page = await edge.fetch("login", token=None)
    cookies = cookies_of(page)
    text = page.body.decode()
    assert re.findall(r'name="_xsrf" value="([^"]+)"', text) == [cookies["_xsrf"]], "the form that works without scripts"
    assert f'"xsrf":"{cookies["_xsrf"]}"' in text, "the configuration of the page"


async def test_a_first_visit_logs_in(edge: Edge) -> None:
    cookies = cookies_of(await edge.fetch("login", token=None))
    form = urlencode({"_xsrf": cookies["_xsrf"], "token": TOKEN, "next": "/tree"}).encode()
    headers = {"Cookie": header_of(cookies), "Content-Type": "application/x-www-form-urlencoded"}
    answer = await edge.fetch("login", "POST", raw=form, token=None, headers=headers)
    assert (answer.code, answer.headers["Location"]) == (303, "/tree")
