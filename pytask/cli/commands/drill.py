"""`pytask drill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytask.cli.connection import Remote
    from pytask.cli.drill import Followed
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer


@click.command()
@click.argument("worker", metavar="[WORKER]", required=False, shell_complete=options.completed("workers"))
@click.option("--term", is_flag=True, help="Send SIGTERM, as a deployment does, instead of SIGKILL.")
@click.option(
    "--limit", type=click.FloatRange(min=0), metavar="SECONDS",
    help="Exit with 3 if a task is gone for longer.",
)  # fmt: skip
@click.option(
    "--wait", type=click.FloatRange(min=0, min_open=True), default=300.0, show_default=True,
    metavar="SECONDS", help="How long to follow the tasks; then exit with 124.",
)  # fmt: skip
@options.yes
@options.remote
@options.form
def command(
    *,
    worker: str | None,
    term: bool,
    limit: float | None,
    wait: float,
    yes: bool,
    remote: Remote,
    printer: Printer,
) -> None:
    """Rehearse a failure: kill a worker, and measure how long each of its tasks is gone.

    WORKER, by name or session, must run on this machine; without it the only one here is meant. Its tasks are
    followed until a worker has started them again. The time of each, the longest and the 99th percentile are
    printed.
    """
    if remote.explain:
        remote.explains(_commands(remote, "TERM" if term else "KILL"))
        return
    import signal
    import time

    from pytask.cli import drill
    from pytask.domain.wording import counted
    from pytask.domain.wording import verb as agreeing
    from pytask.terminal import say

    workers = remote.tasks.workers()
    chosen = drill.choose(workers, worker)
    drill.check_process(chosen)
    tasks, local = drill.tasks_of(remote, chosen)
    others = sum(one.alive and one.session != chosen.session for one in workers)
    what = f"{counted(len(tasks), 'running task')} that {counted(others, 'other worker')} can take over"
    verb = "End" if term else "Kill"
    options.sure(f"{verb} worker {chosen.name} (process {chosen.pid}) with {what}?", yes=yes)
    if local:
        ends = agreeing(local, "ends with its worker", "end with their worker")
        say(f"not followed: {counted(local, 'pre-started task')}, which {ends}")
    if not others:
        say("no other worker is alive: its tasks wait until one starts")
    since = time.monotonic()
    drill.send(chosen, signal.SIGTERM if term else signal.SIGKILL)
    drill.follow(remote, tasks, since, wait)
    _show(printer, tasks, limit, wait)


def _show(printer: Printer, tasks: Sequence[Followed], limit: float | None, wait: float) -> None:
    from pytask.cli import drill
    from pytask.cli.printer import Column
    from pytask.domain.advice import see_why
    from pytask.domain.errors import TimedOut, Unhealthy
    from pytask.domain.wording import counted
    from pytask.terminal import say

    columns = (
        Column("id", "id"),
        Column("_gone", "gone"),
        Column("outcome", "outcome"),
        Column("worker", "worker"),
    )
    seconds = [one.gone for one in tasks if one.gone is not None]
    longest, most = drill.worst(seconds), drill.worst(seconds, 0.99)
    rows = [
        {
            "id": one.id, "gone": one.gone, "_gone": "" if one.gone is None else f"{one.gone:.2f} s",
            "outcome": one.outcome, "worker": one.worker,
        }
        for one in sorted(tasks, key=lambda one: -(one.gone or 0.0))
    ]  # fmt: skip
    printer.rows("tasks", rows, columns, longest=longest, p99=most)
    if not tasks:
        say("it ran no task that another worker could take over, so nothing was measured: `pytask new`")
    if longest is not None and most is not None:
        back = counted(len(seconds), "task")
        say(f"{back} came back: the longest was gone for {longest:.2f} s, p99 {most:.2f} s")
    missing = [one.id for one in tasks if one.outcome == drill.MISSING]
    if missing:
        text = f"{counted(len(missing), 'task')} did not come back within {wait:g} s, such as {missing[0]!r}"
        raise TimedOut(see_why(text, missing[0]))
    if limit is not None and longest is not None and longest > limit:
        raise Unhealthy(f"a task was gone for {longest:.2f} s, and the limit is {limit:g} s")


def _commands(remote: Remote, signal: str) -> list[Item]:
    from pytask.adapters.keys import Keys
    from pytask.cli.drill import FIELDS

    keys = [Keys(space) for space in remote.spaces]
    return [
        "the worker's process id, and the tasks that it runs, as id and SESSION:n",
        *[["HGETALL", f"{space}pytask:workers:info"] for space in remote.spaces],
        *[["HGETALL", one.runs] for one in keys],
        f"on its machine: kill -{signal} PID; then for each task, until its epoch is larger",
        ["HMGET", keys[0].task("ID"), *FIELDS],
    ]
