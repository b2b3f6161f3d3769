"""Real proxies in front of a Homeport below /jupyter: Apache as the old guides have it and as one writes it today, nginx, caddy, haproxy.

``start_proxy(server, kind)`` gives a :class:`Front`: the address at which a browser finds the server then. The configurations are what the
guide has people write (docs/guide/), with this machine's ports and folders around them.
"""

from __future__ import annotations

import asyncio
import os
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

# From guides of 2014 to 2020 on "Jupyter behind Apache". The Origin that they set is the server's own.
_APACHE_GUIDE = """
<Location /jupyter>
  ProxyPass http://localhost:{backend}/jupyter
  ProxyPassReverse http://localhost:{backend}/jupyter
  RequestHeader set Origin "http://localhost:{backend}"
</Location>
<Location /jupyter/api/kernels/>
  ProxyPass ws://localhost:{backend}/jupyter/api/kernels/
  ProxyPassReverse ws://localhost:{backend}/jupyter/api/kernels/
</Location>
"""

_APACHE_TODAY = """
ProxyPreserveHost On
AllowEncodedSlashes NoDecode
RequestHeader set X-Forwarded-Proto expr=%{{REQUEST_SCHEME}}
<Location /jupyter>
  ProxyPass http://127.0.0.1:{backend}/jupyter nocanon upgrade=websocket
  ProxyPassReverse http://127.0.0.1:{backend}/jupyter
</Location>
"""

_NGINX_LOCATION = """
    location /jupyter/ {{
      proxy_pass http://127.0.0.1:{backend};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_read_timeout 300s;
      proxy_buffering off;
      client_max_body_size 0;
    }}
"""

_CADDY = """
http://{name}:{listen} {{
  bind 127.0.0.1
  handle /jupyter/* {{
    reverse_proxy 127.0.0.1:{backend}
  }}
}}
"""

_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout tunnel 1h
  option forwardfor
frontend front
  bind 127.0.0.1:{listen}
  http-request set-header X-Forwarded-Proto http
  use_backend homeport if {{ path_beg /jupyter/ }}
backend homeport
  server one 127.0.0.1:{backend}
"""


@dataclass
class Front:
    """A server as it is seen through a proxy; the parts of :class:`Server` that pages are opened by."""

    url: str
    token: str
    root: Path


def nginx_location(**changed: str | None) -> str:
    """The location of the guide, with some of its directives changed, or taken out (None): to break it on purpose."""
    lines = _NGINX_LOCATION.splitlines(keepends=True)
    for name, value in changed.items():
        kept: list[str] = []
        for line in lines:
            words = line.split()
            key = words[1] if words[:1] == ["proxy_set_header"] else (words or [""])[0]
            if key.lower().replace("-", "_") != name.lower():
                kept.append(line)
        lines = kept
        if value is not None:
            lines.insert(2, f"      {value};\n")
    return "".join(lines)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for :data:`NAME`, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*make, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def _apache(folder: Path, listen: int, body: str, *, tls: bool) -> list[str]:
    modules = [name for name in _MODULES if (Path(_APACHE_MODULES) / f"mod_{name}.so").exists()]
    head = [f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so" for name in modules]
    head += [f"ServerRoot {folder}", f"ServerName {NAME}", f"Listen 127.0.0.1:{listen}", f"PidFile {folder}/httpd.pid"]
    head += [f"Mutex file:{folder} default", f"ErrorLog {folder}/error.log", "LogLevel warn", "User #65534", "Group #65534"]
    if tls:
        cert, key = certificate(folder)
        head += ["SSLEngine on", f"SSLCertificateFile {cert}", f"SSLCertificateKeyFile {key}"]
    (folder / "httpd.conf").write_text("\n".join(head) + body)
    return ["apache2", "-f", str(folder / "httpd.conf"), "-DFOREGROUND"]


def _nginx(folder: Path, listen: int, location: str, *, tls: bool) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    ssl = ""
    if tls:
        cert, key = certificate(folder)
        ssl = f"ssl_certificate {cert}; ssl_certificate_key {key};"
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off; {temporary}\n"
        "  map $http_upgrade $connection_upgrade { default upgrade; '' close; }\n"
        f"  server {{ listen 127.0.0.1:{listen}{' ssl' if tls else ''}; server_name {NAME}; {ssl}\n{location}  }}\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def command_of(kind: str, folder: Path, listen: int, backend: int, location: str | None = None) -> list[str]:
    """Write the configuration of a proxy into ``folder``; the command that runs it in the foreground."""
    places = {"listen": listen, "backend": backend, "name": NAME}
    tls = kind.endswith("-tls")
    if kind == "apache-guide":
        return _apache(folder, listen, _APACHE_GUIDE.format(**places), tls=False)
    if kind in ("apache", "apache-tls"):
        return _apache(folder, listen, _APACHE_TODAY.format(**places), tls=tls)
    if kind in ("nginx", "nginx-tls"):
        return _nginx(folder, listen, (location or _NGINX_LOCATION).format(**places), tls=tls)
    if kind == "caddy":
        head = f"{{\n  admin off\n  auto_https off\n  storage file_system {folder}\n}}\n"
        (folder / "Caddyfile").write_text(head + _CADDY.format(**places))
        return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    assert kind == "haproxy", kind
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(**places))
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
