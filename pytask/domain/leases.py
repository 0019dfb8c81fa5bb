"""Which runs a worker must renew, and when each was last renewed.

Runs that were renewed together stay together: nothing is done per run while a worker's runs do not
change, so that a hundred thousand of them cost a few hundred steps a round.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from pytask.domain.record import RunRef

RENEW_CHUNK = 1000  # runs that are renewed together; what they cost a worker is mostly the round trip
# A chunk that is fuller than this stays as it is.  If it were filled up from the next one, a run that ends
# would break up all chunks behind its own, and each would have to be packed anew.
ENOUGH = 0.8


# Seconds: runs that were claimed so near to each other count as claimed with the first of them.
NEAR = 0.01


class Chunk(list[RunRef]):
    """Runs that are renewed together, the same at every round; never changed once it is made.

    `kept` is for the store: what it sends for these runs, made once.
    """

    __slots__ = ("kept",)

    def __init__(self, refs: Iterable[RunRef]) -> None:
        super().__init__(refs)
        self.kept: object = None


class _Sheaf:
    """Runs with one time of renewal, at most `RENEW_CHUNK` of them."""

    __slots__ = ("chunk", "refs", "sent_at")

    def __init__(self, sent_at: float) -> None:
        self.sent_at = sent_at
        self.refs: dict[str, RunRef] = {}
        self.chunk: Chunk | None = None  # the same runs, while they do not change

    def as_chunk(self) -> Chunk:
        """The runs, as long as they are the same the same object."""
        if self.chunk is None:
            self.chunk = Chunk(self.refs.values())
        return self.chunk


class LeaseBook:
    """The runs of one worker, the longest unrenewed first.

    Times are those at which a call was *sent*: Redis applied it at that time or later, so a deadline
    counted from it is never too late.
    """

    def __init__(self) -> None:
        self._where: dict[str, _Sheaf] = {}
        self._sheaves: OrderedDict[_Sheaf, None] = OrderedDict()  # the oldest first, none of them empty
        self._last = _Sheaf(-math.inf)  # where the last run was put

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, run: str) -> bool:
        return run in self._where

    def add(self, ref: RunRef, sent_at: float) -> None:
        """A run was claimed by a call sent at `sent_at`."""
        if ref.run in self._where:
            self._place([ref], sent_at)
            return
        sheaf = self._last
        if not (sheaf.refs and 0 <= sent_at - sheaf.sent_at < NEAR and len(sheaf.refs) < RENEW_CHUNK):
            self._last = sheaf = _Sheaf(sent_at)
            self._insert(sheaf)
        sheaf.refs[ref.run] = ref
        sheaf.chunk = None
        self._where[ref.run] = sheaf

    def remove(self, run: str) -> None:
        """The run is over; unknown ones are ignored."""
        sheaf = self._where.pop(run, None)
        if sheaf is None:
            return
        del sheaf.refs[run]
        sheaf.chunk = None
        if not sheaf.refs:
            del self._sheaves[sheaf]

    def renewed(self, refs: Sequence[RunRef], sent_at: float) -> None:
        """These were acknowledged; those that ended meanwhile stay out."""
        first = self._where.get(refs[0].run) if refs else None
        if first is not None and first.chunk is refs and sent_at >= first.sent_at:
            first.sent_at = sent_at
            del self._sheaves[first]
            self._insert(first)
        else:
            self._place([ref for ref in refs if ref.run in self._where], sent_at)

    def _place(self, refs: Iterable[RunRef], sent_at: float) -> None:
        """An answer that came late may be older than what other calls brought meanwhile: that stands."""
        later = [ref for ref in refs if self._where[ref.run].sent_at < sent_at]
        for ref in later:
            self.remove(ref.run)
        for at in range(0, len(later), RENEW_CHUNK):
            sheaf = _Sheaf(sent_at)
            sheaf.refs = {ref.run: ref for ref in later[at : at + RENEW_CHUNK]}
            self._where.update(dict.fromkeys(sheaf.refs, sheaf))
            self._insert(sheaf)

    def _insert(self, sheaf: _Sheaf) -> None:
        newer: list[_Sheaf] = []
        for other in reversed(self._sheaves):
            if other.sent_at <= sheaf.sent_at:
                break
            newer.append(other)
        self._sheaves[sheaf] = None
        for other in reversed(newer):
            self._sheaves.move_to_end(other)

    def due(self, before: float, limit: int = RENEW_CHUNK) -> list[RunRef]:
        """Up to `limit` runs last renewed at `before` or earlier, the oldest first."""
        taken: list[_Sheaf] = []
        count = 0
        for sheaf in self._sheaves:
            if sheaf.sent_at > before or count >= ENOUGH * limit:
                break
            taken.append(sheaf)
            count += len(sheaf.refs)
        if len(taken) == 1 and count <= limit:
            return taken[0].as_chunk()
        # Those that are acknowledged together will be one.
        return list(islice(chain.from_iterable(sheaf.refs.values() for sheaf in taken), limit))

    def sent_at(self, run: str) -> float | None:
        """When this run was last renewed; None for one that is not here."""
        sheaf = self._where.get(run)
        return None if sheaf is None else sheaf.sent_at

    def oldest(self) -> float | None:
        """When the longest unrenewed run was last renewed; None without runs."""
        for sheaf in self._sheaves:
            return sheaf.sent_at
        return None
