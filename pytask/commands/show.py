"""`pytask show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pytask.console import options

if TYPE_CHECKING:
    from pytask.client import TaskInfo
    from pytask.console.output import Printer
    from pytask.console.remote import Remote


@click.command()
@options.one_task
def command(task_id: str, remote: Remote, printer: Printer) -> None:
    """Show one task: its state, its data, and how it came out.

    ID may be the beginning of an id, as long as only one task begins so.
    """
    if remote.explains([("HGETALL", remote.space_of(task_id) + task_id)]):
        return
    task = remote.tasks.get(remote.find(task_id))
    printer.record("task", fields(task), lines(task))


def fields(task: TaskInfo) -> dict[str, Any]:
    """What the JSON has."""
    import attrs

    from pytask.console.tasks import task_row

    row = {name: value for name, value in task_row(task).items() if name[0] != "_"}
    return row | {
        "data": _decoded(task.raw_data),
        "output": _decoded(task.raw_output),
        "error": task.error or None,
        "epoch": task.epoch,
        "last_run": task.last_run,
        "history": [attrs.asdict(move) for move in task.history],
        "more": dict(task.more),
    }


def lines(task: TaskInfo) -> list[tuple[str, Any]]:
    """What people read."""
    from pytask.console.times import since
    from pytask.domain.reasons import told
    from pytask.domain.times import at

    updated = f"{at(task.last_update)} ({since(task.last_update)} ago)" if task.last_update else None
    return [
        ("id", task.id),
        ("state", str(task.state) + (f" (asked to {task.control})" if task.control else "")),
        ("function", task.function or None),
        ("worker", task.worker or None),
        ("updated", updated),
        ("run", task.run or None),
        ("last run", None if task.run else task.last_run or None),
        ("runs", task.attempts),
        ("crashes", task.crashes or None),
        ("local", "started with its worker" if task.local else None),
        ("data", _text(task.raw_data)),
        ("output", _text(task.raw_output)),
        ("progress", _progress(task)),
        ("error", task.error or None),
        ("history", "\n".join(map(told, task.history)) or None),
        *sorted((name, value) for name, value in task.more.items() if name != "history"),
    ]


def _progress(task: TaskInfo) -> str | None:
    from pytask.console.times import since

    found = task.progress
    return None if found is None else f"{found} ({since(found.at)} ago)"


def _decoded(raw: bytes | None) -> Any:
    """JSON as it is; what is none, as text."""
    import json

    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return _text(raw)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="backslashreplace")
