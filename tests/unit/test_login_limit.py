"""How often somebody may guess: invariants after every step, and the numbers that are promised."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from homeport.core.login_limit import (
    ALL_PER_HOUR,
    ALL_PER_MINUTE,
    Check,
    LoginLimit,
    Refuse,
    Tried,
    WasRight,
    network_of,
)

NOW = 1_800_000_000.0


def guess_all_the_time(limit: LoginLimit, seconds: float, step: float, *, address: str = "1.2.3.4", start: float = NOW) -> list[float]:
    """When somebody who tries every ``step`` seconds is let."""
    count = int(seconds / step)
    times = [start + number * step for number in range(count)]
    return [time for time in times if limit.handle(Tried(address, time)) == Check()]


def test_two_a_minute_and_twelve_an_hour() -> None:
    assert len(guess_all_the_time(LoginLimit(), 60, 0.5)) == 2
    assert len(guess_all_the_time(LoginLimit(), 3600, 0.5)) <= 12
    assert len(guess_all_the_time(LoginLimit(), 86400, 5)) <= 24 * 12


def test_waits_grow() -> None:
    tries = guess_all_the_time(LoginLimit(), 3600, 1)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] <= 2
    assert gaps[-1] > 200
    assert sorted(gaps[5:]) == gaps[5:]


def test_somebody_who_mistypes_twice_gets_in() -> None:
    limit = LoginLimit()
    assert limit.handle(Tried("::1", NOW)) == Check()
    assert limit.handle(Tried("::1", NOW + 3)) == Check()
    refused = limit.handle(Tried("::1", NOW + 6))
    assert isinstance(refused, Refuse)
    assert 50 < refused.seconds <= 60
    later = NOW + 6 + refused.seconds
    assert limit.handle(Tried("::1", later)) == Check()
    limit.handle(WasRight("::1", later))
    assert limit.handle(Tried("::1", later)) == Check(), "a right one begins anew"


def test_many_at_once_are_not_many_guesses() -> None:
    limit = LoginLimit()
    assert [limit.handle(Tried("1.2.3.4", NOW)) for _ in range(100)].count(Check()) == 1


def test_right_ones_are_never_held_up() -> None:
    limit = LoginLimit()
    for number in range(ALL_PER_HOUR * 2):
        address = f"10.0.{number // 250}.{number % 250}"
        assert limit.handle(Tried(address, NOW + number)) == Check()
        limit.handle(WasRight(address, NOW + number))


def test_many_addresses_have_a_limit_together_and_a_known_one_its_own() -> None:
    limit = LoginLimit()
    limit.handle(Tried("9.9.9.9", NOW))
    limit.handle(WasRight("9.9.9.9", NOW))
    let = [limit.handle(Tried(f"10.0.{number // 250}.{number % 250}", NOW + number / 100)) for number in range(1000)]
    assert let.count(Check()) == ALL_PER_MINUTE
    assert limit.handle(Tried("9.9.9.9", NOW + 11)) == Check(), "who has logged in before is not locked out by strangers"


def test_an_ipv6_client_has_one_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("1.2.3.4") != network_of("1.2.3.5")
    assert network_of("") == ""


@given(st.lists(st.tuples(st.sampled_from(["try", "right"]), st.sampled_from("abc"), st.floats(-10, 4000)), max_size=200))
def test_nothing_breaks_it(steps: list[tuple[str, str, float]]) -> None:
    limit, now = LoginLimit(), NOW
    checked: dict[str, list[float]] = {}
    for what, address, passed in steps:
        if passed < 0:
            checked = {key: [time for time in times if time <= now + passed] for key, times in checked.items()}
        now += passed
        if what == "try":
            if limit.handle(Tried(address, now)) == Check():
                checked.setdefault(address, []).append(now)
        else:
            limit.handle(WasRight(address, now))
            checked[address] = []
        limit.check()
        for times in checked.values():
            assert sum(now - 59.9 < time for time in times) <= 2
            assert sum(now - 3599 < time for time in times) <= 12
