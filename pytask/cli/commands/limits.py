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

    A limit applies to all workers together, and may be changed at any time: running tasks above it continue,
    and no further one starts. It overrides the limit that the task's code declares.
    """


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    group = click.option(
        "--group",
        metavar="TEXT",
        shell_complete=options.completed("groups"),
        help="The group; '*' for all without a limit of their own.",
    )
    function = click.option(
        "--function",
        metavar="NAME",
        shell_complete=options.completed("functions"),
        help="The function, instead of a group.",
    )(function)
    return group(options.remote(options.form(function)))


@command.command("ls", short_help="List limits, and what tasks wait for.")
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
    """List limits, and the groups and functions that tasks wait for; most waiting tasks first."""
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

    Tasks that are running already are not stopped, even if there are more of them.
    """
    from pytask.cli import limit_rows
    from pytask.cli.selection import name_near_misses

    entry = _entry(group, function)
    if remote.explains(limit_rows.change_commands(remote, entry, number)):
        return
    remote.tasks.limits.set(number, group=group, function=function)
    if function is not None:
        name_near_misses(remote, function, then=" The limit counts as soon as one does.")
    printer.record("limit", {"entry": entry, "limit": number}, [(entry, f"at most {number} at a time")])


@command.command("rm", short_help="Remove a limit.")
@_named
def remove(group: str | None, function: str | None, remote: Remote, printer: Printer) -> None:
    """Remove a limit; that of all groups, or of the task's code, applies again."""
    from pytask.cli import limit_rows

    entry = _entry(group, function)
    if remote.explains(limit_rows.change_commands(remote, entry, None)):
        return
    before = remote.tasks.limits.get(group=group, function=function)
    remote.tasks.limits.remove(group=group, function=function)
    text = "removed" if before.limit is not None or before.invalid else "no limit was set"
    printer.record("limit", {"entry": entry, "limit": None}, [(entry, text)])


def _entry(group: str | None, function: str | None) -> str:
    from pytask.client.limits import named
    from pytask.domain.limits import entry

    if (group is None) == (function is None):
        raise click.UsageError("give either --group TEXT or --function NAME")
    return entry(*named(group, function))
