"""The simulated Redis: the in-memory twin behind states in which a server can be."""

from __future__ import annotations

import copy

from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.adapters.rules import Retention
from pytask.domain.errors import Refused, Unavailable
from pytask.domain.messages import Command, Event

READS = {
    "peek", "parked", "suspects", "runs_of", "recent_workers", "preview",
    "wait", "subscribe", "check", "hint", "ping", "schedules.due",
}  # fmt: skip
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
        self.safe = False  # a failover may fall back to older data
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


class Server:
    """Requests arrive here, and are applied at once, later, or not at all."""

    def __init__(self, world):
        self.world = world
        self.clock_step = 0.0
        self.stepped = False
        self.state = State(self.now, world.evidence)
        self.store = MemoryStore(self.state, Retention())
        self.down = 0
        self.frozen = 0
        self.read_only = 0
        self.full = 0
        self.feeds = []
        self.failovers = 0
        self._backlog = []
        self._waiting = []

    def now(self):
        """Redis TIME."""
        return 1_800_000_000.0 + self.world.loop.time + self.clock_step

    # -- requests -------------------------------------------------------------------------------------

    def arrive(self, call):
        if self.down:
            self._answer(call, Unavailable("connection refused"))
        elif self.frozen:
            self._backlog.append(call)
        else:
            self._serve(call)

    def _serve(self, call):
        verb = call.verb
        if verb == "wait":
            if self.state.queue:
                self._answer(call, self.state.queue[-1:])
            else:
                self._waiting.append(call)
                self.world.loop.later(None, call.args[0], self._waited, call)
            return
        if verb in ("subscribe", "check", "risks"):
            self._answer(call, [])
            return
        try:
            self._refuse(verb, call.args)
            self.world.evidence.steering.serving(call, self.state)
            outcome = self._apply(verb, call.args, call.how)
            self.world.evidence.applied(call, outcome)
            if verb in MOVES:
                self.world.evidence.counts.places(self.state)
        except (Refused, Unavailable) as error:
            outcome = error
        except Exception as error:
            self.world.evidence.broken(call.process, f"{verb} failed in the store: {error!r}")
            outcome = error
        self._wake()
        self._answer(call, outcome)

    def _apply(self, verb, args, how):
        self.state.by = verb
        timers = set(self.state.timers) if verb == "due" else None
        try:
            outcome = self._fire(args[0]) if verb == "schedules.fire" else self._method(verb)(*args, **how)
        finally:
            self.state.by = ""
        if timers is not None:
            self.world.evidence.counts.moved(timers, self.state)
        noted = {"renew": self.store.incarnation, "claim": self.store.ahead}
        return (noted[verb], outcome) if verb in noted else outcome

    def _define(self, name, fields, data, origin, lost):
        return self.store.schedules.define(name, fields, data, origin, lost=lost)

    def _method(self, verb):
        if verb == "schedules.define":
            return self._define
        return getattr(self.store.schedules if "." in verb else self.store, verb.rpartition(".")[2])

    def _fire(self, firings):
        """The lists of occurrences are short: the evidence reads each line before it falls out of them."""
        judge, verdicts = self.world.evidence.occurrences, None
        before = judge.before(self.state, firings)
        try:
            verdicts = self.store.schedules.fire(firings)
        finally:
            judge.after(self.state, firings, verdicts, before)
        return verdicts

    def _refuse(self, verb, args):
        if verb in READS:
            return
        if self.read_only:
            raise Refused("MISCONF writes are refused", "MISCONF")
        begins_free = (
            "renew", "commit", "expire", "reload", "accept", "refuse", "settle", "leave", "adopt", "save",
            "confirm",
        )  # fmt: skip
        if self.full and verb not in begins_free and not (verb == "control" and args[0] is Command.STOP):
            raise Refused("OOM command not allowed", "OOM")

    def _waited(self, call):
        if call in self._waiting:
            self._waiting.remove(call)
            self._answer(call, [])

    def _wake(self):
        if self.state.queue and self._waiting:
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                self._answer(call, self.state.queue[-1:])

    def _answer(self, call, outcome):
        if not call.process.dead and not call.link.reply_lost():
            self.world.loop.later(call.process, call.link.delay(), call.deliver, outcome)

    # -- clients --------------------------------------------------------------------------------------

    def client(self, fn):
        """What a client does, repeated until the server takes it."""
        if self.down or self.frozen or self.read_only or self.full:
            self.world.loop.later(None, 1.0, self.client, fn)
            return
        fn(self.state)
        self.world.evidence.counts.places(self.state)
        self._wake()

    # -- faults ---------------------------------------------------------------------------------------

    def go_down(self):
        self.down += 1
        self._drop_connections()

    def come_up(self):
        self.down -= 1

    def _drop_connections(self):
        for feed in self.feeds:
            feed.broken = True
            self.world.loop.later(feed.process, 0.001, feed._flag.set)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._answer(call, Unavailable("connection reset"))

    def freeze(self):
        self.frozen += 1

    def thaw(self):
        self.frozen -= 1
        if not self.frozen:
            backlog, self._backlog = self._backlog, []
            for call in backlog:
                self.arrive(call)

    def snapshot(self):
        """The data as a replica may have it, and which run of each task was the last one in it."""
        data = {name: copy.deepcopy(getattr(self.state, name)) for name in DATA}
        return data, self.world.evidence.snapshot()

    def fail_over(self, snapshot):
        """Another server takes over, which had no more than this."""
        data, known = snapshot
        self._replace(data)
        self.world.evidence.rolled_back(known)
        self.failovers += 1
        self.state.server = f"server {self.failovers}"
        self._wake()

    def _replace(self, data):
        for name, value in data.items():
            setattr(self.state, name, copy.deepcopy(value))
        self._drop_connections()

    def flush(self):
        """FLUSHALL."""
        empty = State(self.now, None)
        self._replace({name: getattr(empty, name) for name in DATA})

    def heal(self):
        self.read_only = self.full = self.down = 0
        while self.frozen:
            self.thaw()
