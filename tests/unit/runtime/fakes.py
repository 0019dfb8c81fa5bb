"""Fakes of the ports and of the clock, and a worker put together from them."""

from collections import defaultdict

import gevent

from pytask.domain.leases import Lease
from pytask.domain.record import Claim, Due, Verdict
from pytask.domain.task_class import register
from pytask.domain.timing import Timing
from pytask.runtime.aio.service import AsyncioLoop
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.runs.capacity import Capacity
from pytask.runtime.runs.committer import Committer, CommitterPorts
from pytask.runtime.runs.event_buffer import Backlog
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.executor_ports import ExecutorPorts
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.start_rate import Turns
from pytask.runtime.runs.task_log import Journal
from pytask.runtime.services.consumer import Consumer, ConsumerPorts
from pytask.runtime.services.heartbeat import Heartbeat, HeartbeatPorts
from pytask.runtime.services.presence import Presence, PresencePorts
from pytask.runtime.services.prestart import Prestart, PrestartPorts
from pytask.runtime.settings import Settings

FAST = Timing().scaled(0.001)  # where the ladder waits for greenlets in real time: G is 10 ms
really_sleep = gevent.sleep


class Clock:
    """A steady clock that only the test moves."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += seconds


class FakeStore:
    """Records every call; answers what `say` lined up for the verb, then as if all went well."""

    def __init__(self):
        self.calls = []
        self.tails = False
        self.incarnation = self.ahead = None
        self._lined_up = defaultdict(list)

    def say(self, verb, *answers):
        """An exception is raised, a function is called with the arguments, the rest is returned."""
        self._lined_up[verb] += answers

    def asked(self, verb):
        """The arguments of each call of this verb."""
        return [args for name, args in self.calls if name == verb]

    def __getattr__(self, verb):
        def call(*args, **named):
            args += tuple(named.items())
            if verb == "commit" and args == ([],):
                return []  # how a committer connects
            self.calls.append((verb, tuple(list(a) if isinstance(a, list) else a for a in args)))
            lined_up = self._lined_up[verb]
            answer = lined_up.pop(0) if lined_up else GOOD.get(verb, lambda *_: None)
            if isinstance(answer, BaseException):
                raise answer
            return answer(*args) if callable(answer) else answer

        return call


def won(ref, function="demo", data=b"{}", verdict=Verdict.OK, **more):
    return Claim(ref.id, ref.run, verdict, function, data, **more)


GOOD = {
    "peek": lambda *_: [],
    "claim": lambda request: [won(ref) for ref in request.refs],
    "confirm": lambda told: [one.word for one in told],
    "reject": lambda *_: Verdict.OK,
    "park": lambda *_: Verdict.OK,
    "parked": list,
    "due": lambda *_: Due(moved=0, timer=None, schedule=None),
    "renew": lambda _refs, _saves=None: {},
    "commit": lambda changes: [Verdict.OK] * len(changes),
    "note": lambda notes, *_: [Verdict.OK] * len(notes),
    "reload": lambda _old, new, *_: won(new),
    "preview": lambda ref, _most: won(ref),
    "refuse": lambda *_: Verdict.OK,
    "accept": lambda judged, *_: judged,
    "settle": lambda *_, **__: Verdict.OK,
    "open_local": lambda ref, function, data, _worker: won(ref, function, data),
    "control": lambda _command, ids, _ages=(): [Verdict.REQUESTED] * len(ids),
    "suspects": lambda *_: [],
    "runs_of": lambda *_: (0, []),
    "recent_workers": lambda *_: [],
    "adopt": lambda adoptions, _worker: [Verdict.OK] * len(adoptions),
    "restore": lambda *_: Verdict.OK,
    "save": lambda *_: Verdict.OK,
    "expire": lambda expiries, _server="": [Verdict.OK] * len(expiries),
    "repair": lambda *_: (0, 0),
    "announce": lambda _info: 0.0,
}


class FakeQueue:
    """Answers each wait from a list, then None: it cannot block.

    What the functions in `behind` return is the answer of a claim behind a wait, with the ids after it.
    """

    def __init__(self, *answers, behind=()):
        self.answers, self.behind = list(answers), list(behind)
        self.waits, self.requests = 0, []

    @property
    def claims(self):
        return bool(self.behind)

    def claim(self, request, timeout):
        self.requests.append(request)
        claims, self.ahead = self.behind.pop(0)(request)
        return claims

    def wait(self, timeout):
        self.waits += 1
        return self.answers.pop(0) if self.answers else None

    def close(self):
        pass


class FakeFeed:
    """Hands out the batches it was given; counts what else is asked of it."""

    def __init__(self, *batches):
        self.batches = list(batches)
        self.behind = False
        self.database = None
        self.opened = self.closed = 0
        self.patience = []  # of each read, seconds

    def open(self):
        self.opened += 1

    def read(self, timeout):
        self.patience.append(timeout)
        batch = self.batches.pop(0) if self.batches else []
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self):
        self.closed += 1


class FakeBackend:
    """Only the clients of tasks: everything else is handed to the services directly."""

    def __init__(self):
        self.opened, self.closed = [], []

    def user_client(self, current):
        self.opened.append(current())
        return object()

    def close_user_client(self, borrower):
        self.closed.append(borrower)

    def close(self):
        pass


class FakeIds:
    """Run ids of one session, until it is renewed."""

    def __init__(self):
        self.session, self.count = 1, 0

    @property
    def id(self):
        return f"s{self.session}"

    def next_run(self):
        return f"{self.id}:{self.reserve(1) + 1}"

    def reserve(self, count):
        self.count += count
        return self.count - count

    def renew(self):
        self.session += 1


class DirectCourier:
    """Calls at once, in the caller's greenlet."""

    def __init__(self, store):
        self.store = store

    def call(self, fn):
        return fn(self.store)


def asyncio_loop():
    """One for all tests of the process: nothing starts before the first coroutine."""
    if not _loops:
        _loops.append(AsyncioLoop(4))
    return _loops[0]


_loops = []


class World:
    """An executor and its neighbours on one fake store; Redis has just answered."""

    def __init__(self, *classes, timing=FAST, hard=False, capacity=None, tracing=None, **settings):
        self.clock, self.store, self.backend, self.ids = Clock(), FakeStore(), FakeBackend(), FakeIds()
        self.timing = timing
        self.settings = Settings(name="w", timing=timing, **settings)
        self.lease = Lease(timing)
        self.lease.acknowledged([], self.clock())
        self.kill_timer = KillTimer(hard=hard)
        self.store_proxy = DirectCourier(self.store)
        self.log_throttle = LogThrottle(timing.heartbeat)
        self.capacity = capacity or Capacity(self.settings.max_tasks)
        # Notifications of other services; a test may replace them.
        self.on_settled = self.on_place = self._wake
        self.on_local_over = lambda _id, _stop_reason, _retry: None
        self.schedules = []  # those of which a run is over
        self.delayed = []  # seconds of those that the committer put into the timers
        self.committer = Committer(CommitterPorts(
            store=self.store, lease=self.lease, clock=self.clock, drops=self.settings.when_full == "drop",
            log_throttle=self.log_throttle, on_settled=self._later("on_settled"),
            on_delayed=self.delayed.append, on_schedule=self.schedules.append,
            backlog=Backlog(
                max_events=self.settings.max_pending, max_bytes=self.settings.max_pending_bytes
            ),
            journal=Journal(lines=self.settings.task_logs, keep=self.settings.keep_logs, wall=self.clock),
        ))  # fmt: skip
        tasks = register({}, *classes)
        self.executor = Executor(ExecutorPorts(
            settings=self.settings, lease=self.lease, committer=self.committer, store_proxy=self.store_proxy,
            kill_timer=self.kill_timer, tasks=tasks, turns=Turns(tasks, self.clock), backend=self.backend,
            native=NativePool(self.settings.blocking_threads), asyncio=asyncio_loop(), ids=self.ids,
            clock=self.clock,
            on_place=self._later("on_place"),
            on_local_over=self._later("on_local_over"), uniform=lambda low, high: low + (high - low) / 2,
            tracing=tracing,
        ))  # fmt: skip

    def _wake(self):
        self.capacity.wake()

    def _later(self, name):
        def call(*args):
            return getattr(self, name)(*args)

        return call

    def heartbeat(self, **callbacks):
        quiet = dict.fromkeys(("on_reached", "on_other_server"), lambda: None)
        return Heartbeat(HeartbeatPorts(**{
            "store": self.store, "lease": self.lease, "executor": self.executor,
            "kill_timer": self.kill_timer, "clock": self.clock, "log_throttle": self.log_throttle,
            "on_lost": self.ids.renew,
            "on_ping": lambda _: None, **quiet, **callbacks,
        }))  # fmt: skip

    def consumer(
        self,
        queue=None,
        capacity=None,
        on_other_server=lambda: None,
        on_delayed=lambda _: None,
        own_loop=True,
    ):
        self.capacity = capacity or self.capacity
        return Consumer(ConsumerPorts(
            store=self.store, queue=queue or FakeQueue(), executor=self.executor, committer=self.committer,
            lease=self.lease, ids=self.ids, clock=self.clock, capacity=self.capacity,
            log_throttle=self.log_throttle, on_other_server=on_other_server, on_delayed=on_delayed,
            own_loop=own_loop,
        ))  # fmt: skip

    def presence(self, **shown):
        return Presence(PresencePorts(**{
            "store_proxy": self.store_proxy, "executor": self.executor, "lease": self.lease,
            "clock": self.clock, "session": lambda: "s1", **shown,
        }))  # fmt: skip

    def prestart(self, *specs):
        made = Prestart(PrestartPorts(
            specs=specs, store_proxy=self.store_proxy, executor=self.executor, committer=self.committer,
            lease=self.lease, ids=self.ids, clock=self.clock, log_throttle=self.log_throttle,
        ))  # fmt: skip
        self.on_local_over = made.over
        return made

    def launch(self, task_id="a", function="demo", data=b"{}", *, local=False, **claim):
        """Start a run of a claim that was sent just now; let it begin; return it."""
        claim = Claim(task_id, self.ids.next_run(), Verdict.OK, function, data, **claim)
        self.executor.launch(claim, self.clock(), local=local)
        run = self.executor.living.get(task_id)
        switch()
        return run

    def commit(self):
        """Send all that waits; the changes that ever reached the store, in order."""
        while self.committer.commit():
            pass
        return [change for (batch,) in self.store.asked("commit") for change in batch]

    def ends(self):
        """The triggers that reached the store, by run."""
        return [(change.run, change.trigger) for change in self.commit() if change.trigger is not None]


def switch(rounds=8):
    """Let all greenlets that can run do so."""
    for _ in range(rounds):
        really_sleep(0)


def until(condition):
    """Let greenlets run until something holds; a ladder of the fast timing takes some 30 ms."""
    for _ in range(500):
        if condition():
            return
        really_sleep(0.001)
    raise AssertionError("it did not come to that")
