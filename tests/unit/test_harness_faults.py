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
    row = Row("the server goes", "a kill")
    row.add(times=3, disk=Count.of(text(1, 2), 3), page=Count.of(text(1, 2, 3, 3), 3), seconds=2)
    assert (row.times, row.expected, row.lost, row.doubled) == (3, 3, 1, 1)
    assert "a kill" in table([row])[2]


def test_what_is_said_to_be_missing_is_not_lost_and_what_is_missing_elsewhere_is() -> None:
    note = "[... 3 messages of the kernel left out: sent when nobody could listen ...]\n"
    count = Count.of(text(1, 2) + note + text(5, 6, 8), 8)
    assert (count.seen, count.said, count.lost, count.foreign) == (5, 2, 1, 0)
    assert not count.perfect
    assert Count.of(text(1, 2) + note, 4).perfect, "the end may be missing, too"
    assert not Count.of(text(1, 2) + note, 4).whole
    for torn in ("1\n2" + note + text(5), text(1, 2) + note + "\n" + text(5)):
        assert Count.of(torn, 5).perfect, "the end of a line may be missing alone, or be all that is left of it"
    for strange in (text(1, 2) + "\n" + note + text(5), text(1, 2) + note + "\n\n" + text(5)):
        assert Count.of(strange, 5).foreign == 1


def test_anything_can_be_counted() -> None:
    assert Count.of_items(["a", "b", "b", "x", "c"], ["a", "b", "c", "d"]) == Count(expected=4, seen=5, lost=1, doubled=1, foreign=1)
    assert Count.of_items(["b", "a"], ["a", "b"]).foreign == 1


def test_rows_stand_in_the_order_of_what_must_be_survived() -> None:
    rows = [Row("compaction", "a day"), Row("the tab goes", "closed")]
    assert [line.split(":")[0] for line in table(rows)[2:]] == ["| the tab goes", "| compaction"]
