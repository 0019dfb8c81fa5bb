"""`pytask workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer


@click.command()
@options.remote
@options.form
def command(remote: Remote, printer: Printer) -> None:
    """List running workers and workers that stopped reporting.

    Each worker reports every 5 seconds. A worker that shuts down cleanly is removed from the list at once.
    """
    if remote.explains(
        words
        for space in remote.spaces
        for words in (
            ("ZREVRANGE", f"{space}pytask:workers", 0, -1, "WITHSCORES"),
            ("HGETALL", f"{space}pytask:workers:info"),
        )
    ):
        return
    from pytask.cli.rows import WORKERS
    from pytask.shown.rows import worker_row

    printer.rows("workers", map(worker_row, remote.tasks.workers()), WORKERS, key="session")
