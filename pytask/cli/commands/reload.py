"""`pytask reload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options
from pytask.cli import selection as choices

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.cli.selection import Choice
    from pytask.client import Outcome


@click.command()
@click.option("--data", metavar="JSON", help="New data as JSON, @FILE, or - for standard input.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to SECONDS until the new runs are running.",
)
@click.option(
    "--settled",
    is_flag=True,
    help="With --wait: wait until the run with new data is 10 s old, or was rolled back.",
)
@options.no_check
@options.remote
@choices.tasks
@options.form
def command(
    choice: Choice,
    yes: bool,
    data: str | None,
    wait: float,
    settled: bool,
    no_check: bool,
    remote: Remote,
    printer: Printer,
) -> None:
    """Give running tasks the current data from their hash: in place, or by a new run.

    --data first writes the same new data to all of them, except where it fits none of the workers that run
    now, as they show for each function. A worker validates the data before it stops a run:
    if the data is invalid, the run continues unchanged, its hash gets the old data back, and --wait and
    `pytask why` report the reason. If the task fails within 10 s, it runs again with the old data. It
    is an error to name a task that is not running; use `pytask start` for it.
    """
    from pytask.cli import explain
    from pytask.cli.control import Verb, carry_out, each, fitting, reloaded, running, together
    from pytask.cli.data import read_data
    from pytask.client.reload import ask, epochs_of
    from pytask.domain import lifecycle as life

    if settled and not wait:
        raise click.UsageError("--settled needs --wait SECONDS: more than 10")
    new = None if data is None else read_data(data)
    meant = (life.RUNNING,)
    text = None if new is None else new.text
    if choice.explained(lambda space, task_id: explain.reload(space, task_id, text), meant):
        return
    tasks = remote.tasks
    epochs: dict[str, int] = {}

    def many(ids: list[str], *, written: bool = False) -> list[Outcome]:
        # Read before the requests are sent: a task that has been reloaded by then would be waited for in
        # vain.
        epochs.update(remote.driver.run(epochs_of(remote.partitions, ids)) if wait else {})
        return remote.driver.run(ask(remote.partitions, ids, written=written))

    def one(task_id: str) -> Outcome:
        tasks.update_data(task_id, value)
        return many([task_id], written=True)[0]

    value = None if new is None else new.value
    act = together(many) if value is None else each(one)
    if value is not None and not no_check:
        act = fitting(act, remote, value)
    sent = act if choice.bulk else running(act, written=value is not None)
    verb = Verb(sent, finish=reloaded(remote, epochs, settled=settled), wait=wait)
    carry_out(printer, choice.batches("reload", meant, yes=yes), verb)
