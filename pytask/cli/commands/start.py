"""`pytask start`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options
from pytask.cli import selection as choices

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.cli.selection import Choice


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to SECONDS until they run.",
)
@click.option("--fresh", is_flag=True, help="Without what earlier runs have saved (self.saved).")
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, wait: float, fresh: bool, remote: Remote, printer: Printer) -> None:
    """Start tasks again that have been stopped, have ended, or have failed.

    `--all` selects stopped tasks. To create a new task, use `pytask new`. With --wait the command returns
    when the tasks run.
    """
    from functools import partial

    from pytask.cli import explain
    from pytask.cli.control import Verb, carry_out, started, together
    from pytask.domain import lifecycle as life

    meant = (life.STOPPED,)
    if choice.explained(partial(explain.start, fresh=fresh), meant, explain.until_run(wait, over=False)):
        return
    verb = Verb(together(partial(remote.tasks.start_again_many, fresh=fresh)), started(remote), wait)
    carry_out(printer, choice.batches("start", meant, yes=yes, once=True), verb)
