"""What a client has received, told from what its connection still holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homeport.web.delivery import Delivery


@given(sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=30), looks=st.lists(st.floats(0, 1), max_size=10))
def test_nothing_counts_as_arrived_that_is_still_on_its_way(sizes: list[int], looks: list[float]) -> None:
    delivery = Delivery()
    for seq, size in enumerate(sizes, 1):
        delivery.wrote(size, seq)
    told = 0
    for share in [*sorted(looks, reverse=True), 0.0]:
        waiting = int(share * sum(sizes))
        told = delivery.arrived(waiting) or told
        gone = [seq for seq in range(1, len(sizes) + 1) if sum(sizes[:seq]) <= sum(sizes) - waiting]
        assert told == (gone[-1] if gone else 0)
    assert told == len(sizes)
    assert not delivery.pending
