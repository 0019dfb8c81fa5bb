"""`pytask status`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer
    from pytask.shown.fleet import Fleet


@click.command()
@options.remote
@options.form
def command(remote: Remote, printer: Printer) -> None:
    """Show task counts, workers, and the state of Redis.

    The cost does not depend on the number of tasks. To diagnose problems, use `pytask doctor`.
    """
    if remote.explains(commands(remote)):
        return
    from pytask.cli.fleet import read_fleet

    found = read_fleet(remote)
    url = remote.setting("redis_url")
    printer.record(
        "status", fields(found, url.shown), _lines(found, f"{url.shown} ({url.origin})"), key="redis"
    )


def fields(found: Fleet, url: str) -> dict[str, Any]:
    """The fields of the JSON output."""
    alive = found.alive
    places = [worker.max_tasks for worker in alive]
    return {
        "redis": url,
        "tasks": {str(state): number for state, number in found.count.states.items()},
        "exact": found.count.exact,
        "queued": found.count.queued,
        "delayed": found.count.delayed,
        "limited": found.count.limited,
        "paused": found.count.paused,
        "pausing": found.count.pausing,
        "paused_functions": list(found.count.held),
        "parked": dict(found.count.parked),
        "rejected": found.count.rejected,
        "workers": len(alive),
        "silent": len(found.workers) - len(alive),
        "places": sum(number or 0 for number in places),
        "monitor_seconds": found.monitor,
        "server": found.server.get("valkey_version") or found.server.get("redis_version"),
        "memory_bytes": int(found.server.get("used_memory", 0)) or None,
        "round_trip_ms": round(found.seconds * 1000, 3),
    }


def _lines(found: Fleet, url: str) -> list[tuple[str, Any]]:
    from pytask.domain.wording import ago, counted

    shown = fields(found, url)
    swept = "never: `pytask doctor`" if found.monitor is None else f"swept {ago(found.monitor)} ago"
    parked = ", ".join(f"{number} for {name}" for name, number in sorted(shown["parked"].items()))
    silent = f", {shown['silent']} silent" if shown["silent"] else ""
    brand = "Valkey" if "valkey_version" in found.server else "Redis"
    memory = found.server.get("used_memory_human")
    most = found.server.get("maxmemory_human") if int(found.server.get("maxmemory", 0)) else None
    used = f"{memory} of {most} used" if most else f"{memory} used"
    server = f"{brand} {shown['server']}, {used}, " if shown["server"] else ""
    return [
        *((str(state), number) for state, number in found.count.states.items()),
        (
            "",
            None
            if found.count.exact
            else "long queue: finished tasks that were pushed again are counted twice",
        ),
        ("delayed", f"{shown['delayed']} (part of WAIT)" if shown["delayed"] else None),
        (
            "limited",
            f"{shown['limited']} (part of WAIT): `pytask limits ls`" if shown["limited"] else None,
        ),
        ("paused", _paused(shown["paused"], shown["pausing"])),
        ("functions", _held(shown["paused_functions"])),
        ("parked", parked or None),
        ("rejected", shown["rejected"] or None),
        ("workers", f"{shown['workers']} with {counted(shown['places'], 'slot')}{silent}"),
        ("monitor", swept),
        ("redis", url),
        ("server", f"{server}answers in {shown['round_trip_ms']:.1f} ms"),
    ]


def _paused(number: int, pausing: int) -> str | None:
    from pytask.domain.wording import counted, verb

    if not pausing:
        return counted(number, "task") if number else None
    has = f"{pausing:,} of them {verb(pausing, 'has', 'have')} not reached a gate yet: `pytask why ID`"
    return f"{counted(number, 'task')}; {has}"


def _held(names: list[str]) -> str | None:
    if not names:
        return None
    which, select = ("all", "--all") if "*" in names else (", ".join(names), "--name NAME")
    if which == names[0]:
        select = shlex.join(["--name", which])
    return f"paused: {which}; resume with `pytask start --paused {select}`"


def commands(remote: Remote) -> Iterator[Item]:
    """The redis-cli commands for it."""
    from pytask.adapters.keys import Keys
    from pytask.cli.explain_script import parked
    from pytask.domain.lifecycle import RESTING

    for space in remote.spaces:
        keys = Keys(space)
        yield ["ZCARD", keys.leases]
        yield ["LLEN", keys.queue]
        yield ["ZCARD", keys.timers]
        yield ["SCARD", keys.paused]
        yield ["SRANDMEMBER", keys.paused_functions, 1000]
        yield ["ZREVRANGE", keys.groups, 0, -1]
        for state in RESTING:
            yield ["ZCARD", keys.index(state)]
        yield parked(space)
        yield ["LLEN", keys.rejected]
        yield ["HVALS", keys.worker_info]
        yield ["ZREVRANGE", keys.monitors, 0, 0, "WITHSCORES"]
    yield ["INFO"]
