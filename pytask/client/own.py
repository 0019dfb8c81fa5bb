"""The worker's own verbs, carried out by a client: there is one text of each, the store's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pytask.adapters.rules import Retention
from pytask.adapters.store import RedisStore
from pytask.client.places import Places
from pytask.client.wire import Op, Send, Words, ask_all
from pytask.domain.messages import STARTED, Command
from pytask.domain.record import Verdict

CHUNK = 256  # ids of one script that steers
T = TypeVar("T")


class _Needed(BaseException):
    """A verb of the store needs the reply to a command that was not sent yet."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words


class _Replay:
    """Stands for a client: gives the replies that are there, in order, and stops at the first that is not."""

    def __init__(self, replies: Sequence[Any]) -> None:
        self._replies = iter(replies)
        self.connection_pool = self

    def execute_command(self, *words: Any) -> Any:
        for reply in self._replies:
            if isinstance(reply, Exception):
                raise reply
            return reply
        raise _Needed(words)

    def disconnect(self) -> None:
        """Nothing to drop."""


def by_store(places: Places, place: int, verb: Callable[[RedisStore], T]) -> Op[T]:
    """Carry out a verb of the worker's own store, so that there is one text of it for both.

    In the history of the tasks that it moves stands the client's name.

    The verb is run again with each reply that it needed, from its beginning: what it sends must follow from
    its arguments and the replies alone.  Ours send one or two commands,
    and more only where many are stopped that wait in a very long queue.
    """
    replies: list[Any] = []
    while True:
        store = RedisStore(_Replay(replies), places.keys[place], Retention(stopped=places.keep_stopped))
        store.who = places.who
        try:
            return verb(store)
        except _Needed as needed:
            command = (place, needed.words)
        replies += yield Send([command])


def control(places: Places, place: int, command: Command, ids: Sequence[str]) -> Op[list[Verdict]]:
    """A stop, a start or a reload of up to `CHUNK` tasks of one partition, written down."""
    if command is Command.START:
        # Before the script: whoever hears a stop after this knows that it is newer than our start.
        channels = map(places.keys[place].control, ids)
        yield from ask_all([(place, ("PUBLISH", channel, STARTED)) for channel in channels])
    return (yield from by_store(places, place, lambda store: store.control(command, ids)))
