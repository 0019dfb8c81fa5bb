"""The output of `--explain`: redis-cli commands as lines for a POSIX shell."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pytask.adapters.keys import Keys
from pytask.domain import lifecycle as life
from pytask.terminal import quoted

ID = "\0"  # placeholder in a word for the current id (or name) of a loop


class Answer(NamedTuple):
    """The reply of a command as part of a word."""

    words: Sequence[Word]


class Joined(NamedTuple):
    """A word of several parts."""

    parts: Sequence[str | Answer]


class If(NamedTuple):
    """Executed only if a command has this reply; the empty string also stands for nil."""

    asks: Sequence[Word]
    reply: str
    body: Sequence[Item]


class Match(NamedTuple):
    """Executed only if a whole line of the reply matches this extended regular expression."""

    asks: Sequence[Word]
    pattern: str
    body: Sequence[Item]


class Each(NamedTuple):
    """Executed once for each distinct line of the replies of some commands."""

    sources: Sequence[Sequence[Word]]
    body: Sequence[Item]


Word = str | bytes | int | float | Joined
Line = Callable[["Writer"], str]  # any other shell line
Item = str | Sequence[Word] | If | Match | Each | Line
"""A comment, a command, or a control structure."""


class Writer:
    """Renders items for one way to call redis-cli."""

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
        # redis-cli prints an empty list as an empty line.
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
    """A string as a pattern for :class:`Match`."""
    return "".join("\\" + char if char in r".[]{}()\*+?^$|" else char for char in text)


def parked(space: str) -> Each:
    """The number of parked tasks of each function."""
    keys = Keys(space)
    return Each([["SMEMBERS", keys.parked]], [print_each, ["LLEN", keys.parking(ID)]])


def print_each(_cli: Writer) -> str:
    """Prints the current item of a loop."""
    return """printf '%s\\n' "$id\""""


def selection(space: str, states: Sequence[str], function: str | None, body: Sequence[Item]) -> list[Item]:
    """A loop over all tasks of a partition in some states, and of one function if given."""
    keys = Keys(space)
    if function is not None:
        body = [If(["HGET", keys.task(ID), "function"], function, body)]
    sources: list[Sequence[Word]] = []
    for state in map(life.State, states):
        sources.append(["ZRANGE", keys.leases if state is life.RUNNING else keys.index(state), 0, -1])
        if state is life.WAIT:
            sources.append(["LRANGE", keys.queue, 0, -1])
    if life.RUNNING in states:
        body = ["skip pre-started tasks", If(["HGET", keys.task(ID), "local"], "", body)]
    return [f"each task in the indexes of {', '.join(states)}", Each(sources, body)]
