"""What the image runs, as process 1 of a PID namespace: its command and its user, as the Dockerfile has them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import requests

from harness import processes
from harness.server import AS_ROOT, environment, free_port
from homeport.auth.passwords import hash_password
from homeport.folders import Folders

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()
PASSWORD = "of the container"
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def test_the_image_is_not_roots() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")


@pytest.mark.needs("unshare")
@pytest.mark.parametrize("stated", ["HOMEPORT_PASSWORD_HASH", "HOMEPORT_PASSWORD_FILE"])
async def test_its_command_with_a_password_from_the_environment(tmp_path: Path, stated: str) -> None:
    [command] = re.findall(r"^CMD (.+)", DOCKERFILE, re.MULTILINE)
    program, *arguments = json.loads(command)
    assert program == "homeport"
    port, log, secret = free_port(), tmp_path / "log", tmp_path / "secret"
    secret.write_text(hash_password(PASSWORD) + "\n")
    (tmp_path / "notebooks").mkdir()
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *(*NAMESPACE, sys.executable, "-m", "homeport", *arguments, f"--port={port}", *AS_ROOT),
            cwd=tmp_path / "notebooks",
            env=environment() | {stated: str(secret) if stated.endswith("FILE") else secret.read_text().strip()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while "(with your password)" not in log.read_text():
            assert process.returncode is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            await asyncio.sleep(0.02)  # a file tells nobody that it changed
        await asyncio.to_thread(start_kernel, f"https://127.0.0.1:{port}/")
        assert "argon2" not in told_to_kernels()
        [first] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill(int(first), signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()
        assert time.monotonic() - began < 3, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.returncode is None:
            process.kill()  # and with it everything in the namespace
            await process.wait()


def start_kernel(url: str) -> None:
    """Log in with the password, trusting the server's own authority, and start a kernel."""
    with requests.Session() as browser:
        browser.trust_env = False  # a bundle that the environment names would count more than this one
        browser.verify = str(Folders.from_environment().state / "certificates" / "authority.pem")
        browser.get(f"{url}login", timeout=30)
        form = {"_xsrf": browser.cookies["_xsrf"], "password": PASSWORD}
        browser.post(f"{url}login", data=form, timeout=30).raise_for_status()
        started = browser.post(f"{url}api/kernels", json={}, headers={"X-XSRFToken": browser.cookies["_xsrf"]}, timeout=60)
        assert started.status_code == 201, started.text


def told_to_kernels() -> str:
    """The environment of the only kernel there is."""
    [kernel] = [each for each in processes.marked(os.environ[processes.VARIABLE]) if "ipykernel_launcher" in each.command]
    return Path(f"/proc/{kernel.pid}/environ").read_text()
