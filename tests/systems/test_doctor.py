"""``homeport doctor`` against nginx as it should be, and broken on purpose in each way that it knows."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from harness.proxies import StartProxy, nginx_location
from harness.server import MakeServer, Server, environment, free_port

pytestmark = [pytest.mark.needs("proxies"), pytest.mark.timeout(120)]


async def doctor(url: str, *arguments: str) -> tuple[int, str]:
    """The exit status and the output of ``homeport doctor URL``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "homeport", "doctor", url, *arguments, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def behind_nginx(make_server: MakeServer, start_proxy: StartProxy, kind: str = "nginx", **changed: str | None) -> str:
    """A server at 127.0.0.1 behind nginx, whose location is the guide's with some directives changed; its address."""
    server: Server = make_server(base_url="/jupyter/")
    await server.start()
    front = await start_proxy(server, kind, location=nginx_location(**changed))
    return re.sub(r"//[^:]+:", "//127.0.0.1:", front.url)


def problems(output: str) -> list[str]:
    return re.findall(r"^problem  (.*)", output, re.MULTILINE)


async def test_nothing_is_wrong(make_server: MakeServer, start_proxy: StartProxy) -> None:
    status, output = await doctor(await behind_nginx(make_server, start_proxy))
    assert (status, problems(output)) == (0, []), output
    assert output.count("ok  ") == 5
    assert output.endswith("Nothing is wrong.\n")


BREAKS = {
    "websockets": ({"upgrade": None}, "WebSockets are blocked"),
    "prefix": ({"proxy_pass": "proxy_pass http://127.0.0.1:{backend}/"}, r"The proxy strips the prefix /jupyter/"),
    "host": ({"host": None}, r"The proxy loses the Host: browsers say 127.0.0.1:\d+, the server hears 127.0.0.1:\d+"),
    "buffering": (
        # nginx alone passes small pieces on; what compresses them does not.
        {"proxy_buffering": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types *; gzip_proxied any"},
        "The proxy buffers: it holds streamed answers back",
    ),
    "body": ({"client_max_body_size": None}, r"The proxy limits bodies: 8 MiB do not get through"),
}


@pytest.mark.parametrize("how", BREAKS)
async def test_what_is_broken_is_named_alone(how: str, make_server: MakeServer, start_proxy: StartProxy) -> None:
    changed, wanted = BREAKS[how]
    status, output = await doctor(await behind_nginx(make_server, start_proxy, **changed), "--quick")
    [problem] = problems(output)
    assert re.search(wanted, problem), output
    assert (status, output.splitlines()[-1]) == (1, "1 thing to mend.")
    assert "nginx: " in output, "the advice is a line that can be copied"


async def test_a_time_out(make_server: MakeServer, start_proxy: StartProxy) -> None:
    url = await behind_nginx(make_server, start_proxy, proxy_read_timeout="proxy_read_timeout 4s")
    status, output = await doctor(url)
    [problem] = problems(output)
    assert re.search(r"cuts links that are quiet for [45] s", problem), output
    assert status == 1


async def test_https_that_the_proxy_does_not_tell_of(make_server: MakeServer, start_proxy: StartProxy) -> None:
    status, output = await doctor(await behind_nginx(make_server, start_proxy, "nginx-tls", x_forwarded_proto=None), "--quick")
    assert re.search("does not say that browsers use https", problems(output)[0]), output
    assert "The certificate is not one that this machine trusts" in output
    assert status == 1


async def test_the_guides_apache(make_server: MakeServer, start_proxy: StartProxy) -> None:
    server = make_server(base_url="/jupyter/")
    await server.start()
    front = await start_proxy(server, "apache-guide")
    status, output = await doctor(re.sub(r"//[^:]+:", "//127.0.0.1:", front.url), "--quick")
    assert (status, problems(output)) == (0, []), output
    assert "WebSockets get through under api/kernels/ only" in output
    assert "rewrites Origin to http://localhost:" in output


async def test_nobody_behind_the_proxy_and_nobody_at_all(make_server: MakeServer, start_proxy: StartProxy) -> None:
    server = make_server(base_url="/jupyter/")
    await server.start()
    front = await start_proxy(server, "nginx")
    url = re.sub(r"//[^:]+:", "//127.0.0.1:", front.url)
    await server.kill()
    status, output = await doctor(f"{url}tree?token=secret", "--quick")
    assert status == 1
    assert "A proxy answers, but behind it nothing does (status 502)" in output
    status, output = await doctor(f"127.0.0.1:{free_port()}", "--quick")
    assert status == 1
    assert "cannot be reached" in output


async def test_a_name_that_the_server_does_not_know(make_server: MakeServer, start_proxy: StartProxy) -> None:
    url = await behind_nginx(make_server, start_proxy, host="proxy_set_header Host machine.example")
    status, output = await doctor(url, "--quick")
    assert status == 1
    assert "does not know the name" in output
    assert "--local-hostnames=localhost,machine.example" in output
