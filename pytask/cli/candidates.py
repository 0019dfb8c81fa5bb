"""The values that complete a word on the command line: read from Redis, within a fixed time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from pytask.cli.connection import Remote
from pytask.domain.escaping import STEERING
from pytask.domain.messages import IdFault, read_id

if TYPE_CHECKING:
    from pytask.client.reader import Reader

BUDGET = 0.6  # seconds for all of it; starting Python takes the rest of a second
REPLY, CONNECTING = 0.4, 0.25  # seconds
MOST = 100  # candidates
ADDRESS = ("redis", "namespace", "partitions", "config")  # options of every verb that asks Redis
STEPS = 10  # SCANs of 5000 keys each


class QuickRemote(Remote):
    """The server that the line names, with little patience."""

    @property
    def timeouts(self) -> tuple[float, float]:
        """Seconds for a reply and for a connection."""
        return REPLY, CONNECTING


def _states(_client: Reader, _beginning: str) -> Iterable[str]:
    from pytask.domain.lifecycle import State

    return map(str, State)


def _ids(client: Reader, beginning: str) -> Iterable[str]:
    if not beginning:
        return [task.id for task in client.list(limit=MOST)]
    found, _ = client.find(beginning, limit=MOST, steps=STEPS)
    return [name for name in found if not isinstance(read_id(name.encode()), IdFault)]


def _functions(client: Reader, _beginning: str) -> Iterable[str]:
    return [one.name for one in client.functions()]


def _workers(client: Reader, _beginning: str) -> Iterable[str]:
    return sorted({worker.name for worker in client.workers() if worker.alive})


def _schedules(client: Reader, _beginning: str) -> Iterable[str]:
    return [one.name for one in client.schedules.list()]


def _groups(client: Reader, _beginning: str) -> Iterable[str]:
    return [one.name for one in client.limits.list() if one.kind == "group"]


KINDS: Mapping[str, Callable[[Reader, str], Iterable[str]]] = {
    "states": _states,
    "ids": _ids,
    "functions": _functions,
    "workers": _workers,
    "schedules": _schedules,
    "groups": _groups,
}


def candidates(kind: str, params: Mapping[str, Any], beginning: str) -> list[str]:
    """At most `MOST` values that begin so; none without an answer in time, or with an error.

    `params`: those that the line has so far, such as `redis`.
    """
    found: list[str] = []

    def look() -> None:
        given: dict[str, Any] = {name: params.get(name) for name in ADDRESS}
        # Any error: the user asked for no action, and gets an error from the command itself.
        with suppress(BaseException):
            remote = QuickRemote(**given)
            found.extend(matching(kind, None if kind == "states" else remote.tasks, beginning))

    # In a thread, as neither the resolver nor several servers one by one keep to a timeout.
    thread = Thread(target=look, daemon=True)
    thread.start()
    thread.join(BUDGET)
    return [] if thread.is_alive() else found


def matching(kind: str, client: Any, beginning: str) -> list[str]:
    """The values that begin so and that can be typed; states in any case of letters."""
    fold: Callable[[str], str] = str.upper if kind == "states" else str
    fitting = (value for value in KINDS[kind](client, beginning) if fold(value).startswith(fold(beginning)))
    return list(dict.fromkeys(filter(can_be_typed, fitting)))[:MOST]


def can_be_typed(value: str) -> bool:
    """Whether a shell can insert it: no control or invisible character, and no option."""
    return value != "" and value[0] != "-" and value.isprintable() and not STEERING.search(value)
