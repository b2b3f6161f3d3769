"""Real proxies in front: log in, open a notebook, run a cell, see its output; and what another site still may not do."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.proxies import NAME, Front, StartProxy
from harness.server import MakeServer, Server

pytestmark = [pytest.mark.needs("chromium", "proxies"), pytest.mark.timeout(240)]


# As the guide's pages have them, as the guides of others had it, and without TLS.
KINDS = ("apache-tls", "nginx-tls", "caddy-tls", "haproxy-tls", "apache-guide", "apache", "nginx", "caddy", "haproxy")


async def behind(make_server: MakeServer, kind: str) -> Server:
    """A server as guides have it behind a proxy: below /jupyter, and for a public name, which the old recipe hides from it."""
    options = () if kind == "apache-guide" else (f"--local-hostnames=localhost,{NAME}",)
    server = make_server(base_url="/jupyter/", options=options)
    await server.start()
    return server


async def log_in(page: Page, token: str) -> None:
    field = page.get_by_label("Token")
    await field.fill(token)
    await field.press("Enter")


# What the guide's Apache lets through under /api/kernels/ only is tried elsewhere first.
@pytest.mark.expect_console(r"WebSocket connection to '\S+/api/documents/socket\?\S+' failed: .* 400")
@pytest.mark.parametrize("kind", KINDS)
async def test_log_in_and_run_a_cell(kind: str, make_server: MakeServer, start_proxy: StartProxy, open_page: OpenPage) -> None:
    server = await behind(make_server, kind)
    front = await start_proxy(server, kind)
    notebooks.write(server.root / "a b.ipynb", "print('Hello from', 6 * 7)", "name = input('Who? ')\nprint('Hello', name)")
    page = await open_page(front, "notebooks/a b.ipynb", login=False)
    assert page.url.startswith(f"{front.url}login")
    unencrypted = page.get_by_text("not encrypted")
    await (expect(unencrypted).to_have_count(0) if kind.endswith("-tls") else expect(unencrypted).to_be_visible())
    await log_in(page, server.token)
    await page.wait_for_url(f"{front.url}notebooks/**")
    notebook = await NotebookPage(page).loaded()
    await notebook.run_all()
    await expect(notebook.cell(0)).to_contain_text("Hello from 42")
    field = notebook.cell(1).get_by_role("textbox", name="Who?")
    await field.fill("Ada")
    await field.press("Enter")
    await expect(notebook.cell(1)).to_contain_text("Hello Ada")
    await notebook.finished()
    assert notebooks.stream_text(notebooks.read(server.root / "a b.ipynb")["cells"][0]) == "Hello from 42\n"
    cookies = [cookie for cookie in await page.context.cookies() if cookie["httpOnly"]]
    assert [cookie["secure"] for cookie in cookies] == [kind.endswith("-tls")]
    assert {cookie["path"] for cookie in cookies} == {"/jupyter/"}


@pytest.mark.parametrize("kind", ["apache", "nginx", "caddy", "haproxy"])
async def test_the_prefix_without_its_slash_leads_in(
    kind: str, make_server: MakeServer, start_proxy: StartProxy, open_page: OpenPage
) -> None:
    server = await behind(make_server, kind)
    front = await start_proxy(server, kind)
    page = await open_page(front, "", login=True)
    await page.goto(front.url.rstrip("/"))
    await page.wait_for_url(f"{front.url}tree")


ATTACK = """
async ([base, kernel]) => {
  const tried = {};
  const socket = (name, url) => new Promise((done) => {
    const one = new WebSocket(url);
    one.onopen = () => { tried[name] = "open"; one.close(); done(); };
    one.onerror = () => { tried[name] = "refused"; done(); };
  });
  const ws = base.replace(/^http/, "ws");
  await socket("kernel", `${ws}api/kernels/${kernel}/channels?session_id=x`);
  await socket("document", `${ws}api/documents/socket?path=a.ipynb`);
  await socket("document, the other way", `${ws}api/kernels/documents/socket?path=a.ipynb`);
  const send = (method, path, body) => fetch(base + path, { method, body, mode: "no-cors", credentials: "include" }).catch(() => null);
  await send("POST", "api/contents", JSON.stringify({ type: "notebook" }));
  await send("POST", `api/kernels/${kernel}/interrupt`);
  await send("POST", "api/shutdown");
  await send("POST", "api/sessions", JSON.stringify({ path: "x.ipynb", type: "notebook", kernel: { name: "python3" } }));
  for (const path of ["api/contents", "api/kernels", "tree"]) {
    tried[path] = await fetch(base + path, { credentials: "include" }).then((answer) => answer.text(), () => "refused");
  }
  return tried;
}
"""


@pytest.mark.expect_console(".*")
@pytest.mark.parametrize("kind", ["apache-guide", "nginx"])
@pytest.mark.parametrize("site", ["evil.example", NAME])
async def test_another_site_gets_nothing(
    kind: str, site: str, make_server: MakeServer, start_proxy: StartProxy, open_page: OpenPage
) -> None:
    """Also another port of the same host, which is the same site to a browser: it sends all cookies along."""
    server = await behind(make_server, kind)
    front = await start_proxy(server, kind)
    notebooks.write(server.root / "a.ipynb", "print('mine')")
    page = await open_page(front, "notebooks/a.ipynb")
    notebook = await NotebookPage(page).loaded()
    await notebook.run_all()
    await notebook.finished()
    kernel = await page.evaluate("async () => (await (await fetch('/jupyter/api/kernels')).json())[0].id")
    before = sorted(path.name for path in server.root.iterdir())

    site_server = await asyncio.start_server(_empty_page, "127.0.0.1", 0)
    port = site_server.sockets[0].getsockname()[1]
    other = await open_page(Front(f"http://{site}:{port}/", "", server.root), "", context=page.context, login=False)
    tried = await other.evaluate(ATTACK, [front.url, kernel])
    site_server.close()
    assert set(tried.values()) == {"refused"}, tried
    assert sorted(path.name for path in server.root.iterdir()) == before
    kernels = await page.evaluate("async () => (await (await fetch('/jupyter/api/kernels')).json()).map(one => one.id)")
    assert kernels == [kernel]
    assert server.process is not None
    assert server.process.returncode is None


async def _empty_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"<!DOCTYPE html><title>another site</title><link rel=icon href=data:,>"
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    writer.close()


async def test_a_forwarded_header_from_elsewhere_counts_for_nothing(
    make_server: MakeServer, start_proxy: StartProxy, open_page: OpenPage
) -> None:
    """With other trusted proxies, what nginx says of https is not believed: the cookie stays one for http."""
    server = make_server(base_url="/jupyter/", options=(f"--local-hostnames=localhost,{NAME}", "--trusted-proxies=10.1.2.3"))
    await server.start()
    front = await start_proxy(server, "nginx-tls")
    page = await open_page(front, "tree")
    await expect(page.get_by_role("button", name="New notebook").first).to_be_visible()
    assert [cookie["secure"] for cookie in await page.context.cookies() if cookie["httpOnly"]] == [False]
