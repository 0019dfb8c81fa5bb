"""`pytask wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.client import TaskInfo


@click.command()
@click.argument("task_id", metavar="ID", callback=options.id_text)
@click.option(
    "--for", "states", multiple=True, metavar="STATE", help="May be repeated.  [default: any end of it]"
)
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
    help="Then end with 124.",
)  # fmt: skip
@options.remote
@options.form
def command(task_id: str, states: tuple[str, ...], timeout: float, remote: Remote, printer: Printer) -> None:
    """Wait until a task is in a state, and print it.

    Exit code 0 when it got there, 124 when it did not in time, and 1 when it ended in ERROR and nothing
    else was asked for.
    """
    from pytask.cli.selection import state_named

    wanted = [state_named(word) for word in states] or None
    if remote.explain:
        from pytask.cli import explain
        from pytask.client.records import FINISHED

        space = remote.space_of(task_id)
        remote.explains(explain.wait(space, task_id, wanted or list(FINISHED), timeout))
        return
    from pytask.domain import lifecycle as life

    task = remote.tasks.wait(remote.find(task_id), wanted, timeout)
    show_end(remote, printer, task, failed=wanted is None and task.state is life.ERROR)


def show_end(remote: Remote, printer: Printer, task: TaskInfo, *, failed: bool) -> None:
    """Print the task, and end with 1 if it failed where nothing else was asked for."""
    from pytask.cli.commands.show import show

    show(remote, printer, task)
    if failed:
        click.get_current_context().exit(1)
