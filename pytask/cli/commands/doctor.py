"""`pytask doctor`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytask.cli.checks import Finding
    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer

INDENT = " " * len("PT000  ")


@click.command()
@options.remote
@options.form
def command(remote: Remote, printer: Printer) -> None:
    """Look for what is wrong, or will be, and say how to mend it.

    The packages here, the settings of the server, clocks, keys, dead runs, parked tasks, monitors, releases.
    Exit code 0 if all is well, 3 if something is to be mended. It changes nothing.
    """
    from pytask.terminal import out, say, wrapped

    if remote.explain:
        remote.explains(_commands(remote))
        return
    found = _findings(remote)
    rows = [{"code": one.code, "serious": one.serious, "what": one.what, "fix": one.fix} for one in found]
    if printer.form in ("table", "wide"):
        from pytask.cli.printer import printable

        for row in rows:
            out(wrapped(f"{row['code']}  {printable(row['what'])}", sys.stdout, INDENT))
            out(wrapped(f"{INDENT}Fix: {printable(row['fix'])}", sys.stdout, " " * len("Fix: ")))
        if not rows:
            out(f"all is well: {remote.setting('redis_url').shown}")
    else:
        printer.rows("findings", rows, (), key="code")
    for sentence in remote.strays():
        say(sentence)
    serious = sum(one.serious for one in found)
    if serious:
        from pytask.domain.errors import Unhealthy

        raise Unhealthy(f"{serious} to be mended; `pytask explain CODE` tells more of each")


def _findings(remote: Remote) -> list[Finding]:
    from pytask.cli import checks, fleet_checks
    from pytask.cli.fleet import survey

    found = list(checks.of_this_machine(remote.client, remote.namespace))
    if any(one.code == "PT024" for one in found):
        return found  # with such a client nothing more can be trusted
    found += checks.of_the_server(remote)
    odd = list(checks.of_the_keys(remote))
    if odd:
        return found + odd  # what these keys hold cannot be counted
    return found + list(fleet_checks.of_the_fleet(remote, survey(remote)))


def _commands(remote: Remote) -> Iterator[Item]:
    """What is read; what it means, `pytask explain CODE` tells of each fault."""
    from pytask.adapters.keys import Keys
    from pytask.adapters.redis.server_checks import NAMES
    from pytask.cli.checks import kinds_of
    from pytask.cli.commands import status
    from pytask.cli.explain_script import ID, Each

    yield "the server: of a cluster, to be asked of each primary"
    yield ["INFO", "server"]
    yield ["INFO", "replication"]
    yield from (["CONFIG", "GET", name] for name in NAMES)
    yield ["TIME"]
    for space in remote.spaces:
        keys = Keys(space)
        yield "db numbers whose workers hear these control messages, and how many workers hear them"
        yield ["PUBSUB", "CHANNELS", keys.database_pattern]
        yield ["PUBSUB", "NUMSUB", keys.hint_channel]
        yield f"each of these is {', '.join(sorted(set(kinds_of(keys).values())))}, or none"
        yield from (["TYPE", name] for name in kinds_of(keys))
        yield "runs by the time of their last renewal (microseconds): the oldest ones"
        yield ["ZRANGE", keys.leases, 0, 9, "WITHSCORES"]
        yield "whose they are: in front of the colon stands the session of a worker, which may be silent"
        yield Each([["ZRANGE", keys.leases, 0, 9]], [["HGET", keys.runs, ID]])
        yield "the last id that could be no task"
        yield ["LINDEX", keys.rejected, 0]
    yield from status.commands(remote)
