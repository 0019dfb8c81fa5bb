"""`pytask stop`."""

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
    help="Wait up to SECONDS until they have stopped.",
)
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, wait: float, remote: Remote, printer: Printer) -> None:
    """Stop waiting and running tasks.

    The request is stored in Redis, so it survives restarts, and is sent to the worker. With --wait the
    command returns when the tasks have stopped, or with exit code 124 after a timeout.
    """
    from pytask.cli import explain
    from pytask.cli.control import Verb, carry_out, stopped, together
    from pytask.domain import lifecycle as life

    meant = (life.RUNNING, life.WAIT)
    if choice.explained(explain.stop, meant, explain.until_run(wait, over=True)):
        return
    verb = Verb(together(remote.tasks.stop_many), stopped(remote), wait)
    carry_out(printer, choice.batches("stop", meant, yes=yes), verb)
