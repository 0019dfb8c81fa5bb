"""Wrong variants of pytask, which the simulation must catch; each undoes one rule of the protocol.

A mutant patches the domain, the twin or the runtime for as long as its worlds run.  The faults that its rule
is there for are drawn more often in these worlds.
"""

from __future__ import annotations

import contextlib
from unittest.mock import patch

import attrs
import gevent

from pytask.adapters.memory.state import MemoryState, number, text
from pytask.adapters.memory.store import MemoryStore
from pytask.domain import crashes
from pytask.domain.crashes import Crowd, Watch
from pytask.domain.incarnation import News
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, RunRef
from pytask.domain.timing import Timing
from pytask.runtime.partition_worker import Session
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.outcome import HANDED_BACK
from pytask.runtime.services.claims import Claims
from pytask.runtime.services.consumer import Consumer
from pytask.testing.worker_process import Alarm
from tests.simulation.behind_mutants import BEHIND_MUTANTS
from tests.simulation.policy_mutants import POLICY_MUTANTS
from tests.simulation.steering_mutants import STEERING_MUTANTS, TURNS
from tests.simulation.tail_mutants import TAIL_MUTANTS


@attrs.frozen(kw_only=True)
class Mutant:
    """What is wrong, and the worlds in which it shows."""

    what: str
    patches: tuple
    seed: int = 0  # of a world in which it shows; where it no longer does, those after it are searched
    faults: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    aim: tuple[str, ...] = ()
    place: str | None = None
    tasks: int | None = None
    longest: float = 600.0
    stubborn: float | None = None
    stopping: float | None = None
    timing: Timing = attrs.Factory(Timing)
    policies: bool = False  # whether its worlds have delayed and flapping tasks and schedules
    failovers: bool = False  # whether its workers have different ones
    steering: bool = False  # ... and tasks that save, pause, reload and share groups
    turns: bool = False  # ... and such as clients start in groups, and remove


def options(name, base):
    """The world's options in which this mutant is looked for."""
    mutant = MUTANTS[name]
    return attrs.evolve(
        base,
        mutant=name,
        include=mutant.faults,
        exclude=mutant.without,
        tasks=mutant.tasks,
        longest=mutant.longest,
        aim=mutant.aim,
        place=mutant.place,
        stubborn=mutant.stubborn,
        stopping=mutant.stopping,
        timing=mutant.timing,
        policies=mutant.policies,
        steering=mutant.steering,
        failovers=mutant.failovers,
        turns=mutant.turns,
    )


@contextlib.contextmanager
def applied(name):
    """Run with a mutant in place; None is pytask as it is."""
    with contextlib.ExitStack() as stack:
        for target, attribute, value in MUTANTS[name].patches if name is not None else ():
            stack.enter_context(patch.object(target, attribute, value))
        yield


def _clock():
    return gevent.get_hub().loop.life.clock()


# -- the monitor compares clocks ----------------------------------------------------------------------

_suspects = MemoryStore.suspects


def _by_time(expiry):
    def suspects(self, older, ahead, limit=100_000):
        return _suspects(self, expiry, 1e12, limit)

    def observe(self, found, now):
        return [Crowd([suspect], self.scale).judge(suspect) for suspect in found]

    return (MemoryStore, "suspects", suspects), (Watch, "observe", observe)


# -- a lease for the session --------------------------------------------------------------------------

_renew = MemoryStore.renew


def _renew_session(self, refs):
    answer = _renew(self, refs)
    sessions = {ref.run.rpartition(":")[0] for ref in refs}
    for task_id, run in self._state.runs.items():
        if run.rpartition(":")[0] in sessions:
            self._state.leases[task_id] = self._state.micros()
    return answer


def _one_session(self):
    if not hasattr(self, "id"):
        _new_session(self)


_new_session = Session.renew
SESSION = ((MemoryStore, "renew", _renew_session), (Session, "renew", _one_session))


_claim = Claims.claim


def _claim_without_retry(self, ids, source, sent_at):
    class Once(Lease):
        def claim_holds(self, sent_at, now):
            return False

    lease, self._lease = self._lease, Once(self._lease.timing)
    try:
        return _claim(self, ids, source, sent_at)
    finally:
        self._lease = lease


NO_DOUBT = (Committer, "unconfirmed", lambda self, refs, trigger=Trigger.RELEASE, **_: None)
NO_RETRY = ((Claims, "claim", _claim_without_retry), NO_DOUBT)


# -- deadlines ----------------------------------------------------------------------------------------


def _no_alarm(self, seconds):
    self.armed = seconds is not None


def _soft(self, process):
    self.hard = False
    self.armed = True
    self._process = process


NO_TIMER = ((Alarm, "arm", _no_alarm),)
_acknowledged = Lease.acknowledged
_launch = Executor.launch


def _acknowledged_now(self, refs, sent_at):
    _acknowledged(self, refs, _clock())


def _launch_now(self, claim, sent_at, **how):
    _launch(self, claim, _clock(), **how)


FROM_THE_ACK = (
    (Lease, "acknowledged", _acknowledged_now),
    (Executor, "launch", _launch_now),
    (Lease, "claim_holds", lambda self, sent_at, now: True),
    (Consumer, "_shut", lambda self: False),
)


def _ancestor():
    timing = Timing()
    object.__setattr__(timing, "expiry", timing.lease)
    return timing


# -- failover -----------------------------------------------------------------------------------------


def _nothing_new(self, seen, now):
    self.known = seen
    return News()


NO_EMBARGO = (
    (Lease, "observe", _nothing_new),
    (Lease, "server", property(lambda self: "")),
)


def _short_embargo():
    timing = Timing()
    object.__setattr__(timing, "embargo", 12.0)
    return timing


_look = MemoryStore._look


def _ends_the_wait(self):
    marker = self._state.incarnation
    if marker and marker["safe"] and marker["server"] != self._state.server:
        marker["since"] = 0
    return _look(self)


# -- workers with different failovers -----------------------------------------------------------------

_for_failover = Timing.for_failover


def _all_scaled(seconds):
    timing = _for_failover(seconds)
    return attrs.evolve(timing, embargo=timing.embargo * timing.lease / Timing().lease)


OWN_EXPIRY = (
    (crashes, "expiry_of", lambda session, longest, scale: longest),
    (Timing, "longest_expiry", property(lambda self: self.expiry)),
)


# -- fences in the hash -------------------------------------------------------------------------------

_verdict = MemoryStore._verdict


def _verdict_by_hash(self, ref, request, waits, taken, places):
    fields = self._state.fields(ref.id)
    if fields and text(fields, "run") is None:
        self._state.unregister(ref.id)
    return _verdict(self, ref, request, waits, taken, places)


HASH_FENCE = ((MemoryStore, "_verdict", _verdict_by_hash),)
_run = MemoryState.run
_commit = MemoryStore._commit
_renew_one = MemoryStore._renew
_fences = {}


def _run_numbered(self, task_id, run, worker, **changes):
    epoch = _run(self, task_id, run, worker, **changes)
    _fences[task_id, run] = worker, epoch
    return epoch


def _same(self, ref):
    """The run that the hash names, where this one has the same worker and epoch."""
    current = text(self._state.fields(ref.id), "run")
    mine = _fences.get((ref.id, ref.run))
    return current if current and mine and _fences.get((ref.id, current)) == mine else ref.run


def _commit_numbered(self, change):
    return _commit(self, attrs.evolve(change, run=_same(self, change)))


def _renew_numbered(self, ref, held, save, **how):
    return _renew_one(self, RunRef(ref.id, _same(self, ref)), held, save, **how)


NUMBERED = (
    *HASH_FENCE,
    (MemoryState, "next_epoch", lambda self, task_id: number(self.fields(task_id), "epoch") + 1),
    (MemoryState, "run", _run_numbered),
    (MemoryStore, "_commit", _commit_numbered),
    (MemoryStore, "_renew", _renew_numbered),
)


def _launch_beside(self, claim, sent_at, **how):
    older = self.living.pop(claim.id, None)
    _launch(self, claim, sent_at, **how)
    if older is not None:
        self.living.setdefault(claim.id, older)


# -- the order at the end -----------------------------------------------------------------------------

_hand_back_all = Executor.hand_back_all


def _requeue_first(self):
    if self.leaving:
        for run in self.living.values():
            if run.stop_reason is None:
                self.committer.put(Change(run.ref.id, run.ref.run, HANDED_BACK, Trigger.RELEASE))
    return _hand_back_all(self)


MUTANTS = {
    "time_and_session": Mutant(
        what="TIME lease, session scope, no kernel timer, non-idempotent claim, fence in the hash",
        patches=(*_by_time(90.0), *SESSION, *NO_RETRY, *NO_TIMER, *HASH_FENCE),
        faults=("time_step", "lost_replies", "sigstop", "recreate"),
    ),
    "expiry_by_time": Mutant(
        what="expiry by Redis TIME", patches=_by_time(90.0), faults=("time_step",), seed=3,
    ),
    "session_renewal": Mutant(
        what="renewal of a session, not of runs; a claim is repeated, but not released",
        patches=(*SESSION, NO_DOUBT), faults=("cut",), aim=("claim",), tasks=4,
        without=("kill", "sigstop", "hog", "sigterm", "flush", "recreate"),
        seed=16,
    ),
    "session_unrepeated": Mutant(
        what="renewal of a session, and a claim that is not repeated",
        patches=(*SESSION, *NO_RETRY), faults=("lost_replies", "deaf"),
        seed=54,
    ),
    "no_timer": Mutant(what="no kernel timer", patches=NO_TIMER, faults=("sigstop", "hog")),
    "no_timer_stubborn": Mutant(
        what="no kernel timer, stubborn tasks", patches=(*NO_TIMER, (Alarm, "__init__", _soft)),
        faults=("cut",), stubborn=0.5,
    ),
    "deadline_from_answer": Mutant(
        what="deadline counted from the answer, and late answers used", patches=FROM_THE_ACK,
        # Where a monitor lives, the timer is armed already: it shows on an idle worker without one, which
        # is stopped in a claim.  Short tasks, pushed again and again, make claims of idle workers.
        faults=("sigstop", "duplicates"), aim=("claim",), place="w2", tasks=6, longest=25.0,
        without=("hog", "kill", "sigterm", "cut", "down", "frozen", "read_only", "full", "flush", "failover",
                 "switch", "deaf", "lost_requests", "lost_replies"),
        seed=17,
    ),
    "no_timer_slow": Mutant(
        what="no kernel timer on a slow link", patches=NO_TIMER, faults=("slow", "sigstop"),
    ),
    "equal_times": Mutant(
        what="the ancestor's times: T = D = 60 s, by Redis TIME", patches=_by_time(60.0),
        faults=("cut",), without=("time_step",), stopping=1.0, timing=_ancestor(),
        seed=3,
    ),
    "no_embargo": Mutant(
        what="no embargo after a failover, and nothing put back", patches=NO_EMBARGO, faults=("failover",),
        seed=46,
    ),
    "embargo_of_12_s": Mutant(
        what="an embargo of 12 s, which an owner that is cut off outlasts", patches=(),
        faults=("failover", "cut"), timing=_short_embargo(),
        seed=232,
    ),
    "safe_ends_wait": Mutant(
        what="a safe change of server ends the pause after an unsafe one",
        patches=((MemoryStore, "_look", _ends_the_wait),),
        # Claims are to be lost, so few failovers and many tasks; and others that start within the pause.
        faults=("cut", "kill", "sigterm"), tasks=80, longest=60.0, seed=29101,
        without=("hog", "sigstop", "flush", "recreate", "down", "frozen", "full", "read_only", "slow", "deaf",
                 "switch", "lost_requests", "lost_replies", "mute_feed", "lost_runs", "lost_leases",
                 "time_step"),
    ),
    "own_expiry": Mutant(
        what="a monitor judges all runs by its own expiry", patches=OWN_EXPIRY,
        faults=("sigstop", "cut", "deaf"), failovers=True, seed=24,
    ),
    "short_embargo": Mutant(
        what="a worker with a shorter failover has a shorter embargo",
        patches=((Timing, "for_failover", staticmethod(_all_scaled)),),
        faults=("failover", "cut", "deaf"), failovers=True, policies=True, tasks=30, longest=60.0,
        without=("kill", "sigterm", "hog", "sigstop", "flush", "recreate", "down", "frozen", "full",
                 "read_only"),
        seed=11,
    ),
    "fence_in_hash": Mutant(what="fence in the hash only", patches=HASH_FENCE, faults=("recreate",)),
    "fence_of_worker": Mutant(
        what="fence of worker and epoch in the hash",
        patches=(*NUMBERED, (Executor, "launch", _launch_beside)), faults=("recreate",),
    ),
    "fence_and_mutex": Mutant(
        what="fence of worker and epoch in the hash, and a local mutex", patches=NUMBERED,
        faults=("recreate",),
    ),
    "requeue_first": Mutant(
        what="requeue before stop at SIGTERM", patches=((Executor, "hand_back_all", _requeue_first),),
        faults=("sigterm",), stopping=0.5,
    ),
}  # fmt: skip
SEEDS = {  # of worlds in which those of the policies show
    "due_drops": 5, "start_leaves_timer": 2, "stop_leaves_timer": 9, "claim_leaves_timer": 4,
    "retry_unfenced": 10, "claim_keeps_time": 32,
    "retry_despite_stop": 31, "never_healthy": 1, "one_more": 4, "no_window": 17, "deaths_count": 3,
    "start_keeps_count": 1, "fire_unchecked": 1, "late_unrecorded": 2, "fires_all": 5, "however_late": 303,
    "occurrence_forgotten": 1, "overlap_unrecorded": 1, "overlap_ignored": 1, "next_from_now": 1,
}  # fmt: skip
MUTANTS |= {
    name: Mutant(what=what, patches=patches, seed=SEEDS.get(name, 0), policies=True)
    for name, (what, patches) in POLICY_MUTANTS.items()
}
STEERING_SEEDS = {  # of worlds in which those of saves, pauses, reloads and limits show
    "rolls_back_nothing": 3, "save_ends_with_run": 3, "claim_of_paused": 21, "unchecked": 3,
    "pause_ends_with_run": 5, "leads_nobody": 3, "rm_leaves_line": 4,
    "never_rolls_back": 3, "save_outlives_end": 3, "nobody_woken": 1, "no_rate": 11,
    "slot_ends_with_reload": 52, "claim_of_function": 14, "limit_of_class": 2, "trial_without_end": 2,
    "slot_ends_with_stop": 18, "reload_of_paused": 15, "stop_leaves_line": 11, "no_turns": 11,
}  # fmt: skip
MUTANTS |= {
    name: Mutant(
        what=what,
        patches=patches,
        seed=STEERING_SEEDS.get(name, 0),
        steering=True,
        tasks=4,
        longest=60.0,
        turns=name in TURNS,
    )
    for name, (what, patches) in STEERING_MUTANTS.items()
}
TAIL_SEEDS = {  # of worlds in which those of claims of the tail show
    "tail_any_age": 105, "tail_claims_again": 119, "tail_unasked": 57, "tail_same_numbers": 145,
    "tail_late_answer": 17, "tail_unrecorded": 2, "tail_recorded_once": 2,
}  # fmt: skip
UNANSWERED = Mutant(
    what="", patches=(), faults=("lost_replies", "lost_requests", "deaf"), aim=("claim",), longest=60.0
)
MUTANTS |= {
    name: attrs.evolve(
        MUTANTS["deadline_from_answer"] if name == "tail_late_answer" else UNANSWERED,
        what=what,
        patches=patches,
        seed=TAIL_SEEDS.get(name, 0),
    )
    for name, (what, patches) in TAIL_MUTANTS.items()
}
BEHIND_SEEDS = {  # of worlds in which those of claims behind a wait show
    "behind_unrecorded": 8, "behind_quiet_closing": 22, "behind_forgotten": 8, "behind_new_numbers": 48,
    "behind_open_at_end": 117, "behind_record_leaves": 132,
}  # fmt: skip
LEAVING = Mutant(what="", patches=(), faults=("sigterm", "duplicates"), tasks=6, longest=25.0)
MUTANTS |= {
    name: attrs.evolve(
        LEAVING if name in ("behind_open_at_end", "behind_record_leaves") else UNANSWERED,
        what=what,
        patches=patches,
        seed=BEHIND_SEEDS.get(name, 0),
    )
    for name, (what, patches) in BEHIND_MUTANTS.items()
}
FOUND = {  # worlds in which the absence of a rule was found; what is not named here is drawn, as in them
    "defined_at_once": Mutant(what="", patches=(), seed=409270, policies=True, steering=True, turns=True),
    "lines_ahead": Mutant(what="", patches=(), seed=408780, policies=True, steering=True),
    "tail_recreated": Mutant(what="", patches=(), seed=408898, policies=True),
}
MUTANTS |= {
    name: attrs.evolve(world, what=MUTANTS[name].what, patches=MUTANTS[name].patches)
    for name, world in FOUND.items()
}
