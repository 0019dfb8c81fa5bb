"""`pytask watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer
    from pytask.client import Event, Gap


@click.command()
@click.argument(
    "task_id",
    metavar="[ID]",
    required=False,
    callback=options.id_text,
    shell_complete=options.completed("ids"),
)
@click.option(
    "--for", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after this time."
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Stop after N events.")
@click.option("--reveal", is_flag=True, help="Also show the fields that task classes declare secret.")
@options.remote
@options.form
def command(
    task_id: str | None,
    seconds: float | None,
    count: int | None,
    *,
    reveal: bool,
    remote: Remote,
    printer: Printer,
) -> None:
    """Print the events of one task or of all tasks as they arrive, until Ctrl-C.

    The task need not exist yet. Lost connections are re-established; a line reports when events may have been
    missed.
    """
    import sys

    from pytask.shown.secrets import all_fields

    if remote.explain:
        remote.explains(_commands(remote, task_id, seconds))
        return
    whole = None if task_id is None else _id_of(remote, task_id)
    left = count
    events = remote.tasks.watch(whole, seconds=seconds)
    fields = () if reveal else all_fields(remote.tasks)
    for event in events:
        show(printer, without(event, fields))
        sys.stdout.flush()
        left = None if left is None else left - 1
        if left == 0:
            return


def without(event: Event | Gap, fields: tuple[str, ...]) -> Event | Gap:
    """The event with these fields masked in its data."""
    import attrs

    from pytask.client import Event
    from pytask.domain.secrets import masked

    if not fields or not isinstance(event, Event):
        return event
    return attrs.evolve(event, data=masked(event.data, fields))


def _id_of(remote: Remote, word: str) -> str:
    """The matching id; the word itself if the task does not exist yet."""
    from pytask.domain.errors import NoSuchTask
    from pytask.terminal import say

    try:
        return remote.find(word)
    except NoSuchTask:
        say(f"task {word!r} does not exist yet: waiting for its events")
        return word


def _commands(remote: Remote, task_id: str | None, seconds: float | None) -> list[Item]:
    from pytask.adapters.keys import Keys
    from pytask.cli.explain import bounded

    if task_id is not None:
        channel = Keys(remote.space_of(task_id)).events(task_id)
        return [bounded(["SUBSCRIBE", channel], seconds)]
    patterns = [Keys(space).event_pattern for space in remote.spaces]
    return [
        "this also receives control messages, which are not JSON",
        bounded(["PSUBSCRIBE", *patterns], seconds),
    ]


def show(printer: Printer, event: Event | Gap) -> None:
    """One line; gaps are also reported on standard error."""
    import json
    import time

    from pytask.cli.printer import Printer, printable
    from pytask.client import Gap
    from pytask.domain.wording import at
    from pytask.terminal import out, say

    lines = Printer("jsonl") if printer.form == "json" else printer
    now = time.time()
    if isinstance(event, Gap):
        say(f"events may have been missed for {event.seconds:.1f} s: {event.reason}")
        if lines.form == "jsonl":
            lines.rows("gaps", [{"at": now, "seconds": event.seconds}], ())
    elif lines.form == "jsonl":
        lines.rows("events", [{"at": now, "id": event.id, "event": event.name, "data": event.data}], ())
    elif lines.form == "id":
        out(printable(event.id))
    else:
        data = "" if event.data is None else printable(json.dumps(event.data, ensure_ascii=False))
        out(f"{at(now)}  {printable(event.id)}  {printable(event.name)}  {data}".rstrip())
