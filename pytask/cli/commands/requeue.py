"""`pytask requeue`."""

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
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Then wait up to SECONDS until they run.",
)
@click.option("--time-scale", type=click.FloatRange(min=0, min_open=True), hidden=True)
@options.remote
@choices.tasks
@options.form
def command(
    *, choice: Choice, yes: bool, wait: float, time_scale: float | None, remote: Remote, printer: Printer
) -> None:
    """Requeue failed tasks and tasks of dead workers.

    Like `start`, but `--all` and `--name` select tasks in ERROR. Crash counters are reset. Requeue a RUNNING
    task only if no monitor is running: its lease is observed for 90 s, as a monitor does, and the task is
    left unchanged if the lease is renewed. With --wait the command returns when the tasks run.
    """
    from pytask.cli import explain
    from pytask.cli.control import Verb, carry_out, started
    from pytask.domain import lifecycle as life
    from pytask.domain.timing import Timing
    from pytask.domain.wording import counted
    from pytask.terminal import say

    meant = (life.ERROR,)
    if choice.explained(explain.requeue, meant, explain.until_run(wait, over=False)):
        return
    timing = Timing().scaled(time_scale or 1.0)
    tasks = remote.tasks

    def act(ids: list[str]) -> dict[str, Outcome]:
        found = {outcome.id: outcome for outcome in tasks.start_again_many(ids)}
        running = [task_id for task_id in ids if found[task_id].state is life.RUNNING]
        if running:
            say(
                f"{counted(len(running), 'task is', 'tasks are')} RUNNING: leases that are not being renewed"
                f" are observed for {timing.expiry:g} s first, as a monitor does"
            )
            found |= {outcome.id: outcome for outcome in tasks.requeue_many(running, timing=timing)}
        return found

    verb = Verb(act, started(remote), wait)
    carry_out(printer, choice.batches("requeue", meant, yes=yes, once=True), verb)
