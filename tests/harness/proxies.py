"""Real proxies in front of a Homeport below /jupyter: Apache as the old guides have it and as one writes it today, nginx, caddy, haproxy.

``start_proxy(server, kind)`` gives a :class:`Front`: the address at which a browser finds the server then. The configurations are read from
the guide's pages (docs/guide/nginx.md and the others), with the names, ports and certificates of the test in them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from harness.needs import program
from harness.server import Server, free_port

NAME = "notebooks.example"
"""The public name; the test's browser looks for every ``*.example`` on this machine."""

_APACHE_MODULES = "/usr/lib/apache2/modules"
_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel", "headers", "rewrite", "ssl", "socache_shmcb", "unixd")

_GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def recipe(page: str, number: int = 0) -> str:
    """A configuration as the guide's page of a proxy has it: the code block of that language, by its place."""
    blocks = re.findall(rf"^```{page}\n(.*?)^```", (_GUIDE / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    return blocks[number]


def _filled(text: str, *changed: tuple[str, str]) -> str:
    """A recipe with the names, ports and files of the test in the places where people put theirs."""
    for old, new in changed:
        assert old in text, f"the guide's recipe has no {old!r} any more"
        text = text.replace(old, new)
    return text


@dataclass
class Front:
    """A server as it is seen through a proxy; the parts of :class:`Server` that pages are opened by."""

    url: str
    token: str
    root: Path


def nginx_location(**changed: str | None) -> str:
    """The location of the guide, with some of its directives changed, or taken out (None): to break it on purpose."""
    match = re.search(r"^  location .*?^  \}\n", recipe("nginx"), re.MULTILINE | re.DOTALL)
    assert match is not None
    lines = match[0].splitlines(keepends=True)
    for name, value in changed.items():
        kept: list[str] = []
        for line in lines:
            words = line.split()
            key = words[1] if words[:1] == ["proxy_set_header"] else (words or [""])[0]
            if key.lower().replace("-", "_") != name.lower():
                kept.append(line)
        lines = kept
        if value is not None:
            lines.insert(1, f"      {value};\n")
    return "".join(lines)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for :data:`NAME`, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*make, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def _apache(folder: Path, listen: int, body: str) -> list[str]:
    modules = [name for name in _MODULES if (Path(_APACHE_MODULES) / f"mod_{name}.so").exists()]
    head = [f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so" for name in modules]
    head += [f"ServerRoot {folder}", f"ServerName {NAME}", f"Listen 127.0.0.1:{listen}", f"PidFile {folder}/httpd.pid"]
    head += [f"Mutex file:{folder} default", f"ErrorLog {folder}/error.log", "LogLevel warn", "User #65534", "Group #65534"]
    (folder / "httpd.conf").write_text("\n".join(head) + "\n" + body)
    return ["apache2", "-f", str(folder / "httpd.conf"), "-DFOREGROUND"]


def _nginx(folder: Path, servers: str) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off; {temporary}\n{servers}}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def _without(text: str, *words: str) -> str:
    """A recipe without the lines that begin with one of ``words``."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.strip().startswith(words))


def command_of(kind: str, folder: Path, listen: int, backend: int, location: str | None = None) -> list[str]:
    """Write the configuration of a proxy into ``folder``; the command that runs it in the foreground.

    Args:
        kind: the guide's page, with ``-tls`` for its recipe as it stands, without for plain http; ``apache-guide``: that of older guides.
    """
    program_name, _, more = kind.partition("-")
    cert, key = certificate(folder)
    at, own = f"127.0.0.1:{listen}", (("127.0.0.1:8888", f"127.0.0.1:{backend}"), ("example.org", NAME))
    live = "/etc/letsencrypt/live/example.org/"
    files = ((f"{live}fullchain.pem", str(cert)), (f"{live}privkey.pem", str(key)))
    text = recipe(program_name, 1 if more == "guide" else 0)
    if more == "guide":
        return _apache(folder, listen, _filled(text, ("localhost:8888", f"localhost:{backend}")))
    if program_name == "apache":
        text = text if more else text.replace("SSLEngine on", "SSLEngine off")
        return _apache(folder, listen, _filled(text, *files, *own, ("*:443", f"*:{listen}")))
    if program_name == "nginx":
        if location is not None:
            text = _filled(text, (nginx_location(), location.replace("{backend}", "8888")))
        text = _filled(text, *files, *own, ("listen 443 ssl;", f"listen {at} ssl;"))
        return _nginx(folder, text if more else _without(text, "ssl_").replace(f"{at} ssl;", f"{at};"))
    if program_name == "caddy":
        site = f"https://{NAME}:{listen} {{\n  tls {cert} {key}" if more else f"http://{NAME}:{listen} {{"
        text = _filled(text, ("example.org {", f"{site}\n  bind 127.0.0.1"), own[0])
        (folder / "Caddyfile").write_text(f"{{\n  admin off\n  auto_https off\n  storage file_system {folder}\n}}\n{text}")
        return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    assert program_name == "haproxy", kind
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    bind = f"{at} ssl crt {folder}/both.pem" if more else at
    (folder / "haproxy.cfg").write_text(_filled(text, (":443 ssl crt /etc/haproxy/example.org.pem", bind), own[0]))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


async def _answers(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    async with asyncio.timeout(30):
        while True:
            said = "".join(file.read_text(errors="replace") for file in folder.glob("*.log"))
            assert process.poll() is None, f"The proxy ended with status {process.returncode}:\n{said}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


def _run(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    found = program(command[0])
    assert found is not None, "a test that uses proxies must say @pytest.mark.needs('proxies')"
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "out.log").open("w") as log:
        return subprocess.Popen([found, *command[1:]], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


StartProxy = Callable[..., Awaitable[Front]]


@pytest_asyncio.fixture
async def start_proxy(home: Path) -> AsyncIterator[StartProxy]:
    """``await start_proxy(server, "nginx")``; ``location=`` is another nginx location than the guide's. All end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    async def start(server: Server, kind: str, *, location: str | None = None) -> Front:
        # Below the short home folder, not below tmp_path, whose name may be too long for a socket.
        folder = home / f"proxy-{len(started)}"
        folder.mkdir()
        home.chmod(0o755)  # workers that have given up root look into it
        folder.chmod(0o777)
        listen = free_port()
        command = command_of(kind, folder, listen, server.port, location)
        process = _run(command, folder)
        started.append(process)
        await _answers(listen, process, folder)
        scheme = "https" if kind.endswith("-tls") else "http"
        return Front(f"{scheme}://{NAME}:{listen}/jupyter/", server.token, server.root)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 20)
