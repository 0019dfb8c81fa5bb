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
    from pytask.console import explained
    from pytask.console.steering import Verb, carry_out, started, together
    from pytask.domain import lifecycle as life

    meant = (life.STOPPED,)
    if choice.explained(explained.start, meant, explained.until_run(wait, over=False)):
        return
    verb = Verb(together(remote.tasks.start_again_many), started(remote), wait)
    carry_out(printer, choice.batches("start", meant, yes=yes, once=True), verb)
