"""The leases of a worker: which runs to renew, when each was last renewed, and what is allowed meanwhile.

Runs that were renewed together stay together: no work is done per run while the set of runs does not change,
so a hundred thousand runs cost a few hundred steps per round.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain, islice

import attrs

from pytask.domain.incarnation import News, compare, merged
from pytask.domain.record import Incarnation, RunRef
from pytask.domain.timing import Timing

RENEW_CHUNK = 1000  # runs per renewal; the cost for a worker is mostly the round trip
# A chunk that is fuller than this is not refilled: otherwise each run that ends would change all following
# chunks, and each of them would have to be packed again.
ENOUGH = 0.8


# Each of so many renewals writes `last_update` (docs/decisions/41): it is 15 s old at the most.
STAMP_EVERY = 3

# Seconds; runs that were claimed within this time count as claimed with the first of them.
NEAR = 0.01


class Chunk(list[RunRef]):
    """An immutable set of runs that are renewed together in every round.

    `kept` is a cache for the store: the packed arguments for these runs.
    `stamps` tells whether the next renewal writes their `last_update`.
    """

    __slots__ = ("kept", "stamps")

    def __init__(self, refs: Iterable[RunRef]) -> None:
        super().__init__(refs)
        self.kept: object = None
        self.stamps = True


def stamps(refs: Sequence[RunRef]) -> bool:
    """Whether a renewal of these runs writes their `last_update`."""
    return not isinstance(refs, Chunk) or refs.stamps


class _Sheaf:
    """Runs with the same time of renewal, at most `RENEW_CHUNK`."""

    __slots__ = ("chunk", "refs", "sent_at", "unstamped")

    def __init__(self, sent_at: float) -> None:
        self.sent_at = sent_at
        self.refs: dict[str, RunRef] = {}
        self.chunk: Chunk | None = None  # cached as long as the runs do not change
        self.unstamped = 0  # renewals since `last_update` was written, which a claim does, too

    def as_chunk(self) -> Chunk:
        """The runs as a chunk; the same object until they change."""
        if self.chunk is None:
            self.chunk = Chunk(self.refs.values())
        self.chunk.stamps = self.unstamped >= STAMP_EVERY - 1
        return self.chunk


class LeaseBook:
    """The runs of one worker, oldest renewal first.

    Times are the *send* times of calls: Redis applied them at that time or later, so a deadline counted from
    them is never too late.
    """

    def __init__(self) -> None:
        self._where: dict[str, _Sheaf] = {}
        self._sheaves: OrderedDict[_Sheaf, None] = OrderedDict()  # oldest first, none empty
        self._last = _Sheaf(-math.inf)  # where the last run was added

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, run: str) -> bool:
        return run in self._where

    def add(self, ref: RunRef, sent_at: float) -> None:
        """Add a run that was claimed by a call sent at `sent_at`."""
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
        """Remove a run that is over; unknown ones are ignored."""
        sheaf = self._where.pop(run, None)
        if sheaf is None:
            return
        del sheaf.refs[run]
        sheaf.chunk = None
        if not sheaf.refs:
            del self._sheaves[sheaf]

    def renewed(self, refs: Sequence[RunRef], sent_at: float) -> None:
        """Record an acknowledged renewal; runs that ended meanwhile stay removed."""
        first = self._where.get(refs[0].run) if refs else None
        if first is not None and first.chunk is refs and sent_at >= first.sent_at:
            first.sent_at = sent_at
            first.unstamped = 0 if stamps(refs) else first.unstamped + 1
            del self._sheaves[first]
            self._insert(first)
        else:
            # Others joined or left meanwhile.  How long ago these were stamped is in no sheaf: the next
            # renewal does it.
            there = [ref for ref in refs if ref.run in self._where]
            self._place(there, sent_at, 0 if stamps(refs) else STAMP_EVERY - 1)

    def _place(self, refs: Iterable[RunRef], sent_at: float, unstamped: int = 0) -> None:
        """Record a late answer, unless a newer call was acknowledged meanwhile."""
        later = [ref for ref in refs if self._where[ref.run].sent_at < sent_at]
        for ref in later:
            self.remove(ref.run)
        for at in range(0, len(later), RENEW_CHUNK):
            sheaf = _Sheaf(sent_at)
            sheaf.refs = {ref.run: ref for ref in later[at : at + RENEW_CHUNK]}
            sheaf.unstamped = unstamped
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
        """Up to `limit` runs last renewed at `before` or earlier, oldest first."""
        taken: list[_Sheaf] = []
        count = 0
        for sheaf in self._sheaves:
            if sheaf.sent_at > before or count >= ENOUGH * limit:
                break
            taken.append(sheaf)
            count += len(sheaf.refs)
        if len(taken) == 1 and count <= limit:
            return taken[0].as_chunk()
        # Runs that are acknowledged together are merged into one.
        return list(islice(chain.from_iterable(sheaf.refs.values() for sheaf in taken), limit))

    def sent_at(self, run: str) -> float | None:
        """When this run was last renewed; None if it is unknown."""
        sheaf = self._where.get(run)
        return None if sheaf is None else sheaf.sent_at

    def oldest(self) -> float | None:
        """The oldest renewal time; None without runs."""
        for sheaf in self._sheaves:
            return sheaf.sent_at
        return None


@attrs.define
class Lease:
    """What a worker may do, depending on the send times of its last renewals."""

    timing: Timing
    living: LeaseBook = attrs.Factory(LeaseBook)  # runs whose code may still execute
    disowned: LeaseBook = attrs.Factory(LeaseBook)  # such runs that Redis no longer knows
    settling: LeaseBook = attrs.Factory(LeaseBook)  # dead runs whose end is not yet acknowledged
    last_ok: float = -math.inf  # send time of the last acknowledged call, with or without runs
    embargo_until: float = -math.inf  # no claims before this, after a suspected failover
    embargo: bool | None = None  # after a change of server: True always, False never, None if unsafe
    known: Incarnation | None = None  # as the last renewal saw it
    generation: int = 0  # incremented when the server or the data changed: earlier observations are void
    lost_at: float = -math.inf  # when a loss of data was last detected

    def acknowledged(self, refs: Sequence[RunRef], sent_at: float) -> None:
        """Record an acknowledged renewal of `refs` (which may be empty)."""
        self.last_ok = max(self.last_ok, sent_at)
        self.living.renewed(refs, sent_at)
        if self.settling:
            self.settling.renewed(refs, sent_at)

    def disown(self, refs: Iterable[RunRef]) -> None:
        """Redis no longer knows these runs: they are stopped and not renewed.

        Another worker may start them soon, so their deadline continues from their last renewal until they are
        dead; the answer that disowned them does not count as a renewal.
        """
        for ref in refs:
            sent_at = self.living.sent_at(ref.run)
            if sent_at is not None:
                self.living.remove(ref.run)
                self.disowned.add(ref, sent_at)

    def over(self, run: str) -> None:
        """The code of this run has ended."""
        self.living.remove(run)
        self.disowned.remove(run)

    @property
    def server(self) -> str:
        """The server that this worker knows; claims are valid on no other; "" if it is unknown."""
        return "" if self.known is None else self.known.server

    def observe(self, seen: Incarnation, now: float) -> News:
        """Record what a renewal saw of the server and its data; may pause claims."""
        timing = self.timing
        news = compare(
            self.known, seen, embargo=timing.embargo, reassert=timing.reassert, always=self.embargo
        )
        self.known = merged(self.known, seen)
        self.generation += news.failover or news.data_lost
        if news.pause:
            self.embargo_until = max(self.embargo_until, now + news.pause)
        if news.data_lost:
            self.lost_at = now
        return news

    def may_adopt(self, now: float) -> bool:
        """Whether lost runs may be restored: only while no worker claims."""
        return now < self.embargo_until

    def lost_with_data(self, started: float, now: float) -> bool:
        """Whether a run that began at `started`, and is found gone now, was lost with all data."""
        return started < self.lost_at and now - self.lost_at <= self.timing.claim_gate

    def may_claim(self, now: float) -> bool:
        """The claim gate: a worker whose renewals are not acknowledged must not claim tasks."""
        return now - self.last_ok < self.timing.claim_gate and now >= self.embargo_until

    def claim_holds(self, sent_at: float, now: float) -> bool:
        """Whether the answer to a claim sent at `sent_at` may still be used."""
        return now - sent_at < self.timing.claim_gate

    def lost(self, now: float) -> bool:
        """Whether a run was unacknowledged for longer than the lease: all runs must stop."""
        oldest = self.living.oldest()
        return oldest is not None and now - oldest > self.timing.lease

    def nap(self, now: float) -> float:
        """Seconds until the deadline is checked again: often if it is near, at most half a heartbeat.

        Not longer, because a claim whose answer came late may be older than all known runs (half of the lease
        is left).
        """
        oldest = self.living.oldest()
        left = math.inf if oldest is None else self.timing.lease - (now - oldest)
        return min(max(self.timing.watch, left / 2), self.timing.heartbeat / 2)

    def kill_in(self, now: float) -> float | None:
        """Seconds until the kernel must end the process; None without living runs."""
        sent = [at for at in (self.living.oldest(), self.disowned.oldest()) if at is not None]
        return max(0.001, self.timing.kill - (now - min(sent))) if sent else None

    def due(self, now: float, limit: int = RENEW_CHUNK) -> list[RunRef]:
        """The next chunk to renew, up to one tick early."""
        before = now - self.timing.heartbeat + self.timing.tick
        chunk = self.living.due(before, limit)
        if not self.settling or now - self.last_ok > self.timing.lease:
            # Without acknowledged calls the ends may not reach Redis either.  Renewing dead runs would then
            # prevent every monitor from requeuing them.
            return chunk
        return [*chunk, *self.settling.due(before, limit - len(chunk))]

    def rest(self, now: float) -> float:
        """Seconds until the next renewal is due: from one tick to half a heartbeat.

        Not longer, because a claim whose answer came late may be older than all known runs.
        """
        timing = self.timing
        sent = [self.last_ok, self.living.oldest(), self.settling.oldest()]
        due = min(at for at in sent if at is not None) + timing.heartbeat - timing.tick
        return min(max(timing.tick, due - now), timing.heartbeat / 2)
