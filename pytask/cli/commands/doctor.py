"""`pytask doctor`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytask.cli.checks import Finding
    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer

INDENT = " " * len("PT000  ")


@click.command()
@options.remote
@options.form
def command(remote: Remote, printer: Printer) -> None:
    """Diagnose current and upcoming problems and print the fix for each.

    Checks installed packages, server settings, clocks, keys, dead runs, parked, paused and failed tasks,
    limits, schedules, monitors and releases. Exit code: 0 if nothing needs to be fixed, 3 otherwise. It
    changes nothing.
    """
    from pytask.terminal import out, say, wrapped

    if remote.explain:
        remote.explains(_commands(remote))
        return
    found = rows(findings_of(remote))
    if printer.form in ("table", "wide"):
        from pytask.cli.printer import printable

        for row in found:
            out(wrapped(f"{row['code']}  {printable(row['what'])}", sys.stdout, INDENT))
            out(wrapped(f"{INDENT}Fix: {printable(row['fix'])}", sys.stdout, " " * len("Fix: ")))
        if not found:
            out(f"no problems found: {remote.setting('redis_url').shown}")
    else:
        printer.rows("findings", found, (), key="code")
    for sentence in remote.strays():
        say(sentence)
    serious = sum(row["serious"] for row in found)
    if serious:
        from pytask.domain.errors import Unhealthy
        from pytask.domain.wording import counted

        notes = len(found) - serious
        also = f" and {counted(notes, 'note')}" if notes else ""
        raise Unhealthy(f"{counted(serious, 'problem')}{also} found; `pytask explain CODE` describes each")


def rows(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """The fields of the JSON output."""
    return [{"code": one.code, "serious": one.serious, "what": one.what, "fix": one.fix} for one in found]


def findings_of(remote: Remote) -> list[Finding]:
    """What is wrong, the machine first, then the server, its keys and the fleet."""
    from pytask.cli import checks, fleet_checks, schedule_checks
    from pytask.cli.fleet import read_fleet

    found = list(checks.of_this_machine(remote.client, remote.namespace))
    if any(one.code == "PT024" for one in found):
        return found  # with this client no further result is reliable
    found += checks.of_the_server(remote)
    odd = list(checks.of_the_keys(remote))
    if odd:
        return found + odd  # the content of these keys cannot be counted
    fleet = read_fleet(remote)
    found += fleet_checks.of_the_fleet(remote, fleet)
    return found + list(schedule_checks.of_the_schedules(remote, fleet))


def _commands(remote: Remote) -> Iterator[Item]:
    """The commands that read what is checked; `pytask explain CODE` describes each problem."""
    from pytask.adapters.keys import Keys
    from pytask.adapters.redis.server_checks import NAMES
    from pytask.cli.checks import kinds_of
    from pytask.cli.commands import status
    from pytask.cli.explain_script import ID, Each
    from pytask.domain.schedules import NEVER

    yield "the server; in a cluster, ask each primary"
    yield ["INFO", "server"]
    yield ["INFO", "replication"]
    yield from (["CONFIG", "GET", name] for name in NAMES)
    yield ["TIME"]
    for space in remote.spaces:
        keys = Keys(space)
        yield "db numbers whose workers receive these control messages, and the number of those workers"
        yield ["PUBSUB", "CHANNELS", keys.database_pattern]
        yield ["PUBSUB", "NUMSUB", keys.hint_channel]
        yield f"each of these is {', '.join(sorted(set(kinds_of(keys).values())))}, or none"
        yield from (["TYPE", name] for name in kinds_of(keys))
        yield "runs by the time of their last renewal (microseconds), oldest only"
        yield ["ZRANGE", keys.leases, 0, 9, "WITHSCORES"]
        yield "the owner: the session of a worker is the part before the colon; the worker may be silent"
        yield Each([["ZRANGE", keys.leases, 0, 9]], [["HGET", keys.runs, ID]])
        yield "schedules: the next ones, and those that cannot be used"
        yield ["ZRANGE", keys.schedules, 0, 9, "WITHSCORES"]
        yield ["ZREVRANGEBYSCORE", keys.schedules, "+inf", NEVER, "LIMIT", 0, 9]
        yield "the last rejected id"
        yield ["LINDEX", keys.rejected, 0]
    yield from status.commands(remote)
