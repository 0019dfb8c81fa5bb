"""Detects batches that Redis always refuses although it accepts other calls.

The usual cause is a size limit of the server, a proxy or a provider: the connection is closed, or an error is
returned, on every attempt.  An outage looks the same at first, but during an outage renewals, which write to
the same keys on their own connection, are not acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

from pytask import codec
from pytask.domain.errors import StoreError, may_be_size
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.record import Change

ROUNDS = 2  # refusals, each after an acknowledged renewal, that prove a limit
LARGE = 16 * 1024  # bytes; no known limit is lower, so smaller data is never given up because of its size
REMEMBERED = 5  # leases for which a detected limit is not probed again
SHOWN = 200  # characters of the reply of Redis in the error of a task


class Refusals:
    """Counts the refusals of one sender, and remembers the smallest refused size."""

    def __init__(self) -> None:
        self.apart = False  # whether changes are sent one by one
        self.limit: float = math.inf  # bytes that were refused
        self.proven: float = math.inf  # bytes of a single change that was refused for certain
        self._rounds = 0
        self._since = math.inf  # the time of the last counted refusal

    def refused(
        self, error: Exception, renewed_at: float, now: float, *, size: int = 0, alone: bool = True
    ) -> bool:
        """Record a refusal; returns whether it is proven that this will never be accepted.

        `size` is 0 if unknown.  A batch can safely be sent in parts, so it needs less proof.
        """
        if not may_be_size(error):
            return False
        if self._rounds and renewed_at <= self._since:
            return False  # no renewal was acknowledged since: Redis may be unreachable
        self._rounds += 1
        self._since = now
        if self._rounds <= (ROUNDS if alone and size < self.proven else 1):
            return False
        self._rounds = 0
        if size:
            self.limit = min(self.limit, size)
        if alone and size >= LARGE:
            self.proven = min(self.proven, size)
        return True

    def taken(self, weigh: Callable[[], int]) -> None:
        """Redis accepted this size: forget limits that it disproves."""
        self._rounds = 0
        if self.limit == self.proven == math.inf:
            return  # the normal case
        size = weigh()
        if size >= self.limit:
            self.limit = math.inf
        if size >= self.proven:
            self.proven = math.inf

    def forget(self) -> None:
        """Forget all limits."""
        self.limit = self.proven = math.inf


def size_of(batch: Sequence[Change]) -> int:
    """The size in bytes of events, outputs and errors."""
    return sum(map(weight, batch))


def weight(change: Change) -> int:
    """The same of one change."""
    size = len(change.event) + (sum(map(len, change.fields.values())) if change.fields else 0)
    good = None if change.trial is None else change.trial.good
    return size if good is None else size + len(good)


def instead(change: Change, error: StoreError, keep: int | None) -> Change | None:
    """The replacement of an end that Redis refuses; None for a small one, as size is not the cause.

    What the task saved last is left out first, as it may be the cause: its value of before stays.  Then the
    data that a rollback has with it: the hash has it, too, if the reload was recorded meanwhile.
    It has the same run id, so if the first end was applied after all, this one has no effect.
    """
    size = size_of([change])
    if size >= LARGE and change.fields.get("saved"):
        return attrs.evolve(
            change, fields={name: one for name, one in change.fields.items() if name != "saved"}
        )
    if size >= LARGE and change.trial is not None and change.trial.good is not None:
        return attrs.evolve(change, trial=attrs.evolve(change.trial, good=None))
    if size < LARGE or change.trigger not in (Trigger.END, Trigger.FAIL, Trigger.RETRY):
        return None
    name = "output" if "output" in change.fields else "error"
    text = (
        f"[PT132] Redis refuses the {name} of this task, {size} bytes with its event, but accepts smaller"
        f" ones: {str(error)[:SHOWN]}. The {name} is dropped. Store large results elsewhere and return a"
        " reference, or raise the size limit of the server or proxy (client-query-buffer-limit,"
        " proto-max-bulk-len)"
    )
    event = codec.event(Event.ERROR, {"error": text})
    return Change(change.id, change.run, event, Trigger.FAIL, {"error": text}, keep)


def without_data(size: int, name: str = "data") -> str:
    """The error of a task whose data (or the field of another name) Redis does not return."""
    return (
        f"[PT133] {name} has {size} bytes, and Redis does not return so much, only smaller replies. The"
        " cause is a size limit of the server (client-output-buffer-limit) or of a proxy. Store large data"
        " elsewhere and pass a reference to it, or raise the limit"
    )
