"""The simulated Redis, of which the evidence sees each call; and failovers."""

from __future__ import annotations

import copy

from pytask.adapters.memory.state import MemoryState
from pytask.domain.messages import Event
from pytask.testing.memory_server import MemoryServer

MOVES = {
    "claim", "due", "reject", "park", "commit", "control", "expire", "repair", "adopt", "restore",
    "schedules.fire", "serve",
}  # fmt: skip
DATA = (
    "values", "expires", "queue", "parking", "rejected", "runs", "leases", "index", "workers", "infos",
    "monitors", "incarnation", "timers", "schedules", "occurrences", "paused", "paused_functions", "slots",
    "claimed",
)  # fmt: skip
QUEUED = tuple(f'{{"event":"{name}"' for name in (Event.QUEUED, Event.REQUEUED, Event.ROLLED_BACK))
RESTED = tuple(f'{{"event":"{name}"' for name in (Event.STOPPED, Event.ENDED, Event.ERROR))


class State(MemoryState):
    """The twin's data, which tells the evidence of each new run and each event."""

    def __init__(self, now, evidence):
        super().__init__(now)
        self._evidence = evidence
        self.safe = False  # a failover may fall back to older data; but see `World.change_safely`
        self.by = ""  # the verb that is served

    @property
    def adopting(self):
        return self.by == "adopt"

    def run(self, task_id, run, worker, **changes):
        if not self.adopting:
            old = changes.get("last_run", "") if self.by in ("reload", "open_local") else None
            fields = self.fields(task_id)
            self._evidence.counts.claimed(task_id, run, fields, self.millis(), reloaded=old)
        epoch = super().run(task_id, run, worker, **changes)
        if not self.adopting:
            self._evidence.claimed(task_id, run, epoch)
            self._evidence.steering.claimed(task_id, run, fields, old or None)
        return epoch

    def emit(self, task_id, payload):
        """Nobody watches the events here, but the evidence of stops."""
        text = payload if isinstance(payload, str) else payload.decode()
        if text.startswith(RESTED):
            self._evidence.came_to_rest(task_id)
        elif text.startswith(QUEUED):
            self._evidence.counts.queued(task_id)


class Server(MemoryServer):
    """Requests arrive here, and are applied at once, later, or not at all."""

    def __init__(self, world):
        super().__init__(world)
        self.failovers = 0
        self.stepped = False

    def make_state(self):
        return State(self.now, self.world.evidence)

    # -- requests -------------------------------------------------------------------------------------

    def served(self, call):
        verb = call.verb
        self.world.evidence.steering.serving(call, self.state)
        outcome = self.applied(verb, call.args, call.how)
        self.world.evidence.applied(call, outcome)
        if verb in MOVES:
            self.world.evidence.counts.places(self.state)
        return outcome

    def deliver(self, call, outcome):
        if call.verb == "claim" and call.waiter is not None and isinstance(outcome, tuple):
            self.world.evidence.heard.told(outcome[1])
        super().deliver(call, outcome)

    def applied(self, verb, args, how):
        self.state.by = verb
        timers = set(self.state.timers) if verb == "due" else None
        try:
            outcome = super().applied(verb, args, how)
        finally:
            self.state.by = ""
        if timers is not None:
            self.world.evidence.counts.moved(timers, self.state)
        return outcome

    def method(self, verb):
        return self._fire if verb == "schedules.fire" else super().method(verb)

    def _fire(self, firings):
        """The lists of occurrences are short: the evidence reads each line before it falls out of them."""
        judge, verdicts = self.world.evidence.occurrences, None
        before = judge.before(self.state, firings)
        try:
            verdicts = self.store.schedules.fire(firings)
        finally:
            judge.after(self.state, firings, verdicts, before)
        return verdicts

    # -- clients --------------------------------------------------------------------------------------

    def client(self, fn):
        """What a client does, repeated until the server takes it."""
        if self.down or self.frozen or self.read_only or self.full:
            self.world.loop.later(None, 1.0, self.client, fn)
            return
        fn(self.state)
        self.world.evidence.counts.places(self.state)
        self.wake()

    # -- faults ---------------------------------------------------------------------------------------

    def snapshot(self):
        """The data as a replica may have it, and which run of each task was the last one in it."""
        data = {name: copy.deepcopy(getattr(self.state, name)) for name in DATA}
        return data, self.world.evidence.snapshot()

    def fail_over(self, snapshot, *, safe=False):
        """Another server takes over, which had no more than this; `safe`: a loss was ruled out."""
        data, known = snapshot
        self._replace(data)
        self.world.evidence.rolled_back(known)
        self.failovers += 1
        self.state.server = f"server {self.failovers}"
        self.state.safe = False
        if not safe and self.state.incarnation:
            self.state.incarnation["safe"] = False  # as the last renewal before it had seen
        self.wake()

    def _replace(self, data):
        for name, value in data.items():
            setattr(self.state, name, copy.deepcopy(value))
        self.drop_connections()

    def flush(self):
        """FLUSHALL."""
        empty = State(self.now, None)
        self._replace({name: getattr(empty, name) for name in DATA})
