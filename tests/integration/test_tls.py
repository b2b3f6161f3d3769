"""TLS at the door: real handshakes, plain http on the TLS port, a renewed file, a stalled client, certificates that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from harness.edge import TOKEN, Edge, cookies_of, header_of, serving
from homeport.auth.certificates import Authority, check_files
from homeport.commands.running import running_servers
from homeport.web import page_link, tls
from homeport.web.page_link import PageLink, Place

NAMES = ("localhost", "127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
async def edge(home: Path, authority: Authority) -> AsyncIterator[Edge]:
    async with serving(home, make_certificate=lambda now: authority.serve(NAMES, now=now)) as edge:
        yield edge


async def fetch(edge: Edge, authority: Authority, path: str, **more: object) -> HTTPResponse:
    request = HTTPRequest(f"https://127.0.0.1:{edge.server.port}/{path}", ca_certs=str(authority.certfile), follow_redirects=False, **more)  # type: ignore[arg-type]
    return await AsyncHTTPClient().fetch(request, raise_error=False)


async def served_certificate(port: int) -> bytes:
    """The leaf that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    leaf: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
    await gone(writer)
    return leaf


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_everything_goes_over_tls_and_cookies_know_it(edge: Edge, authority: Authority) -> None:
    assert edge.server.url == f"https://localhost:{edge.server.port}/"
    answer = await fetch(edge, authority, f"tree?token={TOKEN}")
    lines = answer.headers.get_list("Set-Cookie")
    assert lines
    assert all("secure" in line.lower() for line in lines)
    page = await fetch(edge, authority, "tree", headers={"Cookie": header_of(cookies_of(answer))})
    assert page.code == 200
    assert (await fetch(edge, authority, "api/me")).code == 401


async def test_old_protocols_are_refused(edge: Edge, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.certfile))
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await asyncio.open_connection("127.0.0.1", edge.server.port, ssl=context)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    await gone(writer)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        await asyncio.open_connection("127.0.0.1", edge.server.port, ssl=context)


async def plain(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 20)
    await gone(writer)
    return answer


@pytest.mark.parametrize(
    ("request_line", "host", "place"),
    [
        ("GET /tree/a%20b?x=1 HTTP/1.1", "me.example:9999", "https://me.example:9999/tree/a%20b?x=1"),
        ("HEAD / HTTP/1.1", "[::1]:9999", "https://[::1]:9999/"),
        ("POST /login HTTP/1.1", "me.example", "https://me.example/login"),
        ("GET //evil.example/ HTTP/1.1", "me.example", "https://me.example/evil.example/"),
        ("GET / HTTP/1.0", "", "https://localhost:{port}/"),
    ],
)
async def test_plain_http_is_sent_to_https(edge: Edge, request_line: str, host: str, place: str) -> None:
    headers = f"Host: {host}\r\n" if host else ""
    answer = await plain(edge.server.port, f"{request_line}\r\n{headers}Content-Length: 0\r\n\r\n".encode())
    head = answer.partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 307 ")
    assert f"Location: {place.format(port=edge.server.port)}" in head.splitlines()
    assert "Set-Cookie" not in head


async def test_who_says_nothing_or_rubbish_holds_up_nobody(edge: Edge, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_MOST_SILENT", 5)
    here = ("127.0.0.1", edge.server.port)
    silent = [await asyncio.to_thread(socket.create_connection, here) for _ in range(8)]
    assert await asyncio.to_thread(silent[0].recv, 1) == b"", "the ones that have been silent for longest make room"
    assert await plain(edge.server.port, b"\x00\x01 rubbish\r\n\r\n") == b"HTTP/1.1 400 Bad Request\r\n\r\n"
    half = await asyncio.to_thread(socket.create_connection, here)
    half.sendall(b"\x16\x03\x01")
    assert (await fetch(edge, authority, "api")).code == 200
    for connection in (*silent, half):
        connection.close()


@pytest.mark.expect_log("The certificate of before stays in use")
async def test_a_renewed_file_is_picked_up_while_it_runs(home: Path, tmp_path: Path) -> None:
    one, other = (Authority(tmp_path / name).serve(NAMES, now=datetime.datetime.now(datetime.UTC)) for name in ("one", "other"))
    cert, key = tmp_path / "mycert.pem", tmp_path / "mykey.key"
    assert one.keyfile is not None
    assert other.keyfile is not None

    def der(served: Path) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return x509.load_pem_x509_certificates(served.read_bytes())[0].public_bytes(Encoding.DER)

    shutil.copy(one.certfile, cert)
    shutil.copy(one.keyfile, key)
    async with serving(home, make_certificate=lambda now: check_files(cert, key, now=now)) as edge:
        assert await served_certificate(edge.server.port) == der(one.certfile)
        shutil.copy(other.certfile, cert)
        in_force = edge.server._certificate
        assert in_force is not None
        await in_force.refresh()
        assert await served_certificate(edge.server.port) == der(one.certfile), "half of a renewal is not taken"
        shutil.copy(other.keyfile, key)
        async with asyncio.timeout(30):
            # Nobody tells when it has been found; each look is a handshake of its own.
            while await served_certificate(edge.server.port) != der(other.certfile):
                pass


async def test_a_command_on_this_machine_trusts_that_certificate_and_no_other(edge: Edge, authority: Authority, tmp_path: Path) -> None:
    (edge.root / "a.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    (server,) = running_servers(edge.parts.folders.runtime)
    place = Place(server.url, server.token, server.local_url, server.certificate)
    assert (server.local_url, server.certificate) == (
        f"https://127.0.0.1:{edge.server.port}/",
        str(authority.certfile.with_name("server.pem")),
    )
    link = PageLink(lambda: place, "a.ipynb")
    await asyncio.wait_for(link.open(), 30)
    assert link.cells == []
    await link.close()
    other = Authority(tmp_path / "other").serve(NAMES, now=datetime.datetime.now(datetime.UTC))
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", edge.server.port, ssl=page_link._only(other.certfile))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_a_guides_weak_key_is_explained_at_the_start(tmp_path: Path) -> None:
    cert, key = tmp_path / "mycert.pem", tmp_path / "mykey.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "365", "-newkey", "rsa:1024", "-subj", "/CN=x", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    command = [sys.executable, "-m", "homeport", str(tmp_path), "--allow-root", "--no-browser", "--port=0", f"--certfile={cert}"]
    done = subprocess.run([*command, f"--keyfile={key}"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "too short" in done.stderr
    assert "openssl req -x509 -newkey rsa:3072" in done.stderr
    alone = subprocess.run([*command[:-1], f"--keyfile={key}"], capture_output=True, text=True, timeout=60, check=False)
    assert "--certfile" in alone.stderr
