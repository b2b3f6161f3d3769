"""The reply to an execution behind its outputs, in whatever order the sockets were read: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from homeport.core.reply_order import PATIENCE, ReplyOrder
from homeport.protocol.jupyter import Header, Parts


class Said(NamedTuple):
    """A message, by what it is and which request it belongs to."""

    kind: str
    of: str

    @property
    def header(self) -> Header:
        return Header(msg_type="status" if self.kind in ("busy", "idle") else self.kind)

    @property
    def parent(self) -> Header:
        return Header(msg_id=self.of, msg_type="execute_request")

    @property
    def parts(self) -> Parts:
        return [b"{}", b"{}", b"{}", b'{"execution_state":"%s"}' % self.kind.encode()]


def published(of: str, *kinds: str) -> list[Said]:
    return [Said(kind, of) for kind in kinds]


def reply(of: str, kind: str = "execute_reply") -> Said:
    return Said(kind, of)


def handed_on(
    order: ReplyOrder[Said], output: Sequence[Said], replies: Sequence[Said] = (), *, now: float = 0, more: bool = False
) -> list[Said]:
    messages = order.handle(output, replies, now, more=more)
    order.check()
    return messages


def test_a_reply_waits_for_what_was_published_before_it() -> None:
    order = ReplyOrder[Said]()
    assert handed_on(order, published("a", "busy")) == published("a", "busy")
    assert handed_on(order, [], [reply("a")]) == []
    assert order.deadline == PATIENCE
    assert handed_on(order, published("a", "stream")) == []
    assert handed_on(order, [*published("a", "execute_result", "idle"), *published("b", "busy")]) == [
        *published("a", "stream", "execute_result"),
        reply("a"),
        *published("a", "idle"),
        *published("b", "busy"),
    ]
    assert order.deadline is None


def test_who_was_idle_already_is_not_waited_for() -> None:
    order = ReplyOrder[Said]()
    assert handed_on(order, published("a", "busy", "stream", "idle")) == published("a", "busy", "stream", "idle")
    assert handed_on(order, [], [reply("a")]) == [reply("a")]


def test_many_are_over_at_once() -> None:
    """A queue that was aborted after an error, read late."""
    order = ReplyOrder[Said]()
    names = [str(number) for number in range(100)]
    idle = [published(name, "idle")[0] for name in names]
    in_turn = [each for name in names for each in (reply(name), *published(name, "idle"))]
    assert handed_on(order, idle, [reply(name) for name in names]) == in_turn
    assert order.deadline is None


def test_only_executions_wait() -> None:
    order = ReplyOrder[Said]()
    others = [reply("a", "kernel_info_reply"), reply("b", "input_request")]
    assert handed_on(order, [], others) == others
    assert handed_on(order, published("c", "stream"), [reply("c")]) == []
    # What was published goes before others, too.
    assert handed_on(order, [], others) == [*published("c", "stream"), *others]
    assert handed_on(order, published("c", "idle")) == [reply("c"), *published("c", "idle")]


def test_much_that_is_published_does_not_wait() -> None:
    order = ReplyOrder[Said]()
    assert handed_on(order, published("a", "stream"), [reply("a")], more=True) == published("a", "stream")
    flood = published("a", *["stream"] * 1000)
    assert handed_on(order, flood) == flood
    assert handed_on(order, published("a", "stream", "idle")) == [*published("a", "stream"), reply("a"), *published("a", "idle")]


def test_each_reply_waits_for_as_long() -> None:
    order = ReplyOrder[Said]()
    assert handed_on(order, published("a", "stream"), [reply("a")]) == []
    assert handed_on(order, published("b", "stream"), [reply("b")], now=0.02) == []
    assert order.expire(0.04) == []
    assert order.expire(PATIENCE) == []
    assert order.deadline == 0.02 + PATIENCE
    order.check()
    assert handed_on(order, published("b", "idle"), now=0.06) == [
        *published("a", "stream"),
        *published("b", "stream"),
        reply("a"),
        reply("b"),
        *published("b", "idle"),
    ]
    assert handed_on(order, published("a", "idle"), now=0.07) == published("a", "idle")


def test_who_gives_up_gets_all() -> None:
    order = ReplyOrder[Said]()
    assert handed_on(order, published("a", "stream"), [reply("a")]) == []
    assert order.expire(PATIENCE) == [*published("a", "stream"), reply("a")]
    order.check()
    assert order.release() == []


@given(
    st.lists(st.lists(st.sampled_from(["stream", "display_data"]), max_size=3), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=20),
)
def test_however_the_sockets_are_read(requests: list[list[str]], steps: list[tuple[int, bool, bool]]) -> None:
    """A kernel runs requests one after the other; its sockets are read in any pieces. Before the next reply it has said its idle."""
    output: list[Said] = []
    replies = [reply(str(number)) for number in range(len(requests))]
    for number, kinds in enumerate(requests):
        output += published(str(number), "busy", *kinds, "idle")
    order = ReplyOrder[Said]()
    got: list[Said] = []
    read = answered = 0
    for some, answer, more in [*steps, *[(len(output), True, False)] * len(replies)]:
        new = output[read : read + some]
        read += len(new)
        idle = sum(each.kind == "idle" for each in output[:read])
        answers = replies[answered : min(answered + answer, idle + 1)]
        answered += len(answers)
        got += handed_on(order, new, answers, more=more)
    assert order.deadline is None
    assert [each for each in got if each.kind != "execute_reply"] == output
    assert [each for each in got if each.kind == "execute_reply"] == replies
    for each in replies:
        rest = got[got.index(each) + 1 :]
        assert not [other for other in rest if other.of == each.of and other.kind != "idle"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(["busy", "stream", "idle"]), st.booleans())))
def test_nothing_is_lost_and_what_is_published_keeps_its_order(steps: list[tuple[bool, str, str, bool]]) -> None:
    order = ReplyOrder[Said]()
    said: list[Said] = []
    answers: list[Said] = []
    got: list[Said] = []
    for is_reply, of, kind, give_up in steps:
        if is_reply:
            answers.append(reply(of))
            got += handed_on(order, [], answers[-1:])
        else:
            said += published(of, kind)
            got += handed_on(order, said[-1:])
        if give_up:
            got += order.release()
            order.check()
    got += order.release()
    assert [each for each in got if each.kind != "execute_reply"] == said
    assert sorted(each for each in got if each.kind == "execute_reply") == sorted(answers)
