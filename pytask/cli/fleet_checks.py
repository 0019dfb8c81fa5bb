"""What may be wrong with the workers and the tasks of a deployment: one check a fault, with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.cli.checks import Finding
from pytask.cli.connection import Remote
from pytask.cli.databases import neighbors
from pytask.cli.elsewhere import elsewhere
from pytask.cli.limit_checks import of_the_limits
from pytask.cli.lock_checks import of_the_locks
from pytask.cli.orphaned_tasks import forgotten
from pytask.cli.pause_checks import of_the_pauses
from pytask.cli.timer_checks import of_the_timers
from pytask.client.records import SILENT
from pytask.domain import lifecycle as life
from pytask.domain.crashes import possible_pause
from pytask.domain.timing import Timing
from pytask.domain.version import __version__, may_share
from pytask.domain.wording import ago, counted, verb
from pytask.shown.fleet import Fleet
from pytask.shown.overview import Rejected, read_rejected
from pytask.terminal import command

CLOCK = 2.0  # seconds that two clocks may differ
LOOK = 1000  # overdue leases whose owners are looked up
MUCH = 0.9  # of a core
HELD = 10.0  # seconds for which a worker's writes may be delayed, as during a failover
DB = re.compile(r"db\d+")  # a db with keys, as INFO names it
LONG = 17  # digits; a longer number in a hash was not written by pytask
ROOM = 16  # connections to keep free for operators
NAMED = 5  # silent workers that are reported one by one
NAMED_BUSY = 3  # tasks named for a worker that uses up its core


def of_the_fleet(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """Clocks, dead runs, parked tasks, monitors, releases."""
    yield from _clock(found)
    yield from _neighbors(remote)
    yield from _silent(remote, found)
    yield from _stuck(remote)
    yield from _orphans(remote)
    yield from _forgotten(remote)
    yield from _refused(found)
    yield from _busy(found)
    yield from _parked(found)
    yield from _monitor(found)
    yield from _idle(found)
    yield from _releases(found)
    yield from of_the_timers(remote, found)
    yield from of_the_limits(remote, found)
    yield from of_the_pauses(found)
    yield from of_the_locks(found)
    yield from _files(found)
    yield from _clients(found)
    yield from _rejected(remote, found)
    yield from _failed(remote, found)
    if not (found.workers or found.count.total or found.count.rejected or found.monitor is not None):
        yield from _elsewhere(remote, found)


def _clock(found: Fleet) -> Iterator[Finding]:
    if abs(found.clock) > CLOCK:
        word = "ahead of" if found.clock > 0 else "behind"
        yield Finding(
            code="PT090",
            what=f"the clock of Redis is {ago(abs(found.clock))} {word} the clock of this machine",
            fix="sudo timedatectl set-ntp true    (on both)",
        )


def _neighbors(remote: Remote) -> Iterator[Finding]:
    """Deployments with a different db number and the same namespace."""
    found = neighbors(remote)
    if found is None:
        return
    who = f"workers with db {', '.join(map(str, found.others))} of this Redis"
    if not found.others:
        who = f"{counted(found.older, 'worker')} of an older release, not registered in this db"
    yield Finding(
        code="PT138",
        what=f"{who}: they receive the control messages of db {found.own} and vice versa, because pub/sub"
        " ignores db numbers. A stop of a task in one also stops the task with the same id in the other",
        fix="give one of the deployments (its workers and its clients) a namespace:"
        " pytask run TARGET --namespace NAME:",
    )


def _silent(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """Workers that stopped reporting and own runs that a monitor will requeue, if a worker with one runs."""
    held = _held(remote)
    lonely = not found.swept_lately  # of workers that are alive, none may have a monitor
    silent = [one for one in remote.tasks.workers() if one.session in held and not one.alive] if held else []
    for worker in sorted(silent, key=lambda one: (one.name, one.session))[:NAMED]:
        number = held[worker.session]
        expiry = worker.expiry or Timing().expiry
        yield Finding(
            code="PT097",
            what=f"worker {worker.name} has been silent for {ago(worker.silent)} and owns"
            f" {counted(number, 'run')}: {verb(number, 'its task is', 'its tasks are')} requeued after"
            f" {expiry:g} s" + (", but only by a worker with a monitor, and none runs" if lonely else ""),
            fix=f"check whether process {worker.pid} is alive on {worker.host}; if it is: pytask health"
            " --live" + ("; if not, start a worker with a monitor: pytask run TARGET" if lonely else ""),
        )
    if len(silent) > NAMED:
        yield Finding(
            code="PT097",
            what=f"and {counted(len(silent) - NAMED, 'more worker is', 'more workers are')} silent, and"
            f" {verb(len(silent) - NAMED, 'owns', 'own')} runs",
            fix="check what they have in common (machine, network, release): pytask workers",
        )


def _stuck(remote: Remote) -> Iterator[Finding]:
    """Tasks that survived a stop, as their workers report."""
    for worker in remote.tasks.workers():
        ids = worker.stuck if worker.alive else ()
        if ids:
            yield Finding(
                code="PT042",
                what=f"{worker.name} has {counted(len(ids), 'task')} that"
                f" {verb(len(ids), 'does', 'do')} not stop: {', '.join(ids[:NAMED])}",
                fix=f"find out what blocks it: kill -USR1 {worker.pid} on {worker.host} prints the stack of"
                " every greenlet; restarting the worker ends the task",
            )


def _failed(remote: Remote, found: Fleet) -> Iterator[Finding]:
    number = found.count.states[life.ERROR]
    if number:
        last = next(iter(remote.tasks.list(state=life.ERROR, limit=1)), None)
        such = f"; the last is {last.id} ({last.function})" if last is not None else ""
        yield Finding(
            code="PT142",
            what=f"{counted(number, 'task')} failed, and {verb(number, 'is', 'are')} in ERROR{such}",
            fix=command(["pytask", "why", last.id if last else "ID", *remote.flags])
            + "    (shows the error; `pytask requeue` runs failed tasks again, `pytask rm` deletes them)",
        )


def _elsewhere(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """No pytask data here, but some nearby: the address lacks its db, or the namespace is missing."""
    numbers = sorted(int(name[2:]) for name in found.server if DB.fullmatch(name))
    for where, flags in elsewhere(remote, numbers):
        yield Finding(
            code="PT143",
            what=f"no workers and no tasks found here, but there are some in {where}",
            fix=command(["pytask", "doctor", *flags]) + "    (or set $PYTASK_REDIS_URL or $PYTASK_NAMESPACE)",
        )


def _held(remote: Remote) -> dict[str, int]:
    """The number of overdue runs of each session; older ones are orphans."""
    number: dict[str, int] = {}
    for at, space in enumerate(remote.spaces):
        keys = Keys(space)
        (seconds, _) = remote.ask("TIME", at=at)
        limits = [int((int(seconds) - age) * 1e6) for age in (SILENT, _takeover())]
        late, old = remote.ask_all([("ZCOUNT", keys.leases, "-inf", limit) for limit in limits], at=at)
        # The oldest are at the end.  ZREVRANGE by index, as every role may call it: workers and watchers.
        words = ("ZREVRANGE", keys.leases, -min(late, old + LOOK), -(old + 1))
        ids = remote.ask(*words, at=at) if late > old else []
        runs = remote.ask("HMGET", keys.runs, *ids, at=at) if ids else []
        for run in filter(None, runs):
            session = decoding.shown(run).rpartition(":")[0]
            number[session] = number.get(session, 0) + 1
    return number


def _takeover() -> float:
    """Seconds after which a monitor has requeued every run of a dead worker."""
    timing = Timing()
    return timing.expiry + 2 * timing.sweep + timing.heartbeat


def _orphans(remote: Remote) -> Iterator[Finding]:
    limit = _takeover()
    number = sum(_abandoned(remote, at, limit) for at in range(len(remote.spaces)))
    if number:
        yield Finding(
            code="PT091",
            what=f"{counted(number, 'task is', 'tasks are')} RUNNING, but"
            f" {verb(number, 'its lease was', 'their leases were')} not renewed for over {ago(limit)}: no"
            f" worker owns {verb(number, 'it', 'them')} any more, and no monitor requeues"
            f" {verb(number, 'it', 'them')}",
            fix="start a worker with a monitor: pytask run TARGET (without --no-monitor)",
        )


def _abandoned(remote: Remote, at: int, limit: float) -> int:
    """The number of runs of a partition that a monitor would have requeued by now.

    A run that may be blamed for a crash again is requeued after an extra pause.  Beyond the first `LOOK` runs
    the pause is not considered: only few runs of a worker are blamed for its death.
    """
    keys = Keys(remote.spaces[at])
    (seconds, _) = remote.ask("TIME", at=at)
    overdue = int(remote.ask("ZCOUNT", keys.leases, "-inf", int((int(seconds) - limit) * 1e6), at=at))
    # The oldest are at the end; by index, as in `_held`.
    leased = remote.ask("ZREVRANGE", keys.leases, -min(overdue, LOOK), -1, at=at) if overdue else []
    looks: list[tuple[Any, ...]] = []
    for raw in leased:
        looks += [
            ("ZSCORE", keys.leases, raw),
            ("HMGET", decoding.raw_of(keys.task(decoding.text(raw))), "epoch", "crashes"),
        ]
    found = remote.ask_all(looks, at=at) if looks else []
    return overdue - sum(
        lease is not None and int(seconds) - float(lease) / 1e6 < limit + _pause(float(lease), fields)
        for lease, fields in zip(found[::2], found[1::2], strict=True)
    )


def _pause(lease: float, fields: object) -> float:
    """Seconds that a monitor may wait longer for a run with this lease, `epoch` and `crashes`."""
    epoch, crashes = map(_whole, fields) if isinstance(fields, list) else (0, 0)
    return possible_pause((lease - epoch * 1000) / 1e6, crashes, Timing().expiry)


def _whole(raw: object) -> int:
    return int(raw) if isinstance(raw, bytes) and raw.isdigit() and len(raw) < LONG else 0


def _forgotten(remote: Remote) -> Iterator[Finding]:
    ids = forgotten(remote, LOOK)
    if ids:
        number, queue = len(ids), Keys(remote.space_of(ids[0])).queue
        them = verb(number, "it", "them")
        yield Finding(
            code="PT129",
            what=f"{counted(number, 'task is', 'tasks are')} RUNNING, but"
            f" {verb(number, 'its run has', 'their runs have')} neither a lease nor a registry entry, for"
            f" example {ids[0][:60]!r}: if no worker runs {them}, no monitor requeues {them}",
            fix=f"{remote.typed('LPUSH', queue, ids[0])}    (a monitor then requeues it)",
        )


def _refused(found: Fleet) -> Iterator[Finding]:
    """Writes that Redis refuses while it accepts renewals: usually a size limit."""
    for worker in found.alive:
        if worker.embargo:
            yield Finding(
                code="PT055",
                what=f"another server answered {worker.name} (a restart or a failover): for about"
                f" {ago(worker.embargo)} it claims no tasks, while owners restore the runs that it lost",
                fix="nothing, if it is over in time; what a failover may lose: docs/failover.md",
            )
        elif worker.held > HELD:
            yield Finding(
                code="PT132",
                what=f"for {ago(worker.held)} Redis has accepted no task results or logs from worker"
                f" {worker.name}, or not answered its claims, although it acknowledges its renewals",
                fix="check its log; if a server or a proxy limits the size of requests or replies, raise the"
                " limit",
            )
        elif worker.refused:
            yield Finding(
                code="PT132",
                what=f"{counted(worker.refused, 'task')} of worker {worker.name} became ERROR since it"
                " started, because Redis refused the data or the output for its size",
                fix="pytask ls --state ERROR    (keep large data elsewhere, or raise the limit)",
                past=True,
            )


def _busy(found: Fleet) -> Iterator[Finding]:
    """Workers that use a whole core, and the tasks that cause it."""
    for worker in found.alive:
        if worker.cpu is None or worker.cpu < MUCH:
            continue
        most = worker.busiest[:NAMED_BUSY]
        named = ", ".join(f"{one.id[:60]!r} ({one.function[:60]}) {one.share:.0%}" for one in most)
        yield Finding(
            code="PT150",
            what=f"worker {worker.name} uses {worker.cpu:.0%} of the one core that all its tasks share"
            + (f"; busiest tasks: {named}" if named else ""),
            fix="let tasks that poll in a loop sleep longer; or move work to threads or to more processes:"
            " --processes N    (SIGUSR1 prints the busiest tasks and their stacks)",
        )


def _parked(found: Fleet) -> Iterator[Finding]:
    known = sorted({name for worker in found.alive for name in worker.functions})
    for name, number in sorted(found.count.parked.items()):
        if name in known:
            continue  # it takes them at this moment
        near = get_close_matches(name, known, n=2, cutoff=0.6)
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        yield Finding(
            code="PT092",
            what=f"{counted(number, 'task is', 'tasks are')} parked because no worker knows the function"
            f" {name}{meant}",
            fix=f"start a worker that has a class with NAME = {name!r}, or correct `function` in the hashes",
        )


def _monitor(found: Fleet) -> Iterator[Finding]:
    limit = 3 * Timing().expiry
    if (found.monitor is None or found.monitor > limit) and (found.alive or found.count.total):
        since = "ever" if found.monitor is None else f"for {ago(found.monitor)}"
        yield Finding(
            code="PT093",
            what=f"no monitor has swept {since}: if a worker dies, its tasks are not requeued",
            fix="start a worker with a monitor: pytask run TARGET (without --no-monitor)",
        )


def _idle(found: Fleet) -> Iterator[Finding]:
    if found.count.queued and not found.alive:
        yield Finding(
            code="PT096",
            what=f"{counted(found.count.queued, 'task waits', 'tasks wait')} in the queue, but no worker is"
            " running",
            fix="pytask run TARGET    (with this address and namespace)",
        )


def _releases(found: Fleet) -> Iterator[Finding]:
    versions: dict[str, list[str]] = {}
    for worker in found.alive:
        versions.setdefault(worker.version, []).append(worker.name)
    odd = {version: names for version, names in versions.items() if not may_share(__version__, version)}
    for version, names in sorted(odd.items()):
        yield Finding(
            code="PT094",
            what=f"{', '.join(names[:5])} run pytask {version}, but this is {__version__}: the releases may"
            " be incompatible",
            fix="upgrade the older ones: pip install --upgrade pytaskd",
        )


def _files(found: Fleet) -> Iterator[Finding]:
    """Workers whose max_tasks exceeds their limit of open files."""
    for worker in found.alive:
        files = worker.files
        if files is not None and worker.max_tasks is not None and files < worker.max_tasks:
            yield Finding(
                code="PT146",
                what=f"worker {worker.name} takes up to {worker.max_tasks} tasks, but its process may open"
                f" only {files} files and sockets: with one per task it runs out of them",
                fix=f"LimitNOFILE={2 * worker.max_tasks} in its unit, or ulimit -Hn; or --max-tasks {files}",
            )


def _clients(found: Fleet) -> Iterator[Finding]:
    """Whether maxclients allows one connection per running task, plus pytask's own."""
    most, now = (_int(found.server.get(name)) for name in ("maxclients", "connected_clients"))
    if most is None or now is None:
        return
    room, running = most - now, sum(worker.running for worker in found.alive)
    if room < max(ROOM, running):
        yield Finding(
            code="PT148",
            what=f"the server allows {most} connections (maxclients) and has {now}: {max(0, room)} more are"
            f" possible, and {counted(running, 'task runs', 'tasks run')}; each task that makes a"
            " blocking call or subscribes uses a connection of its own",
            fix=f"CONFIG SET maxclients {max(10_000, 2 * (now + running))}",
        )


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _rejected(remote: Remote, found: Fleet) -> Iterator[Finding]:
    if not found.count.rejected:
        return
    last = Rejected("?", "?")
    places = []
    for at, space in enumerate(remote.spaces):
        raw = remote.ask("LINDEX", Keys(space).rejected, 0, at=at)
        if raw:
            last = read_rejected(raw)
            places.append(Keys(space).rejected)
    yield Finding(
        code="PT095",
        what=f"{counted(found.count.rejected, 'pushed id')} {verb(found.count.rejected, 'was', 'were')}"
        f" rejected; the last was {last.id[:60]!r}: {last.reason}",
        fix=f"write the hash before the push; then {remote.typed('DEL', *places)}",
    )
