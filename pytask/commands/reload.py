"""`pytask reload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.console import choice as choices
from pytask.console import options

if TYPE_CHECKING:
    from pytask.console.choice import Choice
    from pytask.console.output import Printer
    from pytask.console.remote import Remote


@click.command()
@click.option("--data", metavar="JSON", help="New data for it: JSON, @FILE, or - for standard input.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Until they run anew."
)
@options.remote
@choices.tasks
@options.form
def command(
    choice: Choice, yes: bool, data: str | None, wait: float, remote: Remote, printer: Printer
) -> None:
    """Let running tasks begin anew, with the data that is in their hash.

    With --data they get new data first, all of them the same.
    """
    from pytask.console.data import read_data
    from pytask.console.steering import carry_out, told
    from pytask.domain import lifecycle as life

    new = None if data is None else read_data(data)

    def commands(space: str, task_id: str) -> list[list[str]]:
        written = [] if new is None else [["HSET", space + task_id, "data", new.text]]
        return written + told("reload")(space, task_id)

    if choice.explained(commands):
        return
    ids = choice.ids("reload", (life.RUNNING,), yes=yes)
    tasks = remote.tasks
    value = None if new is None else new.value
    many = None if wait or new is not None else tasks.reload_many
    carry_out(printer, ids, many, lambda i, seconds: tasks.reload(i, value, wait=seconds), wait)
