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
@click.argument("task_id", metavar="ID", callback=options.id_text, shell_complete=options.completed("ids"))
@click.option(
    "--for",
    "states",
    multiple=True,
    metavar="STATE",
    shell_complete=options.completed("states"),
    help="State to wait for; may be repeated.  [default: any final state]",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
    help="Then exit with 124.",
)  # fmt: skip
@options.remote
@options.form
def command(task_id: str, states: tuple[str, ...], timeout: float, remote: Remote, printer: Printer) -> None:
    """Wait until a task reaches a state, and print it.

    Exit code: 0 if it reached the state, 124 after a timeout, 1 if it ended in ERROR and no --for was given.
    """
    from pytask.cli.selection import state_named

    wanted = [state_named(word) for word in states] or None
    if remote.explain:
        from pytask.cli import explain
        from pytask.client.task_records import FINISHED

        space = remote.space_of(task_id)
        remote.explains(explain.wait(space, task_id, wanted or list(FINISHED), timeout))
        return
    from pytask.domain import lifecycle as life

    task = remote.tasks.wait(remote.find(task_id), wanted, timeout)
    show_end(remote, printer, task, failed=wanted is None and task.state is life.ERROR)


def show_end(remote: Remote, printer: Printer, task: TaskInfo, *, failed: bool) -> None:
    """Print the task; exit with 1 if `failed`."""
    from pytask.cli.commands.show import show

    show(remote, printer, task)
    if failed:
        click.get_current_context().exit(1)
