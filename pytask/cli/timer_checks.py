"""What may be wrong with delayed tasks: workers that do not know them, and timers that nobody looks at."""

from __future__ import annotations

from collections.abc import Iterator

from pytask.adapters.keys import Keys
from pytask.cli.checks import Finding
from pytask.cli.connection import Remote
from pytask.domain.reasons import LATE
from pytask.domain.version import OLDER, PROTOCOL, __version__, is_older_protocol, may_share
from pytask.domain.wording import ago, verb
from pytask.shown.fleet import Fleet

NAMED = 5  # workers that are named


def of_the_timers(remote: Remote, found: Fleet) -> Iterator[Finding]:
    """Older workers, and late timers."""
    yield from _protocols(found)
    yield from _timers(remote)


def _protocols(found: Fleet) -> Iterator[Finding]:
    """Workers that know nothing of delays, restarts and schedules."""
    ours = [worker for worker in found.alive if may_share(__version__, worker.version)]  # others: PT094
    older = [worker for worker in ours if is_older_protocol(worker.protocol)]
    if older:
        names = ", ".join(worker.name for worker in older[:NAMED])
        yield Finding(
            code="PT167",
            what=f"{names} {verb(len(older), 'speaks', 'speak')} wire protocol {older[0].protocol or '1.0'},"
            f" and this release {PROTOCOL}: {OLDER}",
            fix="upgrade before you use delays, restarts or schedules: pip install --upgrade pytaskd",
        )


def _timers(remote: Remote) -> Iterator[Finding]:
    """Tasks whose time came, and that nobody moved to the queue."""
    for at, space in enumerate(remote.spaces):
        (seconds, micros), first = remote.ask_all(
            [("TIME",), ("ZREVRANGE", Keys(space).timers, -1, -1, "WITHSCORES")], at=at
        )
        if not first:
            continue
        due = float(first[0][1] if isinstance(first[0], tuple | list) else first[1]) / 1000
        late = int(seconds) + int(micros) / 1e6 - due
        if late > LATE:
            yield Finding(
                code="PT168",
                what=f"the time of a delayed task came {ago(late)} ago, and no worker has moved it to the"
                " queue",
                fix="start a worker of this release: pytask run TARGET",
            )
            return
