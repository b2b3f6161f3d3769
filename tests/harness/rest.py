"""Requests to a server, off the test's loop."""

from __future__ import annotations

import asyncio
from typing import Any

import requests

from harness.server import Server


async def rest(server: Server, method: str, path: str, *, ok: bool = True, **arguments: Any) -> requests.Response:
    """One request to ``path``, logged in; an answer of 400 or above is an AssertionError unless ``ok`` is False."""
    headers = {**server.headers, **arguments.pop("headers", {})}
    answer = await asyncio.to_thread(requests.request, method, server.url + path, headers=headers, timeout=120, **arguments)
    assert not ok or answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
    return answer
