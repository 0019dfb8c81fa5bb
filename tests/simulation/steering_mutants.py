"""Wrong variants of the rules of saves, pauses, reloads and limits: (what is wrong, patches), by name."""

from __future__ import annotations

import attrs

from pytask.adapters.memory import control_verbs, queue_verbs, run_verbs, verbs
from pytask.adapters.memory.limit_verbs import LimitVerbs
from pytask.adapters.memory.slots import Slots
from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Verdict
from pytask.runtime.runs import fitting, outcome, reloads, stopping
from pytask.runtime.runs.gate import Gate

# -- what a task saves --------------------------------------------------------------------------------------

_renew = MemoryStore.renew
_carrying = outcome.carrying


def _renew_without_saves(self, refs, saves=None):
    del saves
    return _renew(self, refs)


def _carrying_nothing(run, change):
    return _carrying(run, change) if change.trigger is Trigger.END else change


def _carrying_on(run, change):
    return change if change.trigger is Trigger.END else _carrying(run, change)


def _saved_of(fields):
    return fields.get("saved", b"")


def _start_keeps(self, task_id, *, fresh):
    del self, task_id, fresh


SAVED = {
    "save_not_renewed": ("renewals carry no values", ((MemoryStore, "renew", _renew_without_saves),)),
    "save_ends_with_run": ("an end carries no value", ((outcome, "carrying", _carrying_nothing),)),
    "save_outlives_end": (
        "ENDED keeps the value",
        (
            (outcome, "carrying", _carrying_on), (verbs, "saved_of", _saved_of),
            (queue_verbs, "saved_of", _saved_of),
            (control_verbs.ControlVerbs, "_forget_saved", _start_keeps),
        ),
    ),
    "save_before_reload": (
        "a reload begins with what the run before began with",
        ((reloads, "_fields_after", lambda old: old.claim.fields), (reloads, "unsent", lambda _: b"")),
    ),
}  # fmt: skip

# -- limits -------------------------------------------------------------------------------------------------

_expire_one = MemoryStore._expire
_full = Slots._full
_reload = MemoryStore.reload
_stop = MemoryStore._stop
_hold_back = LimitVerbs._hold_back


def _full_later(self, entry, most, *args):
    return _full(self, entry, most + 1, *args)


def _expire_keeps_slots(self, expiries, server=""):
    self._require(server)
    return [_expire_one(self, expiry) for expiry in expiries]


def _give_back_silently(self, task_id, *, stays=False):
    del stays
    self.slots.free(task_id)


def _reload_frees(self, old, *args, **how):
    claim = _reload(self, old, *args, **how)
    self._state.give_back(old.id)
    return claim


def _stop_frees(self, task_id, age):
    verdict = _stop(self, task_id, age)
    if verdict is Verdict.REQUESTED:
        self._state.give_back(task_id)
    return verdict


def _limit_of_class(self, group, rule):
    del self, group
    return None if rule is None else rule.group_limit


def _hold_back_nowhere(self, task_id, *args):
    seconds = _hold_back(self, task_id, *args)
    for line in self._state.slots.lines.values():
        line.pop(task_id, None)
    return seconds


def _none_ahead(verb):
    """After the clock was set back, lists wait for it to catch up."""

    def looked(self, *args):
        groups, now = self._state.slots.groups, int(self._state.now())
        ahead = {entry: groups.pop(entry) for entry in [*groups] if groups[entry] > now}
        try:
            return verb(self, *args)
        finally:
            groups.update(ahead)

    return looked


def _any_time(self, task_id, function, rule):
    del self, task_id, function, rule


LIMITED = {
    "one_too_many": ("one more than the limit of a group", ((Slots, "_full", _full_later),)),
    "slot_outlives_run": ("a dead run keeps its slot", ((MemoryStore, "expire", _expire_keeps_slots),)),
    "slot_ends_with_stop": ("a request to stop frees the slot", ((MemoryStore, "_stop", _stop_frees),)),
    "slot_ends_with_reload": ("a reload frees the slot", ((MemoryStore, "reload", _reload_frees),)),
    "nobody_woken": ("the end of a run wakes nobody", ((MemoryState, "give_back", _give_back_silently),)),
    "limit_of_class": ("live limits are ignored", ((Slots, "group_limit", _limit_of_class),)),
    "waits_nowhere": ("who meets a full group is dropped", ((LimitVerbs, "_hold_back", _hold_back_nowhere),)),
    "stop_leaves_line": (
        "a stop leaves the waiting list", ((MemoryState, "leave_lines", lambda self, *_: None),),
    ),
    "lines_ahead": (
        "waiting lists whose last look is ahead of the clock are not looked at",
        tuple((MemoryStore, verb, _none_ahead(getattr(MemoryStore, verb))) for verb in ("due", "serve")),
    ),
    "no_rate": ("the rate is ignored", ((LimitVerbs, "_not_yet", _any_time),)),
}  # fmt: skip

# -- pauses -------------------------------------------------------------------------------------------------

_verdict_of_task = MemoryStore._verdict_of_task
_wait_again = MemoryState.wait_again
_resume_waiting = MemoryStore._resume_waiting


def _claims_paused(self, task_id, fields, *args):
    kept = {name: value for name, value in fields.items() if name != "paused"}
    return _verdict_of_task(self, task_id, kept, *args)


def _claims_functions(self, *args):
    held, self._state.paused_functions = self._state.paused_functions, set()
    try:
        return _verdict_of_task(self, *args)
    finally:
        self._state.paused_functions = held


def _wait_unpaused(self, task_id, **how):
    self.unpause(task_id)
    _wait_again(self, task_id, **how)


def _resume_nowhere(self, task_id, before):
    verdict = _resume_waiting(self, task_id, before)
    self._state.queue[:] = [raw for raw in self._state.queue if raw != task_id.encode()]
    return verdict


def _reload_paused(self, old, *args, **how):
    since = self._state.fields(old.id).pop("paused", None)
    claim = _reload(self, old, *args, **how)
    if since is not None:
        self._state.write(old.id, paused=since)
    return claim


PAUSED = {
    "claim_of_paused": (
        "a paused task that is pushed again runs", ((MemoryStore, "_verdict_of_task", _claims_paused),),
    ),
    "claim_of_function": (
        "the tasks of a paused function run", ((MemoryStore, "_verdict_of_task", _claims_functions),),
    ),
    "pause_ends_with_run": ("a dead run is not paused", ((MemoryState, "wait_again", _wait_unpaused),)),
    "resumes_nowhere": ("a resumed task waits nowhere", ((MemoryStore, "_resume_waiting", _resume_nowhere),)),
    "gate_stays_open": ("a gate never closes", ((Gate, "pass_through", lambda self: None),)),
    "reload_of_paused": ("a reload starts a paused task", ((MemoryStore, "reload", _reload_paused),)),
}  # fmt: skip

# -- reloads ------------------------------------------------------------------------------------------------

_refuse = MemoryStore.refuse
_accept = MemoryStore.accept
_settle = reloads.Reloads._settle


def _refuse_in_part(self, judged, *args):
    data = self._state.fields(judged.id).get("data", b"")
    verdict = _refuse(self, judged, *args)
    if verdict is Verdict.OK:
        self._state.write(judged.id, data=data)
    return verdict


def _roll_back_nothing(state, task_id, *_):
    state.erase(task_id, "trial", "data_ok", "settling")


def _reload_untried(self, *args, **how):
    return attrs.evolve(_reload(self, *args, **how), trial=False)


def _accept_untried(self, *args, **how):
    return attrs.evolve(_accept(self, *args, **how), trial=False)


def _settle_never(self, run, mark=""):
    del mark
    _settle(self, run)


RELOADED = {
    "refusal_in_part": ("a refused reload leaves its data", ((MemoryStore, "refuse", _refuse_in_part),)),
    "rolls_back_nothing": ("a rollback leaves the data", ((run_verbs, "roll_back", _roll_back_nothing),)),
    "never_rolls_back": (
        "a failure after a reload is final",
        ((MemoryStore, "reload", _reload_untried), (MemoryStore, "accept", _accept_untried)),
    ),
    "trial_without_end": ("a trial never ends", ((reloads.Reloads, "_settle", _settle_never),)),
    "unchecked": ("check() is not called", ((fitting, "_has_check", lambda _: False),)),
}  # fmt: skip

# -- groups that clients start ------------------------------------------------------------------------------

_leave_places = MemoryState.leave_places
_wake = MemoryState.wake


def _wake_next(self, entry):
    task_id = _wake(self, entry)
    if task_id is not None:
        self.queue.remove(task_id.encode())
        self.queue.append(task_id.encode())
    return task_id


def _leave_the_queue_only(self, task_id):
    groups, self.slots.groups = self.slots.groups, {}
    runners, self.slots.runners = self.slots.runners, {}
    try:
        _leave_places(self, task_id)
    finally:
        self.slots.groups, self.slots.runners = groups, runners


TURNS = {
    "no_turns": ("the next of a group is the next of all", ((MemoryState, "wake", _wake_next),)),
    "leads_nobody": (
        "nobody follows the one in the queue", ((MemoryState, "lead", lambda self, group: None),),
    ),
    "rm_leaves_line": (
        "what is removed stays in its waiting list, and is followed",
        ((MemoryState, "leave_places", _leave_the_queue_only),),
    ),
    "wrong_word": ("stop() is told of a deploy", ((stopping, "stop_word", lambda *_, **__: "release"),)),
}  # fmt: skip

STEERING_MUTANTS = SAVED | LIMITED | PAUSED | RELOADED | TURNS
