"""`pytask rm`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from pytask.cli import options
from pytask.cli import selection as choices

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.cli.selection import Choice


@click.command()
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, remote: Remote, printer: Printer) -> None:
    """Delete tasks that are not running, with all their data.

    `--all` and `--name` select tasks that have ended, failed or been stopped; to delete a waiting task, give
    its id or `--state WAIT`.
    """
    from pytask.cli import explain
    from pytask.cli.control import Verb, carry_out, together
    from pytask.client.task_records import FINISHED

    # A bulk selection is fixed when it is made: a task that waits again by now is left.
    states = choice.wanted(FINISHED) if choice.bulk else None
    if choice.explained(partial(explain.remove, states=states), FINISHED):
        return
    remove = partial(remote.tasks.remove_many, state=states)
    verb = Verb(together(remove), done="deleted", leaves_a_state=False)
    carry_out(printer, choice.batches("delete", FINISHED, yes=yes), verb)
