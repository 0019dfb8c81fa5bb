"""What may be wrong with limits: values that are no numbers, slots without runs, runs without slots."""

from __future__ import annotations

from collections.abc import Iterator

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.cli.checks import Finding
from pytask.cli.connection import Remote
from pytask.cli.fleet import Fleet
from pytask.client.limit_records import LimitInfo
from pytask.domain.errors import Denied
from pytask.domain.limits import Kind
from pytask.domain.version import is_older_protocol
from pytask.domain.wording import counted, verb

LOOK = 1000  # limits that are looked at, those with most waiting tasks first
NAMED = 5
MEMBERS = 100  # slots of one entry that are compared with the registry


def of_the_limits(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """One finding a fault."""
    try:
        listed = remote.tasks.limits.list(limit=LOOK)
    except Denied:  # a worker's role reads single limits only
        return
    if not listed:
        return
    yield from _invalid(remote, listed)
    yield from _leaked(remote, listed)
    yield from _over(listed)
    yield from _older(found, listed)


def _invalid(remote: Remote, listed: list[LimitInfo]) -> Iterator[Finding]:
    for one in [one for one in listed if one.invalid][:NAMED]:
        instead = "that of its class" if one.kind is Kind.FUNCTION else "that of 'group:*', or of the class"
        yield Finding(
            code="PT170",
            what=f"the limit of {one.entry!r} is {one.invalid!r}, which is not a whole number: it is ignored,"
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
