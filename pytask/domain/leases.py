"""Which runs a worker must renew, when each was last renewed, and what it may do by that.

Runs that were renewed together stay together: nothing is done per run while a worker's runs do not
change, so that a hundred thousand of them cost a few hundred steps a round.
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


@attrs.define
class Lease:
    """What a worker may do, given when its last renewals were sent."""

    timing: Timing
    living: LeaseBook = attrs.Factory(LeaseBook)  # runs whose code may still act
    disowned: LeaseBook = attrs.Factory(LeaseBook)  # such runs that Redis does not know any more
    settling: LeaseBook = attrs.Factory(LeaseBook)  # dead runs whose end is not acknowledged yet
    last_ok: float = -math.inf  # send time of the last acknowledged call, with or without runs
    embargo_until: float = -math.inf  # no claims before this, after a suspected failover
    embargo: bool | None = None  # True after every change of server, False never, None after unsafe ones
    known: Incarnation | None = None  # as the last renewal saw it
    generation: int = 0  # grows when the server or the data changed: what was seen before proves nothing
    lost_at: float = -math.inf  # when the data was last found to be another

    def acknowledged(self, refs: Sequence[RunRef], sent_at: float) -> None:
        """A renewal of `refs` (or of nothing: a sign of life from Redis) was answered."""
        self.last_ok = max(self.last_ok, sent_at)
        self.living.renewed(refs, sent_at)
        if self.settling:
            self.settling.renewed(refs, sent_at)

    def disown(self, refs: Iterable[RunRef]) -> None:
        """Redis knows these runs no more: they are stopped, and are not renewed.

        Somebody else may soon begin them, so that their deadline counts on from their last renewal until they
        are dead; the answer that said so is none.
        """
        for ref in refs:
            sent_at = self.living.sent_at(ref.run)
            if sent_at is not None:
                self.living.remove(ref.run)
                self.disowned.add(ref, sent_at)

    def over(self, run: str) -> None:
        """The code of this run acts no more."""
        self.living.remove(run)
        self.disowned.remove(run)

    @property
    def server(self) -> str:
        """The server this worker knows of; no other may take its claims.  "" where servers are not told."""
        return "" if self.known is None else self.known.server

    def observe(self, seen: Incarnation, now: float) -> News:
        """What a renewal saw of the server and its data; claims wait where that asks for it."""
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
        """E12 is for the time in which nobody claims: afterwards what Redis says stands."""
        return now < self.embargo_until

    def lost_with_data(self, started: float, now: float) -> bool:
        """Whether a run that began at `started`, and is found gone now, went with all the data."""
        return started < self.lost_at and now - self.lost_at <= self.timing.claim_gate

    def may_claim(self, now: float) -> bool:
        """The claim gate F: a worker that Redis cannot hear must not take tasks."""
        return now - self.last_ok < self.timing.claim_gate and now >= self.embargo_until

    def claim_holds(self, sent_at: float, now: float) -> bool:
        """Whether the answer to a claim sent at `sent_at` may still be used."""
        return now - sent_at < self.timing.claim_gate

    def lost(self, now: float) -> bool:
        """Some run went unacknowledged for longer than D: stop them all."""
        oldest = self.living.oldest()
        return oldest is not None and now - oldest > self.timing.lease

    def nap(self, now: float) -> float:
        """Seconds until the deadline is looked at again: often when it is near, at the most half a heartbeat.

        No longer, as a claim whose answer came late is older than what is here already (half of D is left).
        """
        oldest = self.living.oldest()
        left = math.inf if oldest is None else self.timing.lease - (now - oldest)
        return min(max(self.timing.watch, left / 2), self.timing.heartbeat / 2)

    def kill_in(self, now: float) -> float | None:
        """Seconds until the kernel must end the process; None while no run lives."""
        sent = [at for at in (self.living.oldest(), self.disowned.oldest()) if at is not None]
        return max(0.001, self.timing.kill - (now - min(sent))) if sent else None

    def due(self, now: float, limit: int = RENEW_CHUNK) -> list[RunRef]:
        """The next chunk to renew: a tick early rather than late."""
        before = now - self.timing.heartbeat + self.timing.tick
        chunk = self.living.due(before, limit)
        if not self.settling or now - self.last_ok > self.timing.lease:
            # Nobody hears us, or we hear nobody: then the ends may not come through either, and to renew
            # dead runs all the same would keep every monitor from handing them on, for ever.
            return chunk
        return [*chunk, *self.settling.due(before, limit - len(chunk))]

    def rest(self, now: float) -> float:
        """Seconds until a renewal is due, when none is: from a tick to half a heartbeat.

        No longer, as a claim whose answer came late is older than what is here already.
        """
        timing = self.timing
        sent = [self.last_ok, self.living.oldest(), self.settling.oldest()]
        due = min(at for at in sent if at is not None) + timing.heartbeat - timing.tick
        return min(max(timing.tick, due - now), timing.heartbeat / 2)
