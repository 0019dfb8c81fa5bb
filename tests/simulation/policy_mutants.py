"""Wrong variants of the rules of restarts, delays and schedules: (what is wrong, patches), by name."""

from __future__ import annotations

import math
from collections import Counter

import attrs

from pytask.adapters.memory import control_verbs, schedule_verbs
from pytask.adapters.memory.schedule_verbs import MemoryTimetable
from pytask.adapters.memory.state import MemoryState, number
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.control import StopReason
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import StartFields
from pytask.domain.restarts import LONGEST, GiveUp, Retry
from pytask.domain.schedules import Missed
from pytask.runtime.runs import outcome, restarting
from pytask.runtime.services import schedules

# -- timers -------------------------------------------------------------------------------------------------

_due = MemoryStore.due


def _due_early(self, limit=256):
    """Half a minute before its time."""
    state, late = self._state, MemoryState.millis
    state.millis = lambda: late(state) + 30_000
    try:
        return _due(self, limit)
    finally:
        del state.millis


def _due_keeps(self, limit=256):
    before = dict(self._state.timers)
    found = _due(self, limit)
    for task_id, at in before.items():
        self._state.timers.setdefault(task_id, at)
    return attrs.evolve(found, timer=10.0)


def _due_drops(self, limit=256):
    queue = list(self._state.queue)
    found = _due(self, limit)
    if found.moved > 1:
        self._state.queue[:] = [self._state.queue[0], *queue]
    return found


_delay = MemoryStore._delay


def _delay_drops(self, task_id, *how):
    seconds = _delay(self, task_id, *how)
    del self._state.timers[task_id]
    return seconds


_start = MemoryStore._start


def _start_leaves_timer(self, task_id, *how, **more):
    at = self._state.timers.get(task_id)
    verdict = _start(self, task_id, *how, **more)
    if at is not None:
        self._state.timers[task_id] = at
    return verdict


_leave_places = MemoryState.leave_places


def _stop_leaves_timer(self, task_id):
    at = self.timers.get(task_id)
    _leave_places(self, task_id)
    if at is not None:
        self.timers[task_id] = at


_begin = MemoryStore._begin


def _claim_leaves_timer(self, ref, worker):
    at = self._state.timers.get(ref.id)
    _begin(self, ref, worker)
    if at is not None:
        self._state.timers[ref.id] = at


def _claim_keeps_time(self, ref, worker):
    text = self._state.fields(ref.id).get("not_before")
    _begin(self, ref, worker)
    if text is not None:
        self._state.write(ref.id, not_before=text)


# -- restarts -----------------------------------------------------------------------------------------------

_commit = MemoryStore._commit
_unless_stopped = MemoryStore._unless_stopped
_hand_on = MemoryStore._hand_on
_next = outcome.Outcomes._next
_is_final = restarting.is_final
_decide = outcome.decide
_closing = outcome.closing


def _retry_unfenced(self, change):
    if change.trigger is Trigger.RETRY:
        change = attrs.evolve(change, run=self._state.runs.get(change.id, change.run))
    return _commit(self, change)


def _retry_despite_stop(self, change):
    return change if change.trigger is Trigger.RETRY else _unless_stopped(self, change)


def _next_by_worker(self, run, *args):
    """A worker counts what it has seen itself."""
    counts = self.__dict__.setdefault("counts", Counter())
    fields = run.claim.fields or StartFields()
    counted = attrs.evolve(run.claim, fields=attrs.evolve(fields, restarts=counts[run.id]))
    run.claim, claim = counted, run.claim
    try:
        found = _next(self, run, *args)
    finally:
        run.claim = claim
    if isinstance(found, Retry):
        counts[run.id] = found.restarts
    return found


def _is_final_never(run, error):
    del error
    return _is_final(run, None)


def _decide_never_healthy(policy, *args):
    return _decide(attrs.evolve(policy, healthy=LONGEST), *args)


def _decide_one_more(policy, *args):
    return _decide(attrs.evolve(policy, limit=None if policy.limit is None else policy.limit + 1), *args)


def _decide_without_window(policy, *args):
    found = _decide(attrs.evolve(policy, window=None), *args)
    return (
        GiveUp("") if isinstance(found, Retry) and policy.window and found.restarts > policy.limit else found
    )


def _decide_at_once(policy, *args):
    found = _decide(policy, *args)
    return attrs.evolve(found, delay=0.0) if isinstance(found, Retry) else found


def _closing_counts_deploys(stop_reason, failed):
    trigger = _closing(stop_reason, failed)
    return Trigger.FAIL if stop_reason is StopReason.HAND_BACK and trigger is not None else trigger


def _death_counts(self, expiry, stopped, lease):
    _hand_on(self, expiry, stopped, lease)
    restarts = number(self._state.fields(expiry.id), "restarts")
    self._state.write(expiry.id, restarts=restarts + 1)


# -- schedules ----------------------------------------------------------------------------------------------

_plan = schedules.plan
_still = MemoryTimetable._still


def _fire_unchecked(self, name, score, **how):
    if name in self._state.schedules:
        self._state.schedules[name] = score
    return _still(self, name, score, **how)


def _plan_from_now(schedule, pending, now, **how):
    found = _plan(schedule, pending, now, **how)
    return attrs.evolve(found, next=now + schedule.interval(found.next)) if pending <= now else found


def _plan_says_nothing(schedule, pending, now, **how):
    return attrs.evolve(_plan(schedule, pending, now, **how), skipped=())


def _plan_fires_all(schedule, pending, now, **how):
    if schedule.missed is Missed.ONCE:
        schedule = attrs.evolve(schedule, missed=Missed.ALL)
    return _plan(schedule, pending, now, **how)


def _plan_however_late(schedule, pending, now, **how):
    return _plan(attrs.evolve(schedule, deadline=LONGEST), pending, now, **how)


_settle = MemoryTimetable._settle


def _settle_forgets(self, firing, one, fields):
    one.behind = None
    _settle(self, firing, one, fields)


def _skip_silently(self, at, reason):
    del self, at, reason


def _occupied_never(self, task_id, schedule):
    del self, task_id, schedule


_look = schedules.Definitions.look


def _look_at_once(self):
    """Only a worker that has stored them before waits after a loss of data."""
    ports = self._ports
    if not self._marker:
        self._ports = attrs.evolve(ports, lease=attrs.evolve(ports.lease, lost_at=-math.inf))
    try:
        _look(self)
    finally:
        self._ports = ports


_forgotten = control_verbs.FORGOTTEN

POLICY_MUTANTS = {
    "due_early": ("the timers move a task before its time", ((MemoryStore, "due", _due_early),)),
    "due_keeps": ("a task that is due stays in the timers", ((MemoryStore, "due", _due_keeps),)),
    "due_drops": ("of several due tasks one is pushed", ((MemoryStore, "due", _due_drops),)),
    "delay_drops": ("a delayed task is put nowhere", ((MemoryStore, "_delay", _delay_drops),)),
    "start_leaves_timer": ("a start leaves the timer", ((MemoryStore, "_start", _start_leaves_timer),)),
    "stop_leaves_timer": ("a stop leaves the timer", ((MemoryState, "leave_places", _stop_leaves_timer),)),
    "claim_leaves_timer": ("a claim leaves the timer", ((MemoryStore, "_begin", _claim_leaves_timer),)),
    "claim_keeps_time": (
        "a delayed task that has begun waits again", ((MemoryStore, "_begin", _claim_keeps_time),),
    ),
    "retry_unfenced": ("a late retry ends the newer run", ((MemoryStore, "_commit", _retry_unfenced),)),
    "retry_despite_stop": (
        "a retry ignores a stop", ((MemoryStore, "_unless_stopped", _retry_despite_stop),),
    ),
    "count_by_worker": ("each worker has its own count", ((outcome.Outcomes, "_next", _next_by_worker),)),
    "fatal_retried": ("Fatal is retried", ((restarting, "is_final", _is_final_never),)),
    "never_healthy": ("the count never resets", ((outcome, "decide", _decide_never_healthy),)),
    "one_more": ("one restart beyond the limit", ((outcome, "decide", _decide_one_more),)),
    "no_window": ("the window is ignored", ((outcome, "decide", _decide_without_window),)),
    "no_delay": ("a restart comes at once", ((outcome, "decide", _decide_at_once),)),
    "deploys_count": ("a hand-back counts as a failure", ((outcome, "closing", _closing_counts_deploys),)),
    "deaths_count": ("the death of a worker is counted", ((MemoryStore, "_hand_on", _death_counts),)),
    "start_keeps_count": ("a start keeps the count", ((control_verbs, "FORGOTTEN", ("not_before",)),)),
    "fire_unchecked": (
        "a firing is not compared with what is stored", ((MemoryTimetable, "_still", _fire_unchecked),),
    ),
    "next_from_now": ("the next time is counted from now", ((schedules, "plan", _plan_from_now),)),
    "late_unrecorded": ("late occurrences are not recorded", ((schedules, "plan", _plan_says_nothing),)),
    "fires_all": ("all missed occurrences are started", ((schedules, "plan", _plan_fires_all),)),
    "however_late": ("a deadline is ignored", ((schedules, "plan", _plan_however_late),)),
    "occurrence_forgotten": (
        "an occurrence that waits for a run is forgotten", ((MemoryTimetable, "_settle", _settle_forgets),),
    ),
    "overlap_unrecorded": (
        "overlapping occurrences are not recorded", ((schedule_verbs._Firing, "_skip", _skip_silently),),
    ),
    "overlap_ignored": (
        "a task is started while it waits or runs", ((MemoryTimetable, "occupied", _occupied_never),),
    ),
    "defined_at_once": (
        "a worker that has not stored its schedules yet does so at once after a loss of all data",
        ((schedules.Definitions, "look", _look_at_once),),
    ),
}  # fmt: skip
