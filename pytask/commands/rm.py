"""`pytask rm`."""

from __future__ import annotations

from functools import partial
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
    """Delete tasks that do not run, with all that is known of them.

    `--all` and `--name` mean those that have ended, failed or were stopped; one that waits is deleted by its
    id, or by `--state WAIT`.
    """
    from pytask.client.records import FINISHED
    from pytask.console import explained
    from pytask.console.steering import Verb, carry_out, together

    # A bulk is what it was chosen as: what waits again by now is left.
    states = choice.wanted(FINISHED) if choice.bulk else None
    if choice.explained(partial(explained.remove, states=states), FINISHED):
        return
    remove = partial(remote.tasks.remove_many, state=states)
    verb = Verb(together(remove), done="deleted", leaves_a_state=False)
    carry_out(printer, choice.batches("delete", FINISHED, yes=yes), verb)
