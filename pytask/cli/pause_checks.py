"""What is paused, and what may be wrong with it: functions that wait, workers that know no pause."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pytask.cli.checks import Finding
from pytask.client.pausing import EVERY
from pytask.domain.version import is_older_protocol
from pytask.domain.wording import counted, verb
from pytask.shown.fleet import Fleet

NAMED = 5


def of_the_pauses(found: Fleet) -> Iterator[Finding]:
    """One finding for each paused function for which tasks wait, and one for workers that know no pause."""
    parked = found.count.parked
    for name in found.count.held:
        waiting = sum(parked.values()) if name == EVERY else parked.get(name, 0)
        if waiting:
            which = "all functions are" if name == EVERY else f"the function {name} is"
            fix = ["pytask", "start", "--paused", *(["--all"] if name == EVERY else ["--name", name])]
            wait = f"{counted(waiting, 'task')} {verb(waiting, 'waits', 'wait')}"
            yield Finding(
                code="PT153",
                what=f"{which} paused, and {wait} for that to end",
                fix=shlex.join(fix),
            )
    older = [worker for worker in found.alive if is_older_protocol(worker.protocol)]
    if older and (found.count.held or found.count.paused):
        names = ", ".join(worker.name for worker in older[:NAMED])
        yield Finding(
            code="PT154",
            what=f"something is paused, and {names} {verb(len(older), 'does', 'do')} not support pausing:"
            f" {verb(len(older), 'it starts', 'they start')} paused tasks from the queue, and"
            f" {verb(len(older), 'its', 'their')} runs do not pause",
            fix="upgrade these workers: pip install --upgrade pytaskd",
        )
