"""The numbers of the protocol, and the decisions that follow from them, as functions of `now`.

`now` is always a reading of the caller's own steady clock in seconds; no two clocks are compared.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import IntEnum

import attrs

from pytask.domain.errors import ConfigError
from pytask.domain.incarnation import News, compare, merged
from pytask.domain.leases import RENEW_CHUNK, LeaseBook
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Expiry, Incarnation, RunRef, Suspect

CLOCK_RATE_ERROR = 0.05  # how far two clocks' rates may differ
MOMENT = 0.001  # seconds after T at which a monitor looks again
CRASH_LIMIT = 3  # in a row; one more, and the task is poison
CRASH_YOUNG = 60.0  # seconds: only a younger run is blamed for its worker's death; an older one ends the row
QUARANTINE_FROM = 2  # crashes: such a task is taken one at a time; the first crash may be a bystander's
CRASH_CROWD = 3  # ... and only if the dead worker had no more young runs than this
CLAIM_BATCH = 256  # ids a claim
COMMIT_BATCH = 256  # changes a commit
COMMIT_BYTES = 4 * 1024 * 1024  # about, of events and outputs in a commit


@attrs.frozen(kw_only=True)
class Timing:
    """The times of the protocol, in seconds.  Checked against each other when built."""

    heartbeat: float = 5.0  # H: each run is renewed this often
    call_timeout: float = 3.0  # C: hard cap of one call to Redis
    lease: float = 60.0  # D: without an acknowledged renewal for this long, all runs stop
    grace: float = 10.0  # G: how long stopping a run may take
    expiry: float = 90.0  # T: a lease unchanged for this long, as one monitor saw it, is dead
    sweep: float = 10.0  # I: the monitor's period
    claim_gate: float = 30.0  # F: no claim when the last renewal is older
    embargo: float = 80.0  # E: no claim for this long after a suspected failover
    shutdown: float = 25.0  # SIGTERM: all runs handed back by then
    scale: float = 1.0  # what `scaled` multiplied by; the margins below follow it

    def __attrs_post_init__(self) -> None:
        """Refuse times under which two runs of a task could overlap."""
        rate = CLOCK_RATE_ERROR
        times = attrs.astuple(self)
        self._require(all(math.isfinite(t) and t > 0 for t in times), "each must be a positive number")
        self._require(
            self.expiry * (1 - rate) > (self.lease + self.grace) * (1 + rate) + 5 * self.scale,
            f"expiry ({self.expiry:g} s) must outlast lease + grace ({self.lease + self.grace:g} s) with a"
            " 5 % clock error and 5 s to spare, or a task is handed on while it still runs",
        )
        self._require(
            self.heartbeat + 2 * self.call_timeout < self.lease / 4,
            "heartbeat + 2 x call_timeout must be under a quarter of the lease",
        )
        self._require(self.claim_gate <= self.lease / 2, "claim_gate must be at most half the lease")
        self._require(
            self.embargo >= self.lease + self.grace + self.heartbeat,
            "embargo must cover lease + grace + heartbeat",
        )
        self._require(self.grace >= 2 * self.scale, "grace must be at least 2 s")

    @staticmethod
    def _require(holds: bool, why: str) -> None:
        if not holds:
            raise ConfigError(f"times that cannot be kept: {why}")

    def scaled(self, factor: float) -> Timing:
        """All times multiplied alike, for tests: 0.1 gives D=6, G=1, T=9, H=0.5."""
        values = attrs.asdict(self)
        return Timing(**{name: value * factor for name, value in values.items()})

    @property
    def kill(self) -> float:
        """K: the kernel ends the process this long after its last acknowledged renewal was sent."""
        return self.lease + self.grace

    @property
    def tick(self) -> float:
        """So early a renewal is rather than late; so often, at most, the heartbeat looks for due ones."""
        return self.heartbeat / 10

    @property
    def reassert(self) -> float:
        """No claims for this long after any change of server: each owner renews once meanwhile."""
        return 2 * self.heartbeat

    @property
    def block(self) -> float:
        """One blocking wait for the queue: as long as it may be, since an idle worker does little else."""
        return self.call_timeout * 2 / 3

    @property
    def watch(self) -> float:
        """How often the deadline is looked at, when it is near."""
        return self.lease / 240


class Wish(IntEnum):
    """Why a run is being stopped; of two, the larger wins."""

    MOVE = 1  # another worker has more room: WAIT, for any worker; nothing depends on it
    RELOAD = 2  # run again in place, with the data now in the hash
    HAND_BACK = 3  # the worker leaves, or lost Redis: WAIT, for any worker
    STOP = 4  # the operator's word: STOPPED
    FORGET = 5  # the hash is gone: clear the registry, write nothing else
    FENCED = 6  # a newer run owns the id: write nothing


def outweighs(new: Wish, current: Wish | None) -> bool:
    """Whether `new` replaces the wish that a run already has."""
    return current is None or new > current


def closing(wish: Wish | None, failed: bool) -> Trigger | None:
    """The trigger that a dead run is settled with; None where nothing may be written, or for RELOAD."""
    if wish is None:
        return Trigger.FAIL if failed else Trigger.END
    if wish is Wish.STOP:
        return Trigger.STOP
    return Trigger.RELEASE if wish in (Wish.MOVE, Wish.HAND_BACK, Wish.FORGET) else None


class Starts:
    """The `start` messages that one subscription heard lately, by task: tells stale stops from fresh ones.

    Every worker hears every message, in one order for all, but each at its own pace.  When a stop is
    carried out and Redis knows of a start that this worker has not heard yet, that start stands behind the
    stop in its stream: others are further, and the stop has been obeyed.  Carried out once more, it would
    undo the start.
    """

    def __init__(self, slack: float, limit: int = 10_000) -> None:
        self.slack = slack  # seconds that another worker may take to carry out what it heard
        self._limit = limit
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._since = math.inf

    def listen(self, now: float) -> None:
        """A new subscription: what was published before is not known."""
        self._heard.clear()
        self._since = now

    def heard(self, task_id: str, now: float) -> None:
        """A start was heard."""
        self._heard[task_id] = now
        self._heard.move_to_end(task_id)
        if len(self._heard) > self._limit:
            self._since = max(self._since, self._heard.popitem(last=False)[1])

    def unheard(self, task_id: str, now: float) -> float:
        """Seconds: a start that Redis recorded within them is one that was not heard here so far."""
        return max(0.0, now - self._heard.get(task_id, self._since) - self.slack)


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


def crash_pause(crashes: int, expiry: float) -> float:
    """Seconds to wait before a run that is blamed after `crashes` earlier crashes is handed on: 0, T, 5T.

    Beyond that it is poison, and there is nothing to wait for.
    """
    return {1: expiry, 2: 5 * expiry}.get(crashes, 0.0)


class Crowd:
    """The runs of one dead worker, and which of them its death counts against.

    Evidence is a run that was young when its worker died, and one of few such runs: with hundreds of tasks
    in one process a poison task would otherwise take its neighbours to ERROR with it.  A worker that dies
    under a run of some age says nothing about that run, even if it was alone: most such deaths are an
    operator's, the kernel's or the machine's.  What was seen of the dead worker's other runs therefore
    decides nothing about a long-lived one.
    """

    def __init__(self, suspects: Iterable[Suspect], scale: float = 1.0) -> None:
        self._young = CRASH_YOUNG * scale
        self._few = sum(one.age < self._young for one in suspects) <= CRASH_CROWD

    def blames(self, suspect: Suspect) -> bool:
        """Whether the death of its worker is counted against this run."""
        return self._few and suspect.dated and suspect.age < self._young

    def pause(self, suspect: Suspect, expiry: float) -> float:
        """Seconds that this run waits beyond T: only one that is blamed again does."""
        return crash_pause(suspect.crashes, expiry) if self.blames(suspect) else 0.0

    def judge(self, suspect: Suspect) -> Expiry:
        """The E7 for a dead run.  Crashes count in a row: a run that lived for a while ends the row."""
        before = 0 if suspect.age >= self._young else suspect.crashes
        crashes = before + self.blames(suspect)
        return Expiry(
            id=suspect.id,
            run=suspect.run,
            seen=suspect.lease,
            crashes=crashes,
            poison=crashes > CRASH_LIMIT,
        )


def bury(suspects: Iterable[Suspect], expiry: float, scale: float = 1.0) -> tuple[list[Expiry], int]:
    """The E7s for the runs of a process that is known to be dead, and how many are left to the monitor.

    Those that are blamed again wait for the pause of their crashes, which the monitor counts.
    """
    by_session: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        by_session.setdefault(suspect.session, []).append(suspect)
    now: list[Expiry] = []
    left = 0
    for runs in by_session.values():
        crowd = Crowd(runs, scale)
        due = [suspect for suspect in runs if not crowd.pause(suspect, expiry)]
        now += [crowd.judge(suspect) for suspect in due]
        left += len(runs) - len(due)
    return now, left


class Watch:
    """The memory of one monitor: which lease values it has itself seen unchanged, and since when.

    The Kubernetes rule: only the watcher's own clock is used, so no clock step anywhere can make a
    living run look dead.
    """

    def __init__(self, expiry: float, scale: float = 1.0) -> None:
        self.expiry = expiry
        self.scale = scale
        self._seen: dict[str, tuple[str, int, float]] = {}
        self._due = math.inf
        self._crowds: dict[str, dict[str, Suspect]] = {}  # by session, those handed on already as well

    def __len__(self) -> int:
        return len(self._seen)

    def forget(self) -> None:
        """Redis was away: what was seen before proves nothing."""
        self._seen.clear()
        self._crowds.clear()
        self._due = math.inf

    def wait(self, now: float, sweep: float) -> float:
        """Seconds until the next sweep: I, or less where a run will have been watched for T before that.

        T is a multiple of I: by a hair's breadth it would not be over at the ninth sweep, and a whole I
        would come on top.  Those first seen in one sweep are due at one time, so a death costs one more.
        """
        return min(sweep, max(self._due - now + MOMENT, sweep / 20))

    def observe(self, suspects: Sequence[Suspect], now: float) -> list[Expiry]:
        """One sweep: remember, and name those unchanged for T (more for those that are blamed again)."""
        before, crowds = self._seen, self._crowds
        self._seen, self._crowds = {}, {}
        for suspect in suspects:
            run, lease, since = before.get(suspect.id, ("", 0, now))
            if (run, lease) != (suspect.run, suspect.lease):
                since = now
            self._seen[suspect.id] = (suspect.run, suspect.lease, since)
            # Renewals are spread over time, so the dead of one worker are handed on in several sweeps:
            # the last of them were no fewer when it died.
            crowd = self._crowds.setdefault(suspect.session, crowds.get(suspect.session, {}))
            crowd[suspect.id] = suspect
        died = {session: Crowd(crowd.values(), self.scale) for session, crowd in self._crowds.items()}
        dead: list[Expiry] = []
        self._due = math.inf
        for suspect in suspects:
            crowd_of = died[suspect.session]
            due = self._seen[suspect.id][2] + self.expiry + crowd_of.pause(suspect, self.expiry)
            if now > due:
                dead.append(crowd_of.judge(suspect))
            else:
                self._due = min(self._due, due)
        return dead
