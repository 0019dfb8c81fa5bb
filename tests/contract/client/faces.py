"""Both faces of the client against every kind of server; a store plays the worker."""

import asyncio
import json
import threading
import time
from itertools import count

import attrs
import fakeredis
import redis
import redis.asyncio
import valkey
import valkey.asyncio

import pytask
import pytask.aio
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import State, Trigger
from pytask.domain.record import Change, Verdict
from tests.contract.benches import KEEP, NAMESPACE, SOON, MemoryBench, RedisBench

FULL = ("memory", "redis62", "valkey")
WIRE = ("fakeredis", "redis", "valkey-decoded", "valkey-py", "valkey-namespace")
FACES = ("blocking", "asyncio")
QUICK = pytask.Timing().scaled(0.005)  # T = 0.45 s
WATCHFUL = attrs.evolve(QUICK, expiry=60.0)  # looks as often, and watches as long as a busy machine needs


class Awaited:
    """An asyncio client as a blocking one: each call is run to its end."""

    def __init__(self, loop, client):
        self._loop, self._client = loop, client

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if name in ("schedules", "limits"):
            return Awaited(self._loop, found)

        def call(*args, **kwargs):
            result = self._loop.run_until_complete(found(*args, **kwargs))
            return AwaitedIterator(self._loop, result) if name in ("watch", "logs") else result

        return call


class AwaitedIterator:
    def __init__(self, loop, events):
        self._loop, self._events = loop, events

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._loop.run_until_complete(anext(self._events))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self):
        self._loop.run_until_complete(self._events.aclose())


class Both:
    """A client of either face, and what a worker and a person with redis-cli do behind its back."""

    def __init__(self, face, source, bench, **options):
        self.face, self._source, self.bench = face, source, bench
        self.loop = asyncio.new_event_loop() if face == "asyncio" else None
        self._clients = []
        self.client = self.connect(**options)

    def connect(self, source=None, **options):
        limits = {"timeout": SOON, "connect_timeout": SOON}
        options = {"namespace": self.bench.keys.namespace} | limits | options
        made = pytask.aio.Client if self.loop else pytask.Client
        client = made(source or self._source(), **options)
        self._clients.append(Awaited(self.loop, client) if self.loop else client)
        return self._clients[-1]

    def end(self, ref, trigger=Trigger.END, name="ended", **fields):
        event = json.dumps({"event": name, "data": fields or None}).encode()
        fields = {field: json.dumps(value) for field, value in fields.items()}
        change = Change(id=ref.id, run=ref.run, event=event, trigger=trigger, fields=fields)
        assert self.bench.store.commit([change]) == [Verdict.OK]

    def close(self):
        for client in self._clients:
            client.close()
        if self.loop:
            self.loop.close()
        self.bench.close()


def make(kind, face, servers, **options):
    if kind == "memory":
        bench = MemoryBench(KEEP)
        return Both(face, lambda: bench.backend, bench, **options)
    if kind == "fakeredis":
        server = fakeredis.FakeServer()
        bench = RedisBench(fakeredis.FakeRedis(server=server), fakeredis.FakeRedis(server=server), KEEP)
        of = fakeredis.FakeAsyncRedis if face == "asyncio" else fakeredis.FakeRedis
        return Both(face, lambda: of(server=server), bench, **options)
    partition = servers("valkey" if kind.startswith("valkey") else kind)
    at = {"host": partition.host, "port": partition.port, "socket_timeout": SOON}
    raw = redis.Redis(**at)
    raw.flushall()
    bench = RedisBench(redis.Redis(**at), raw, KEEP, NAMESPACE if kind == "valkey-namespace" else "")
    library = redis.asyncio if face == "asyncio" else redis
    plain = {
        "valkey": lambda: partition.url,
        "valkey-decoded": lambda: library.Redis(**at, decode_responses=True, protocol=3),
        "valkey-py": lambda: valkey.asyncio.Valkey(**at) if face == "asyncio" else valkey.Valkey(**at),
    }
    return Both(face, plain.get(kind, lambda: library.Redis(**at)), bench, **options)


def heeded(both, task_id):
    """Wait until the client is subscribed to the task."""
    raw, channel = both.bench.raw, both.bench.keys.events(task_id)
    until = time.monotonic() + SOON
    while not raw.pubsub_numsub(channel)[0][1]:
        assert time.monotonic() < until
        time.sleep(0.005)


def given(raw, command):
    """How often the server was given this command so far."""
    return raw.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


class Beside:
    """Something that happens meanwhile: in a thread, or in a greenlet where the process is patched."""

    def __init__(self, work, *args, after=0.0, **kwargs):
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(after, work, args, kwargs), daemon=True)
        self._thread.start()

    def _run(self, after, work, args, kwargs):
        try:
            time.sleep(after)
            work(*args, **kwargs)
        except BaseException as error:
            self._error = error

    def over(self):
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def settle(pubsub, count=2):
    """The server has the subscriptions."""
    for _ in range(count):
        pubsub.get_message(timeout=SOON)


def silent_run(both, task_id, seconds=3600, **fields):
    """A run whose worker renewed it last so long ago, as the clock of Redis tells."""
    ref = both.bench.running(task_id, **fields)
    both.bench.set_lease(task_id, both.bench.now() - int(seconds * 1e6))
    return ref


def populate(both):
    """Tasks in every state, by state."""
    bench = both.bench
    made = {State(name): [] for name in State}
    numbers = count()
    for state, trigger in (
        (life.ENDED, Trigger.END),
        (life.ERROR, Trigger.FAIL),
        (life.STOPPED, Trigger.STOP),
    ):
        for _ in range(7):
            ref = bench.running(f"{state.lower()}{next(numbers)}")
            both.end(ref, trigger)
            made[state].append(ref.id)
    for _ in range(5):
        ref = bench.running(f"put-back{next(numbers)}")
        both.end(ref, Trigger.RELEASE, "requeued")
        made[life.WAIT].append(ref.id)
        again = bench.ref(f"r{next(numbers)}")
        bench.push(again.id, function="g")
        assert bench.claim(again, functions=("g",))[0].won
        made[life.RUNNING].append(again.id)
    for _ in range(6):
        made[life.WAIT].append(f"pushed{next(numbers)}")
        bench.push(made[life.WAIT][-1])
    bench.push("parked", function="unknown")
    bench.store.park("parked", "unknown", b"{}")
    made[life.WAIT].append("parked")
    return made


def all_pages(client, limit, **filters):
    found, cursor, pages = [], None, 0
    while True:
        page = client.list(limit=limit, cursor=cursor, **filters)
        assert len(page) <= limit
        found += page
        pages += 1
        cursor = page.cursor
        if cursor is None:
            return found, pages
