"""The steps of an operation.

An operation is a generator.  It uses no socket and no clock: it yields one of the records below and is sent
the result, so the same code serves blocking programs and asyncio.  Its driver closes the subscriptions that
it opened, however it ends.  The records are NamedTuples because the command line creates these classes at
every start, and a NamedTuple takes an eighth of the time of an attrs class.
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
    """Commands, each for a partition; one round trip if one server has all partitions.

    The result is a list of replies in the same order; errors are exceptions in this list.
    """

    commands: Sequence[tuple[int, Words]]


class Listen(NamedTuple):
    """Subscribe at the server of a partition.  The result is a handle for `Receive` and `Unsubscribe`."""

    partition: int
    channels: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


class Receive(NamedTuple):
    """The messages received within `timeout` seconds: [(channel, payload), ...], possibly empty.

    A pair of empty bytes is the reply to a ping.
    """

    handle: Any
    timeout: float


class Ping(NamedTuple):
    """Ping the server over the subscription."""

    handle: Any


class Unsubscribe(NamedTuple):
    """End a subscription."""

    handle: Any


class Pause(NamedTuple):
    """Sleep for this many seconds."""

    seconds: float


class Now(NamedTuple):
    """The result is a monotonic time in seconds."""


class Give(NamedTuple):
    """Yield a value to the caller that iterates."""

    value: Any


def ask_all(
    commands: Sequence[tuple[int, Words | ScriptCall[Any]]], *, tolerant: bool = False
) -> Op[list[Any]]:
    """The replies of commands, each for a partition; the first error is raised unless `tolerant`."""
    if not commands:
        return []
    sent = [(partition, one.command() if isinstance(one, ScriptCall) else one) for partition, one in commands]
    replies: list[Any] = yield Send(sent)
    unknown = [at for at, reply in enumerate(replies) if _is_unknown_script(reply)]
    if unknown:
        again: list[tuple[int, Words]] = []
        for at in unknown:
            partition, one = commands[at]
            again.append((partition, one.command(whole=True) if isinstance(one, ScriptCall) else one))
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


def ask(partition: int, command: Words | ScriptCall[Any]) -> Op[Any]:
    """The reply of one command."""
    return (yield from ask_all([(partition, command)]))[0]


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, Exception) and (
        type(reply).__name__ == "NoScriptError" or "NOSCRIPT" in str(reply)
    )


def listen(partition: int, channels: Sequence[str] = (), patterns: Sequence[str] = ()) -> Op[Any]:
    """A new subscription."""
    return (yield Listen(partition, tuple(channels), tuple(patterns)))
