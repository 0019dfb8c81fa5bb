"""Workers whose death can be known by silence only."""

from __future__ import annotations

from collections.abc import Iterator

from pytask.cli.checks import Finding
from pytask.domain.proofs import TURNED_OFF
from pytask.domain.timing import Timing
from pytask.domain.wording import counted, verb
from pytask.shown.fleet import Fleet


def of_the_locks(found: Fleet) -> Iterator[Finding]:
    """Reasons for which workers have no lock, each with one of them."""
    reasons: dict[str, list[str]] = {}
    for worker in found.alive:
        if worker.unlocked and worker.unlocked != TURNED_OFF:
            reasons.setdefault(worker.unlocked, []).append(worker.name)
    for reason, names in sorted(reasons.items()):
        number = len(names)
        who = counted(number, "worker")
        yield Finding(
            code="PT184",
            what=f"{who}, for example {names[0]}, {verb(number, 'has', 'have')} no lock file: {reason}."
            f" After a death {verb(number, 'its', 'their')} tasks wait for {Timing().expiry:g} s and more",
            fix="set PYTASK_RUNTIME_DIR to a directory of the user, mode 0700, on a local file system (off:"
            " no locks), and restart",
        )
