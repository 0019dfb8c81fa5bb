"""`pytask stop`."""

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
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Until they stopped."
)
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, wait: float, remote: Remote, printer: Printer) -> None:
    """Stop tasks, whether they wait or run.

    The wish is written down, so that it outlives a restart of everything, and the worker is told. With
    --wait the verb ends when they have stopped; with 124 if one has not in time.
    """
    from pytask.console.steering import carry_out, told
    from pytask.domain import lifecycle as life

    if choice.explained(told("stop")):
        return
    ids = choice.ids("stop", (life.RUNNING, life.WAIT), yes=yes)
    tasks = remote.tasks
    carry_out(printer, ids, tasks.stop_many, lambda i, seconds: tasks.stop(i, wait=seconds), wait)
