"""Delays grow, never beyond the longest, and begin anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core.backoff import Backoff

unit = st.floats(0, 1)


@given(st.floats(0.01, 10), st.floats(10, 1000), unit, st.lists(unit, min_size=1, max_size=100))
def test_delays_are_bounded_and_their_bounds_grow(first: float, longest: float, jitter: float, randoms: list[float]) -> None:
    backoff = Backoff(first=first, longest=longest, jitter=jitter)
    for count, random in enumerate(randoms):
        plain = min(longest, first * 2.0**count)
        assert plain * (1 - jitter) * 0.999 <= backoff.next(random) <= plain
    assert backoff.failures == len(randoms)
    backoff.reset()
    assert backoff.next(0) == min(first, longest)


def test_years_of_failures_do_not_overflow() -> None:
    backoff = Backoff(first=1, longest=60)
    assert max(backoff.next(0.5) for _ in range(5000)) <= 60


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError):
        Backoff(first=2, longest=1)
