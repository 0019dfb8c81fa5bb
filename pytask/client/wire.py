"""What an operation yields, and what it gets for it.

An operation is a generator.  It never touches a socket or a clock: it yields one of the records below and is
sent the answer, so that one text serves a blocking program and an asyncio one.  What it opened, its shell
closes when it is over, however it ends.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import attrs

from pytask.adapters import client as clients

T = TypeVar("T")
Words = tuple[Any, ...]
Op = Generator[Any, Any, T]
"""Yields the records of this module; returns a T."""


@attrs.frozen
class Send:
    """Commands, each for a partition, in one round trip where one server has them all.

    The answer is a list of replies in their order; those that are errors are exceptions.
    """

    commands: Sequence[tuple[int, Words]]


@attrs.frozen
class Listen:
    """Subscribe at the server of a partition.  The answer is a handle, for `Hear` and `Hush`."""

    place: int
    channels: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@attrs.frozen
class Hear:
    """What arrived within `timeout` seconds: [(channel, payload), ...], empty when nothing did.

    A pair of empty bytes is the answer to a ping.
    """

    handle: Any
    timeout: float


@attrs.frozen
class Ping:
    """Ask the server, over the subscription, whether it is there."""

    handle: Any


@attrs.frozen
class Hush:
    """End a subscription."""

    handle: Any


@attrs.frozen
class Pause:
    """Sleep for so many seconds."""

    seconds: float


@attrs.frozen
class Now:
    """The answer is a monotonic time in seconds."""


@attrs.frozen
class Give:
    """Hand a value to whoever iterates."""

    value: Any


@attrs.frozen
class Script:
    """One of our scripts, as a command."""

    name: str
    keys: Sequence[str | bytes]
    args: Sequence[Any] = ()

    def text(self) -> tuple[str, str]:
        """Its text, and its digest."""
        from pytask.adapters.store import load_script  # most of what only looks needs no script

        return load_script(self.name)

    def words(self, *, whole: bool = False) -> Words:
        """By its digest, or with its whole text for a server that does not know it."""
        text, sha = self.text()
        return (
            "EVAL" if whole else "EVALSHA",
            text if whole else sha,
            len(self.keys),
            *self.keys,
            *self.args,
        )


def ask_all(commands: Sequence[tuple[int, Words | Script]], *, tolerant: bool = False) -> Op[list[Any]]:
    """The replies of commands, each for a partition; the first error is raised, unless they are wanted."""
    if not commands:
        return []
    sent = [(place, one.words() if isinstance(one, Script) else one) for place, one in commands]
    replies: list[Any] = yield Send(sent)
    unknown = [at for at, reply in enumerate(replies) if _is_unknown_script(reply)]
    if unknown:
        again: list[tuple[int, Words]] = []
        for at in unknown:
            place, one = commands[at]
            again.append((place, one.words(whole=True) if isinstance(one, Script) else one))
        for at, reply in zip(unknown, (yield Send(again)), strict=True):
            replies[at] = reply
    for at, reply in enumerate(replies):
        if isinstance(reply, Exception):
            one = commands[at][1]
            where = (one.name, one.text()[0]) if isinstance(one, Script) else ("", "")
            replies[at] = clients.translate(reply, where)
            if not tolerant:
                raise replies[at] from reply
    return replies


def ask(place: int, command: Words | Script) -> Op[Any]:
    """The reply of one command."""
    return (yield from ask_all([(place, command)]))[0]


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, Exception) and (
        type(reply).__name__ == "NoScriptError" or "NOSCRIPT" in str(reply)
    )


def listen(place: int, channels: Sequence[str] = (), patterns: Sequence[str] = ()) -> Op[Any]:
    """A new subscription."""
    return (yield Listen(place, tuple(channels), tuple(patterns)))
