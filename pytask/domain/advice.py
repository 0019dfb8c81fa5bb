"""The advice of an error: a text with calls in it, which each interface prints in its own syntax."""

from __future__ import annotations

import shlex
from typing import NamedTuple, Self


class Call(NamedTuple):
    """A client call on one task, as advised by an error."""

    verb: str  # the method of `pytask.Client`
    id: str
    wait: float | None = None  # seconds
    data: bool = False  # with new data

    def __str__(self) -> str:
        words = [repr(self.id), *(["data"] if self.data else [])]
        return f"{self.verb}({', '.join(words + ([f'wait={self.wait:g}'] if self.wait else []))})"


class Typed(NamedTuple):
    """A shell command of `pytask` or `redis-cli`; the command line adds the address."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


class Advice(str):
    """A text with calls in Python syntax; the command line renders `parts` as shell commands instead."""

    __slots__ = ("parts",)
    parts: tuple[str | Call | Typed, ...]

    def __new__(cls, *parts: str | Call | Typed) -> Self:
        """Join the parts."""
        made = super().__new__(cls, "".join(map(str, parts)))
        made.parts = parts
        return made


def see_why(text: str, task_id: str) -> Advice:
    """What happened to a task, and the command that says why."""
    return Advice(f"{text}. See `", Typed(("pytask", "why", task_id)), "`")
