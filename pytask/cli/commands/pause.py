"""`pytask pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options
from pytask.cli import selection as choices

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.cli.selection import Choice


@click.command()
@click.option(
    "--running",
    is_flag=True,
    help="With --name or --all: also pause running tasks, each at its next gate.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to SECONDS until running tasks have reached a gate.",
)
@options.remote
@choices.tasks
@options.form
def command(choice: Choice, yes: bool, running: bool, wait: float, remote: Remote, printer: Printer) -> None:
    """Pause tasks, or all tasks of a function: nothing is interrupted, and nothing is lost.

    A waiting task is not started. A running task halts at its next gate: self.gate(), or the next round of
    run_loop; until then it is "pausing", and `pytask why` says where it is. With --name (or --all) the
    function itself is paused: none of its tasks is started, and running ones continue. With --state, tasks
    are selected one by one. Resume with `pytask start`.
    """
    from pytask.cli import explain_pause
    from pytask.cli.control import Verb, carry_out, paused, together
    from pytask.domain import lifecycle as life

    if running and not choice.of_function:
        raise click.UsageError("--running needs --name or --all, and cannot be combined with --state")
    meant = (life.RUNNING,) if choice.of_function else (life.RUNNING, life.WAIT)
    if choice.of_function and remote.explains(explain_pause.functions(remote, choice.function, resume=False)):
        return
    if choice.explained(explain_pause.pause, meant):
        return
    rows = []
    if choice.of_function:
        if choice.function != "*":
            choices.name_near_misses(remote, choice.function, then="")
        changed = remote.tasks.pause_functions([choice.function])
        rows = [_row(choice.function, changed=bool(changed))]
    verb = Verb(together(remote.tasks.pause_many), paused(remote), wait)
    some = choice.batches("pause", meant, yes=yes) if running or not choice.of_function else ()
    carry_out(printer, some, verb, before=rows)


def _row(name: str, *, changed: bool) -> dict[str, object]:
    shown = "all functions" if name == "*" else f"function {name}"
    word = "paused" if changed else "already paused"
    return {"id": shown, "outcome": word, "_outcome": word, "state": None, "done": True, "reason": None}
