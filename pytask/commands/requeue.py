"""`pytask requeue`."""

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
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, remote: Remote, printer: Printer) -> None:
    """Put tasks that failed back into the queue.

    As `start`, but `--all` and `--name` mean those in ERROR. Their crashes are forgotten.
    """
    from pytask.console.steering import carry_out, told
    from pytask.domain import lifecycle as life

    if choice.explained(told("start")):
        return
    ids = choice.ids("requeue", (life.ERROR,), yes=yes)
    tasks = remote.tasks
    carry_out(printer, ids, tasks.start_again_many, lambda i, _: tasks.start_again(i), 0)
