"""`pytask ls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pytask.console import options

if TYPE_CHECKING:
    from pytask.console.output import Printer
    from pytask.console.remote import Remote

SCREEN = 50
PAGE = 500


@click.command()
@click.option("-s", "--state", "states", multiple=True, metavar="STATE", help="Only these; may be repeated.")
@click.option("-n", "--name", metavar="FUNCTION", help="Only tasks of this name.")
@click.option("--worker", metavar="NAME", help="Only those of a worker, by its name or session.")
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"At the most so many.  [default: {SCREEN}]",
)
@click.option("--all", "everything", is_flag=True, help="All there are, read as they are printed.")
@click.option("--cursor", metavar="TEXT", help="Go on where an earlier list ended.")
@click.option("-w", "--watch", is_flag=True, help="Show the list again every two seconds, until Ctrl-C.")
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
    """List tasks: running, waiting, failed, stopped, ended; of each the newest first.

    The states have indexes, so that a page costs the same for ten tasks and for ten million. Names and
    workers have none: a page reads ten tasks a row at the most, and says where to go on.
    """
    wanted = [_state(word) for word in states] or None
    if remote.explains(_commands(remote, wanted, limit or SCREEN)):
        return
    filters: dict[str, Any] = {"state": wanted, "function": name, "worker": worker}
    if everything:
        _all(remote, printer, filters, limit)
    elif watch:
        from pytask.console.screen import repeat

        repeat(lambda: _page(remote, printer, filters, limit or SCREEN, None), 2.0)
    else:
        _page(remote, printer, filters, limit or SCREEN, cursor)


def _state(word: str) -> str:
    from difflib import get_close_matches

    from pytask.domain.lifecycle import State

    if word.upper() in State.__members__:
        return word.upper()
    near = get_close_matches(word.upper(), State.__members__, n=1, cutoff=0.5)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise click.BadParameter(f"there is no state {word!r}{meant}; there are {', '.join(State)}")


def _page(remote: Remote, printer: Printer, filters: dict[str, Any], limit: int, cursor: str | None) -> None:
    from pytask.console.tasks import TASKS, task_row

    page = remote.tasks.list(**filters, limit=limit, cursor=cursor)
    printer.rows("tasks", map(task_row, page.tasks), TASKS, cursor=page.cursor)
    if page.cursor is not None and printer.form in ("table", "wide"):
        click.echo(f"pytask: there are more: --cursor {page.cursor}", err=True)


def _all(remote: Remote, printer: Printer, filters: dict[str, Any], limit: int | None) -> None:
    """Page after page; a table, too, is printed as it is read."""
    from pytask.console.tasks import TASKS, task_row

    def rows() -> Iterator[dict[str, Any]]:
        cursor, left = None, limit
        while left is None or left > 0:
            page = remote.tasks.list(**filters, limit=min(PAGE, left or PAGE), cursor=cursor)
            yield from map(task_row, page.tasks)
            cursor, left = page.cursor, None if left is None else left - len(page)
            if cursor is None:
                return

    printer.stream("tasks", rows(), TASKS)


def _commands(remote: Remote, wanted: list[str] | None, limit: int) -> Iterator[list[str | int]]:
    from pytask.adapters.keys import Keys
    from pytask.domain import lifecycle as life

    fields = ("function", "state", "worker", "last_update")
    for space in remote.spaces:
        keys = Keys(space)
        if not wanted or life.RUNNING in wanted:
            yield ["ZSCAN", keys.leases, 0, "COUNT", limit]
        for state in life.RESTING:
            if not wanted or state in wanted:
                yield ["ZREVRANGEBYSCORE", keys.index(state), "+inf", "-inf", "LIMIT", 0, limit]
        if not wanted or life.WAIT in wanted:
            yield ["LRANGE", keys.queue, -limit, -1]
        yield ["HMGET", keys.task("<id>"), *fields]
