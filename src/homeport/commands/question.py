"""A question that Ctrl-C asks on a terminal, while everything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

QUESTION_TIMEOUT = 10.0
"""Seconds that a question waits for an answer."""

T = TypeVar("T")


class Question(Generic[T]):
    """One question; it can be asked again and again.

    Args:
        write: shows text to the person.
        answers: by the letter that stands for each; the empty text is Enter alone, where there is a default.
        words: other words for letters.
        gone: the answer when nobody can answer any more, and when Ctrl-C comes again: see :meth:`again`.
        silence: the answer when none comes within 10 s, and what happens then, for the person.
    """

    def __init__(
        self, write: Callable[[str], None], answers: Mapping[str, T], *, words: Mapping[str, str], gone: T, silence: tuple[T, str]
    ) -> None:
        self._write = write
        self._answers = answers
        self._words = words
        self._gone = gone
        self._silence = silence
        self._answer: asyncio.Future[T] | None = None

    @property
    def stands(self) -> bool:
        """True while an answer is waited for."""
        return self._answer is not None and not self._answer.done()

    def again(self) -> None:
        """Ctrl-C came again."""
        if self._answer is not None and not self._answer.done():
            self._write("\n")
            self._answer.set_result(self._gone)

    async def ask(self, text: str) -> T:
        """Ask, saying what comes of silence, and wait for the answer. ``text`` ends with a space."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        answer, sentence = self._silence
        self._write(f"{text}(no answer in {QUESTION_TIMEOUT:.0f} s: {sentence.rstrip('.').partition(';')[0]}) ")
        terminal = sys.stdin.fileno()
        loop.add_reader(terminal, self._on_line, terminal)
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT):
                return await self._answer
        except TimeoutError:
            self._write(f"\nNo answer in {QUESTION_TIMEOUT:.0f} s: {sentence}\n")
            return answer
        finally:
            loop.remove_reader(terminal)
            self._answer = None

    def _on_line(self, terminal: int) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        data = b""
        with contextlib.suppress(OSError):
            data = os.read(terminal, 1024)
        if not data:  # end of file, or the terminal is gone: nobody can answer any more
            answer.set_result(self._gone)
            return
        word = data.decode("utf-8", "replace").strip().lower()
        letter = self._words.get(word, word)
        if letter in self._answers:
            answer.set_result(self._answers[letter])
        else:
            letters = [each for each in self._answers if each]
            self._write(f"Please answer {', '.join(letters[:-1])} or {letters[-1]}: ")


def can_ask() -> bool:
    """True when somebody sits at a terminal that this process may read from: it is in the foreground there."""
    try:
        return sys.stdin.isatty() and sys.stdout.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
