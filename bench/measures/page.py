"""The page through a slow link (1.6 Mbit/s, 150 ms): seconds to a cell that can be edited, and to the output of ``1+1``.

Counted from the start of the navigation.

Cold: a browser that has never seen the server. Warm: the same notebook opened again in the same browser. The browser is
logged in before. The kernel is started by the page, so a cold output includes that.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from itertools import count

from playwright.async_api import BrowserContext, async_playwright
from playwright.async_api import TimeoutError as NotInTime

from bench.context import Benchmark, Context, Metric
from bench.servers import RunningServer
from bench.subjects import DEFAULTS, HOMEPORT, Subject

NOTEBOOKS = {"cells-30": "30 cells", "cells-1000": "1,000 cells", "mb-20": "20 MB"}
TIMEOUT = 240.0

_TWO = re.compile(r"^\s*(Out)?\s*(\[\d+\]:?)?\s*2\s*$")
_numbers = count()


@dataclass(frozen=True)
class Look:
    """Where things are on a page: CSS selectors within the first cell, and the path that opens a notebook."""

    path: str
    cell: str
    source: str
    outputs: str


LOOKS = {
    True: Look("/notebooks/", ".cell", ".cell-source", ".cell-outputs"),
    False: Look("/lab/tree/", ".jp-Notebook .jp-Cell", ".jp-InputArea-editor", ".jp-OutputArea-output"),
}
"""By whether the subject is Homeport."""


@asynccontextmanager
async def slow_link(server: RunningServer) -> AsyncIterator[int]:
    """The port of a slow link to ``server``, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.proxy", "--to", str(server.port), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


async def log_in(context: BrowserContext, server: RunningServer, port: int) -> None:
    """Give ``context`` the cookies of a login, without going through the slow link. A cookie may be named after the port that is asked."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/tree?token={server.token}", headers={"Host": f"127.0.0.1:{port}", "Accept": "text/html"})
    answer = connection.getresponse()
    cookies: SimpleCookie = SimpleCookie()
    for value in answer.headers.get_all("Set-Cookie") or []:
        cookies.load(value)
    connection.close()
    url = f"http://127.0.0.1:{port}/"
    await context.add_cookies([{"name": name, "value": morsel.value, "url": url} for name, morsel in cookies.items()])


async def _open(context: BrowserContext, look: Look, url: str) -> dict[str, float]:
    """Seconds to ``editable`` and to ``output``."""
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT * 1e3)
    began = time.perf_counter()
    await page.goto(url, wait_until="commit", timeout=TIMEOUT * 1e3)
    cell = page.locator(look.cell).first
    await cell.locator(look.source).first.click()
    await cell.locator(".cm-content[contenteditable=true]").first.wait_for()
    found = {"editable": time.perf_counter() - began}
    await page.keyboard.press("ControlOrMeta+A")
    await page.keyboard.type("1+1")
    output = cell.locator(look.outputs).filter(has_text=_TWO).first
    while True:
        await page.keyboard.press("Shift+Enter")
        try:
            await output.wait_for(timeout=1000)
            break
        except NotInTime:
            # JupyterLab forgets a run that comes before its kernel is connected; whoever sits there tries again.
            if time.perf_counter() - began > TIMEOUT:
                raise
            await cell.locator(look.source).first.click()
    found["output"] = time.perf_counter() - began
    await page.close()
    return found


async def _cold_and_warm(subject: Subject, context: Context, name: str) -> dict[str, float]:
    server = context.server(subject)
    look = LOOKS[subject == HOMEPORT]
    # A name of its own: no server has this notebook open already.
    path = context.notebook(subject, name, f"{name}-{next(_numbers)}")
    found: dict[str, float] = {}
    arguments = ["--disable-background-networking", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with slow_link(server) as port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            browsing = await browser.new_context()
            await log_in(browsing, server, port)
            for cache in ("cold", "warm"):
                times = await _open(browsing, look, f"http://127.0.0.1:{port}{look.path}{path}")
                found |= {f"{name}_{cache}_{what}": seconds for what, seconds in times.items()}
        except NotInTime as error:
            print(f"page: {subject.name}, {name}: {str(error).splitlines()[0]}", file=sys.stderr)
        finally:
            await browser.close()
            for session in server.json("GET", "/api/sessions"):
                with contextlib.suppress(RuntimeError):
                    server.json("DELETE", f"/api/sessions/{session['id']}")
    return found


def chromium() -> str:
    """The Chromium of this machine.

    Raises:
        RuntimeError: there is none.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise RuntimeError("there is no Chromium; on Debian: apt install chromium")


async def measure(subject: Subject, context: Context) -> dict[str, float]:
    """Every notebook, cold and warm."""
    found: dict[str, float] = {}
    for name in NOTEBOOKS if not context.quick else ("cells-30",):
        found |= await _cold_and_warm(subject, context, name)
    return found


METRICS = tuple(
    Metric(f"{name}_{cache}_{what}", f"page, {title}, {cache}: {words}", "s")
    for name, title in NOTEBOOKS.items()
    for cache in ("cold", "warm")
    for what, words in (("editable", "first editable cell"), ("output", "output of 1+1"))
)
BENCHMARK = Benchmark("page", DEFAULTS, METRICS, measure, rounds=3)
