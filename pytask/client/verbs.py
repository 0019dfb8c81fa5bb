"""The verbs that a client shares with the worker's store, sent by the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pytask.adapters.redis import verbs
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.verbs import Verb
from pytask.adapters.rules import Retention
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Places
from pytask.domain.messages import STARTED, Command
from pytask.domain.record import Expiry, Verdict

CHUNK = 256  # ids of one script that steers
T = TypeVar("T")


def control(places: Places, place: int, command: Command, ids: Sequence[str]) -> Op[list[Verdict]]:
    """A stop, a start or a reload of up to `CHUNK` tasks of one partition, written down."""
    if command is Command.START:
        # Before the script: whoever hears a stop after this knows that it is newer than our start.
        channels = map(places.keys[place].control, ids)
        yield from ask_all([(place, ("PUBLISH", channel, STARTED)) for channel in channels])
    return (yield from _sent(place, verbs.control(_scope(places, place), command, ids)))


def expire(places: Places, place: int, expiries: Sequence[Expiry], server: str) -> Op[list[Verdict]]:
    """Release runs of the dead; `server` is the replication id of the one that was watched."""
    return (yield from _sent(place, verbs.expire(_scope(places, place), expiries, server)))


def _scope(places: Places, place: int) -> Scope:
    """In the history of the tasks that are moved stands the client's name."""
    return Scope(places.keys[place], Retention(stopped=places.keep_stopped), places.who)


def _sent(place: int, verb: Verb[T]) -> Op[T]:
    try:
        call = next(verb)
        while True:
            call = verb.send((yield from ask(place, call)))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
