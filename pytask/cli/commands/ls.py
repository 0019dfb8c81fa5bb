"""`pytask ls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer

SCREEN = 50
PAGE = 500


@click.command()
@options.states("Only tasks in this state; may be repeated.")
@options.function_name("Only tasks of this function.")
@click.option(
    "--worker",
    metavar="NAME",
    shell_complete=options.completed("workers"),
    help="Only tasks of this worker, by name or session.",
)
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Maximum number of tasks.  [default: {SCREEN}]",
)
@click.option("--all", "everything", is_flag=True, help="All tasks, printed as they are read.")
@click.option("--cursor", metavar="TEXT", help="Continue where an earlier list ended.")
@click.option("-w", "--watch", is_flag=True, help="Refresh the list every two seconds, until Ctrl-C.")
@options.remote
@options.form
def command(
    states: tuple[str, ...],
    name: str | None,
    worker: str | None,
    limit: int | None,
    everything: bool,
    cursor: str | None,
    watch: bool,
    remote: Remote,
    printer: Printer,
) -> None:
    """List tasks: running, waiting, failed, stopped, ended; newest first within each state.

    States are indexed, so a page costs the same for ten tasks as for ten million. Functions and workers are
    not indexed: with --name or --worker a page reads at most ten tasks per row and prints the cursor to
    continue at.
    """
    from pytask.cli.selection import state_named

    wanted = [state_named(word) for word in states] or None
    if remote.explain:
        most = limit if everything else limit or SCREEN
        remote.explains(_commands(remote, wanted, {"function": name, "worker": worker}, most))
        return
    filters: dict[str, Any] = {"state": wanted, "function": name, "worker": worker}
    if everything:
        _all(remote, printer, filters, limit)
    elif watch:
        from pytask.cli.printer import repeat

        repeat(lambda: _page(remote, printer, filters, limit or SCREEN, None), 2.0)
    else:
        _page(remote, printer, filters, limit or SCREEN, cursor)


def _page(remote: Remote, printer: Printer, filters: dict[str, Any], limit: int, cursor: str | None) -> None:
    from pytask.cli.rows import TASKS
    from pytask.shown.rows import task_row

    page = remote.tasks.list(**filters, limit=limit, cursor=cursor)
    printer.rows("tasks", map(task_row, page.tasks), TASKS, cursor=page.cursor)
    if page.cursor is not None and printer.form in ("table", "wide"):
        from pytask.terminal import say

        say(f"more tasks follow: use --all or --cursor {page.cursor}")


def _all(remote: Remote, printer: Printer, filters: dict[str, Any], limit: int | None) -> None:
    """Page after page; a table is also printed as it is read."""
    from pytask.cli.rows import TASKS
    from pytask.shown.rows import task_row

    def rows() -> Iterator[dict[str, Any]]:
        cursor, left = None, limit
        while left is None or left > 0:
            page = remote.tasks.list(**filters, limit=min(PAGE, left or PAGE), cursor=cursor)
            yield from map(task_row, page.tasks)
            cursor, left = page.cursor, None if left is None else left - len(page)
            if cursor is None:
                return

    printer.stream("tasks", rows(), TASKS)


def _commands(
    remote: Remote, wanted: list[str] | None, filters: dict[str, Any], limit: int | None
) -> Iterator[Item]:
    """Ids from the indexes, then the hash of each."""
    from pytask.adapters.keys import Keys
    from pytask.cli.explain_script import ID, Each, print_each
    from pytask.client.listing import LOOK_FACTOR, LOOK_LEAST, ORDER
    from pytask.domain import lifecycle as life

    filtered = any(filters.values())
    most = None if limit is None else max(LOOK_FACTOR * limit, LOOK_LEAST) if filtered else limit
    last = -1 if most is None else most - 1
    if filtered:
        yield "functions and workers are not indexed: every task of the states is read"
    for space in remote.spaces:
        keys = Keys(space)
        sources: list[list[str | int]] = []
        for state in ORDER:
            if wanted and state not in wanted:
                continue
            if state is life.RUNNING:
                sources.append(["ZRANGE", keys.leases, 0, last])
            else:
                sources.append(["ZREVRANGE", keys.index(state), 0, last])
            if state is life.WAIT:
                sources.append(["LRANGE", keys.queue, 0 if most is None else -most, -1])
                # Those of the waiting lists of limits are named by `pytask limits show`.
        shown: list[Item] = [
            print_each,
            ["HMGET", keys.task(ID), "function", "state", "worker", "last_update"],
        ]
        yield Each(sources, _filtered(keys.task(ID), filters, shown))


def _filtered(task: str, filters: dict[str, Any], body: list[Item]) -> list[Item]:
    from pytask.cli.explain_script import If, Match, literally

    if filters["function"] is not None:
        body = [If(["HGET", task, "function"], filters["function"], body)]
    if filters["worker"] is not None:
        name = literally(filters["worker"])
        body = [Match(["HMGET", task, "worker", "run"], f"{name}|{name}:[0-9]+", body)]
    return body
