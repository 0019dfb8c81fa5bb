"""`pytask logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.client import LogLine, TaskInfo, Worker

SCREEN = 100


@click.command()
@click.argument("task_id", metavar="ID", callback=options.id_text, shell_complete=options.completed("ids"))
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they arrive, until the task finishes.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Print the last N lines.  [default: {SCREEN}]",
)
@click.option("--all", "everything", is_flag=True, help="Print all stored lines.")
@options.remote
@options.form
def command(
    task_id: str, follow: bool, lines: int | None, everything: bool, remote: Remote, printer: Printer
) -> None:
    """Print the log lines and the progress of a task.

    Workers store log lines only if their setting `task_logs` is above 0 (`pytask run --task-logs 200`). ID
    may be a unique prefix of an id.
    """
    import sys

    from pytask.terminal import say

    if lines is not None and everything:
        raise click.UsageError("--lines and --all cannot be combined")
    limit = None if everything else SCREEN if lines is None else lines
    space = remote.space_of(task_id)
    if remote.explains(_commands(space, task_id, limit)):
        return
    whole = find(remote, task_id)
    printed = False
    if follow:
        _warn(remote, whole)
    for line in remote.tasks.logs(whole, limit=limit, follow=follow):
        show(printer, whole, line)
        sys.stdout.flush()
        printed = True
    if not printed and limit != 0:
        say(f"no lines: {why_none(remote, whole)}")
    elif printed and not follow:
        _warn(remote, whole)


def _commands(space: str, task_id: str, limit: int | None) -> list[list[str | int]]:
    from pytask.adapters.keys import Keys

    return [["LRANGE", Keys(space).log(task_id), 0 if limit is None else -max(1, limit), -1]]


def find(remote: Remote, beginning: str) -> str:
    """The one id that begins so; the stored lines may outlive the hash of the task."""
    from pytask.adapters.keys import Keys

    ring = Keys(remote.space_of(beginning)).log(beginning)
    if remote.ask("EXISTS", ring, at=remote.partition_of(beginning)):
        return beginning
    return remote.find(beginning)


def show(printer: Printer, task_id: str, line: LogLine) -> None:
    """One line, preceded by a notice of missing lines."""
    from pytask.cli.printer import Printer, printable
    from pytask.domain.wording import at, counted, verb
    from pytask.terminal import out, say

    if line.missed:
        are = f"{counted(line.missed, 'line')} before this one {verb(line.missed, 'is', 'are')}"
        say(f"{are} no longer stored")
    if printer.form in ("json", "jsonl"):
        Printer("jsonl").rows("lines", [row(task_id, line)], ())
        return
    if printer.form == "id":
        out(printable(task_id))
        return
    first, *more = line.text.split("\n")
    head = f"{at(line.at, millis=True) or '?'} {line.level.upper():<8}"
    named = f"{printable(line.logger)}: " if line.logger else ""
    run = f"[run {line.epoch}] " if printer.form == "wide" else ""
    out(printable(f"{head} {run}{named}{first}"))
    for part in more:
        out("  | " + printable(part.expandtabs() or " "))


def row(task_id: str, line: LogLine) -> dict[str, Any]:
    """The fields of the JSON output."""
    return {
        "id": task_id,
        "at": line.at,
        "level": line.level,
        "logger": line.logger,
        "text": line.text,
        "number": line.number,
        "epoch": line.epoch,
        "missed": line.missed,
    }


def _warn(remote: Remote, task_id: str) -> None:
    """Say so if the lines cannot be those of the current run, because its worker stores none."""
    from pytask.domain import lifecycle as life
    from pytask.domain.errors import NoSuchTask
    from pytask.terminal import say

    try:
        task = remote.tasks.get(task_id)
    except NoSuchTask:
        return
    own = _own_worker(task, remote.tasks.workers()) if task.state is life.RUNNING else None
    if own is not None and own.task_logs == 0:
        say(f"no lines of the current run: {_stores(task, own)}")


def _own_worker(task: TaskInfo, crew: list[Worker]) -> Worker | None:
    """The worker of its current or last run."""
    session = (task.run or task.last_run).rpartition(":")[0]
    return next((worker for worker in crew if worker.session == session), None)


def why_none(remote: Remote, task_id: str) -> str:
    """Why no line of the task is stored."""
    from pytask.domain.errors import NoSuchTask

    try:
        task = remote.tasks.get(task_id)
    except NoSuchTask:
        return "the task is gone"
    if not task.worker:
        return f"no worker has taken it yet (it is {task.state})"
    return _of_worker(remote, task)


def _of_worker(remote: Remote, task: TaskInfo) -> str:
    """Whether the task's current or last worker stores log lines, as far as it is known."""
    from pytask.domain import lifecycle as life

    crew = remote.tasks.workers()
    own = _own_worker(task, crew)
    if own is not None and own.task_logs is not None:
        return _stores(task, own)
    if own is not None and own.alive:
        return f"it is not known whether {_name(task)} stores task logs: its release does not report it"
    gone = f"{_name(task)} is gone"
    failed = task.state is life.ERROR and not task.crashes and not task.error.startswith("[PT")
    if task.progress is not None or failed:  # both are among the lines
        happened = "the task reported its progress" if task.progress is not None else "the task failed"
        return f"{gone}, and stored no task logs, or they have expired: {happened}, which task logs include"
    heir = next((w for w in crew if w.alive and w.name == task.worker and w.task_logs is not None), None)
    now = f"; the current worker of that name stores {heir.task_logs or 'none'}" if heir else ""
    return f"{gone}: either it stored no task logs, or the task logged nothing{now}"


def _stores(task: TaskInfo, worker: Worker) -> str:
    """For a worker that reports how many lines it stores, or did before it died."""
    from pytask.domain.wording import ago, counted

    who = _name(task) if worker.alive else f"{_name(task)}, silent for {ago(worker.silent)},"
    if not worker.task_logs:
        return (
            f"{who} {'stores' if worker.alive else 'stored'} no task logs; start it with --task-logs 200 (or"
            " set task_logs = 200 in pytask.toml)"
        )
    lines = counted(worker.task_logs, "line")
    if worker.alive:
        return (
            f"the task has logged nothing yet, or its worker's log level filters it out ({who} stores"
            f" {lines} per task)"
        )
    return (
        f"no line of the task was sent before {who} fell silent (it stored {lines} per task; lines are"
        " sent within about a second)"
    )


def _name(task: TaskInfo) -> str:
    return f"the worker {task.worker!r}"
