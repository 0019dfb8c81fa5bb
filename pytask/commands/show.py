"""`pytask show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.console import options

if TYPE_CHECKING:
    from pytask.console.output import Printer
    from pytask.console.remote import Remote


@click.command()
@click.argument("task_id", metavar="ID")
@options.remote
@options.form
def command(task_id: str, remote: Remote, printer: Printer) -> None:
    """Show one task.

    ID may be the beginning of an id, as long as one task only begins so.
    """
    if remote.explains([("HGETALL", remote.space_of(task_id) + task_id)]):
        return
    whole = remote.find(task_id)
    fields = remote.ask("HGETALL", remote.space_of(whole) + whole)
    shown = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    printer.record("task", {"id": whole, **shown}, [("id", whole), *sorted(shown.items())])
