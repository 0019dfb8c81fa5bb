"""`pytask stacks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item
    from pytask.cli.printer import Printer
    from pytask.client import Stack


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait up to SECONDS for the answer of its worker.",
)
@options.one_task
def command(task_id: str, wait: float, remote: Remote, printer: Printer) -> None:
    """Show where the code of a running task is: the stacks of its greenlets and coroutines.

    Its worker is asked, and answers with an event; the task is not disturbed. At most 50 stacks are shown,
    and the 30 innermost calls of each; the innermost is the last, and if there are more stacks, the last line
    says so. ID may be a unique prefix of an id.
    """
    import attrs

    if remote.explains(_commands(remote, task_id)):
        return
    whole = remote.find(task_id)
    found = remote.tasks.stacks(whole, wait=wait)
    fields = {"id": whole, "stacks": [attrs.asdict(one) for one in found], "more": found.more}
    lines = [line for one in found for line in lines_of(one)]
    if found.more:
        lines.append(f"more stacks are not shown: these are the first {len(found)}")
    printer.record("stacks", fields, [("", line) for line in lines])


def lines_of(stack: Stack) -> Iterator[str]:
    """Its lines of text."""
    yield stack.of
    for frame in stack.frames:
        yield f"    {frame.function} at {frame.file}:{frame.line}"


def _commands(remote: Remote, task_id: str) -> list[Item]:
    from pytask.adapters.keys import Keys
    from pytask.domain.messages import STACKS

    keys = Keys(remote.space_of(task_id))
    return [
        lambda cli: f"# before it, the answer: {cli.command(['SUBSCRIBE', keys.events(task_id)])}",
        ["PUBLISH", keys.control(task_id), STACKS],
    ]
