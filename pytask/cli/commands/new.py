"""`pytask new`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytask.cli.connection import Remote
    from pytask.cli.data import Data
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer


@click.command()
@click.argument("name")
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
@options.remote
@options.form
def command(
    name: str,
    pairs: tuple[str, ...],
    *,
    data: str | None,
    task_id: str | None,
    wait: float,
    remote: Remote,
    printer: Printer,
) -> None:
    """Create a task of the function NAME, queue it, and print its id.

    In KEY=VALUE, a VALUE that is valid JSON is parsed (n=5, on=true, of=[1,2]); any other VALUE is a string.
    With --id the command is idempotent: it does nothing while that task waits or runs. A task that has ended
    is run again.
    """
    from pytask.cli.data import read_data, with_pairs
    from pytask.domain import lifecycle as life
    from pytask.terminal import out

    given = with_pairs(read_data(data) if data is not None else None, pairs)
    if remote.explain:
        remote.explains(_commands(remote, name, given, task_id=task_id, wait=wait))
        return
    if wait:
        from pytask.cli.commands.wait import show_end
        from pytask.client.enqueue import start_and_wait

        _name_near_misses(remote, name)
        task = remote.driver.run(start_and_wait(remote.partitions, name, given.value, task_id, wait))
        show_end(remote, printer, task, failed=task.state is life.ERROR)
        return
    made = remote.tasks.start(name, given.value, id=task_id)
    _name_near_misses(remote, name)
    if printer.form in ("json", "jsonl"):
        printer.record("task", {"id": made, "function": name}, ())
    else:
        out(made)


def _commands(remote: Remote, name: str, data: Data, *, task_id: str | None, wait: float) -> Iterator[Item]:
    from pytask.cli import explain
    from pytask.cli.explain_script import If, Match
    from pytask.client.enqueue import new_ids
    from pytask.client.records import FINISHED

    shown = task_id or new_ids(1)[0]
    space = remote.space_of(shown)
    fields = ["function", name] + (["data", data.text] if data.value is not None else [])
    queued = [["HMSET", space + shown, *fields], ["LPUSH", f"{space}new-task", shown]]
    if task_id is None:
        yield "a random id, as the command would generate it"
        yield from queued
    else:
        yield "only if that id does not exist"
        yield If(["EXISTS", space + shown], "0", queued)
        yield "if it has this function and has ended: run it again with this data"
        hash_ = space + shown
        data_is = ["HSET", hash_, "data", data.text] if data.value is not None else ["HDEL", hash_, "data"]
        ended = Match(["HGET", hash_, "state"], "|".join(FINISHED), [data_is, *explain.start(space, shown)])
        yield If(["HGET", hash_, "function"], name, [ended])
    if wait:
        yield from explain.wait(space, shown, list(FINISHED), wait)


def _name_near_misses(remote: Remote, name: str) -> None:
    """Print a notice if no worker knows the function; the task waits until one does."""
    from difflib import get_close_matches

    from pytask.domain.errors import Denied
    from pytask.terminal import say

    try:
        known = [one.name for one in remote.tasks.functions() if one.workers]
    except Denied:
        return  # the role `producer` may write but not read
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        say(f"no running worker knows {name!r}{meant} The task waits until one does.")
