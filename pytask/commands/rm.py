"""`pytask rm`."""

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
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, remote: Remote, printer: Printer) -> None:
    """Delete tasks that do not run, with all that is known of them.

    `--all` and `--name` mean those that have ended, failed or were stopped; one that waits is deleted by its
    id, or by `--state WAIT`.
    """
    from pytask.client.records import FINISHED
    from pytask.console.output import Column
    from pytask.domain.errors import NoSuchTask, TaskRuns

    def commands(space: str, task_id: str) -> list[list[str]]:
        return [
            ["DEL", space + task_id, f"{space}pytask:log:{task_id}"],
            ["LREM", f"{space}new-task", "0", task_id],
        ]

    if choice.explained(commands):
        return
    rows = []
    problem: Exception | None = None
    for task_id in choice.ids("delete", FINISHED, yes=yes):
        word = "deleted"
        try:
            if not remote.tasks.remove(task_id):
                word, problem = "no such task", problem or NoSuchTask(f"there is no task {task_id!r}")
        except TaskRuns as error:
            word, problem = "runs", error
        rows.append({"id": task_id, "outcome": word})
    printer.rows("outcomes", rows, [Column("id", "id"), Column("outcome", "outcome")])
    if problem is not None:
        raise problem
