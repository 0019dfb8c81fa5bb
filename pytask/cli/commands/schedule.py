"""`pytask schedule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options
from pytask.domain.schedules import Missed, Overlap

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer

SCREEN = 50


@click.group()
def command() -> None:
    """Manage schedules: tasks that start at an interval or at the times of a cron expression.

    Any worker starts what is due; there is no scheduler process. Times are those of the clock of Redis.
    """


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    named = click.argument(
        "name", metavar="NAME", callback=options.id_text, shell_complete=options.completed("schedules")
    )
    return named(options.remote(options.form(function)))


@command.command("ls")
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(min=1),
    default=SCREEN,
    metavar="N",
    show_default=True,
    help="Maximum number of schedules.",
)
@options.remote
@options.form
def list_them(limit: int, remote: Remote, printer: Printer) -> None:
    """List schedules, the next one first."""
    from pytask.cli import schedule_rows

    if remote.explains(schedule_rows.list_commands(remote, limit)):
        return
    found = remote.tasks.schedules.list(limit=limit + 1)
    rows = map(schedule_rows.row, found[:limit])
    printer.rows("schedules", rows, schedule_rows.SCHEDULES, key="name")
    if len(found) > limit and printer.form in ("table", "wide"):
        from pytask.terminal import say

        say(f"more schedules follow: use --limit {10 * limit}")


@command.command("show", short_help="Show a schedule, its next times, and its past.")
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=0, max=100),
    default=10,
    metavar="N",
    show_default=True,
    help="Past occurrences to print, at most 100.",
)
@_named
def show(name: str, number: int, remote: Remote, printer: Printer) -> None:
    """Show a schedule: when it is due, the next five times in its zone, and what became of past ones."""
    from pytask.cli import schedule_rows

    if remote.explains(schedule_rows.show_commands(remote, name)):
        return
    found = remote.tasks.schedules.get(name)
    now = schedule_rows.redis_time(remote)
    record = schedule_rows.record(found, now)
    printer.record("schedule", record, schedule_rows.lines(found, now, number), key="name")


@command.command("add", short_help="Add a schedule of the task FUNCTION, or change it.")
@click.argument(
    "name", metavar="NAME", callback=options.id_text, shell_complete=options.completed("schedules")
)
@click.argument("function", metavar="FUNCTION", shell_complete=options.completed("functions"))
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--every",
    callback=options.duration,
    metavar="DURATION",
    help="Interval, such as 90 (seconds), 10m, 1h30m or 1d.",
)
@click.option(
    "--cron",
    metavar="TEXT",
    help='Minute, hour, day of month, month, day of week, such as "0 3 * * *".',
)
@click.option("--tz", metavar="ZONE", help="Time zone of --cron, such as Europe/Berlin.  [default: UTC]")
@click.option("--data", metavar="JSON", help="Data as JSON, @FILE, or - for standard input.")
@click.option(
    "--jitter", callback=options.duration, metavar="DURATION", help="Delay each start by up to DURATION."
)
@click.option(
    "--overlap",
    type=click.Choice([one.value for one in Overlap]),
    default=Overlap.SKIP.value,
    show_default=True,
    help="What to do while the previous run waits or runs.",
)
@click.option(
    "--missed",
    type=click.Choice([one.value for one in Missed]),
    default=Missed.ONCE.value,
    show_default=True,
    help="What to do with times at which no worker was running.",
)
@click.option(
    "--deadline",
    callback=options.duration,
    metavar="DURATION",
    help="How late an occurrence may start.  [default: the interval, at most 1h]",
)
@options.no_check
@options.remote
@options.form
def add(
    name: str,
    function: str,
    pairs: tuple[str, ...],
    *,
    data: str | None,
    no_check: bool,
    remote: Remote,
    printer: Printer,
    **definition: Any,
) -> None:
    """Add a schedule that starts the task FUNCTION, or change the one of that name.

    NAME is also the id of its task. A change keeps the past of the schedule, and a pause. KEY=VALUE as for
    `pytask new`.
    """
    from pytask.cli import schedule_rows
    from pytask.cli.data import read_data, with_pairs
    from pytask.cli.selection import name_near_misses
    from pytask.domain import schedules

    given = with_pairs(read_data(data) if data is not None else None, pairs)
    definition = {field: value for field, value in definition.items() if value is not None}
    made = schedules.made(name, function, **definition)
    if remote.explains(schedule_rows.add_commands(remote, made, given)):
        return
    if not no_check:
        from pytask.shown.data_checks import check_data

        check_data(remote.tasks, function, given.value)
    remote.tasks.schedules.add(name, function, given.value, **definition)
    schedule_rows.say_next(made, schedule_rows.redis_time(remote))
    name_near_misses(remote, function)
    if printer.form in ("json", "jsonl"):
        printer.record("schedule", {"name": name, "function": function}, ())
    else:
        from pytask.terminal import out

        out(name)


@command.command("pause", short_help="Skip occurrences until the schedule is resumed.")
@_named
def pause(name: str, remote: Remote, printer: Printer) -> None:
    """Start no more tasks of a schedule; a task that already waits or runs is not stopped."""
    _change(name, remote, printer, "paused", "was paused already")


@command.command("resume", short_help="Resume a paused schedule with its next time.")
@_named
def resume(name: str, remote: Remote, printer: Printer) -> None:
    """Resume a schedule with its next time; occurrences during the pause are not started later."""
    _change(name, remote, printer, "resumed", "was not paused")


@command.command("rm")
@_named
def remove(name: str, remote: Remote, printer: Printer) -> None:
    """Delete a schedule, not its task.

    A schedule that is defined in the code of workers comes back when the next worker starts.
    """
    _change(name, remote, printer, "removed", "")


def _change(name: str, remote: Remote, printer: Printer, word: str, unchanged: str) -> None:
    from pytask.cli import schedule_rows

    if remote.explains(schedule_rows.change_commands(remote, name, word)):
        return
    calls = remote.tasks.schedules
    call = {"paused": calls.pause, "resumed": calls.resume, "removed": calls.remove}[word]
    done = call(name)
    if not done and not unchanged:
        from pytask.client.timetable import no_such_schedule

        raise no_such_schedule(name)
    text = word if done else unchanged
    printer.record("schedule", {"name": name, "done": done, "what": text}, [(name, text)], key="name")
