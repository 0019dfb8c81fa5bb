"""What stands in the queue and is not started: malformed, unknown, delayed, paused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from pytask import codec
from pytask.domain.messages import Event, IdFault
from pytask.domain.ports import Store
from pytask.domain.record import Claim, RunRef, Verdict
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.runs.committer import Committer

log = get_logger(__name__)

NAMED = 256  # maximum number of unknown functions that are logged, as clients may push arbitrary names
FAULTS = {
    Verdict.NOHASH: IdFault.NO_HASH,
    Verdict.BADTYPE: IdFault.WRONG_TYPE,
    Verdict.LOCAL: IdFault.LOCAL,
}


class NotStarted:
    """Rejects, parks or delays what a consumer cannot start, so that the next id gets its turn."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        tasks: Mapping[str, type[Task]],
        on_delayed: Callable[[float], None],
    ) -> None:
        self._store = store
        self._committer = committer
        self._tasks = tasks
        self._on_delayed = on_delayed
        self._warned: set[str] = set()  # names of unknown tasks

    def put(self, claim: Claim, source: str | None) -> int:
        """Put aside a claim that was not won; returns how many ids are done with: 0 or 1."""
        if claim.verdict is Verdict.UNRECOGNIZED:
            # Not certainly ours, so never started; released, in case a newer script has claimed it.
            self._committer.unconfirmed([RunRef(claim.id, claim.run)])
            return 0
        if claim.registered:
            # A client recreated the hash before this answer came: its task is another one, which waits.
            self._committer.unconfirmed([RunRef(claim.id, claim.run)])
            return 1
        if claim.verdict in FAULTS:
            return self.reject(claim.id.encode(), FAULTS[claim.verdict], source)
        if claim.verdict is Verdict.UNKNOWN:
            return self._park(claim.id, claim.function, source)
        if claim.verdict in (Verdict.DELAYED, Verdict.WAITING):
            if claim.delay >= 0:  # of one that waits: the slots of its function are to be counted first
                self._on_delayed(claim.delay)
            return 1
        return int(claim.verdict in (Verdict.DUPLICATE, Verdict.MOVED, Verdict.PAUSED))

    def reject(self, raw: bytes, fault: IdFault, source: str | None) -> int:
        """Move what cannot be an id from the queue to the list of rejected ones."""
        verdict = self._store.reject(raw, fault, source)
        if verdict is Verdict.OK:
            log.warning(
                "[PT095] rejected from the queue: %s (id %r); see the list pytask:rejected",
                fault, raw[:80].decode(errors="backslashreplace"),
            )  # fmt: skip
        return 1

    def _park(self, task_id: str, function: str, source: str | None) -> int:
        if function in self._tasks:  # it is paused: see hold_functions.lua
            return self._park_held(task_id, function, source)
        near = get_close_matches(function, self._tasks, 3)
        shown = function.encode(errors="surrogateescape").decode(errors="replace")
        event = codec.event(Event.PARKED, {"function": shown, "near": near})
        verdict = self._store.park(task_id, function, event, source)
        if verdict is Verdict.OK and function not in self._warned and len(self._warned) < NAMED:
            self._warned.add(function)
            meant = f"; did you mean {', '.join(near)}?" if near else "."
            log.warning(
                "[PT092] unknown function %r%s Task %s (and others of that function) is parked for a worker"
                " that knows it",
                function, meant, task_id,
            )  # fmt: skip
        return 1

    def _park_held(self, task_id: str, function: str, source: str | None) -> int:
        """A task of a paused function waits in its parking list until the function is resumed."""
        if source == function:
            return 0
        event = codec.event(Event.PARKED, {"function": function, "near": [], "paused": True})
        self._store.park(task_id, function, event, source, held=True)
        return 1
