"""The verbs that a client shares with the worker's store, sent by the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pytask.adapters.redis import verbs
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.verbs import Verb
from pytask.adapters.rules import Retention
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.domain.messages import STARTED, Command
from pytask.domain.record import Expiry, Verdict

CHUNK = 256  # ids of one control script
T = TypeVar("T")


def control(
    partitions: Partitions, partition: int, command: Command, ids: Sequence[str], *, fresh: bool = False
) -> Op[list[Verdict]]:
    """Store a control request for up to `CHUNK` tasks of one partition.

    `fresh`: see `pytask.adapters.redis.verbs.control`.
    """
    if command is Command.START:
        # Before the script: workers that receive a stop after this know that it is newer than this start.
        channels = map(partitions.keys[partition].control, ids)
        yield from ask_all([(partition, ("PUBLISH", channel, STARTED)) for channel in channels])
    return (
        yield from _sent(partition, verbs.control(_scope(partitions, partition), command, ids, fresh=fresh))
    )


def expire(
    partitions: Partitions, partition: int, expiries: Sequence[Expiry], server: str
) -> Op[list[Verdict]]:
    """Expire dead runs; `server` is the replication id of the observed server."""
    return (yield from _sent(partition, verbs.expire(_scope(partitions, partition), expiries, server)))


def _scope(partitions: Partitions, partition: int) -> Scope:
    """The history of changed tasks records the name of the client."""
    return Scope(partitions.keys[partition], Retention(stopped=partitions.keep_stopped), partitions.who)


def _sent(partition: int, verb: Verb[T]) -> Op[T]:
    try:
        call = next(verb)
        while True:
            call = verb.send((yield from ask(partition, call)))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
