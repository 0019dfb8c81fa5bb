"""`pytask functions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer


@click.command()
@options.remote
@options.form
def command(remote: Remote, printer: Printer) -> None:
    """List the task functions that workers know and those that parked tasks wait for.

    A task whose function no worker knows is parked. It starts as soon as a worker that knows it is running.
    """
    if remote.explain:
        remote.explains(_commands(remote))
        return
    from difflib import get_close_matches

    from pytask.cli.printer import Column

    found = remote.tasks.functions()
    known = [one.name for one in found if one.workers]
    rows = [
        {
            "name": one.name,
            "workers": one.workers,
            "parked": one.parked,
            "paused": one.paused,
            "_paused": "paused" if one.paused else "",
            "near": [] if one.workers else get_close_matches(one.name, known, n=3, cutoff=0.6),
        }
        for one in found
    ]
    columns = [
        Column("name", "name"),
        Column("workers", "workers"),
        Column("parked", "parked"),
        Column("_paused", "state"),
        Column("near", "did you mean"),
    ]
    printer.rows("functions", rows, columns, key="name")


def _commands(remote: Remote) -> Iterator[Item]:
    from pytask.adapters.keys import Keys
    from pytask.cli.explain_script import parked

    for space in remote.spaces:
        yield ["HVALS", Keys(space).worker_info]
        yield parked(space)
        yield ["SMEMBERS", Keys(space).paused_functions]
