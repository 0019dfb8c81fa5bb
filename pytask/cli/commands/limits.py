"""`pytask limits`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer

SCREEN = 50


@click.group()
def command() -> None:
    """Manage limits: how many tasks of a group or of a function may run at a time.

    A limit holds for all workers together, and may be changed at any time: tasks over it run on, and no
    further one starts. It comes before the limit that the code of the task declares.
    """


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    group = click.option("--group", metavar="TEXT", help="The group; '*' for each that has no own limit.")
    function = click.option("--function", metavar="NAME", help="The function, in place of a group.")(function)
    return group(options.remote(options.form(function)))


@command.command("ls")
@click.option(
    "-l",
    "--limit",
    "most",
    type=click.IntRange(min=1),
    default=SCREEN,
    metavar="N",
    show_default=True,
    help="Maximum number of rows.",
)
@options.remote
@options.form
def list_them(most: int, remote: Remote, printer: Printer) -> None:
    """List limits, and groups and functions for which tasks wait; most waiting ones first."""
    from pytask.cli import limit_rows

    if remote.explains(limit_rows.list_commands(remote)):
        return
    found = remote.tasks.limits.list(limit=most + 1)
    printer.rows("limits", map(limit_rows.row, found[:most]), limit_rows.LIMITS, key="entry")
    if len(found) > most and printer.form in ("table", "wide"):
        from pytask.terminal import say

        say(f"more limits follow: use --limit {10 * most}")


@command.command("show", short_help="Show a limit, who holds its slots, and who waits for one.")
@_named
def show(group: str | None, function: str | None, remote: Remote, printer: Printer) -> None:
    """Show the limit of a group or a function, some tasks that hold its slots, and the first that wait."""
    from pytask.cli import limit_rows

    entry = _entry(group, function)
    if remote.explains(limit_rows.show_commands(remote, entry)):
        return
    found = remote.tasks.limits.get(group=group, function=function)
    printer.record("limit", limit_rows.record(found), limit_rows.lines(found), key="entry")


@command.command("set", short_help="Set how many tasks of a group or a function may run at a time.")
@click.argument("number", metavar="N", type=click.IntRange(min=0))
@_named
def set_it(number: int, group: str | None, function: str | None, remote: Remote, printer: Printer) -> None:
    """Let at most N tasks of a group or a function run at a time; 0 lets none start.

    Tasks that run already are not stopped, even if there are more of them.
    """
    from pytask.cli import limit_rows

    entry = _entry(group, function)
    if remote.explains(limit_rows.change_commands(remote, entry, number)):
        return
    remote.tasks.limits.set(number, group=group, function=function)
    printer.record("limit", {"entry": entry, "limit": number}, [(entry, f"at most {number} at a time")])


@command.command("rm")
@_named
def remove(group: str | None, function: str | None, remote: Remote, printer: Printer) -> None:
    """Remove a limit; that of all groups, or of the code of the task, counts again."""
    from pytask.cli import limit_rows

    entry = _entry(group, function)
    if remote.explains(limit_rows.change_commands(remote, entry, None)):
        return
    remote.tasks.limits.remove(group=group, function=function)
    printer.record("limit", {"entry": entry, "limit": None}, [(entry, "removed")])


def _entry(group: str | None, function: str | None) -> str:
    from pytask.client.limits import named
    from pytask.domain.limits import entry

    if (group is None) == (function is None):
        raise click.UsageError("give either --group TEXT or --function NAME")
    return entry(*named(group, function))
