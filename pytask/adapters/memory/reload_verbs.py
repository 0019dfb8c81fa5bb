"""The verbs of a reload in memory, from its check to the end of its trial.  See the scripts."""

from __future__ import annotations

import attrs

from pytask.adapters.memory.state import MemoryState, named, number, text
from pytask.adapters.memory.verbs import Verbs
from pytask.adapters.rules import IN_PLACE, digest, event, refusal, reloaded_in_place
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import Trigger, next_state
from pytask.domain.messages import Command, Event
from pytask.domain.record import Claim, InForce, RunRef, Trial, Verdict


def roll_back(state: MemoryState, task_id: str, run: str, trial: Trial) -> bool:
    """Exchange data that failed on trial for the data before; False if it is not there.  See prelude.lua."""
    fields = state.fields(task_id)
    data = fields.get("data")
    failed = digest(data or b"") == trial.rejected
    mine = (text(fields, "trial") or "").partition("#")[0] == run
    good = fields.get("data_ok") if mine else trial.good
    if good is not None and failed:
        _put(state, task_id, "data_bad", data)
        _put(state, task_id, "data", good or None)
    state.erase(task_id, "trial", "data_ok", "settling")
    return good is not None and failed


def _put(state: MemoryState, task_id: str, name: str, value: bytes | None) -> None:
    if value is None:
        state.erase(task_id, name)
    else:
        state.write(task_id, **{name: value})


class ReloadVerbs(Verbs):
    """Reload runs, and refuse to."""

    def reload(  # noqa: PLR0913, PLR0917 - see the port
        self,
        old: RunRef,
        new: RunRef,
        worker: str,
        max_data: int,
        saved: bytes = b"",
        lived: InForce | None = None,
    ) -> Claim:
        """Replace the run `old` with `new`."""
        state = self._state
        owner = text(state.fields(old.id), "run")
        held = state.runs.get(old.id, owner)
        if held not in (old.run, new.run):
            return Claim(new.id, new.run, Verdict.FENCED if old.id in state.runs else Verdict.GONE)
        if owner != held:
            return Claim(new.id, new.run, Verdict.GONE)
        if held == new.run:
            tried = text(state.fields(old.id), "trial") == new.run
            return attrs.evolve(self._answer(new, Verdict.ALREADY, max_data), trial=tried)
        if text(state.fields(old.id), "control") == Verdict.STOP:
            return Claim(new.id, new.run, Verdict.STOP)  # carried out instead: no new run starts
        if "paused" in state.fields(old.id) and "local" not in state.fields(old.id):
            return Claim(new.id, new.run, Verdict.PAUSED)  # the old run is released: it starts when resumed
        next_state(life.RUNNING, Trigger.RELOAD)
        epoch = state.run(new.id, new.run, worker, last_run=old.run)
        self._note(new.id, life.RUNNING, Trigger.RELOAD, worker)
        state.write(new.id, settling=epoch)
        state.erase(new.id, "control", "data_bad", "reloaded", "rolled_back")
        if saved:
            state.write(new.id, saved=saved, saved_at=state.stamp())
        data = state.fields(new.id).get("data", b"")
        tried = self._try(old, new.run, lived, data if len(data) <= max_data else None)
        self._announce_run(Event.RELOADED, new, worker, epoch)
        return attrs.evolve(self._answer(new, Verdict.OK, max_data), trial=tried)

    def _try(self, before: RunRef, mark: str, lived: InForce | None, data: bytes | None) -> bool:
        """Put data on trial (None: too large to be read); whether there is other data to go back to."""
        state, task_id = self._state, before.id
        fields = state.fields(task_id)
        of, trial = fields.get("data_ok"), text(fields, "trial")
        goes_on = trial is not None and trial.partition("#")[0] == before.run
        good = None if lived is None else lived.data or b""
        if goes_on and (lived is None or lived.on_trial):
            good = of  # what the trial under way goes back to
        if good is None or good == data:
            if trial is not None:
                state.erase(task_id, "trial", "data_ok")
            return False
        state.write(task_id, trial=mark, data_ok=good)
        return True

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """The data that a reload of this run would start with."""
        verdict = self._owned(ref.id, ref.run)
        if verdict is not Verdict.OK:
            return Claim(ref.id, ref.run, verdict)
        fields = self._state.fields(ref.id)
        answered = "reload_refused" in fields or "reloaded" in fields
        return attrs.evolve(self._answer(ref, verdict, max_data), answered=answered)

    def accept(self, judged: Claim, mark: str, worker: str, lived: InForce | None = None) -> Claim:
        """Record that the run continues with the data that was judged."""
        state, ref = self._state, RunRef(judged.id, judged.run)
        verdict = self._owned(ref.id, ref.run)
        if verdict is not Verdict.OK:
            return attrs.evolve(judged, verdict=verdict)
        fields = state.fields(ref.id)
        if f'"{mark}"'.encode() in fields.get("reloaded", b""):
            return attrs.evolve(judged, verdict=Verdict.ALREADY, trial=text(fields, "trial") == mark)
        data = fields.get("data", b"")
        if named(fields) != judged.function or data != (judged.data or b""):
            return attrs.evolve(judged, verdict=Verdict.MOVED)
        next_state(life.RUNNING, Trigger.RELOAD)
        epoch = number(fields, "epoch")
        told = f'{self._answer_head(epoch, data)}"mark":"{mark}"}}'
        state.write(ref.id, reloaded=told)
        self._note(ref.id, life.RUNNING, Trigger.RELOAD, worker, IN_PLACE)
        state.erase(ref.id, "data_bad", "reload_refused", "rolled_back")
        tried = self._try(ref, mark, lived, data)
        self._drop_request(ref.id)
        state.emit(ref.id, event(Event.RELOADED, reloaded_in_place(judged, worker)))
        return attrs.evolve(judged, verdict=Verdict.OK, trial=tried)

    def refuse(self, judged: Claim, path: str, reason: str, force: InForce) -> Verdict:
        """Refuse a reload because the data does not fit; the run continues with what is in force."""
        state, task_id = self._state, judged.id
        verdict = self._owned(task_id, judged.run)
        if verdict is not Verdict.OK:
            return verdict
        fields = state.fields(task_id)
        if named(fields) != judged.function or not _is_same(fields.get("data"), judged):
            return Verdict.ALREADY if self._was_refused(judged, force) else Verdict.MOVED
        next_state(life.RUNNING, Trigger.REFUSE)
        head = self._answer_head(number(fields, "epoch"), force.data or b"")
        state.write(task_id, reload_refused=head + refusal(path, reason), function=force.function)
        self._note(task_id, life.RUNNING, Trigger.REFUSE, self.who, f"{path}: {reason}")
        _put(state, task_id, "data_bad", fields.get("data"))
        _put(state, task_id, "data", force.data or None)
        state.erase(task_id, "reloaded")
        self._drop_request(task_id)
        details = {"path": path, "reason": reason, "epoch": judged.epoch}
        state.emit(task_id, event(Event.REFUSED, details))
        return Verdict.OK

    def _answer_head(self, epoch: int, data: bytes) -> str:
        return f'{{"epoch":{epoch},"at":{self._state.stamp()},"sha1":"{digest(data)}",'

    def _was_refused(self, judged: Claim, force: InForce) -> bool:
        """Whether an earlier call has refused it: a repeated one finds what that has put back."""
        fields = self._state.fields(judged.id)
        return (
            named(fields) == force.function
            and text(fields, "control") != Command.RELOAD
            and fields.get("data", b"") == (force.data or b"")
            and _is_same(fields.get("data_bad"), judged)
            and "reload_refused" in fields
        )

    def _drop_request(self, task_id: str) -> None:
        if text(self._state.fields(task_id), "control") == Command.RELOAD:
            self._state.erase(task_id, "control")

    def settle(self, ref: RunRef, mark: str = "", *, repeated: bool = False) -> Verdict:
        """Confirm that the run started by a reload is alive."""
        verdict = self._owned(ref.id, ref.run)
        if verdict is not Verdict.OK:
            return verdict
        fields = self._state.fields(ref.id)
        if repeated:
            if "reload_refused" in fields or "reloaded" in fields:
                self._drop_request(ref.id)
        else:
            self._state.erase(ref.id, "settling")
        if mark and text(self._state.fields(ref.id), "trial") == mark:
            self._state.erase(ref.id, "trial", "data_ok")
        return verdict


def _is_same(data: bytes | None, judged: Claim) -> bool:
    """Whether this is the data that was judged, or has its size if it was not read."""
    data = data or b""
    return len(data) == judged.oversize if judged.oversize else data == (judged.data or b"")
