"""The names and addresses under which others can reach this machine: for certificates and printed addresses."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(ip: str) -> bool:
    """Whether ``ip`` (an address, or ``localhost``) can be reached from this machine only."""
    if ip == "localhost":
        return True
    try:
        return ipaddress.ip_address(ip.partition("%")[0]).is_loopback
    except ValueError:
        return False


def outside_addresses() -> list[str]:
    """The addresses of this machine's network interfaces that others may know, IPv4 first; neither loopback nor link-local ones.

    Behind a cloud's or a home's address translation the address that the world knows is not among them.
    """
    import psutil

    found: list[str] = []
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(each.address.partition("%")[0])
                if not (address.is_loopback or address.is_link_local or address.is_multicast):
                    found.append(str(address))
    return sorted(set(found), key=lambda text: (":" in text, text))


def machine_names(given: Sequence[str]) -> list[str]:
    """Names and addresses for a certificate, the main one first.

    Args:
        given: what somebody said that others call this machine; then nothing is guessed: a container's own name and address change
            with every container, and a certificate for them would change too.
    """
    host = socket.gethostname()
    guessed = () if given else (*([host] if _is_name(host) else []), *outside_addresses())
    return list(dict.fromkeys((*given, *guessed, *_LOOPBACK)))


def _is_name(host: str) -> bool:
    return bool(host) and host.isascii() and all(part and len(part) <= 63 for part in host.split("."))


def url_host(name: str) -> str:
    """``name`` as it stands in a URL."""
    return f"[{name}]" if ":" in name else name


def reachable_names(ip: str, given: Sequence[str], certified: Iterable[str]) -> list[str]:
    """What to call a server that listens on ``ip``, the best first.

    Args:
        ip: the address that it listens on; empty for all.
        given: what somebody said that others call this machine.
        certified: the names in its certificate; one of them is the best when it listens on all addresses.
    """
    if given:
        return list(given)
    if ip not in ("", "0.0.0.0", "::"):  # compared, not bound
        return ["localhost"] if is_loopback(ip) else [ip]
    known = [name for name in certified if "*" not in name and not is_loopback(name)]
    return list(dict.fromkeys([*known[:1], socket.gethostname(), *outside_addresses()]))
