"""The way between a process and the server: every call is a request that may be late, lost or unanswered."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from gevent.event import Event as Flag
from gevent.hub import Waiter

from pytask.adapters.memory.backend import MemoryFeed
from pytask.domain.errors import ConfigError, Unavailable

FAST = (0.0002, 0.002)  # seconds, one way
SLOW = (0.1, 1.2)
LATE = (2.0, 60.0)
TIMED_OUT = object()
NOTHING = {}
VERBS = (
    "peek", "claim", "reject", "park", "parked", "hint", "due", "note", "renew", "commit", "reload",
    "preview", "accept", "refuse", "settle", "open_local", "save", "serve", "confirm", "hold_functions",
    "held_functions",
    "control", "suspects", "runs_of", "recent_workers", "expire", "repair", "tidy", "retire", "announce",
    "leave", "adopt", "restore", "ping",
)  # fmt: skip
TIMETABLE = ("due", "fire", "fault")


class Link:
    """All connections of the processes of one place."""

    def __init__(self, world, place):
        self.world = world
        self.place = place
        self.random = world.stream(f"link {place}")
        self._late = world.stream(f"late {place}")
        self.slow = 0
        self.cut = 0  # these are counters: faults of one kind may overlap
        self.deaf = 0
        self.mute_feed = 0
        self.lose_requests = 0
        self.lose_replies = 0
        self.aims = []  # (verb, what to do when one is on its way)

    def delay(self):
        return self.random.uniform(*(SLOW if self.slow else FAST))

    def request_lost(self):
        return bool(self.cut or (self.lose_requests and self.random.random() < 0.6))

    def late(self):
        """Seconds after which a lost request arrives, when nobody waits for it any more; None: never."""
        return self._late.uniform(*LATE) if not self.cut and self._late.random() < 0.3 else None

    def reply_lost(self):
        return bool(self.cut or self.deaf or (self.lose_replies and self.random.random() < 0.6))

    def heal(self):
        self.slow = self.cut = self.deaf = self.mute_feed = self.lose_requests = self.lose_replies = 0


class Call:
    """One request on its way, and its answer."""

    __slots__ = ("args", "how", "link", "process", "sent_at", "verb", "waiter")

    def __init__(self, process, link, verb, args, how, sent_at):
        self.process = process
        self.link = link
        self.verb = verb
        self.args = args
        self.how = how
        self.sent_at = sent_at
        self.waiter = Waiter()

    def deliver(self, outcome):
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.switch(outcome)


class Connection:
    """A connection of one process: one call after the other."""

    def __init__(self, world, process):
        self.world = world
        self.process = process
        self.link = world.links[process.place]

    def call(self, verb, *args, wait=0.0, how=NOTHING):
        """Raises `Unavailable` when no answer came within C (and `wait`, for what blocks)."""
        world, link, loop = self.world, self.link, self.world.loop
        call = Call(self.process, link, verb, args, how, loop.time)
        if link.aims:
            world.aimed(link, self.process, verb)
        delay = link.late() if link.request_lost() else link.delay()
        if delay is not None:
            loop.later(None, delay, world.server.arrive, call)
        limit = loop.timer(self.process.timing.call_timeout + wait)
        limit.start(call.deliver, TIMED_OUT)
        outcome = None
        try:
            outcome = call.waiter.get()
        finally:
            call.waiter = None
            limit.stop()
            failed = outcome is None or outcome is TIMED_OUT or isinstance(outcome, BaseException)
            self.process.renewals_failed += failed and verb == "renew"
        if outcome is TIMED_OUT:
            raise Unavailable(f"{verb}: no answer")
        if isinstance(outcome, BaseException):
            raise outcome
        if verb in ("renew", "adopt"):
            self.process.last_ack = max(self.process.last_ack, call.sent_at)
            world.evidence.steering.acknowledged(call, outcome)
        return outcome


class Store(Connection):
    """The port, each verb a call."""

    incarnation = ahead = None

    @property
    def tails(self):
        """Some processes are of the release before, which names the ids that it claims."""
        return self.process.tails

    def claim(self, request):
        self.ahead = None
        self.ahead, claims = self.call("claim", request)
        return claims

    def renew(self, refs, *saves):
        self.incarnation, verdicts = self.call("renew", refs, *saves)
        return verdicts

    @property
    def schedules(self):
        return Timetable(self)

    def reset(self):
        pass

    close = reconnect = reset


class Timetable:
    """The port of the schedules, on the connection of a store."""

    outcomes: ClassVar = {}  # for metrics only: not simulated

    def __init__(self, store):
        self.call = store.call

    def define(self, name, fields, data, origin, *, lost=False):
        return self.call("schedules.define", name, fields, data, origin, lost)


def _verb(name, prefix=""):
    def verb(self, *args, **how):
        return self.call(prefix + name, *args, how=how)

    verb.__name__ = name
    return verb


for _name in VERBS:
    if _name not in vars(Store):
        setattr(Store, _name, _verb(_name))
for _name in TIMETABLE:
    setattr(Timetable, _name, _verb(_name, "schedules."))


class Queue(Connection):
    """BLMOVE: it blocks, and takes nothing."""

    def wait(self, timeout):
        return self.call("wait", timeout, wait=timeout)

    def close(self):
        pass

    reconnect = close


class Feed(MemoryFeed):
    """The subscription: what is published while the link is down is lost, and nobody says so."""

    def __init__(self, world, process, session):
        super().__init__(world.server.state, session)
        self.world = world
        self.process = process
        self.connection = Connection(world, process)
        self.link = self.connection.link
        self.broken = False
        self._flag = Flag()

    def open(self):
        self.close()
        self.connection.call("subscribe")
        self._inbox = deque()
        self.broken = False
        self._state.listeners.append(self._hear)
        self.world.server.feeds.append(self)

    def reconnect(self):
        pass  # whoever takes over drops all connections

    def close(self):
        if self._inbox is not None and self in self.world.server.feeds:
            self.world.server.feeds.remove(self)
        super().close()

    def _hear(self, channel, payload):
        link = self.link
        if channel.startswith("pytask:ping") and channel != self._ping:
            return
        if self.process.dead or self.broken or link.cut or link.deaf or link.mute_feed:
            return
        self.world.loop.later(self.process, link.delay(), self._arrived, channel, payload)

    def _arrived(self, channel, payload):
        super()._hear(channel, payload)
        self._flag.set()

    def read(self, timeout):
        if not self._inbox and not self.broken:
            self._flag.clear()
            self._flag.wait(timeout)
        if self.broken:
            raise Unavailable("the subscription was cut")
        return super().read(timeout)


class Backend:
    """What a worker of one process is given."""

    cooperative = False

    def __init__(self, world, process):
        self._world = world
        self._process = process

    def store(self):
        return Store(self._world, self._process)

    def queue(self):
        return Queue(self._world, self._process)

    def feed(self, session):
        return Feed(self._world, self._process, session)

    def user_client(self, current):
        raise ConfigError("no Redis client in a simulation")

    def close_user_client(self, borrower):
        pass

    def close(self):
        pass

    def partitions(self, count):
        return [self] * count

    def describe(self):
        return "simulated"

    def risks(self, max_data):
        return Connection(self._world, self._process).call("risks", max_data)

    def check(self):
        Connection(self._world, self._process).call("check")
