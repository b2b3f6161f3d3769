"""What a stop means for kernels: the option, containers, and the question of Ctrl-C on a real terminal (a pty)."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Callable, Coroutine, Iterator

import pytest

from homeport.commands import question as questions
from homeport.commands.ending import (
    Answer,
    Kernels,
    Place,
    brief_duration,
    is_main_of_container,
    kept,
    kernel_question,
    kernels_running,
    on_terminate,
    run_on,
)
from homeport.commands.question import Question


@pytest.mark.parametrize(
    ("on_stop", "container", "kernels"),
    [
        ("auto", True, Kernels.SHUT_DOWN),
        ("auto", False, Kernels.KEEP),
        ("keep", True, Kernels.KEEP),
        ("keep", False, Kernels.KEEP),
        ("shutdown", True, Kernels.SHUT_DOWN),
        ("shutdown", False, Kernels.SHUT_DOWN),
    ],
)
def test_on_stop(on_stop: str, container: bool, kernels: Kernels) -> None:
    assert on_terminate(on_stop, main_of_container=container) is kernels


@pytest.mark.parametrize(
    ("place", "first", "marked", "main"),
    [
        (Place(1, 1, leads=False), "tini", True, True),
        (Place(1, 7, leads=True), "dumb-init", True, True),
        (Place(1, 1, leads=False), "docker-init", True, True),
        (Place(1, 1, leads=False), "start.sh", False, True),
        (Place(1, 0, leads=False), "start.sh", False, True),  # the session began outside of the container
        (Place(1, 40, leads=False), "start.sh", False, False),  # `docker exec` began it, or a terminal; its shell has ended
        (Place(1, 1, leads=False), "systemd", False, False),
        (Place(1, 1, leads=False), "systemd", True, False),  # a whole machine in a container: systemd keeps order there
        (Place(1, 1, leads=False), "init", False, False),
        (Place(1, 1, leads=False), "init", True, True),
        (Place(1, 1, leads=False), "launchd", False, False),
        (Place(1, 1, leads=False), "", False, False),  # /proc cannot be read: do no harm
        (Place(4711, 1, leads=False), "tini", True, False),  # started from a shell in a container: that shell may start another one
    ],
)
def test_main_of_container(place: Place, first: str, marked: bool, main: bool) -> None:
    assert is_main_of_container(behind_own_init=False, place=place, first=first, in_container=marked) is main


def test_behind_our_own_init_is_always_the_main_process() -> None:
    assert is_main_of_container(behind_own_init=True, place=Place(4711, 1, leads=False), first="systemd", in_container=False)


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (5, "5 s"), (600, "10 min"), (9000, "2 h"), (500000, "6 days")])
def test_brief_duration(seconds: float, text: str) -> None:
    assert brief_duration(seconds) == text


def test_what_is_said_of_kernels_that_run_on() -> None:
    assert kept([]) == "The server has ended; no kernel is running."
    assert kept(["0123456789", "abcdef0123"]) == (
        "The server has ended; 2 kernels run on, and will be here again at the next start: "
        "'homeport kernels' lists them, 'homeport kernels stop ID' ends one."
    )
    assert run_on(["0123456789"], again=False) == "1 kernel runs on: 'homeport kernels' lists it, 'homeport kernels stop 01234567' ends it."


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The master side of a pty whose other side is this process's stdin."""
    master, slave = pty.openpty()
    with open(slave, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.close(master)


def ask(act: Callable[[Question[Answer]], Coroutine[object, object, None]]) -> tuple[Answer, str]:
    said: list[str] = []

    async def both() -> Answer:
        question = kernel_question(said.append)
        asked = asyncio.create_task(question.ask(kernels_running(["a.ipynb  Python 3, busy", "b.ipynb  Python 3, idle for 5 s"])))
        await asyncio.sleep(0)
        assert question.stands
        await act(question)
        answer = await asked
        assert not question.stands
        return answer

    return asyncio.run(both()), "".join(said)


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("\n", Answer.KEEP),
        ("y\n", Answer.KEEP),
        ("N\n", Answer.SHUT_DOWN),
        ("no\n", Answer.SHUT_DOWN),
        ("c\n", Answer.GO_ON),
        ("what?\ncancel\n", Answer.GO_ON),
    ],
)
def test_answers(terminal: int, typed: str, answer: Answer) -> None:
    async def act(_: Question[Answer]) -> None:
        os.write(terminal, typed.encode())

    given, said = ask(act)
    assert given is answer
    assert "2 kernels are running" in said
    assert "a.ipynb  Python 3, busy" in said
    assert "(no answer in 10 s: the server goes on) " in said
    assert ("Please answer" in said) == typed.startswith("what")


def test_ctrl_c_again_leaves_and_keeps(terminal: int) -> None:
    async def act(question: Question[Answer]) -> None:
        question.again()

    assert ask(act)[0] is Answer.KEEP


def test_a_closed_terminal_leaves_and_keeps(terminal: int) -> None:
    async def act(_: Question[Answer]) -> None:
        os.write(terminal, b"\x04")  # end of file

    assert ask(act)[0] is Answer.KEEP


def test_no_answer_means_go_on(terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "QUESTION_TIMEOUT", 0.05)

    async def act(_: Question[Answer]) -> None:
        return

    given, said = ask(act)
    assert given is Answer.GO_ON
    assert "the server goes on" in said
