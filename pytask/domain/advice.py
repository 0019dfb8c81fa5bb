"""What an error advises: a text with calls in it, which each face tells in its own words."""

from __future__ import annotations

import shlex
from typing import NamedTuple, Self


class Call(NamedTuple):
    """A call of a client on one task, as an error advises it."""

    verb: str  # the method of `pytask.Client`
    id: str
    wait: float | None = None  # seconds
    data: bool = False  # with new data

    def __str__(self) -> str:
        words = [repr(self.id), *(["data"] if self.data else [])]
        return f"{self.verb}({', '.join(words + ([f'wait={self.wait:g}'] if self.wait else []))})"


class Typed(NamedTuple):
    """A command for a shell, of `pytask` or of `redis-cli`; the command line adds the address."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


class Advice(str):
    """A text with calls in it, told as Python has them; the command line reads `parts`, and has its own."""

    __slots__ = ("parts",)
    parts: tuple[str | Call | Typed, ...]

    def __new__(cls, *parts: str | Call | Typed) -> Self:
        """The text of the parts together."""
        made = super().__new__(cls, "".join(map(str, parts)))
        made.parts = parts
        return made
