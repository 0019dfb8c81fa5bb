"""`pytask why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.client import TaskInfo
    from pytask.domain.reasons import Account


@click.command()
@options.one_task
def command(task_id: str, remote: Remote, printer: Printer) -> None:
    """Explain why a task is in its state: what happened to it and what it waits for.

    ID may be a unique prefix of an id.
    """
    from pytask.cli.task_facts import commands

    if remote.explains(commands(remote.space_of(task_id), task_id)):
        return
    found = read(remote, remote.find(task_id))
    printer.record("reasons", found, [("", line) for line in found["reasons"]])


def read(remote: Remote, task_id: str) -> dict[str, Any]:
    """The fields of the JSON output, of a whole id."""
    from pytask.cli.messages import in_words
    from pytask.cli.task_facts import account_of

    task = remote.tasks.get(task_id)
    found = account_of(remote, task)
    return _fields(task, found, list(map(in_words, found.lines)))


def _fields(task: TaskInfo, found: Account, lines: list[str]) -> dict[str, Any]:
    import attrs

    from pytask.domain.transition_text import transition_line

    return {
        "id": task.id,
        "state": str(task.state),
        "since": found.since,
        "story": found.story,
        "reasons": lines,
        "moves": [attrs.asdict(move) | {"text": transition_line(move)} for move in task.history],
    }
