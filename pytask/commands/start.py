"""`pytask start`."""

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
@click.option("--wait", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Until they run.")
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, wait: float, remote: Remote, printer: Printer) -> None:
    """Start tasks again that were stopped, have ended, or failed.

    `--all` means those that were stopped; `pytask new` starts a new one. With --wait the verb ends when
    they run.
    """
    from pytask.console.steering import carry_out, told
    from pytask.domain import lifecycle as life

    if choice.explained(told("start")):
        return
    ids = choice.ids("start", (life.STOPPED,), yes=yes)
    tasks = remote.tasks
    many = None if wait else tasks.start_again_many
    carry_out(printer, ids, many, lambda i, seconds: tasks.start_again(i, wait=seconds), wait)
