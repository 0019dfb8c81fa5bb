"""`pytask new`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options
from pytask.domain.delays import RESTARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytask.cli.connection import Remote
    from pytask.cli.data import Data
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer
    from pytask.client.records import New


@click.command()
@click.argument("name", shell_complete=options.completed("functions"))
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", metavar="JSON", help="Data as JSON, @FILE, or - for standard input.")
@click.option(
    "--id",
    "task_id",
    metavar="ID",
    callback=options.id_text,
    help="Id of the new task.  [default: random]",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to SECONDS until the task finishes.",
)
@click.option(
    "--in",
    "delay",
    metavar="DURATION",
    callback=options.duration,
    help="Start it after DURATION, such as 90 (seconds), 10m, 1h30m.",
)
@click.option(
    "--at",
    metavar="TIME",
    callback=options.moment,
    help="Start it at TIME, such as 2026-12-01T09:00Z.",
)
@click.option(
    "--restart",
    type=click.Choice(RESTARTS),
    help="When to run it again after a run.  [default: as its class says]",
)
@options.no_check
@click.option(
    "--group",
    metavar="TEXT",
    shell_complete=options.completed("groups"),
    help="Its group, for limits: see `pytask limits`.",
)
@options.remote
@options.form
def command(
    name: str,
    pairs: tuple[str, ...],
    *,
    data: str | None,
    task_id: str | None,
    wait: float,
    delay: float | None,
    at: float | None,
    restart: str | None,
    group: str | None,
    no_check: bool,
    remote: Remote,
    printer: Printer,
) -> None:
    """Create a task of the function NAME, queue it, and print its id.

    In KEY=VALUE, a VALUE that is valid JSON is parsed (n=5, on=true, of=[1,2]); any other VALUE is a string.
    Without any, the data is null. Running workers show what the data of their functions must fit; what fits
    none of them is not sent. With --id the command is idempotent: it does nothing while that task waits or
    runs. A task that has ended is run again, at the given time if there is one.
    """
    from pytask.cli.data import read_data, with_pairs
    from pytask.cli.selection import name_near_misses
    from pytask.client.records import New
    from pytask.domain import lifecycle as life
    from pytask.terminal import out

    if delay is not None and at is not None:
        raise click.UsageError("--in and --at exclude each other")
    given = with_pairs(read_data(data) if data is not None else None, pairs)
    task = New(name, given.value, task_id, delay, at, restart, group)
    if remote.explain:
        remote.explains(_commands(remote, task, given, wait))
        return
    if not no_check:
        from pytask.shown.data_checks import check_data

        check_data(remote.tasks, name, given.value)
    if wait:
        from pytask.cli.commands.wait import show_end
        from pytask.client.enqueue import start_and_wait

        name_near_misses(remote, name)
        ended = remote.driver.run(start_and_wait(remote.partitions, task, wait))
        show_end(remote, printer, ended, failed=ended.state is life.ERROR)
        return
    made = remote.tasks.start(name, given.value, id=task_id, delay=delay, at=at, restart=restart, group=group)
    name_near_misses(remote, name)
    if printer.form in ("json", "jsonl"):
        printer.record("task", {"id": made, "function": name}, ())
    else:
        out(made)


def _commands(remote: Remote, task: New, data: Data, wait: float) -> Iterator[Item]:
    from pytask.cli import explain
    from pytask.cli.explain_script import If, Match
    from pytask.client.batches import start_fields
    from pytask.client.enqueue import new_ids, start_of
    from pytask.client.task_records import FINISHED

    shown = task.id or new_ids(1)[0]
    space = remote.space_of(shown)
    name, hash_ = str(task.function), space + shown
    later = [*start_fields(start_of(task))]
    fields = ["function", name] + (["data", data.text] if data.value is not None else []) + later
    push: list[str] = ["LPUSH", f"{space}new-task", shown]
    if task.id is None:
        yield "a random id, as the command would generate it"
        yield ["HMSET", hash_, *fields]
        yield push
    else:
        yield "only if that id does not exist"
        yield If(["EXISTS", hash_], "0", [["HMSET", hash_, *fields], push])
        yield "if it has this function and has ended: run it again with this data"
        data_is = ["HSET", hash_, "data", data.text] if data.value is not None else ["HDEL", hash_, "data"]
        again = [["HSET", hash_, *later], push] if later else explain.start(space, shown)
        ended = Match(["HGET", hash_, "state"], "|".join(FINISHED), [data_is, *again])
        yield If(["HGET", hash_, "function"], name, [ended])
    if wait:
        yield from explain.wait(space, shown, list(FINISHED), wait)
