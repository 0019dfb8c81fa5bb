"""Wrong variants of the rules of saves, pauses, reloads and limits: (what is wrong, patches), by name."""

from __future__ import annotations

from pytask.adapters.memory import control_verbs, queue_verbs, verbs
from pytask.adapters.memory.limit_verbs import LimitVerbs
from pytask.adapters.memory.slots import Slots
from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Verdict
from pytask.runtime.runs import outcome, reloads
from pytask.runtime.runs.saving import Saving

# -- what a task saves --------------------------------------------------------------------------------------

_renew = MemoryStore.renew
_save = MemoryStore._save
_carrying = outcome.carrying


def _renew_without_saves(self, refs, saves=None):
    del saves
    return _renew(self, refs)


def _renew_unfenced(self, refs, saves=None):
    for one in (saves or {}).values():
        if self._state.fields(one.id):
            self._save(one)
    return _renew(self, refs, saves or {})


def _save_backwards(self, one):
    self._state.erase(one.id, "saved_by")
    _save(self, one)


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
    "save_unfenced": ("an older run overwrites a newer one's", ((MemoryStore, "renew", _renew_unfenced),)),
    "save_backwards": ("an older value replaces a newer one", ((MemoryStore, "_save", _save_backwards),)),
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
    "save_not_again": (
        "after a failover nothing is sent again", ((Saving, "again", lambda self, refs=None: None),),
    ),
}  # fmt: skip

# -- limits -------------------------------------------------------------------------------------------------

_expire_one = MemoryStore._expire
_give_back = MemoryState.give_back
_reload = MemoryStore.reload
_stop = MemoryStore._stop
_hold_back = LimitVerbs._hold_back


def _full_later(self, entry, most, task_id):
    return self.count(entry) > most and task_id not in self.taken.get(entry, ())


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
    "no_rate": ("the rate is ignored", ((LimitVerbs, "_not_yet", _any_time),)),
}  # fmt: skip

STEERING_MUTANTS = SAVED | LIMITED
