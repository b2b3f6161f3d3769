"""Requests and message numbers: pure, event by event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homeport.core import requests as core
from homeport.core.counter import GRACE, Judge, MessageCounter, Missed, Seen, Tick, Told
from homeport.core.requests import REMEMBERED, Finished, MakeIdle, MakeReply, Remember, Reply, Requests, Settle, StateIs, Status, Submit


def submit(requests: Requests, msg_id: str, msg_type: str = "execute_request", after: int = 0, **more: bool) -> list[core.Command]:
    return requests.handle(Submit(msg_id, msg_type, "shell", b"{}", after, **more))


def test_a_request_is_sent_once_and_is_over_with_reply_and_idle() -> None:
    requests = Requests()
    (remember,) = submit(requests, "a")
    assert isinstance(remember, Remember)
    assert submit(requests, "a") == []
    assert requests.handle(Status("a", "execute_request", "busy", 7)) == [StateIs("busy")]
    assert requests.running == 7
    assert requests.handle(Reply("a")) == []
    assert requests.awaiting_idle
    finished, state = requests.handle(Status("a", "execute_request", "idle", 9))
    assert isinstance(finished, Finished)
    assert state == StateIs("idle")
    assert (requests.open, requests.running, requests.awaiting_idle) == ([], None, False)
    assert submit(requests, "a") == []


def test_a_kernel_is_occupied_before_its_busy_is_heard() -> None:
    requests = Requests()
    submit(requests, "who", "kernel_info_request")
    submit(requests, "elsewhere", ordered=False)
    assert not requests.occupied
    submit(requests, "cell")
    assert (requests.state, requests.occupied) == (None, True)
    requests.handle(Reply("cell"))
    assert not requests.occupied
    requests.handle(Status("cell", "execute_request", "busy", 1))
    assert requests.occupied
    requests.handle(Status("cell", "execute_request", "idle", 2))
    assert not requests.occupied


def test_a_control_request_does_not_make_a_busy_kernel_idle() -> None:
    requests = Requests()
    submit(requests, "cell")
    requests.handle(Status("cell", "execute_request", "busy", 1))
    requests.handle(Submit("probe", "kernel_info_request", "control", b"{}", 1))
    assert requests.handle(Status("probe", "kernel_info_request", "busy", 2)) == []
    assert [type(command) for command in requests.handle(Status("probe", "kernel_info_request", "idle", 3))] == []
    assert requests.state == "busy"


def test_settling_makes_what_never_came() -> None:
    requests = Requests()
    submit(requests, "lost")
    submit(requests, "half")
    submit(requests, "comm", "comm_msg")
    submit(requests, "elsewhere", ordered=False)
    requests.handle(Reply("half"))
    requests.handle(Status("foreign", "execute_request", "busy", 1))
    (remember,) = submit(requests, "probe", "kernel_info_request")
    assert isinstance(remember, Remember)
    submit(requests, "later")
    requests.handle(Status("probe", "kernel_info_request", "busy", 5))
    requests.handle(Reply("probe"))
    requests.handle(Status("probe", "kernel_info_request", "idle", 6))
    made = [
        (type(command), command.request.msg_id) for command in requests.handle(Settle(remember.request)) if not isinstance(command, StateIs)
    ]
    assert made == [(MakeReply, "lost"), (MakeIdle, "lost"), (MakeIdle, "half"), (MakeIdle, "comm")]
    assert requests.state == "idle", "what somebody else had sent is over too"


def test_a_successor_sends_nothing_twice() -> None:
    old = Requests()
    (first,), (second,) = submit(old, "a"), submit(old, "b")
    assert isinstance(first, Remember)
    assert isinstance(second, Remember)
    new = Requests.recovered([first.request, second.request], ["a"])
    assert [request.msg_id for request in new.open] == ["b"]
    assert submit(new, "a") == submit(new, "b") == []


def test_the_last_answer_is_known_while_its_request_is_open() -> None:
    old = Requests()
    (asking,) = submit(old, "cell")
    (answer,) = old.handle(Submit("answer", "input_reply", "stdin", b"{}", 4))
    submit(old, "later", after=5)
    assert isinstance(asking, Remember)
    assert isinstance(answer, Remember)
    assert old.answer is answer.request
    assert old.handle(Submit("answer", "input_reply", "stdin", b"{}", 5)) == []
    new = Requests.recovered([asking.request, answer.request], [])
    assert new.answer is not None
    assert (new.answer.msg_id, new.answer.after) == ("answer", 4)
    assert Requests.recovered([asking.request, answer.request], ["cell"]).answer is None
    old.handle(Reply("cell"))
    old.handle(Status("cell", "execute_request", "idle", 6))
    assert old.answer is None, "what was submitted later did not ask"


def test_a_successor_calls_a_kernel_busy_until_it_knows_better() -> None:
    old = Requests()
    (first,), (aside,) = submit(old, "a"), old.handle(Submit("aside", "debug_request", "control", b"{}", 0))
    assert isinstance(first, Remember)
    assert isinstance(aside, Remember)
    new = Requests.recovered([first.request, aside.request], [])
    assert new.state == "busy", "that it began may be what nobody heard"
    assert new.running == first.request.after + 1
    for state in ("busy", "idle"):
        new.handle(Status("aside", "debug_request", state, 7))
    new.check()
    assert new.state == "busy", "control requests are answered beside it"
    (probe,) = submit(new, "probe", "kernel_info_request")
    assert isinstance(probe, Remember)
    for command in new.handle(Settle(probe.request)):
        if isinstance(command, MakeIdle):
            new.handle(Status(command.request.msg_id, command.request.msg_type, "idle", 9))
    new.check()
    assert (new.state, new.running) == ("idle", None)
    assert Requests.recovered([aside.request], []).state is None


@given(
    st.lists(
        st.one_of(
            st.builds(
                Submit,
                st.sampled_from("abcd"),
                st.sampled_from(["execute_request", "comm_msg"]),
                st.sampled_from(["shell", "control", "stdin"]),
                st.just(b"{}"),
                st.just(0),
            ),
            st.builds(
                Status,
                st.sampled_from("abcdx"),
                st.sampled_from(["execute_request", "comm_msg"]),
                st.sampled_from(["busy", "idle", "starting"]),
                st.integers(1, 99),
            ),
            st.builds(Reply, st.sampled_from("abcdx")),
        ),
        max_size=60,
    )
)
def test_any_order_of_events_keeps_the_invariants_and_sends_once(events: list[core.Event]) -> None:
    requests, sent = Requests(), []
    for event in events:
        sent += [command.request.msg_id for command in requests.handle(event) if isinstance(command, Remember)]
        requests.check()
    assert len(sent) == len(set(sent))


def test_only_so_many_ids_are_remembered() -> None:
    requests = Requests()
    for number in range(REMEMBERED + 5):
        submit(requests, str(number))
    requests.check()
    assert requests.remembered[0] == "5"


# --- numbers ------------------------------------------------------------------------------------------------------------


def seen(counter: MessageCounter, number: int, now: float = 0.0, *, in_order: bool = True) -> list[Missed]:
    found = counter.handle(Seen([f"session_12_{number}"], now, in_order))
    counter.check()
    return found


def test_threads_overtake_each_other_and_one_number_may_be_unused() -> None:
    counter = MessageCounter()
    for number in (4, 5, 8, 6, 7, 10):
        assert seen(counter, number) == []
    assert counter.handle(Tick(GRACE + 1)) == []


def test_a_gap_is_a_loss_once_it_is_old() -> None:
    counter = MessageCounter()
    seen(counter, 1)
    seen(counter, 5, now=10)
    assert counter.handle(Tick(10 + GRACE / 2)) == []
    assert seen(counter, 3, now=11) == []
    assert counter.handle(Tick(10 + GRACE)) == [], "2 and 4 are single"
    seen(counter, 9, now=20)
    assert counter.handle(Tick(20 + GRACE)) == [Missed(3)]


def test_after_an_adoption_the_first_number_tells() -> None:
    counter = MessageCounter()
    seen(counter, 1)
    counter.adopt()
    assert seen(counter, 4, in_order=False) == [], "a reply; what is on iopub may still come"
    assert seen(counter, 5) == [Missed(2)]
    assert seen(counter, 6) == []


def test_after_an_adoption_a_message_that_replies_have_overtaken_tells() -> None:
    counter = MessageCounter()
    seen(counter, 1)
    counter.adopt()
    assert seen(counter, 12, in_order=False) == []
    assert seen(counter, 10) == [Missed(8)], "2 to 9; 11 may still come"
    assert not counter.adopted
    assert seen(counter, 11) == []
    assert counter.handle(Tick(GRACE)) == []


def test_after_an_adoption_it_may_be_judged_without_a_message() -> None:
    counter = MessageCounter()
    seen(counter, 1)
    assert counter.handle(Judge()) == []
    counter.adopt()
    counter.handle(Seen(["session_13_1"], 0, in_order=True))
    assert counter.handle(Judge()) == []
    assert counter.adopted, "a child has printed, the kernel has said nothing"
    seen(counter, 12, in_order=False)
    assert counter.handle(Judge()) == [Missed(10)]
    assert not counter.adopted


def deliver(
    counter: MessageCounter, published: list[int], replies: list[int], data: st.DataObject, *, least: int = 0
) -> tuple[list[tuple[int, bool]], int]:
    """Two pipes are read, each in its order; chance says which is next, and how much is read before the reader is killed.

    Args:
        least: so much of what was published is read at least.

    Returns:
        The numbers that arrived, each with whether it was published, and how many were said to be lost.
    """
    pipes, missed = {True: list(published), False: list(replies)}, 0
    arrived: list[tuple[int, bool]] = []
    while (pipes[True] or pipes[False]) and (len(published) - len(pipes[True]) < least or data.draw(st.integers(0, 9))):
        in_order = data.draw(st.booleans()) if pipes[True] and pipes[False] else bool(pipes[True])
        arrived.append((pipes[in_order].pop(0), in_order))
        missed += sum(each.count for each in seen(counter, arrived[-1][0], in_order=in_order))
    return arrived, missed


def adopting(journal: list[tuple[int, bool] | None]) -> MessageCounter:
    """That of a supervisor which learns from the journal what had arrived at those before it, and what they had said (None)."""
    counter = MessageCounter()
    for each in journal:
        if each is None:
            counter.handle(Told())
        else:
            seen(counter, each[0], in_order=each[1])
    counter.adopt()
    return counter


@given(st.data())
def test_each_of_many_gaps_is_counted_once_and_to_the_message(data: st.DataObject) -> None:
    journal: list[tuple[int, bool] | None] = [(0, True)]  # None: something is said to be lost
    number, lost, said = 1, 0, 0
    for _ in range(data.draw(st.integers(1, 5))):
        counter = adopting(journal)
        gap = data.draw(st.integers(0, 30))
        lost += gap
        number += gap
        kinds = [*data.draw(st.lists(st.booleans(), max_size=12)), True]
        numbers = list(range(number, number + len(kinds)))
        number += len(kinds)
        published = [each for each, kind in zip(numbers, kinds, strict=True) if kind]
        replies = [each for each, kind in zip(numbers, kinds, strict=True) if not kind]
        # What is held back until it is judged is in no journal: the earliest death is behind the judgement.
        more, missed = deliver(counter, published, replies, data, least=1)
        said += missed
        if missed:
            journal.append(None)
        journal += more
        arrived = [each for each, _ in more]
        ordered = [each for each, in_order in more if in_order]
        # A reply that is missing between others is settled with its request; one that comes behind what tells is believed to be lost.
        lost += sum(not ordered[0] < each < ordered[-1] and each not in arrived for each in numbers)
        said -= sum(each < ordered[0] and arrived.index(each) > arrived.index(ordered[0]) for each in arrived)
    said += sum(each.count for each in seen(adopting(journal), number))
    assert said == lost


def test_children_and_other_kernels_do_not_count() -> None:
    counter = MessageCounter()
    seen(counter, 1)
    assert counter.handle(Seen(["session_13_900"], 0, True)) == []
    assert counter.handle(Seen(["0b1c"], 0, True)) == []
    other = MessageCounter()
    other.handle(Seen(["0b1c-11"], 0, True))
    assert not other.counts
