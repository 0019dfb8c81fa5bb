"""The way between a process and the server: every call is a request that may be late, lost or unanswered."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from gevent.event import Event as Flag
from gevent.hub import Waiter

from pytask.adapters.memory.backend import MemoryFeed
from pytask.adapters.memory.state import MemoryState
from pytask.domain.errors import ConfigError, Unavailable
from pytask.domain.record import Notice
from pytask.domain.timing import Timing
from pytask.testing.virtual_time import Life, Loop

FAST = (0.0002, 0.002)  # seconds, one way
SLOW = (0.1, 1.2)
LATE = (2.0, 60.0)
TIMED_OUT = object()
NOTHING: Mapping[str, Any] = {}
VERBS = (
    "peek", "claim", "reject", "park", "parked", "hint", "due", "note", "renew", "commit", "reload",
    "preview", "accept", "refuse", "settle", "open_local", "save", "serve", "confirm", "hold_functions",
    "held_functions",
    "control", "suspects", "runs_of", "recent_workers", "expire", "repair", "tidy", "retire", "announce",
    "leave", "adopt", "restore", "ping", "sample",
)  # fmt: skip
TIMETABLE = ("due", "fire", "fault", "define")


class Caller(Life):
    """The part of a process that its connections use."""

    place: str
    timing: Timing
    tails: bool  # it is of this release, and not of the one before
    renewals_failed: int
    last_ack: float  # world's time at which the last acknowledged renewal was sent


class Server(Protocol):
    """The part of the server that connections use."""

    state: MemoryState
    feeds: list[Feed]

    def arrive(self, call: Call) -> None:
        """A request."""


class Network(Protocol):
    """The part of a world that connections use."""

    loop: Loop
    links: dict[str, Link]

    @property
    def server(self) -> Server:
        """The server at the other end."""

    def stream(self, name: str) -> random.Random:
        """Chance for one purpose."""

    def aimed(self, link: Link, process: Any, verb: str) -> None:
        """A call of this verb is on its way, and the link has aims."""

    def acknowledged(self, call: Call, outcome: Any) -> None:
        """A renewal was answered."""


class Link:
    """All connections of the processes of one place."""

    def __init__(self, world: Network, place: str) -> None:
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
        self.aims: list[tuple[str, Callable[..., Any]]] = []  # (verb, what to do when one is on its way)

    def delay(self) -> float:
        """Seconds of one way."""
        return self.random.uniform(*(SLOW if self.slow else FAST))

    def request_lost(self) -> bool:
        """Whether the next request does not arrive."""
        return bool(self.cut or (self.lose_requests and self.random.random() < 0.6))

    def late(self) -> float | None:
        """Seconds after which a lost request arrives, when nobody waits for it any more; None: never."""
        return self._late.uniform(*LATE) if not self.cut and self._late.random() < 0.3 else None

    def reply_lost(self) -> bool:
        """Whether the next reply does not arrive."""
        return bool(self.cut or self.deaf or (self.lose_replies and self.random.random() < 0.6))

    def heal(self) -> None:
        """No more faults."""
        self.slow = self.cut = self.deaf = self.mute_feed = self.lose_requests = self.lose_replies = 0


class Call:
    """One request on its way, and its answer."""

    __slots__ = ("args", "behind", "how", "link", "process", "sent_at", "verb", "waiter")

    def __init__(  # noqa: PLR0913, PLR0917 - what a request has
        self,
        process: Caller,
        link: Link,
        verb: str,
        args: tuple[Any, ...],
        how: Mapping[str, Any],
        sent_at: float,
    ) -> None:
        self.process = process
        self.link = link
        self.verb = verb
        self.args = args
        self.how = how
        self.sent_at = sent_at
        self.behind = 0.0  # seconds of a wait for an id, behind which it is served
        self.waiter: Any = Waiter()

    def deliver(self, outcome: Any) -> None:
        """The answer, unless nobody waits for it any more."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.switch(outcome)


class Connection:
    """A connection of one process: one call after the other."""

    def __init__(self, world: Network, process: Caller) -> None:
        self.world = world
        self.process = process
        self.link = world.links[process.place]
        self.under_way: Call | None = None  # the last call

    def call(self, verb: str, *args: Any, wait: float = 0.0, how: Mapping[str, Any] = NOTHING) -> Any:
        """Raises `Unavailable` when no answer came within C (and `wait`, for what blocks)."""
        world, link, loop = self.world, self.link, self.world.loop
        self.under_way = call = Call(self.process, link, verb, args, how, loop.time)
        call.behind = wait
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
            world.acknowledged(call, outcome)
        return outcome


class Store(Connection):
    """The port, each verb a call."""

    incarnation: Any = None
    ahead: Any = None

    @property
    def tails(self) -> bool:
        """Some processes are of the release before, which names the ids that it claims."""
        return self.process.tails

    def claim(self, request: Any) -> Any:
        """Claim a batch."""
        self.ahead = None
        self.ahead, claims = self.call("claim", request)
        return claims

    def renew(self, refs: Sequence[Any], *saves: Any) -> Any:
        """Renew leases."""
        self.incarnation, verdicts = self.call("renew", refs, *saves)
        return verdicts

    @property
    def schedules(self) -> Timetable:
        """The verbs of schedules."""
        return Timetable(self)

    def reset(self) -> None:
        """Nothing to drop."""

    close = reconnect = reset


class Timetable:
    """The port of the schedules, on the connection of a store."""

    outcomes: ClassVar[dict[str, int]] = {}  # for metrics only: not simulated

    def __init__(self, store: Store) -> None:
        self.call = store.call


def _verb(name: str, prefix: str = "") -> Callable[..., Any]:
    def verb(self: Any, *args: Any, **how: Any) -> Any:
        return self.call(prefix + name, *args, how=how)

    verb.__name__ = name
    return verb


for _name in VERBS:
    if _name not in vars(Store):
        setattr(Store, _name, _verb(_name))
for _name in TIMETABLE:
    setattr(Timetable, _name, _verb(_name, "schedules."))


class Queue(Connection):
    """BLMOVE: it blocks, and takes nothing; or with a claim behind it in the same packet."""

    claims = True
    ahead: Any = None

    def wait(self, timeout: float) -> Any:
        """The next id; an empty list after so many seconds."""
        return self.call("wait", timeout, wait=timeout)

    def claim(self, request: Any, timeout: float) -> Any:
        """Wait, and claim what stands there then: the request is that of the beginning."""
        self.ahead = None
        self.ahead, claims = self.call("claim", request, wait=timeout)
        return claims

    def reconnect(self) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        """End a claim that waits.  The server may not hear of it before it has served that."""
        call = self.under_way
        if call is not None and call.verb == "claim":
            self.world.loop.soon(self.process, call.deliver, Unavailable("the worker has ended the wait"))


class Feed(MemoryFeed):
    """The subscription: what is published while the link is down is lost, and nobody says so."""

    def __init__(self, world: Network, process: Caller, session: str) -> None:
        super().__init__(world.server.state, session)
        self.world = world
        self.process = process
        self.connection = Connection(world, process)
        self.link = self.connection.link
        self.broken = False
        self.flag = Flag()

    def open(self) -> None:
        """Subscribe."""
        self.close()
        self.connection.call("subscribe")
        self._inbox = deque()
        self.broken = False
        self._state.listeners.append(self._hear)
        self.world.server.feeds.append(self)

    def reconnect(self) -> None:
        """Whoever takes over drops all connections."""

    def close(self) -> None:
        """Hear no more."""
        if self._inbox is not None and self in self.world.server.feeds:
            self.world.server.feeds.remove(self)
        super().close()

    def _hear(self, channel: str, payload: bytes) -> None:
        link = self.link
        if channel.startswith("pytask:ping") and channel != self._ping:
            return
        if self.process.dead or self.broken or link.cut or link.deaf or link.mute_feed:
            return
        self.world.loop.later(self.process, link.delay(), self._arrived, channel, payload)

    def _arrived(self, channel: str, payload: bytes) -> None:
        super()._hear(channel, payload)
        self.flag.set()

    def read(self, timeout: float) -> list[Notice]:
        """What arrives within so many seconds."""
        if not self._inbox and not self.broken:
            self.flag.clear()
            self.flag.wait(timeout)
        if self.broken:
            raise Unavailable("the subscription was cut")
        return super().read(timeout)


class Backend:
    """What a worker of one process is given."""

    cooperative = False

    def __init__(self, world: Network, process: Caller) -> None:
        self._world = world
        self._process = process

    def store(self) -> Any:
        """A store."""
        return Store(self._world, self._process)

    def queue(self) -> Any:
        """The waiter for the queue."""
        return Queue(self._world, self._process)

    def feed(self, session: str) -> Any:
        """The feed of a session."""
        return Feed(self._world, self._process, session)

    def user_client(self, current: Any) -> Any:  # noqa: ARG002 - the port's own
        """Raises `ConfigError`."""
        raise ConfigError("no Redis client in a simulation: give the task a fake of what it keeps there")

    @property
    def coroutines(self) -> Any:
        """Raises `ConfigError`."""
        raise ConfigError("no asyncio in a simulation")

    def close_user_client(self, borrower: Any) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        """Nothing to drop."""

    def partitions(self, count: int) -> Any:
        """The same for each."""
        return [self] * count

    def describe(self) -> str:
        """The text for logs, instead of an address."""
        return "simulated"

    def risks(self, max_data: int) -> Any:
        """What the server says."""
        return Connection(self._world, self._process).call("risks", max_data)

    def check(self) -> None:
        """Whether it answers."""
        Connection(self._world, self._process).call("check")
