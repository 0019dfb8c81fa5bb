"""Reading and changing limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.adapters.redis import scripts
from pytask.client import queries
from pytask.client.limit_records import LimitInfo
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.domain.errors import BadData, WrongKeyType
from pytask.domain.limits import EVERY_GROUP, Kind, check_group, check_limit, entry, read_entry, read_limit
from pytask.domain.messages import LONGEST_NAME

SHOWN = 20  # ids of those who hold slots, and of those who wait
READ_MOST = 10_000  # limits, and entries for which ids wait, of one partition
STEP = 500  # entries of one round trip

Defaults = Mapping[str, int]  # function -> `Config.LIMIT`, as live workers publish it


def named(group: str | None, function: str | None) -> tuple[Kind, str]:
    """The kind and the name of what a call means; raises `BadData` unless it is exactly one."""
    if (group is None) == (function is None):
        raise BadData(
            "give either group= or function=, such as group='account-17', or group='*' for all others"
        )
    if group is not None:
        return Kind.GROUP, check_group(group)
    name = str(function)
    if not 0 < len(name.encode(errors="surrogateescape")) <= LONGEST_NAME:
        raise BadData(f"a function name must have 1 to {LONGEST_NAME} bytes, not {name[:60]!r}")
    if name == EVERY_GROUP:
        raise BadData("'*' stands for all groups; there is no limit of all functions: name one of them")
    return Kind.FUNCTION, name


def set_limit(partitions: Partitions, kind: Kind, name: str, limit: int | None) -> Op[None]:
    """Set it in every partition, None to remove it; ids that wait get the slots that are free."""
    value = "" if limit is None else str(check_limit(limit))
    calls = [
        (
            partition,
            scripts.limit(
                queue=keys.queue,
                own=keys.own,
                entry=decoding.raw_of(entry(kind, name)),
                value=value,
            ),
        )
        for partition, keys in enumerate(partitions.keys)
    ]
    for (partition, _), verdict in zip(calls, (yield from ask_all(calls)), strict=True):
        if verdict != b"OK":
            raise WrongKeyType(f"the key {partitions.keys[partition].limits!r} is not a hash: delete it")


def get_limit(partitions: Partitions, kind: Kind, name: str) -> Op[LimitInfo]:
    """One, with the ids of some who hold a slot, and of the first who wait; summed over the partitions."""
    defaults = yield from _defaults(partitions)
    found = LimitInfo(kind=kind, name=name, default=defaults.get(name) if kind is Kind.FUNCTION else None)
    for partition, keys in enumerate(partitions.keys):
        raw = decoding.raw_of(entry(kind, name))
        text, live, waiting, counted, holders, waiters = yield from ask_all(
            [
                (partition, ("HGET", keys.limits, raw)),
                (partition, ("SCARD", keys.slots(entry(kind, name)))),
                (partition, ("ZCARD", keys.line(entry(kind, name)))),
                (partition, ("SISMEMBER", keys.limited, decoding.raw_of(name))),
                (partition, ("SRANDMEMBER", keys.slots(entry(kind, name)), SHOWN)),
                (partition, ("ZREVRANGE", keys.line(entry(kind, name)), -SHOWN, -1)),
            ]
        )
        found = attrs.evolve(
            found,
            **_limit(text),
            live=found.live + live,
            waiting=found.waiting + waiting,
            counted=found.counted and (kind is Kind.GROUP or bool(counted) or not waiting),
            holders=(*found.holders, *sorted(map(decoding.text, holders))),
            waiters=(*found.waiters, *map(decoding.text, reversed(waiters))),
        )
    return found


def list_limits(partitions: Partitions, most: int) -> Op[list[LimitInfo]]:
    """All that have a live limit, those for which tasks wait, and functions whose class has a limit.

    Those with most waiting tasks first; at most `most`.
    """
    defaults = yield from _defaults(partitions)
    known = {entry(Kind.FUNCTION, name): LimitInfo(kind=Kind.FUNCTION, name=name, default=limit)
             for name, limit in defaults.items()}  # fmt: skip
    for partition, keys in enumerate(partitions.keys):
        yield from _add(partition, keys, known, defaults)
    rows = sorted(known.values(), key=lambda one: (-one.waiting, -one.live, one.kind, one.name))
    return rows[:most]


def _add(partition: int, keys: Keys, known: dict[str, LimitInfo], defaults: Defaults) -> Op[None]:
    """Add those of one partition."""
    texts = yield from _texts(partition, keys)
    waiting = yield from ask(partition, ("ZREVRANGE", keys.groups, 0, READ_MOST - 1))
    kept = yield from ask(partition, ("SRANDMEMBER", keys.limited, READ_MOST))
    functions = [entry(Kind.FUNCTION, decoding.text(raw)) for raw in kept]
    names = list(dict.fromkeys([*known, *texts, *map(decoding.text, waiting), *functions]))
    for at in range(0, len(names), STEP):
        part = [name for name in names[at : at + STEP] if read_entry(name) is not None]
        sizes = yield from ask_all(
            [
                (partition, words)
                for name in part
                for words in (("SCARD", keys.slots(name)), ("ZCARD", keys.line(name)))
            ]
        )
        for name, live, lines in zip(part, sizes[::2], sizes[1::2], strict=True):
            kind, of = read_entry(name) or (Kind.GROUP, "")
            default = defaults.get(of) if kind is Kind.FUNCTION else None
            one = known.get(name) or LimitInfo(kind=kind, name=of, default=default)
            counted = one.counted and (kind is Kind.GROUP or name in functions or not lines)
            limit = _limit(texts.get(name)) if name in texts else {}
            known[name] = attrs.evolve(
                one, **limit, live=one.live + live, waiting=one.waiting + lines, counted=counted
            )


def _texts(partition: int, keys: Keys) -> Op[dict[str, Any]]:
    """The live limits as clients wrote them."""
    if (yield from ask(partition, ("HLEN", keys.limits))) > READ_MOST:
        return {}
    reply = yield from ask(partition, ("HGETALL", keys.limits))
    found = reply if isinstance(reply, dict) else dict(decoding.pairs(reply))
    return {decoding.text(name): text for name, text in found.items()}


def _limit(text: Any) -> dict[str, Any]:
    limit = read_limit(text)
    return {"limit": limit, "invalid": "" if limit is not None or text is None else decoding.shown(text)[:80]}


def _defaults(partitions: Partitions) -> Op[dict[str, int]]:
    found: dict[str, int] = {}
    for worker in (yield from queries.workers(partitions)):
        if worker.alive:
            found |= {name: rule.limit for name, rule in worker.limits.items() if rule.limit is not None}
    return found


def is_every_group(kind: Kind, name: str) -> bool:
    """Whether this is the limit of all groups that have none of their own."""
    return kind is Kind.GROUP and name == EVERY_GROUP
