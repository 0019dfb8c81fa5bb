"""`pytask new`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.console import options

if TYPE_CHECKING:
    from pytask.console.output import Printer
    from pytask.console.remote import Remote


@click.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", metavar="JSON", help="The data: JSON, @FILE, or - for standard input.")
@click.option("--id", "task_id", metavar="ID", help="Of the new task.  [default: a random one]")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Until it has ended."
)
@options.remote
@options.form
def command(
    name: str,
    pairs: tuple[str, ...],
    *,
    data: str | None,
    task_id: str | None,
    wait: float,
    remote: Remote,
    printer: Printer,
) -> None:
    """Start a new task of NAME, and print its id.

    Of KEY=VALUE a value that is JSON is that (n=5, on=true, of=[1,2]), any other is text. With --id the
    verb may be repeated: the same task is started once.
    """
    from pytask.console.data import read_data, with_pairs

    given = with_pairs(read_data(data) if data is not None else None, pairs)
    shown = task_id or "<id>"
    space = remote.space_of(shown)
    fields = ["function", name] + (["data", given.text] if given.value is not None else [])
    if remote.explains([["HMSET", space + shown, *fields], ["LPUSH", f"{space}new-task", shown]]):
        return
    _name_near_misses(remote, name)
    made = remote.tasks.start(name, given.value, id=task_id)
    if wait:
        from pytask.commands.wait import show_end

        show_end(remote, printer, made, None, wait)
    elif printer.form in ("json", "jsonl"):
        printer.record("task", {"id": made, "function": name}, ())
    else:
        click.echo(made)


def _name_near_misses(remote: Remote, name: str) -> None:
    """A word to a person, when no worker knows the name; the task is kept until one does."""
    from difflib import get_close_matches

    from pytask.domain.errors import Denied

    try:
        known = [one.name for one in remote.tasks.functions() if one.workers]
    except Denied:
        return  # a producer's user may write, and read nothing
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        click.echo(f"pytask: no worker that is here knows {name!r}{meant} It waits until one does.", err=True)
