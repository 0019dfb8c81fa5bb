"""What `--explain` prints: redis-cli commands, as lines that a shell (POSIX) takes as they are."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pytask.adapters.keys import Keys
from pytask.domain import lifecycle as life
from pytask.terminal import quoted

ID = "\0"  # stands in a word for the id (or the name) that a loop is at


class Answer(NamedTuple):
    """The reply of a command, as a part of a word."""

    words: Sequence[Word]


class Joined(NamedTuple):
    """A word of several parts."""

    parts: Sequence[str | Answer]


class If(NamedTuple):
    """Done only where the reply of a command is this one; the empty text stands for none, too."""

    asks: Sequence[Word]
    reply: str
    body: Sequence[Item]


class Match(NamedTuple):
    """Done only where a line of the reply is this (an extended regular expression, for all of the line)."""

    asks: Sequence[Word]
    pattern: str
    body: Sequence[Item]


class Each(NamedTuple):
    """Done for each line of the replies of some commands, once."""

    sources: Sequence[Sequence[Word]]
    body: Sequence[Item]


Word = str | bytes | int | float | Joined
Line = Callable[["Writer"], str]  # what else a shell can do
Item = str | Sequence[Word] | If | Match | Each | Line
"""A comment, a command, or what may be done with commands."""


class Writer:
    """Writes items down for one way to call redis-cli."""

    def __init__(self, program: str = "redis-cli") -> None:
        self._program = program

    def lines(self, items: Iterable[Item], indent: str = "") -> Iterator[str]:
        """The lines of a script."""
        for item in items:
            if isinstance(item, str):
                yield f"{indent}# {item}"
            elif isinstance(item, If | Match):
                yield f"{indent}if {self._test(item)}; then"
                yield from self.lines(item.body, indent + "  ")
                yield f"{indent}fi"
            elif isinstance(item, Each):
                yield from self._each(item, indent)
            elif callable(item):
                yield indent + item(self)
            else:
                yield indent + self.command(item)

    def command(self, words: Sequence[Word]) -> str:
        """One command."""
        return " ".join([self._program, *(self._word(word) for word in words)])

    def _test(self, item: If | Match) -> str:
        asked = self.command(item.asks)
        if isinstance(item, Match):
            return f"{asked} | grep -qxE {shlex.quote(item.pattern)}"
        return f'[ "$({asked})" = {self._word(item.reply)} ]'

    def _each(self, item: Each, indent: str) -> Iterator[str]:
        # An empty list is an empty line.
        loop = """| awk '$0 != "" && !seen[$0]++' | while IFS= read -r id; do"""
        sources = [self.command(words) for words in item.sources]
        if len(sources) == 1:
            yield f"{indent}{sources[0]} {loop}"
        else:
            yield f"{indent}{{"
            yield from (f"{indent}  {source}" for source in sources)
            yield f"{indent}}} {loop}"
        yield from self.lines(item.body, indent + "  ")
        yield f"{indent}done"

    def _word(self, word: Word) -> str:
        if isinstance(word, Joined):
            return "".join(self._part(part) for part in word.parts)
        return self._part(word.decode(errors="surrogateescape") if isinstance(word, bytes) else str(word))

    def _part(self, part: str | Answer) -> str:
        if isinstance(part, Answer):
            return f'"$({self.command(part.words)})"'
        if ID not in part:
            return quoted(part, keep="\n")  # of scripts
        return '"$id"'.join(quoted(piece, keep="\n") if piece else "" for piece in part.split(ID))


def literally(text: str) -> str:
    """A text as a pattern of :class:`Match`."""
    return "".join("\\" + char if char in r".[]{}()\*+?^$|" else char for char in text)


def parked(space: str) -> Each:
    """How many tasks wait for each function that no worker knew."""
    keys = Keys(space)
    return Each([["SMEMBERS", keys.parked]], [print_each, ["LLEN", keys.parking(ID)]])


def print_each(_cli: Writer) -> str:
    """Prints what a loop is at."""
    return """printf '%s\\n' "$id\""""


def selection(space: str, states: Sequence[str], function: str | None, body: Sequence[Item]) -> list[Item]:
    """What is to be done to all tasks of a partition in some states, and of a function if one is given."""
    keys = Keys(space)
    if function is not None:
        body = [If(["HGET", keys.task(ID), "function"], function, body)]
    sources: list[Sequence[Word]] = []
    for state in map(life.State, states):
        sources.append(["ZRANGE", keys.leases if state is life.RUNNING else keys.index(state), 0, -1])
        if state is life.WAIT:
            sources.append(["LRANGE", keys.queue, 0, -1])
    if life.RUNNING in states:
        body = ["not those that a worker started by itself", If(["HGET", keys.task(ID), "local"], "", body)]
    return [f"each task in {', '.join(states)}, as the indexes of these have it", Each(sources, body)]
