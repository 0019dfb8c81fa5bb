"""`pytask call`."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.name_clash import check_name_clash
from pytask.daemon.interrupt import INTERRUPTED

if TYPE_CHECKING:
    from pytask.client.task_records import TaskInfo
    from pytask.testing import MemoryApp

LOOK = 0.02  # seconds between two looks at the task
FAILED = 1


@click.command()
@click.argument("target")
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", metavar="JSON", help="Data as JSON, @FILE, or - for standard input.")
@click.option("--saved", metavar="JSON", help="What an earlier run has saved, for `self.saved`.")
@click.option("--id", "task_id", metavar="ID", default="call", help="Id of the task.  [default: call]")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="warning",
    help="[default: warning]",
)
@click.option(
    "--patch",
    metavar="NAME=on|off,...",
    help="What gevent patches, as arguments of its `patch_all`; see docs/patching.md.  [default: gevent's]",
)
def command(
    target: str,
    name: str,
    pairs: tuple[str, ...],
    *,
    data: str | None,
    saved: str | None,
    task_id: str,
    log_level: str,
    patch: str | None,
) -> None:
    """Run the task NAME of TARGET here, to its end, without Redis, and print its events.

    TARGET as for `run`, KEY=VALUE as for `new`. The task has its own worker and its state in memory; it is
    not restarted after a failure, and `self.redis` is not available. breakpoint() works, however long you
    stay there.

    \b
    Ctrl-C           calls the task's stop(); a second one ends the process

    Exit codes: 0 it ended, and the output is the last line; 1 it failed; 130 it was stopped by Ctrl-C.
    """  # noqa: D301 - tells click not to rewrap the next paragraph
    from pytask.cli.data import read_data, with_pairs

    given = with_pairs(read_data(data) if data is not None else None, pairs).value
    before = None if saved is None else _json(saved)
    check_name_clash()
    from pytask.runtime.process import patched

    patched.patch(patched.read(patch or ""))
    from pytask.daemon.target import find_app
    from pytask.domain.errors import UnknownTask
    from pytask.runtime.process import log_format
    from pytask.testing import app

    found = find_app(target)
    if name not in found.tasks:
        known = ", ".join(sorted(found.tasks)) or "none"
        raise UnknownTask(f"{target} has no task {name!r}; there are: {known}")
    log_format.set_up(task_id, log_level, "console")
    own: dict[str, Any] = {"partitions": 1, "namespace": "", "metrics": None}
    with app(*dict.fromkeys(found.tasks.values()), real_time=True, **own) as kit:
        kit.backend.subscribe(_printed)
        kit.client.start(found.tasks[name], given, id=task_id, restart="never")
        if before is not None:  # its worker has not had its turn yet
            kit.backend.state.write(task_id, saved=before)
        ended = _end(kit, task_id)
    click.get_current_context().exit(_report(ended))


def _json(text: str) -> str:
    from pytask.shown.data_checks import parsed

    try:
        return json.dumps(parsed(text, "--saved"))
    except ValueError as error:
        raise click.BadParameter(f"--saved is not JSON: {error}") from None


def _end(kit: MemoryApp, task_id: str) -> TaskInfo:
    """The task at rest; Ctrl-C stops it."""
    import gevent

    from pytask.client.task_records import FINISHED

    asked: list[int] = []

    def interrupted() -> None:
        asked.append(1)
        if len(asked) > 1:
            os._exit(INTERRUPTED)
        gevent.spawn(kit.client.stop, task_id)

    handlers = [gevent.signal_handler(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        while True:
            task = kit.client.get(task_id)
            if task.state in FINISHED:
                return task
            kit.advance(LOOK)
    finally:
        for handler in handlers:
            handler.cancel()


def _printed(channel: str, payload: bytes) -> None:
    """An event of the task, as a line."""
    from pytask.terminal import out

    if not channel.startswith("task-") or channel.endswith("-control"):
        return
    event = json.loads(payload)
    data = "" if event.get("data") is None else json.dumps(event["data"], ensure_ascii=False)
    out(f"{event['event']} {data}".rstrip())


def _report(task: TaskInfo) -> int:
    from pytask.domain import lifecycle as life
    from pytask.terminal import out, say

    if task.state is life.ENDED:
        if task.raw_output is not None:
            out(task.raw_output.decode())
        return 0
    if task.state is life.STOPPED:
        return INTERRUPTED
    say(task.error)
    return FAILED
