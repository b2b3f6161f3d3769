"""Who is at the other end: what a request's peer, and the proxies before it, say about the client. Pure.

``X-Forwarded-For``, ``-Proto`` and ``-Host`` count only when the peer is a trusted proxy; anybody can write such headers.
The Host check (DNS rebinding) never reads what this module gives: a page that was rebound may send any header.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Client:
    """The other end of a request."""

    address: str
    """The client's IP address; the peer's own when no proxy is trusted. Empty behind a Unix socket."""
    scheme: str
    """``"http"`` or ``"https"``: what the browser speaks, to the proxy if there is one."""
    hosts: tuple[str, ...]
    """Names (``host`` or ``host:port``) under which the browser may know this server: Host, and what a trusted proxy forwarded."""
    proxied: bool
    """True when any header says that a proxy stands between, trusted or not: such a proxy may have rewritten Origin."""

    @property
    def trustworthy(self) -> bool:
        """Whether a browser counts this origin as potentially trustworthy: https, or a name of its own machine."""
        return self.scheme == "https" or all(is_local_name(host, ("localhost",)) for host in self.hosts)


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and networks (``127.0.0.1``, ``10.0.0.0/8``, ``::1``).

    Raises:
        ValueError: one of them is neither.
    """
    return tuple(ipaddress.ip_network(name, strict=False) for name in names)


def parse_address(text: str) -> Address | None:
    """An address from ``1.2.3.4``, ``1.2.3.4:567``, ``::1``, ``[::1]:567`` or ``fe80::1%eth0``; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def hostname(host: str) -> str:
    """The name without its port, lower case, from a Host header: ``"[::1]:8888"`` gives ``"::1"``."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower() if host.count(":") <= 1 else host.lower()


def is_local_name(host: str, local_names: Sequence[str]) -> bool:
    """True when a Host header names this machine: a loopback address, or one of ``local_names``."""
    name = hostname(host).rstrip(".")
    address = parse_address(name)
    if address is not None:
        return address.is_loopback
    return name in {local.lower() for local in local_names}


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    return [value.strip() for value in headers.get(name, "").split(",") if value.strip()]


def client_of(peer: str, scheme: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> Client:
    """Work out the client of one request.

    Args:
        peer: the address of the TCP peer; empty for a Unix socket, whose file's mode says who may connect.
        scheme: what the socket itself speaks.
        headers: the request's headers; a name that came several times has its values joined by commas.
        trusted: the proxies whose word counts.
    """
    hosts = [headers.get("Host", "").lower()]
    proxied = any(name in headers for name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"))

    def trust(address: Address | None) -> bool:
        return address is not None and any(address in network for network in trusted)

    own = parse_address(peer)
    if peer and not trust(own):
        return Client(str(own or peer), scheme, tuple(hosts), proxied)
    address, hops = str(own or ""), 1
    for text in reversed(_values(headers, "X-Forwarded-For")):
        # A proxy appends the address that it saw: walk back over those that we trust.
        parsed = parse_address(text)
        if parsed is None:
            break
        address = str(parsed)
        if not trust(parsed):
            break
        hops += 1
    proto = _values(headers, "X-Forwarded-Proto")
    if proto and proto[-min(hops, len(proto))].lower() in ("http", "https"):
        scheme = proto[-min(hops, len(proto))].lower()
    forwarded = _values(headers, "X-Forwarded-Host")
    if forwarded:
        hosts.append(forwarded[-min(hops, len(forwarded))].lower())
    return Client(address, scheme, tuple(hosts), proxied)
