"""What may be wrong with limits: values that are no numbers, entries that limit nothing, slots and runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.cli.checks import Finding
from pytask.cli.connection import Remote
from pytask.client.limit_records import LimitInfo
from pytask.client.limits import READ_MOST
from pytask.domain.errors import Denied
from pytask.domain.limits import EVERY_GROUP, WHOLE, Kind, entry_fault, read_entry, read_limit
from pytask.domain.version import is_older_protocol
from pytask.domain.wording import counted, verb
from pytask.shown.fleet import Fleet

LOOK = 1000  # limits that are looked at, those with most waiting tasks first
NAMED = 5
MEMBERS = 100  # slots of one entry that are compared with the registry
SHOWN = 80  # characters of a name

Written = Sequence[Mapping[str, str]]  # for each partition: entry -> limit


def of_the_limits(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """One finding a fault."""
    try:
        listed = remote.tasks.limits.list(limit=LOOK)
        written = _written(remote)
    except Denied:  # a worker's role reads single limits only
        return
    yield from _no_entries(remote, written)
    yield from _unknown(found, written)
    yield from _divided(found, written)
    if not listed:
        return
    yield from _invalid(remote, listed)
    yield from _leaked(remote, listed)
    yield from _over(listed)
    yield from _older(found, listed)


def _written(remote: Remote) -> Written:
    """What clients wrote as limits, for each partition; nothing of a hash that is too large to be read."""
    keys = [Keys(space).limits for space in remote.spaces]
    sizes = remote.ask_each([(at, ("HLEN", key)) for at, key in enumerate(keys)])
    found: list[dict[str, str]] = [{} for _ in keys]
    small = [at for at, size in enumerate(sizes) if isinstance(size, int) and 0 < size <= READ_MOST]
    for at, reply in zip(small, remote.ask_each([(at, ("HGETALL", keys[at])) for at in small]), strict=True):
        pairs = reply.items() if isinstance(reply, dict) else decoding.pairs(reply)
        found[at] = {decoding.text(name): decoding.shown(text) for name, text in pairs}
    return found


def _names(written: Written) -> list[str]:
    return sorted({name for one in written for name in one})


def _no_entries(remote: Remote, written: Written) -> Iterator[Finding]:
    """Entries for which no worker ever asks."""
    for name in _names(written):
        fault = entry_fault(name)
        if fault is None:
            continue
        kind, _, rest = name.partition(":")
        near = get_close_matches(kind.lower(), tuple(Kind), n=1, cutoff=0.6) if rest != EVERY_GROUP else ()
        meant = f" (did you mean {near[0] + ':' + rest!r}?)" if near and rest and kind != near[0] else ""
        where = [space for space, one in zip(remote.spaces, written, strict=True) if name in one]
        yield Finding(
            code="PT176",
            what=f"the entry {name[:SHOWN]!r} of {Keys(where[0]).limits!r} limits nothing: {fault}{meant}",
            fix="write what was meant: pytask limits set N --group TEXT (or --function NAME); then:"
            f" {remote.typed('HDEL', Keys(where[0]).limits, name)}",
        )


def _unknown(found: Fleet, written: Written) -> Iterator[Finding]:
    """Limits of functions that nobody knows; those that tasks wait for are reported as parked."""
    known = {name for worker in found.alive for name in worker.functions}
    limited = [
        one[1]
        for one in map(read_entry, _names(written))
        if one is not None and one[0] is Kind.FUNCTION and one[1] != EVERY_GROUP
    ]
    for name in [name for name in limited if known and name not in known and name not in found.count.parked]:
        near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
        yield Finding(
            code="PT177",
            what=f"there is a limit of the function {name[:SHOWN]!r}, and no running worker knows it"
            f"{f' (did you mean {near[0]!r}?)' if near else ''}",
            fix=f"if the name is wrong: {shlex.join(['pytask', 'limits', 'rm', '--function', name])}, and"
            " set that of the right one",
        )


def _divided(found: Fleet, written: Written) -> Iterator[Finding]:
    """With several partitions each has a limit for itself, and a client that is not ours may forget some."""
    count = len(written)
    if count == 1:
        return
    uneven = [name for name in _names(written) if len({one.get(name) for one in written}) > 1]
    for name in [name for name in uneven if entry_fault(name) is None][:NAMED]:
        each = ", ".join(f"{one.get(name, 'none')} in {at}" for at, one in enumerate(written))
        yield Finding(
            code="PT178",
            what=f"the limit of {name!r} is not the same in all partitions: {each}",
            fix=f"pytask limits set N {_option(name)}    writes it to all of them",
        )
    even = [
        name
        for name in _names(written)
        if name not in uneven and entry_fault(name) is None and read_limit(written[0][name])
    ]
    declared = {
        f"Config.{option} of {name}"
        for worker in found.alive
        for name, rule in worker.limits.items()
        for option, value in (("LIMIT", rule.limit), ("GROUP_LIMIT", rule.group_limit))
        if value
    }
    if even or declared:
        named = [f"{name!r}: {written[0][name]}, so {count} x {written[0][name]} in all" for name in even]
        shown = [*named, *sorted(declared)]
        more = f", and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
        yield Finding(
            code="PT178",
            what=f"each of the {count} partitions has a limit for itself ({'; '.join(shown[:NAMED])}{more}):"
            f" tasks with ids in different partitions may be up to {count} times as many at a time",
            fix="partitions=1 where a limit has to be exact, ids of one partition for each group"
            " (pytask.partition_of), or a smaller limit",
        )


def _option(name: str) -> str:
    kind, rest = read_entry(name) or (Kind.GROUP, name)
    return shlex.join([f"--{kind}", rest])


def _invalid(remote: Remote, listed: list[LimitInfo]) -> Iterator[Finding]:
    for one in [one for one in listed if one.invalid][:NAMED]:
        instead = "that of its class" if one.kind is Kind.FUNCTION else "that of 'group:*', or of the class"
        yield Finding(
            code="PT170",
            what=f"the limit of {one.entry!r} is {one.invalid!r}, which is not {WHOLE}: it is ignored,"
            f" and {instead}, if there is one, counts",
            fix=f"{remote.typed('HSET', Keys(remote.spaces[0]).limits, one.entry, 'N')}    (or HDEL it)",
        )


def _leaked(remote: Remote, listed: list[LimitInfo]) -> Iterator[Finding]:
    """Slots of ids that have no run: whoever waits for them waits for nothing."""
    for at, space in enumerate(remote.spaces):
        keys = Keys(space)
        for one in [one for one in listed if one.live][:LOOK]:
            ids = remote.ask_all([("SRANDMEMBER", keys.slots(one.entry), MEMBERS)], at=at)[0]
            if not ids:
                continue
            runs = remote.ask_all([("HGET", keys.runs, raw) for raw in ids], at=at)
            lost = [decoding.shown(raw) for raw, run in zip(ids, runs, strict=True) if run is None]
            if lost:
                yield Finding(
                    code="PT171",
                    what=f"{counted(len(lost), 'slot')} of {one.entry!r}"
                    f" {verb(len(lost), 'belongs', 'belong')}"
                    f" to no run: {', '.join(lost[:NAMED])}",
                    fix="workers free such slots as soon as a task waits for one, and a monitor with"
                    " slow_sweep=True the others",
                )


def _over(listed: list[LimitInfo]) -> Iterator[Finding]:
    for one in [one for one in listed if one.limit is not None and one.live > one.limit][:NAMED]:
        yield Finding(
            code="PT172",
            what=f"{one.entry!r} has {counted(one.live, 'run')}, and its limit is {one.limit}: the limit was"
            " lowered, or a worker of an older release takes part",
            fix="nothing, if it was lowered: no further one starts before the others end",
        )


def _older(found: Fleet, listed: list[LimitInfo]) -> Iterator[Finding]:
    older = [worker for worker in found.alive if is_older_protocol(worker.protocol)]
    if older and any(one.in_force is not None for one in listed):
        names = ", ".join(worker.name for worker in older[:NAMED])
        yield Finding(
            code="PT173",
            what=f"there are limits, and {names} {verb(len(older), 'does', 'do')} not support them: what"
            f" {verb(len(older), 'it claims', 'they claim')} runs in addition, without a slot",
            fix="upgrade these workers: pip install --upgrade pytaskd",
        )
