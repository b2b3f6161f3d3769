"""A real Chromium: `open_page(server, path)` logs in and opens a page of it.

Errors in the page's console and uncaught exceptions fail the test, unless ``@pytest.mark.expect_console("regex")`` names
them. When a test fails, a screenshot and Playwright's trace of each page are kept in test-results/.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from harness.needs import chromium
from harness.server import Server

RESULTS = Path(__file__).parents[2] / "test-results"
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic")
# Public names of servers that stand behind a proxy of this machine.
_NAMES = "--host-resolver-rules=MAP *.example 127.0.0.1"


def _program(home: Path, prefix: tuple[str, ...]) -> str:
    """The Chromium to start: with ``prefix``, a script that puts those words in front of it."""
    path = chromium()
    if path is None:
        pytest.fail("a test that uses the browser must say @pytest.mark.needs('chromium')")
    if not prefix:
        return path
    script = home / "chromium"
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*prefix, path])} "$@"\n')
    script.chmod(0o700)
    return str(script)


@asynccontextmanager
async def launched(home: Path, prefix: tuple[str, ...] = ()) -> AsyncIterator[Browser]:
    """Debian's (or whichever) Chromium, headless; ``prefix`` is a command in front of it, which becomes it by exec."""
    arguments = [*_QUIET, _NAMES, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_program(home, prefix), args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def browser(home: Path) -> AsyncIterator[Browser]:
    """The browser of a test; a test that wants another one, elsewhere, has a fixture of this name."""
    async with launched(home) as browser:
        yield browser


@dataclass
class Watched:
    """The contexts of one test and what went wrong in their pages."""

    contexts: list[BrowserContext] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Collect the errors of ``page``."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught in {page.url.split('?')[0]}: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = message.location.get("url", "").split("?")[0]
            self.problems.append(f"console: {message.text} ({where})")


def notebook_url(server: Server, path: str, *, login: bool = True) -> str:
    """The address of a notebook's page, with the token that logs in."""
    return page_url(server, f"notebooks/{path}", login=login)


def page_url(server: Server, path: str, *, login: bool = True) -> str:
    """The address of a page of ``server``."""
    return f"{server.url}{quote(path)}" + (f"?token={server.token}" if login else "")


OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture
async def open_page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[OpenPage]:
    """``await open_page(server, "notebooks/a.ipynb")``: a page in a browser context of its own (another person, another device).

    ``context=page.context`` opens another tab of the same browser; ``login=False`` leaves the token out of the address;
    ``size=(width, height)`` in CSS pixels.
    """
    watched = Watched()

    async def open_one(
        server: Server, path: str = "", *, context: BrowserContext | None = None, login: bool = True, size: tuple[int, int] = (1280, 900)
    ) -> Page:
        if context is None:
            # Certificates of tests are signed by nobody.
            context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, ignore_https_errors=True)
            await context.tracing.start(screenshots=True, snapshots=True)
            watched.contexts.append(context)
        page = await context.new_page()
        watched.watch(page)
        await page.goto(page_url(server, path, login=login))
        return page

    yield open_one
    patterns = [re.compile(pattern) for mark in request.node.iter_markers("expect_console") for pattern in mark.args]
    bad = [problem for problem in watched.problems if not any(pattern.search(problem) for pattern in patterns)]
    await _finish(watched, request, failed=bool(bad) or getattr(request.node, "failed_call", False))
    if bad:
        pytest.fail("Errors in the browser (expect_console names expected ones):\n  " + "\n  ".join(bad[:20]), pytrace=False)


async def _finish(watched: Watched, request: pytest.FixtureRequest, *, failed: bool) -> None:
    # Two runs at once must not write to one file, hence the process id.
    name = re.sub(r"[^\w.-]+", "-", request.node.nodeid)[-120:]
    folder = RESULTS / f"{name}-{os.getpid()}"
    for number, context in enumerate(watched.contexts):
        if failed:
            folder.mkdir(parents=True, exist_ok=True)
            for tab, page in enumerate(context.pages):
                await page.screenshot(path=folder / f"page-{number}-{tab}.png")
            await context.tracing.stop(path=folder / f"trace-{number}.zip")
        await context.close()
    if failed and watched.contexts:
        print(f"\nScreenshots and traces: {folder}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" and report.failed:
        item.failed_call = True  # type: ignore[attr-defined]
    return report
