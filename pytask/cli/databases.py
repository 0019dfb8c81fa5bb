"""Workers with other db numbers that receive control messages of this db: pub/sub ignores db numbers."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pytask.adapters.keys import Keys
from pytask.adapters.redis import support
from pytask.cli.connection import Remote
from pytask.client.records import Worker
from pytask.domain.errors import Denied, Refused


@attrs.frozen(kw_only=True)
class Neighbors:
    """Subscribers other than the workers of our db number."""

    own: int
    others: list[int]  # db numbers
    older: int = 0  # workers of releases that show no db number, and that are not registered in our db


def neighbors(remote: Remote) -> Neighbors | None:
    """None if there are none, or if it cannot be determined."""
    own = support.database_of(remote.client)
    if own is None:
        return None
    try:
        found = list(_of_partitions(remote, own))
    except (Denied, Refused):  # reported as PT139
        return None
    others = sorted({number for one in found for number in one.others})
    older = max(one.older for one in found)  # a worker subscribes in each partition
    return Neighbors(own=own, others=others, older=older) if others or older else None


def _of_partitions(remote: Remote, own: int) -> Iterator[Neighbors]:
    for at, space in enumerate(remote.spaces):
        keys = Keys(space)
        shown = keys.databases_of(remote.ask("PUBSUB", "CHANNELS", keys.database_pattern, at=at))
        numbers = list(dict.fromkeys([own, *shown]))
        channels = [keys.hint_channel, *map(keys.database_channel, numbers)]
        listening, *subscribed = remote.ask("PUBSUB", "NUMSUB", *channels, at=at)[1::2]
        older = _older(listening, subscribed, remote.tasks.workers(), at)
        yield Neighbors(own=own, others=[number for number in shown if number != own], older=older)


def _older(listening: int, subscribed: list[int], workers: list[Worker], at: int) -> int:
    """The number of subscribers that show no db number and are not workers registered in our db."""
    ours = sum(worker.alive for worker in workers if worker.partition == at)
    return max(0, min(listening - sum(subscribed), listening - sum(subscribed[1:]) - ours))
