"""`pytask reload`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pytask.console import choice as choices
from pytask.console import options

if TYPE_CHECKING:
    from pytask.client import Outcome
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

    With --data they get new data first, all of them the same. A task that is named and does not run is an
    error: `pytask start` is for those.
    """
    from pytask.console import explained
    from pytask.console.data import read_data
    from pytask.console.steering import Verb, carry_out, each, running, together
    from pytask.domain import lifecycle as life

    new = None if data is None else read_data(data)
    meant = (life.RUNNING,)
    text = None if new is None else new.text
    if choice.explained(lambda space, task_id: explained.reload(space, task_id, text), meant):
        return
    tasks = remote.tasks
    until = time.monotonic() + wait
    value = None if new is None else new.value

    def one(task_id: str) -> Outcome:
        # A task whose worker is told has begun anew before it could be waited for: each is told in its turn.
        left = max(0.01, until - time.monotonic()) if wait else 0
        return tasks.reload(task_id, value, wait=left)

    act = each(one) if wait or new is not None else together(tasks.reload_many)
    verb = Verb(act if choice.bulk else running(act, written=new is not None))
    carry_out(printer, choice.batches("reload", meant, yes=yes), verb)
