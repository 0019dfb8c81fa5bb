"""What may be wrong with schedules: one check a fault, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.cli.checks import Finding
from pytask.cli.connection import Remote
from pytask.cli.schedule_rows import redis_time
from pytask.client.schedule_records import ScheduleInfo
from pytask.domain.cron import local_time
from pytask.domain.errors import BadData, BadSchedule
from pytask.domain.schedules import NEVER
from pytask.domain.wording import ago, counted, verb
from pytask.shown.fleet import Fleet
from pytask.terminal import command
from pytask.zones import zone_data

LOOK = 1000  # schedules that are looked at, the next ones first
NAMED = 5  # of one kind
OVERDUE = 60.0  # seconds


def of_the_schedules(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """Schedules that cannot be used, that nobody fires, or whose code is gone."""
    yield from _bad(remote)
    listed = remote.tasks.schedules.list(limit=LOOK)
    if not listed:
        return
    now = redis_time(remote)
    yield from _overdue(remote, found, listed, now)
    yield from _far(remote, listed, now)
    yield from _gone(remote, found, listed)
    yield from _different(found)
    yield from _unknown(found, listed)
    if any(one.tz != "UTC" for one in listed):
        yield from _zones(found)


def _bad(remote: Remote) -> Iterator[Finding]:
    for at, space in enumerate(remote.spaces):
        keys = Keys(space)
        # The last ones, by commands that every role may send.
        count, last = remote.ask_all(
            [("ZCOUNT", keys.schedules, NEVER, "+inf"), ("ZREVRANGE", keys.schedules, 0, NAMED - 1)], at=at
        )
        names = last[: int(count)]
        for raw in names:
            name = decoding.text(raw)
            try:
                error = remote.tasks.schedules.get(name).error or "its keys or its time make no sense"
            except BadData as bad:  # a name that can be no id, too
                error = str(bad.args[0])
            yield Finding(
                code="PT155",
                what=f"schedule {name[:80]!r} cannot be used, so nothing is started: {error}",
                fix=f"correct its hash, then {remote.typed('ZADD', keys.schedules, '0', name)}    (or"
                f" {command(['pytask', 'schedule', 'rm', name, *remote.flags])})",
            )
        if count > len(names):
            yield Finding(
                code="PT155",
                what=f"and {counted(count - len(names), 'more schedule')} cannot be used",
                fix=remote.typed("ZREVRANGEBYSCORE", keys.schedules, "+inf", str(NEVER)) + "    names them",
            )


def _overdue(remote: Remote, found: Fleet, listed: list[ScheduleInfo], now: float) -> Iterator[Finding]:
    late = [one for one in listed if one.next is not None and now - one.next > OVERDUE and one.behind is None]
    if late:
        first = late[0]
        who = "no worker is running" if not found.alive else "no worker starts it"
        yield Finding(
            code="PT161",
            what=f"{counted(len(late), 'schedule is', 'schedules are')} overdue, {first.name} for"
            f" {ago(now - (first.next or now))}: {who}",
            fix="start a worker of this release: pytask run TARGET    (missed occurrences are then started or"
            f" skipped; {command(['pytask', 'schedule', 'show', first.name, *remote.flags])} tells)",
        )


def _far(remote: Remote, listed: list[ScheduleInfo], now: float) -> Iterator[Finding]:
    """A clock of Redis that was far ahead for a while leaves times that are far ahead."""
    named = 0
    for one in listed:
        if one.next is None or one.error:
            continue
        try:
            due = one.definition.next(round(now * 1000)) / 1000
        except BadSchedule:  # no worker has met it yet
            continue
        if one.next > due + 1 and named < NAMED:
            named += 1
            yield Finding(
                code="PT160",
                what=f"schedule {one.name} is due at {local_time(one.next, one.tz)}, but by its definition"
                f" already at {local_time(due, one.tz)}: someone set that time, or the clock of Redis was"
                " ahead",
                fix=remote.typed("ZADD", Keys(remote.space_of(one.name)).schedules, "0", one.name)
                + "    (computes it again, if the later time was not intended)",
            )


def _gone(remote: Remote, found: Fleet, listed: list[ScheduleInfo]) -> Iterator[Finding]:
    """Schedules that came from code, where no living worker has that code any more."""
    defined = [worker.schedules for worker in found.alive]
    if not defined or None in defined:
        return  # without workers, or with one that does not say, nothing is known
    known = {name for names in defined for name in names or ()}
    gone = [one.name for one in listed if one.origin == "code" and one.name not in known]
    if gone:
        names = ", ".join(gone[:NAMED]) + (", ..." if len(gone) > NAMED else "")
        yield Finding(
            code="PT157",
            what=f"{counted(len(gone), 'schedule')} came from code that no living worker has any more:"
            f" {names}. {verb(len(gone), 'It still starts', 'They still start')} tasks",
            fix=command(["pytask", "schedule", "rm", gone[0], *remote.flags]) + "    if it is not needed",
        )


def _different(found: Fleet) -> Iterator[Finding]:
    """Schedules that the code of two workers defines differently."""
    known: dict[str, dict[str, str]] = {}  # name -> digest -> a worker
    for worker in found.alive:
        for name, digest in worker.definitions.items():
            known.setdefault(name, {}).setdefault(digest, worker.name or worker.session)
    odd = sorted(name for name, digests in known.items() if len(digests) > 1)
    if odd:
        first, second, *_ = known[odd[0]].values()
        more = f" (and {counted(len(odd) - 1, 'more schedule')} like it)" if len(odd) > 1 else ""
        yield Finding(
            code="PT175",
            what=f"schedule {odd[0]} is defined differently by workers {first} and {second}{more}:"
            " the definition of the worker that started last is in force",
            fix="if this is no deployment that still goes on: give one of the two another name, or run the"
            " same code everywhere",
        )


def _unknown(found: Fleet, listed: list[ScheduleInfo]) -> Iterator[Finding]:
    known = {name for worker in found.alive for name in worker.functions}
    odd = {one.function: one.name for one in listed if one.function and one.function not in known}
    if odd and found.alive:
        function, name = next(iter(odd.items()))
        yield Finding(
            code="PT158",
            what=f"schedule {name} starts {function!r}, which no worker knows: its task is parked"
            + (f" (and {counted(len(odd) - 1, 'more function')} like it)" if len(odd) > 1 else ""),
            fix="start a worker that knows it (pytask functions), or correct the schedule",
        )


def _zones(found: Fleet) -> Iterator[Finding]:
    """Which data is read, here and by the workers."""
    data = zone_data()
    versions = sorted({worker.zones for worker in found.alive if worker.zones})
    where = f"workers read {' and '.join(versions)}" if versions else f"this machine reads {data}"
    package = f"; the tzdata package here has {data.package}" if data.package else ""
    yield Finding(
        code="PT159",
        what=f"schedules use time zones, and {where}{package}",
        fix="to use the tzdata package instead of the machine's data: PYTHONTZPATH='' for each worker; to use"
        " newer data: upgrade the machine's tzdata, or pip install --upgrade tzdata",
    )
