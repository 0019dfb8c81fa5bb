"""The verbs of a monitor, in memory.  See the scripts of the same names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from pytask.adapters.memory.limit_verbs import LimitVerbs
from pytask.adapters.memory.state import Fields, number, plausible, text
from pytask.adapters.rules import EXPIRED, LOST, NOBODY, POISON, event
from pytask.domain import history
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import RESTING, State, Trigger, destination, next_state
from pytask.domain.messages import Event
from pytask.domain.record import Expiry, Suspect, Verdict
from pytask.domain.samples import Crew, Ring


class MonitorVerbs(LimitVerbs):
    """Find and repair dead runs and lost tasks."""

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease lies outside the window of healthy ones."""
        state = self._state
        now = state.micros()
        low, high = now - int(older * 1e6), now + int(ahead * 1e6)
        # Counted before leases of nobody go, as at the server: they may hide a missing one for a sweep.
        missing = len(state.runs) > len(state.leases)
        by_age = sorted((lease, task_id) for task_id, lease in state.leases.items())
        behind = [entry for entry in by_age if entry[0] <= low][:limit]
        before = [entry for entry in by_age if entry[0] > high][:limit]
        found = []
        for lease, task_id in behind + before:
            fields = state.fields(task_id)
            run = state.runs.get(task_id) or self._forgotten(fields)
            if run is not None:
                numbers = {"epoch": number(fields, "epoch"), "crashes": number(fields, "crashes")}
                found.append(Suspect(id=task_id, run=run, lease=lease, **numbers))
            elif "run" not in fields:
                del state.leases[task_id]  # registry and hash are gone
        if missing:
            for task_id in state.runs:
                state.leases.setdefault(task_id, now)
        return found

    def _forgotten(self, fields: Fields) -> str | None:
        """The run that a hash names, if the registry has none."""
        owner = text(fields, "run")
        ours = owner is not None and plausible(owner) and text(fields, "state") == life.RUNNING
        return owner if ours else None

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:  # noqa: ARG002 - the port's own
        """All runs whose id begins with `prefix`, in one step."""
        state = self._state
        found = []
        for task_id, run in state.runs.items():
            if run.startswith(prefix):
                fields = state.fields(task_id)
                numbers = {"epoch": number(fields, "epoch"), "crashes": number(fields, "crashes")}
                found.append(Suspect(id=task_id, run=run, lease=state.leases.get(task_id, 0), **numbers))
        return 0, found

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """Expire a batch of dead runs."""
        self._require(server)
        found = [self._expire(expiry) for expiry in expiries]
        for expiry, verdict in zip(expiries, found, strict=True):
            if verdict is Verdict.OK:
                self._state.give_back(expiry.id)
        return found

    def _expire(self, expiry: Expiry) -> Verdict:
        state = self._state
        fields = state.fields(expiry.id)
        # The registry may have lost the run: while its hash names it, no other worker has claimed it since.
        owner = expiry.run if text(fields, "run") == expiry.run else None
        if state.runs.get(expiry.id, owner) != expiry.run:
            return Verdict.ALREADY if text(fields, "last_run") == expiry.run else Verdict.FENCED
        if state.leases.get(expiry.id, expiry.seen) != expiry.seen:
            return Verdict.RENEWED
        lease = state.leases.get(expiry.id)
        state.unregister(expiry.id)
        # The hash was deleted or recreated: there is nothing to requeue.
        if text(fields, "run") == expiry.run:
            if "local" in fields:
                state.delete(expiry.id)
                state.paused.discard(expiry.id)
            else:
                self._hand_on(expiry, text(fields, "control") == Verdict.STOP, lease)
        return Verdict.OK

    def _hand_on(self, expiry: Expiry, stopped: bool, lease: int | None) -> None:
        state = self._state
        keep = None
        trigger, published = Trigger.EXPIRE, event(Event.REQUEUED, {"reason": EXPIRED})
        changes: dict[str, Any] = {"crashes": expiry.crashes, "lost_at": f"{(lease or 0) / 1e6:.6f}"}
        if stopped:
            trigger, published = Trigger.EXPIRE_STOPPED, event(Event.STOPPED)
            keep = self._retention.of(trigger)
        elif expiry.poison:
            trigger, published = Trigger.POISON, event(Event.ERROR, {"error": POISON})
            changes["error"] = POISON
            keep = self._retention.of(trigger)
        if keep == 0:
            state.delete(expiry.id)
        else:
            state.rest(expiry.id, next_state(life.RUNNING, trigger), last_run=expiry.run, **changes)
            state.write(expiry.id, crash_at=text(state.fields(expiry.id), "last_update"))
            silent = None if lease is None else (state.micros() - lease) / 1e6
            worker = text(state.fields(expiry.id), "worker")
            why = history.died_because(worker) if expiry.proven else history.expired_because(worker, silent)
            self._note(expiry.id, life.RUNNING, trigger, self.who, why)
            state.erase(expiry.id, "run", "control", "trial", "data_ok")
        if trigger is Trigger.EXPIRE:
            state.wait_again(expiry.id)
        else:
            state.unpause(expiry.id)
        state.emit(expiry.id, published)

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:  # noqa: ARG002 - the port's own
        """The slow sweep over all hashes in one step, so the cursor is always 0."""
        state = self._state
        hashes = [task_id for task_id, value in state.values.items() if isinstance(value, dict)]
        mended = self._mend_all() + self._tidy_paused()
        return 0, mended + sum(self._repair(task_id, expiry) for task_id in hashes)

    def _tidy_paused(self) -> int:
        """Remove ids that are not paused from the paused set."""
        state, gone = self._state, []
        for task_id in state.paused:
            fields = state.fields(task_id)
            word = text(fields, "state")
            ended = word in RESTING and word != destination(Trigger.PAUSE)
            if "paused" not in fields or ended:
                gone.append(task_id)
        for task_id in gone:
            state.unpause(task_id)
        return len(gone)

    def _repair(self, task_id: str, expiry: float) -> bool:
        state = self._state
        fields = state.fields(task_id)
        if "paused" in fields and (task_id in state.runs or text(fields, "state") == life.RUNNING):
            state.paused.add(task_id)
        if task_id in state.runs:
            lost = task_id not in state.leases
            state.leases.setdefault(task_id, state.micros())
            if task_id not in state.slots.slotted:
                state.take_slots(task_id, text(fields, "group"), text(fields, "function"))
            return lost
        if text(fields, "state") != life.RUNNING:
            return self._put_back(task_id, expiry)
        owner = text(fields, "run")
        if owner is not None and plausible(owner):
            state.register(task_id, owner)
            state.take_slots(task_id, text(fields, "group"), text(fields, "function"))
            return True
        if int(state.now()) - number(fields, "last_update") <= expiry:
            return False
        state.timers.pop(task_id, None)
        if text(fields, "control") == Verdict.STOP:
            self._repair_as_stopped(task_id)
            return True
        state.rest(task_id, next_state(life.RUNNING, Trigger.REPAIR))
        state.erase(task_id, "trial", "data_ok")
        self._note(task_id, life.RUNNING, Trigger.REPAIR, self.who, NOBODY)
        state.wait_again(task_id)
        state.emit(task_id, event(Event.REQUEUED, {"reason": NOBODY}))
        return True

    def _put_back(self, task_id: str, expiry: float) -> bool:
        """Queue a task that is WAIT but in none of the places; a paused one goes to the paused set."""
        state = self._state
        fields = state.fields(task_id)
        waits = text(fields, "state") == destination(Trigger.REPAIR)
        old = int(state.now()) - number(fields, "last_update") > expiry
        if not (waits and old) or "run" in fields or state.places(task_id):
            return False
        state.wait_again(task_id)
        if task_id not in state.paused:
            state.emit(task_id, event(Event.REQUEUED, {"reason": LOST}))
        return True

    def _repair_as_stopped(self, task_id: str) -> None:
        state, trigger = self._state, Trigger.EXPIRE_STOPPED
        if self._retention.of(trigger) == 0:
            state.delete(task_id)
        else:
            state.rest(task_id, next_state(life.RUNNING, trigger))
            self._note(task_id, life.RUNNING, trigger, self.who, NOBODY)
            state.erase(task_id, "control", "trial", "data_ok")
        state.emit(task_id, event(Event.STOPPED))

    def tidy(self, monitor: str, silent: float) -> None:
        """Record a sweep; remove workers that have been silent for long."""
        state = self._state
        now = int(state.now())
        state.monitors[monitor] = now
        _drop(state.workers, now - silent)
        _drop(state.monitors, now - silent)

    def sample(self, ring: Ring, crew: Crew | None = None) -> bool:
        """Keep a sample in a ring, if none is there."""
        state = self._state
        now = int(state.now())
        kept = state.samples.setdefault(ring.name, {})
        place = now // ring.step % ring.size
        at = re.match(rb"\d+", kept.get(place, b""))
        if at and int(at[0]) // ring.step == now // ring.step:
            return False
        if crew is not None:
            ages = [(state.micros() - lease) / 1e6 for lease in state.leases.values()]
            counts = [len(state.leases), len(state.queue), len(state.timers)]
            counts += [len(state.index[one]) for one in RESTING[1:]]
            age = f"{max(0.0, *ages, 0.0):.3f}"
            kept[place] = " ".join(map(str, (now, *counts, age, *attrs.astuple(crew)))).encode()
        return True

    def retire(self) -> None:
        """Delete the hashes of tasks whose retention time is over, unless they wait again."""
        now = int(self._state.now())
        for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
            kept = self._retention.of(trigger)
            if kept:
                self._retire(destination(trigger), now - kept)

    def _retire(self, resting: State, until: float) -> None:
        state, index = self._state, self._state.index[resting]
        for task_id in [task_id for task_id, at in index.items() if at <= until]:
            rests = text(state.fields(task_id), "state") == resting and task_id not in state.runs
            if rests and task_id.encode() in state.queue:
                continue
            if rests:
                state.delete(task_id)
            del index[task_id]


def _drop(times: dict[str, float], until: float) -> None:
    for name in [name for name, at in times.items() if at <= until]:
        del times[name]
