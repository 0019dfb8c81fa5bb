"""`pytask why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.console import options

if TYPE_CHECKING:
    from pytask.console.output import Printer
    from pytask.console.remote import Remote


@click.command()
@options.one_task
def command(task_id: str, remote: Remote, printer: Printer) -> None:
    """Say why a task is where it is: what happened to it, and what it waits for.

    ID may be the beginning of an id, as long as only one task begins so.
    """
    space = remote.space_of(task_id)
    if remote.explains(
        [
            ("HGETALL", space + task_id),
            ("HGET", f"{space}pytask:runs", task_id),
            ("ZSCORE", f"{space}pytask:leases", task_id),
            ("LPOS", f"{space}new-task", task_id, "RANK", -1, "MAXLEN", 100_000),
            ("HVALS", f"{space}pytask:workers:info"),
        ]
    ):
        return
    from pytask.console.facts import reasons_of

    task = remote.tasks.get(remote.find(task_id))
    lines = reasons_of(remote, task)
    printer.record(
        "reasons",
        {"id": task.id, "state": str(task.state), "reasons": lines},
        [(str(task.state) if at == 0 else "", line) for at, line in enumerate(lines)],
    )
