"""New data is on trial after a reload: what Redis is told if the run fails soon, or is over."""

from __future__ import annotations

import hashlib

import attrs

from pytask import codec
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.record import Change, Trial
from pytask.runtime.runs.in_force import in_force
from pytask.runtime.runs.run import Run

LIVED = 10.0  # seconds after which data has proved that the task lives with it


def is_on_trial(run: Run) -> bool:
    """Whether a failure of the run would be one of its new data."""
    return bool(run.trial) or run.fallback is not None


def rolled_back(run: Run, at: float) -> Change:
    """The change that ends a failed run and queues its task with the data that lived before.

    `at` is the time in seconds since 1970, by the clock of Redis.
    """
    data = in_force(run).data or b""
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    trial = Trial(rejected=digest, good=None if run.fallback is None else run.fallback.data or b"")
    failure = run.failure or ""
    told = {"epoch": run.epoch, "at": round(at, 3), "reason": failure.partition("\n")[0]}
    fields: dict[str, str | bytes] = {
        "error": failure,
        "rolled_back": codec.encode(told, "the reason of a rollback"),
    }
    if run.claim.crashes:
        fields["crashes"] = "0"  # its worker survived this run: crashes are counted in a row
    event = codec.event(Event.ROLLED_BACK, {"reason": told["reason"], "epoch": run.epoch})
    return Change(run.ref.id, run.ref.run, event, Trigger.ROLL_BACK, fields, trial=trial)


def after_trial(run: Run, change: Change) -> Change:
    """The change that ends a run; a trial that is under way is over with it."""
    if not is_on_trial(run):
        return change
    return attrs.evolve(change, fields={**change.fields, "trial": "", "data_ok": ""})
