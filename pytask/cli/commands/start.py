"""`pytask start`."""

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
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to SECONDS until they run.",
)
@click.option(
    "--paused",
    "resumes",
    is_flag=True,
    help="Resume paused tasks; with --name or --all, the paused functions, too.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Discard the value that earlier runs saved (self.saved); a running task, paused or not, is refused.",
)
@options.remote
@choices.tasks
@options.form
def command(
    choice: Choice, yes: bool, wait: float, resumes: bool, fresh: bool, remote: Remote, printer: Printer
) -> None:
    """Start tasks again that have been stopped, have ended, or have failed; resume paused ones.

    `--all` selects stopped tasks. To create a new task, use `pytask new`. With --wait the command returns
    when the tasks run.
    """
    from functools import partial

    from pytask.cli import explain
    from pytask.cli.control import Verb, carry_out, started, together
    from pytask.domain import lifecycle as life

    if resumes and choice.of_function:
        resume(choice, remote, printer, fresh=fresh)
        return
    meant = (life.STOPPED,)
    if choice.explained(partial(explain.start, fresh=fresh), meant, explain.until_run(wait, over=False)):
        return
    verb = Verb(together(partial(remote.tasks.start_again_many, fresh=fresh)), started(remote), wait)
    carry_out(printer, choice.batches("start", meant, yes=yes, once=True), verb)


def resume(choice: Choice, remote: Remote, printer: Printer, *, fresh: bool) -> None:
    """Resume a function, or all, and the paused tasks of it."""
    from functools import partial

    from pytask.adapters.keys import Keys
    from pytask.cli import explain, explain_pause
    from pytask.cli.control import Verb, carry_out, together
    from pytask.cli.explain_script import ID, Each

    if remote.explain:
        items = explain_pause.functions(remote, choice.function, resume=True)
        for space in remote.spaces:
            each = [
                *(explain.forget(space, ID) if fresh else ()),
                *explain_pause.resume(space, ID, fresh=fresh),
            ]
            items.append(Each([["SMEMBERS", Keys(space).paused]], each))
        remote.explains(items)
        return
    changed = remote.tasks.resume_functions([choice.function])
    shown = "all functions" if choice.function == "*" else f"function {choice.function}"
    word = "resumed" if changed else "was not paused"
    row = {"id": shown, "outcome": word, "_outcome": word, "state": None, "done": True, "reason": None}
    again = partial(remote.tasks.start_again_many, fresh=fresh)
    carry_out(printer, choice.paused_batches(), Verb(together(again)), before=[row])
