"""core/forwarded.py: whose word counts about the client of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core.forwarded import client_of, hostname, is_local_name, networks, parse_address

LOOPBACK = networks(["127.0.0.1", "::1"])


def test_headers_of_a_stranger_do_not_count() -> None:
    headers = {"Host": "a:1", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"}
    client = client_of("9.9.9.9", "http", headers, LOOPBACK)
    assert (client.address, client.scheme, client.hosts, client.proxied) == ("9.9.9.9", "http", ("a:1",), True)


def test_a_trusted_proxy_is_believed() -> None:
    headers = {"Host": "localhost:8888", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "Example.org"}
    client = client_of("127.0.0.1", "http", headers, LOOPBACK)
    assert (client.address, client.scheme, client.hosts) == ("1.2.3.4", "https", ("localhost:8888", "example.org"))


def test_what_a_client_wrote_before_the_trusted_proxy_appended_is_ignored() -> None:
    headers = {"Host": "h", "X-Forwarded-For": "6.6.6.6, 1.2.3.4", "X-Forwarded-Host": "evil, real"}
    client = client_of("127.0.0.1", "http", headers, LOOPBACK)
    assert client.address == "1.2.3.4"
    assert client.hosts == ("h", "real")


def test_a_chain_of_trusted_proxies() -> None:
    trusted = networks(["127.0.0.1", "10.0.0.0/8"])
    headers = {
        "Host": "h",
        "X-Forwarded-For": "6.6.6.6, 1.2.3.4, 10.0.0.7",
        "X-Forwarded-Proto": "https, http",
        "X-Forwarded-Host": "pub, inner",
    }
    client = client_of("127.0.0.1", "http", headers, trusted)
    assert (client.address, client.scheme, client.hosts) == ("1.2.3.4", "https", ("h", "pub"))


def test_a_unix_socket_is_trusted() -> None:
    assert client_of("", "http", {"Host": "h", "X-Forwarded-Proto": "https"}, ()).scheme == "https"


@pytest.mark.parametrize("value", ["", ",", "nonsense", "1.2.3.4.5", "1.2.3.4, evil"])
def test_broken_addresses_do_not_get_in(value: str) -> None:
    assert client_of("127.0.0.1", "http", {"X-Forwarded-For": value}, LOOPBACK).address == "127.0.0.1"


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_header_gives_an_address_and_a_scheme(for_: str, proto: str, host: str) -> None:
    headers = {"Host": host, "X-Forwarded-For": for_, "X-Forwarded-Proto": proto, "X-Forwarded-Host": host}
    client = client_of("127.0.0.1", "http", headers, LOOPBACK)
    assert client.scheme in {"http", "https"}
    assert parse_address(client.address) is not None


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost:8888", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("127.0.0.1:8888", True),
        ("127.1.2.3", True),
        ("[::1]:8888", True),
        ("[::ffff:127.0.0.1]", True),
        ("mine.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_local_names(host: str, local: bool) -> None:
    assert is_local_name(host, ["localhost", "mine.example"]) is local


def test_hostname() -> None:
    assert [hostname(h) for h in ("A:1", "[::1]:2", "::1", "a")] == ["a", "::1", "::1", "a"]
