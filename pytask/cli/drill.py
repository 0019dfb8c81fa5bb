"""The death of a worker, rehearsed: which process it is, and how long each of its tasks is gone."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from pytask.client.task_records import FINISHED
from pytask.domain import lifecycle as life
from pytask.domain.errors import PytaskError

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.client import Worker

LOOK = 0.05  # seconds between two looks at the tasks that are gone
IDS = 500  # of one round trip
PAGE = 500
REUSED = 2.0  # seconds by which the clocks of a process and of its worker may differ
FIELDS = ("epoch", "state", "worker", "paused")
ELSEWHERE = (
    "the worker has died already, or is in a container or on a machine of the same host name: then run the"
    " drill there"
)
CAME_BACK, RESTS, DELETED, MISSING = "came back", "rests", "deleted", "missing"


@attrs.define
class Followed:
    """A task that ran on the worker."""

    id: str
    epoch: int  # of its run before
    outcome: str = MISSING
    gone: float | None = None  # seconds from the signal until another run was registered
    worker: str = ""  # that runs it now


def choose(workers: Iterable[Worker], name: str | None) -> Worker:
    """The worker of this name or session on this machine; without one, the only one there is.

    Raises `click.UsageError` with the candidates.
    """
    here = [one for one in workers if one.alive and one.host == socket.gethostname() and one.pid > 0]
    fit = [one for one in here if name in (None, one.name, one.session)]
    if len(fit) == 1:
        return fit[0]
    listed = ", ".join(sorted(one.name for one in here)) or "none"
    if fit and name is None:
        raise click.UsageError(f"several workers run on this machine: name one of {listed}")
    what = "no worker" if name is None else f"no worker named {name!r}"
    more = " (several have that name: give the session)" if fit else ""
    raise click.UsageError(
        f"{what} runs on this machine{more}. A drill ends a local process, so run it where the worker runs;"
        f" workers here: {listed}. `pytask workers -o wide` lists all with their hosts and sessions"
    )


def check_process(worker: Worker) -> None:
    """Refuse if the process with the pid of the worker is not the worker's.  Raises `PytaskError`."""
    began = _began(worker.pid)
    if began is not None and worker.started is not None and began > worker.started + REUSED:
        raise PytaskError(
            f"process {worker.pid} is younger than worker {worker.name!r}, so it is another one: {ELSEWHERE}"
        )
    if _holds_lock(worker) is False:
        raise PytaskError(
            f"process {worker.pid} does not hold the lock of worker {worker.name!r}, so it is another one:"
            f" {ELSEWHERE}"
        )


def _holds_lock(worker: Worker) -> bool | None:
    """Whether the file of the worker's lock is in the memory of the process; None where that is not known."""
    token = worker.lock.rpartition(" ")[2]
    try:
        # The file is named after the token, also while it is made and after it was deleted.
        return token in Path(f"/proc/{worker.pid}/maps").read_text(errors="replace") if token else None
    except OSError:
        return None


def _began(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None where that is not known."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def send(worker: Worker, number: int) -> None:
    """Send the signal.  Raises `PytaskError` if there is no such process, or it is not ours."""
    try:
        os.kill(worker.pid, number)
    except ProcessLookupError:
        raise PytaskError(
            f"worker {worker.name!r} has no process {worker.pid} on this machine: {ELSEWHERE}"
        ) from None
    except PermissionError:
        raise PytaskError(
            f"process {worker.pid} of worker {worker.name!r} belongs to another user: run the drill as it"
        ) from None


def tasks_of(remote: Remote, worker: Worker) -> tuple[list[Followed], int]:
    """The tasks that run on a worker, and how many pre-started ones end with it."""
    found: list[Followed] = []
    local, cursor = 0, None
    while True:
        page = remote.tasks.list(state=life.RUNNING, worker=worker.session, limit=PAGE, cursor=cursor)
        for task in page:
            if task.local:
                local += 1
            else:
                found.append(Followed(task.id, task.epoch))
        cursor = page.cursor
        if cursor is None:
            return found, local


def follow(remote: Remote, tasks: Sequence[Followed], since: float, seconds: float) -> None:
    """Look until each task is back, rests or is deleted; at most `seconds` after `since` (monotonic)."""
    clock: Callable[[], float] = time.monotonic
    left = list(tasks)
    while left and clock() - since < seconds:
        for at in range(0, len(left), IDS):
            part = left[at : at + IDS]
            asked = [
                (remote.partition_of(one.id), ("HMGET", remote.space_of(one.id) + one.id, *FIELDS))
                for one in part
            ]
            replies = remote.ask_each(asked)
            now = clock() - since
            for one, reply in zip(part, replies, strict=True):
                _judge(one, [None if raw is None else raw.decode(errors="replace") for raw in reply], now)
        left = [one for one in left if one.outcome == MISSING]
        if left:
            time.sleep(LOOK)


def _judge(one: Followed, fields: Sequence[str | None], now: float) -> None:
    epoch, state, worker, paused = fields
    if state is None and epoch is None:
        one.outcome = DELETED
    elif epoch is not None and epoch.isdigit() and int(epoch) > one.epoch:
        one.outcome, one.gone, one.worker = CAME_BACK, now, worker or ""
    elif state in FINISHED or (state == life.WAIT and paused):
        one.outcome = RESTS


def worst(seconds: Sequence[float], share: float = 1.0) -> float | None:
    """The value that this share of them does not exceed; None of none."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
