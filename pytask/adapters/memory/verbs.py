"""The common part of the verbs of the in-memory store."""

from __future__ import annotations

from pytask.adapters.memory.state import Fields, MemoryState, named, number, text
from pytask.adapters.rules import Retention, event
from pytask.domain import delays, history, traces
from pytask.domain.errors import FailoverSuspected
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import Event
from pytask.domain.record import LONGEST_SAVED, Claim, Incarnation, RunRef, StartFields, Verdict


def due_ms(fields: Fields) -> int | None:
    """When a task may start, in milliseconds; None for at once, and for an invalid time."""
    return delays.due_ms(fields.get("not_before", b"").decode(errors="replace"))


def saved_of(fields: Fields) -> bytes:
    """What earlier runs have saved; of a task that has ended it is not used (see claim.lua)."""
    return b"" if text(fields, "state") == destination(Trigger.END) else fields.get("saved", b"")


def start_fields(fields: Fields, max_saved: int, group: str = "", unfit: str = "") -> StartFields | None:
    """The fields that say when, why and with what a task starts; None if the hash has none of them."""
    not_before = b"" if due_ms(fields) is not None else fields.get("not_before", b"")
    scheduled, saved = fields.get("scheduled", b""), saved_of(fields)
    trace = fields.get("traceparent", b"")
    found = StartFields(
        restarts=number(fields, "restarts"),
        restart=fields.get("restart", b"")[: delays.LONGEST].decode(errors="replace"),
        not_before=not_before[: delays.LONGEST].decode(errors="replace"),
        failed=fields.get("restart_times", b"")[-delays.LONGEST_TIMES :].decode(errors="replace"),
        scheduled=scheduled if len(scheduled) <= delays.LONGEST_SCHEDULED else b"",
        saved=saved if len(saved) <= max_saved else b"",
        unread=len(saved) if len(saved) > max_saved else 0,
        group_fault=unfit,
        group=group,
        traceparent=trace.decode(errors="replace") if len(trace) <= traces.LONGEST else "",
    )
    return None if found == StartFields() else found


class Verbs:
    """The base class of all verbs."""

    tails = True

    def __init__(self, state: MemoryState, retention: Retention) -> None:
        self.incarnation: Incarnation | None = None
        self.ahead: list[bytes] | None = None
        self.who = ""
        self._state = state
        self._retention = retention

    def _note(  # noqa: PLR0913 - a line has so many words
        self, task_id: str, source: str, trigger: Trigger, who: str, why: str = "", *, plain: bool = False
    ) -> None:
        line = history.tail(source, destination(trigger), trigger, who, why)
        plain = plain or trigger in (Trigger.DELAY, Trigger.LIMIT) or (trigger is Trigger.CLAIM and not why)
        self._state.note(task_id, line, self._retention.history, plain=plain)

    def _announce_run(self, name: Event, ref: RunRef, worker: str, epoch: int) -> None:
        self._state.emit(ref.id, event(name, {"worker": worker, "run": ref.run, "epoch": epoch}))

    def _answer(
        self,
        ref: RunRef,
        verdict: Verdict,
        max_data: int,
        max_saved: int = LONGEST_SAVED,
        unfit: str = "",
    ) -> Claim:
        fields = self._state.fields(ref.id)
        function = named(fields)
        if verdict is Verdict.UNKNOWN:
            return Claim(ref.id, ref.run, verdict, function)
        if verdict not in (Verdict.OK, Verdict.ALREADY):
            return Claim(ref.id, ref.run, verdict)
        data = fields.get("data")
        size = 0 if data is None or len(data) <= max_data else len(data)
        epoch, crashes = number(fields, "epoch"), number(fields, "crashes")
        found = None if size else data
        group = "" if unfit else text(fields, "group") or ""
        more = start_fields(fields, max_saved, group, unfit)
        return Claim(ref.id, ref.run, verdict, function, found, epoch, crashes, size, more)

    def _owned(self, task_id: str, run: str) -> Verdict:
        """Whether a caller may act for this run; see `fence` in prelude.lua."""
        if self._state.runs.get(task_id, run) != run:
            return Verdict.FENCED
        return Verdict.OK if text(self._state.fields(task_id), "run") == run else Verdict.GONE

    def _require(self, server: str) -> None:
        if server and server != self._state.server:
            raise FailoverSuspected(f"no longer the server that was known: it is {self._state.server}")
