"""`pytask show`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.client import TaskInfo
    from pytask.domain.reasons import Account

TIMES = ("crash_at", "lost_at", "start_at")  # hash fields that hold a time and are not part of the record
LABELS = {"start_at": "last start"}  # `starts at` is the next one
MOMENT = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


@click.command()
@click.option("--reveal", is_flag=True, help="Also show the fields that the task class declares secret.")
@options.one_task
def command(task_id: str, reveal: bool, remote: Remote, printer: Printer) -> None:
    """Show one task: its state, data, and result.

    ID may be a unique prefix of an id. Fields that the task class declares secret (Config.SECRET) are masked
    in data, output and the saved value.
    """
    from pytask.cli.task_facts import commands

    if remote.explains(commands(remote.space_of(task_id), task_id)):
        return
    show(remote, printer, remote.tasks.get(remote.find(task_id)), reveal=reveal)


def show(remote: Remote, printer: Printer, task: TaskInfo, *, reveal: bool = False) -> None:
    """Print a task; `reveal`: include the secret fields of its data."""
    if not reveal:
        task = masked(remote, task)
    found = account(remote, task)
    printer.record("task", fields(task, found), lines(task, found))


def masked(remote: Remote, task: TaskInfo) -> TaskInfo:
    """The task with the secret fields of its data, output and saved value masked."""
    import attrs

    from pytask.shown.secrets import fields_of, masked_text

    if all(raw is None for raw in (task.raw_data, task.raw_output, task.raw_saved, task.raw_rejected)):
        return task
    fields = fields_of(remote.tasks, task.function)
    return attrs.evolve(
        task,
        raw_data=masked_text(task.raw_data, fields),
        raw_output=masked_text(task.raw_output, fields),
        raw_rejected=masked_text(task.raw_rejected, fields),
        raw_saved=masked_text(task.raw_saved, fields),
    )


def account(remote: Remote, task: TaskInfo) -> Account | None:
    """Why the task is in its state; None if we lack the rights to read the keys that explain it."""
    from pytask.cli.task_facts import account_of
    from pytask.domain.errors import Denied, WrongKeyType

    try:
        return account_of(remote, task)
    except (Denied, WrongKeyType):
        return None


def fields(task: TaskInfo, found: Account | None) -> dict[str, Any]:
    """The fields of the JSON output."""
    import attrs

    from pytask.shown.rows import task_row

    row = {name: value for name, value in task_row(task).items() if name[0] != "_"}
    return row | {
        "since": None if found is None else found.since,
        "story": None if found is None else found.story,
        "data": _decoded(task.raw_data),
        "output": _decoded(task.raw_output),
        "saved": _decoded(task.raw_saved),
        "saved_at": task.saved_at or None,
        "error": task.error or None,
        "refusal": None if task.refusal is None else attrs.asdict(task.refusal),
        "rolled_back": None if task.rolled_back is None else attrs.asdict(task.rolled_back),
        "rejected": _decoded(task.raw_rejected),
        "on_trial": task.on_trial,
        "reloaded_at": task.reloaded_at or None,
        "epoch": task.epoch,
        "last_run": task.last_run,
        "history": [attrs.asdict(move) for move in task.history],
        "more": dict(task.more),
    }


def lines(task: TaskInfo, found: Account | None) -> list[tuple[str, Any]]:
    """The lines of the text output."""
    from pytask.domain.wording import at
    from pytask.shown.rows import since

    updated = f"{at(task.last_update)} ({since(task.last_update)} ago)" if task.last_update else None
    return [
        ("id", task.id),
        ("why", None if found is None else _story(task, found)),
        ("state", _state(task)),
        ("function", task.function or None),
        ("worker", task.worker or None),
        ("updated", updated),
        ("run", task.run or None),
        ("last run", None if task.run else task.last_run or None),
        ("runs", task.attempts),
        ("crashes", task.crashes or None),
        ("starts at", _due(task)),
        ("pausing" if task.pausing else "paused", _paused(task)),
        ("group", task.group or None),
        ("restarts", _restarts(task)),
        ("local", "started with its worker" if task.local else None),
        ("data", _text(task.raw_data)),
        ("output", _text(task.raw_output)),
        ("saved", _saved(task)),
        ("progress", _progress(task)),
        ("reload", _reload(task) or None),
        ("rejected data", _text(task.raw_rejected)),
        ("error", task.error.rstrip("\n").split("\n") if task.error else None),
        ("history", _history(task) or None),
        *sorted(
            (LABELS.get(name, name), _more(name, value))
            for name, value in task.more.items()
            if name != "history"
        ),
    ]


def _state(task: TaskInfo) -> str:
    from pytask.shown.rows import state_of

    asked = task.control and not task.pausing
    return state_of(task) + (f" (asked to {task.control})" if asked else "")


def _due(task: TaskInfo) -> str | None:
    """When a waiting task starts at the earliest."""
    from pytask.domain.wording import at
    from pytask.shown.rows import due_of

    return at(due_of(task))


def _paused(task: TaskInfo) -> str | None:
    from pytask.domain.wording import at
    from pytask.shown.rows import since

    return f"since {at(task.paused)} ({since(task.paused)})" if task.paused else None


def _restarts(task: TaskInfo) -> str | None:
    from pytask.domain.wording import at
    from pytask.shown.rows import since

    policy = f"policy: {task.restart}" if task.restart else ""
    if not task.restarts:
        return policy or None
    last = f"last failure {at(task.failed_at)} ({since(task.failed_at)} ago)" if task.failed_at else ""
    return ", ".join(part for part in (str(task.restarts), last, policy) if part)


def _history(task: TaskInfo) -> list[str]:
    """The transitions; the error of the last one is shown under `error`."""
    from pytask.domain import lifecycle as life
    from pytask.domain.transition_text import transition_lines

    return transition_lines(task.history, failed=task.state is life.ERROR)


def _story(task: TaskInfo, found: Account) -> str:
    """Why the task is in its state; the error is shown below it."""
    return found.story.removesuffix(f": {task.error.partition(chr(10))[0]}")


def _more(name: str, value: str) -> str | None:
    """A field outside the protocol as it is; pytask's own timestamps formatted."""
    from pytask.domain.wording import at
    from pytask.shown.rows import since

    if name not in TIMES or not MOMENT.fullmatch(value):
        return value
    moment = float(value)
    return f"{at(moment)} ({since(moment)} ago)" if moment else value


def _saved(task: TaskInfo) -> str | None:
    """What its next run begins with, and for how long Redis has it."""
    from pytask.shown.rows import since

    age = f" (saved {since(task.saved_at)} ago)" if task.saved_at else ""
    return None if task.raw_saved is None else f"{_text(task.raw_saved)}{age}"


def _progress(task: TaskInfo) -> str | None:
    from pytask.shown.rows import since

    found = task.progress
    return None if found is None else f"{found} ({since(found.at)} ago)"


def _reload(task: TaskInfo) -> list[str]:
    """What came of its last reload."""
    from pytask.shown.rows import since

    lines = []
    if task.refusal is not None:
        lines.append(f"refused {since(task.refusal.at)} ago at {task.refusal.path}: {task.refusal.reason}")
    if task.rolled_back is not None:
        lines.append(f"rolled back {since(task.rolled_back.at)} ago: {task.rolled_back.reason}")
    if task.reloaded_at:
        lines.append(f"taken in place {since(task.reloaded_at)} ago")
    if task.on_trial:
        lines.append("on trial until its data has lived for 10 s")
    return lines


def _decoded(raw: bytes | None) -> Any:
    """Parsed JSON; text if it is not valid JSON."""
    import json

    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return _text(raw)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="backslashreplace")
