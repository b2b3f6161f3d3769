"""How often somebody may guess: 2 wrong tries a minute and 12 an hour from one address, with growing waits, and a limit over all. Pure.

A try is charged before it is checked, so that a hundred at once are not a hundred guesses; a right one is refunded. What may be
tried again and when is decided here; where the state is kept, and what is checked, is not (``auth/access.py``).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import msgspec

MINUTE, HOUR = 60.0, 3600.0
PER_MINUTE, PER_HOUR = 2, 12
"""Wrong tries from one address, as code-server has them."""
ALL_PER_MINUTE, ALL_PER_HOUR = 20, 200
"""Wrong tries from all addresses from which nobody has logged in before."""
LONGEST_WAIT = 15 * MINUTE
_KNOWN_FOR = 90 * 24 * HOUR
_MOST_ADDRESSES = 10_000


@dataclass(frozen=True)
class Tried:
    """Somebody at ``address`` wants to try a secret."""

    address: str
    now: float


@dataclass(frozen=True)
class WasRight:
    """What was tried at ``address`` is right."""

    address: str
    now: float


@dataclass(frozen=True)
class Check:
    """The secret may be looked at."""


@dataclass(frozen=True)
class Refuse:
    """It may not; ask again after ``seconds``."""

    seconds: float


class Failures(msgspec.Struct):
    """The wrong tries of one address."""

    times: list[float]
    """Those of the last hour, in seconds since the epoch."""
    row: int
    """How many since the last right one."""


class LimitState(msgspec.Struct):
    """What has to outlive the server."""

    addresses: dict[str, Failures] = msgspec.field(default_factory=dict[str, Failures])
    strangers: list[float] = msgspec.field(default_factory=list[float])
    known: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    """Addresses from which somebody has logged in, and when."""


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 client has a whole /64 to itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


class LoginLimit:
    """Decides; ``handle`` is the one mutator."""

    def __init__(self, state: LimitState | None = None) -> None:
        self.state = state or LimitState()

    def handle(self, event: Tried | WasRight) -> Check | Refuse | None:
        """``Tried`` gives :class:`Check` or :class:`Refuse`; ``WasRight`` gives nothing."""
        self._forget(event.now)
        address = network_of(event.address)
        if isinstance(event, WasRight):
            self._refund(address, event.now)
            return None
        wait = self._wait(address, event.now)
        if wait > 0:
            return Refuse(wait)
        failures = self.state.addresses.setdefault(address, Failures([], 0))
        failures.times.append(event.now)
        failures.row += 1
        if address not in self.state.known:
            self.state.strangers.append(event.now)
        return Check()

    def check(self) -> None:
        """Raise AssertionError when the state is not one that can be."""
        for failures in self.state.addresses.values():
            assert failures.row >= 1
            assert len(failures.times) <= min(failures.row, PER_HOUR)
            assert failures.times == sorted(failures.times)
        assert len(self.state.addresses) <= _MOST_ADDRESSES
        assert len(self.state.strangers) <= ALL_PER_HOUR

    def _wait(self, address: str, now: float) -> float:
        until = [now]
        failures = self.state.addresses.get(address)
        if failures is not None:
            times = failures.times
            if times:
                until.append(times[-1] + min(2.0 ** (failures.row - 1), LONGEST_WAIT))
            until += _free_again(times, PER_MINUTE, MINUTE) + _free_again(times, PER_HOUR, HOUR)
        if address not in self.state.known:
            strangers = self.state.strangers
            until += _free_again(strangers, ALL_PER_MINUTE, MINUTE) + _free_again(strangers, ALL_PER_HOUR, HOUR)
        return max(until) - now

    def _refund(self, address: str, now: float) -> None:
        state = self.state
        failures = state.addresses.pop(address, None)
        if failures is not None and failures.times and failures.times[-1] in state.strangers:
            state.strangers.remove(failures.times[-1])
        state.known[address] = now

    def _forget(self, now: float) -> None:
        """Drop what counts no more; also what a clock that was set back has put into the future."""
        state = self.state
        for address, failures in list(state.addresses.items()):
            failures.times = [time for time in failures.times if now - HOUR < time <= now]
            if not failures.times:  # an hour without a wrong try: begin anew
                del state.addresses[address]
        state.strangers = [time for time in state.strangers if now - HOUR < time <= now]
        state.known = {address: time for address, time in state.known.items() if now - _KNOWN_FOR < time <= now}
        for kept in (state.addresses, state.known):
            while len(kept) >= _MOST_ADDRESSES:
                del kept[next(iter(kept))]


def _free_again(times: list[float], count: int, span: float) -> list[float]:
    return [times[-count] + span] if len(times) >= count else []
