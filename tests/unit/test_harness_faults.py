"""The fault run's counting sees every way in which lines can go wrong."""

from harness.faults import Count, Row, table


def text(*numbers: int) -> str:
    return "".join(f"{number}\n" for number in numbers)


def test_every_line_once_is_perfect() -> None:
    assert Count.of(text(*range(1, 101)), 100).perfect


def test_a_lost_line_is_counted() -> None:
    assert Count.of(text(1, 2, 4), 4) == Count(expected=4, seen=3, lost=1, doubled=0, foreign=0)


def test_a_doubled_line_is_counted() -> None:
    assert Count.of(text(1, 2, 2, 3), 3) == Count(expected=3, seen=4, lost=0, doubled=1, foreign=0)


def test_a_line_out_of_order_is_not_perfect() -> None:
    count = Count.of(text(1, 3, 2), 3)
    assert (count.lost, count.doubled, count.foreign) == (0, 0, 1)


def test_two_lines_in_one_are_lost_and_foreign() -> None:
    count = Count.of("1\n23\n4\n", 4)
    assert (count.lost, count.foreign) == (2, 1)


def test_the_table_sums_what_was_lost_on_disk_and_on_the_page() -> None:
    row = Row("a kill")
    row.add(times=3, disk=Count.of(text(1, 2), 3), page=Count.of(text(1, 2, 3, 3), 3), seconds=2)
    assert (row.times, row.expected, row.lost, row.doubled) == (3, 3, 1, 1)
    assert "a kill" in table([row])[2]
