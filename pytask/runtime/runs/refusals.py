"""What to do with a batch that Redis refuses again and again while it takes everything else.

A size limit (of the server, of a proxy, of a provider) is the usual cause: the connection is closed, or an
error comes back, however often the batch is repeated.  An outage looks the same at first.  The difference is
that renewals, which write to the same keys on a connection of their own, are acknowledged meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pytask import codec
from pytask.domain.errors import StoreError, may_be_size
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.record import Change

ROUNDS = 2  # refusals, each with an acknowledged renewal since the one before, that prove a refusal
LARGE = 16 * 1024  # bytes: no limit is known to be lower, so what is smaller is never given up for its size
REMEMBERED = 5  # times D, for which a limit that was met is not tried again, where trying costs time
SHOWN = 200  # characters of Redis' answer in the error of a task


class Refusals:
    """Counts the refusals of what one sender sends, and remembers from which size on they came."""

    def __init__(self) -> None:
        self.apart = False  # what was refused together is sent one by one
        self.limit: float = math.inf  # bytes: so many were refused
        self.proven: float = math.inf  # bytes: one of so many, sent alone, was refused for good
        self._rounds = 0
        self._since = math.inf  # when the last counted refusal came

    def refused(
        self, error: Exception, renewed_at: float, now: float, *, size: int = 0, alone: bool = True
    ) -> bool:
        """Note a refusal; whether it is proven that this, as it is, will never be taken.

        `size` is 0 where it is not known.  What was not sent alone can be sent in parts, at no risk, so that
        less of a proof will do.
        """
        if not may_be_size(error):
            return False
        if self._rounds and renewed_at <= self._since:
            return False  # nothing was acknowledged since: Redis may be away
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
        """Redis took what weighs so much: limits that it disproves are forgotten."""
        self._rounds = 0
        if self.limit == self.proven == math.inf:
            return  # as a rule: every commit comes this way
        size = weigh()
        if size >= self.limit:
            self.limit = math.inf
        if size >= self.proven:
            self.proven = math.inf

    def forget(self) -> None:
        """Forget the limits that were met."""
        self.limit = self.proven = math.inf


def size_of(batch: Sequence[Change]) -> int:
    """Bytes of what the tasks themselves wrote: events, outputs, errors."""
    return sum(map(weight, batch))


def weight(change: Change) -> int:
    """The same of one change."""
    return len(change.event) + (sum(map(len, change.fields.values())) if change.fields else 0)


def instead(change: Change, error: StoreError, keep: int | None) -> Change | None:
    """The end in place of one that Redis never takes; None for a small one, as size is not the cause.

    The run id stays, so if the first end did arrive after all, this one changes nothing.
    """
    size = size_of([change])
    if size < LARGE or change.trigger not in (Trigger.END, Trigger.FAIL):
        return None
    name = "output" if change.trigger is Trigger.END else "error"
    text = (
        f"[PT132] Redis refuses the {name} of this task, {size} bytes with its event, while it takes smaller"
        f" ones: {str(error)[:SHOWN]}. The {name} is dropped. Keep large results elsewhere and return a"
        " reference, or raise the size limit of the server or proxy (client-query-buffer-limit,"
        " proto-max-bulk-len)"
    )
    event = codec.event(Event.ERROR, {"error": text})
    return Change(change.id, change.run, event, Trigger.FAIL, {"error": text}, keep)


def without_data(size: int) -> str:
    """The error of a task whose data never comes."""
    return (
        f"[PT133] data has {size} bytes, and Redis gives no answer with so much, while smaller ones come. The"
        " cause is a size limit of the server (client-output-buffer-limit) or of a proxy. Keep large data"
        " elsewhere and pass its address, or raise the limit"
    )
