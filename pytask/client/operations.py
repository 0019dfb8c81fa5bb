"""What an operation yields, and what it gets for it.

An operation is a generator.  It never touches a socket or a clock: it yields one of the records below and is
sent the answer, so that one text serves a blocking program and an asyncio one.  What it opened, its shell
closes when it is over, however it ends.  The records are NamedTuples, since each command of the command line
makes their classes anew, and these are made in an eighth of the time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from pytask.adapters.redis import errors
from pytask.adapters.redis.lua import ScriptCall

T = TypeVar("T")
Words = tuple[Any, ...]
Op = Generator[Any, Any, T]
"""Yields the records of this module; returns a T."""


class Send(NamedTuple):
    """Commands, each for a partition, in one round trip where one server has them all.

    The answer is a list of replies in their order; those that are errors are exceptions.
    """

    commands: Sequence[tuple[int, Words]]


class Listen(NamedTuple):
    """Subscribe at the server of a partition.  The answer is a handle, for `Hear` and `Hush`."""

    place: int
    channels: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


class Hear(NamedTuple):
    """What arrived within `timeout` seconds: [(channel, payload), ...], empty when nothing did.

    A pair of empty bytes is the answer to a ping.
    """

    handle: Any
    timeout: float


class Ping(NamedTuple):
    """Ask the server, over the subscription, whether it is there."""

    handle: Any


class Hush(NamedTuple):
    """End a subscription."""

    handle: Any


class Pause(NamedTuple):
    """Sleep for so many seconds."""

    seconds: float


class Now(NamedTuple):
    """The answer is a monotonic time in seconds."""


class Give(NamedTuple):
    """Hand a value to whoever iterates."""

    value: Any


def ask_all(
    commands: Sequence[tuple[int, Words | ScriptCall[Any]]], *, tolerant: bool = False
) -> Op[list[Any]]:
    """The replies of commands, each for a partition; the first error is raised, unless they are wanted."""
    if not commands:
        return []
    sent = [(place, one.command() if isinstance(one, ScriptCall) else one) for place, one in commands]
    replies: list[Any] = yield Send(sent)
    unknown = [at for at, reply in enumerate(replies) if _is_unknown_script(reply)]
    if unknown:
        again: list[tuple[int, Words]] = []
        for at in unknown:
            place, one = commands[at]
            again.append((place, one.command(whole=True) if isinstance(one, ScriptCall) else one))
        for at, reply in zip(unknown, (yield Send(again)), strict=True):
            replies[at] = reply
    for at, reply in enumerate(replies):
        if isinstance(reply, Exception):
            one = commands[at][1]
            where = (one.script.name, one.script.source[0]) if isinstance(one, ScriptCall) else ("", "")
            replies[at] = errors.translate(reply, where)
            if not tolerant:
                raise replies[at] from reply
    return replies


def ask(place: int, command: Words | ScriptCall[Any]) -> Op[Any]:
    """The reply of one command."""
    return (yield from ask_all([(place, command)]))[0]


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, Exception) and (
        type(reply).__name__ == "NoScriptError" or "NOSCRIPT" in str(reply)
    )


def listen(place: int, channels: Sequence[str] = (), patterns: Sequence[str] = ()) -> Op[Any]:
    """A new subscription."""
    return (yield Listen(place, tuple(channels), tuple(patterns)))
