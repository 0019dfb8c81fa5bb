"""Every backend with its store, and neutral access to what each of them keeps."""

import json
from itertools import count

import fakeredis
import redis
import valkey

from pytask.adapters.keys import Keys
from pytask.adapters.memory.backend import MemoryBackend, MemoryFeed
from pytask.adapters.memory.commands import Commands
from pytask.adapters.memory.keyspace import Keyspace
from pytask.adapters.redis.acl import rules
from pytask.adapters.redis.backend import BackendOptions, RedisBackend
from pytask.adapters.rules import Retention
from pytask.domain.lifecycle import RESTING, State, Trigger
from pytask.domain.record import Change, ClaimRequest, Expiry, RunRef, Tail

KEEP = Retention(ended=60, error=120, stopped=None)
NAMESPACE = "{pt}:"
SOON = 20.0  # seconds for what takes milliseconds, on a busy machine
REAL = ("redis62", "valkey")
FULL = ("memory", *REAL)
WIRE = (  # what is sent and answered differs, and who may; what happens does not
    "fakeredis",
    "fakeredis-decoded",
    "valkey-resp3-decoded",
    "valkey-py",
    "valkey-namespace",
    "redis62-acl",
    "valkey-acl",
)
X = b'{"event":"x","data":null}'
STRANGER = "stranger:1"
READS = {  # how a key of each type is read, on a client or a pipeline
    "hash": lambda at, key: at.hgetall(key),
    "list": lambda at, key: at.lrange(key, 0, -1),
    "zset": lambda at, key: at.zrange(key, 0, -1, withscores=True),
    "set": lambda at, key: at.smembers(key),
    "string": lambda at, key: at.get(key),
}


class Bench:
    """A backend with its store, and what a test does behind the store's back.  State is text throughout."""

    backend = None
    store = None

    def __init__(self):
        self._runs = count(1)

    def ref(self, task_id, session="session"):
        """A fresh run id for a task."""
        return RunRef(task_id, f"{session}:{next(self._runs)}")

    def request(self, *refs, functions=("f",), **options):
        return ClaimRequest(refs=refs, functions=frozenset(functions), worker="w", **options)

    def claim(self, *refs, **options):
        return self.store.claim(self.request(*refs, **options))

    def tail(self, count, session="session"):
        """A claim of so many ids at the tail, with numbers of their own."""
        first = next(self._runs)
        for _ in range(count):
            next(self._runs)
        return Tail(session, first - 1, count)

    def claim_tail(self, tail, **options):
        """A claim of what stands at the tail; the same `tail` again is a repeat."""
        tail = self.tail(tail) if isinstance(tail, int) else tail
        return self.store.claim(self.request(tail=tail, **options))

    def running(self, task_id, **fields):
        """Push and claim a task; its run."""
        self.push(task_id, **fields)
        ref = self.ref(task_id)
        (claim,) = self.claim(ref)
        assert claim.won, claim
        return ref

    def push(self, task_id, function="f", data='{"a":1}', **fields):
        self.write(task_id, function=function, data=data, **fields)
        self.lpush(task_id)

    def expires_in(self, task_id, seconds):
        """Whether the remaining time of a hash fits an expiry of `seconds` set just now (None: no expiry)."""
        left = self.ttl(task_id)
        return left is None if seconds is None else left is not None and seconds - SOON <= left <= seconds

    def expiry(self, ref, **options):
        return Expiry(id=ref.id, run=ref.run, seen=self.leases()[ref.id], **options)

    def kept(self, ids, functions):
        """All that is kept, in plain types."""
        return {
            "hashes": {i: (self.is_string(i), self.hash(i), self.ttl(i)) for i in ids},
            "queue": self.queue(),
            "parking": {name: self.parking(name) for name in functions},
            "rejected": self.rejected(),
            "runs": self.runs(),
            "leases": self.leases(),
            "indexes": {state: self.index(state) for state in RESTING},
            "timers": self.timers(),
            "claimed": self.claimed(),
            "paused": self.paused(),
            "workers": self.workers(),
            "marker": self.marker(),
        }

    def assert_registered(self, ref):
        """RUNNING <=> an entry in runs <=> hash.run equals it <=> a lease."""
        fields = self.hash(ref.id)
        assert self.runs()[ref.id] == fields["run"] == ref.run
        assert fields["state"] == "RUNNING"
        assert ref.id in self.leases()
        assert not any(ref.id in self.index(state) for state in RESTING)

    def assert_at_rest(self, task_id, state):
        fields = self.hash(task_id)
        assert fields["state"] == state
        assert "run" not in fields
        assert task_id not in self.runs()
        assert task_id not in self.leases()
        assert {s for s in RESTING if task_id in self.index(s)} == {state}


class MemoryPubSub(MemoryFeed):
    """What a worker hears, as a client of Redis has it."""

    def __init__(self, state):
        super().__init__(state, "")
        self.open()

    def _hear(self, channel, payload):
        if channel.endswith("-control"):
            self._inbox.append({"channel": channel.encode(), "data": payload})

    def get_message(self, timeout):
        return self._inbox.popleft() if self._inbox else None

    def subscribe(self, channel):
        pass

    psubscribe = subscribe


class MemoryRaw:
    """What a test asks of a client of Redis, of the memory."""

    def __init__(self, state):
        self._state, self._commands = state, Commands(state)

    def pubsub(self, **options):
        return MemoryPubSub(self._state)

    def pubsub_numsub(self, channel):
        return [(channel, len(self._state.listeners))]

    def smembers(self, key):
        return set(self._commands.run(("SRANDMEMBER", key, 100)))

    def exists(self, key):
        return Keyspace(self._state).value(key) is not None

    def scan_iter(self, match):
        return [key for key in self._state.values if match.strip("*") in key]

    def zrem(self, key, member):
        self._state.index[State(key.rpartition(":")[2])].pop(member)


class MemoryBench(Bench):
    def __init__(self, retention):
        super().__init__()
        self.retention = retention
        self.backend = MemoryBackend(retention=retention)
        self.store = self.backend.store()
        self.state = self.backend.state
        self.keys = self.state.keys
        self.raw = MemoryRaw(self.state)
        self._read = 0
        self.store.renew([])  # the marker of the data, which the first renewal makes

    def write(self, task_id, **fields):
        self.state.write(task_id, **fields)

    def lpush(self, raw):
        self.state.queue.insert(0, raw if isinstance(raw, bytes) else raw.encode())

    def set_string(self, task_id):
        self.state.values[task_id] = b"x"

    def delete(self, task_id):
        self.backend.delete(task_id)

    def erase(self, task_id, *names):
        self.state.erase(task_id, *names)

    def drop(self, name):
        getattr(self.state, name).clear()

    def clear(self):
        """Nothing is kept, but the marker of the data."""
        state = self.state
        for kept in (
            state.values,
            state.queue,
            state.parking,
            state.runs,
            state.leases,
            state.timers,
            state.paused,
            state.claimed,
        ):
            kept.clear()
        for ids in state.index.values():
            ids.clear()
        state.slots = type(state.slots)()

    def drop_entry(self, name, task_id):
        getattr(self.state, name).pop(task_id, None)

    def marker(self):
        return {name: str(value) for name, value in self.state.incarnation.items()}

    def fail_over(self, *, safe):
        """Another server goes on with this data; safe: it has all that was acknowledged."""
        self.state.safe = safe
        self.store.renew([])
        self.state.server += "'"
        return True

    def forget_scripts(self):
        pass

    def set_lease(self, task_id, micros):
        self.state.leases[task_id] = micros

    def set_run(self, task_id, run):
        self.state.runs[task_id] = run

    def now(self):
        return self.state.micros()

    def set_ttl(self, task_id, seconds):
        self.state.expires[task_id] = self.state.now() + seconds

    def ttl(self, task_id):
        until = self.state.expires.get(task_id)
        return None if until is None else round(until - self.state.now())

    def hash(self, task_id):
        return self.backend.hash(task_id)

    def is_string(self, task_id):
        return isinstance(self.state.value(task_id), bytes)

    def exists(self, task_id):
        return self.state.value(task_id) is not None

    def queue(self):
        return self.backend.queued()[::-1]

    def parking(self, function):
        return [raw.decode() for raw in self.state.waiting(function)]

    def log(self, task_id):
        return list(self.state.ring(task_id))

    def log_ttl(self, task_id):
        return round(self.state.rings[task_id][1] - self.state.now())

    def runs(self):
        return dict(self.state.runs)

    def leases(self):
        return dict(self.state.leases)

    def index(self, state):
        return set(self.state.index[state])

    def timers(self):
        return dict(self.state.timers)

    def set_timer(self, task_id, ms):
        self.state.timers[task_id] = ms

    def samples(self, ring):
        return {str(at): line.decode() for at, line in self.state.samples.get(ring, {}).items()}

    def set_sample(self, ring, place, line):
        self.state.samples.setdefault(ring, {})[place] = line.encode()

    def claimed(self):
        return {session: (base, ids) for session, (base, ids, _) in self.state.claimed.items()}

    def claimed_for(self, session):
        return self.state.claimed[session][2] - self.state.now()

    def forget_claims(self):
        self.state.claimed.clear()

    def paused(self):
        return set(self.state.paused)

    def set_paused(self, task_id):
        self.state.paused.add(task_id)

    def set_index(self, state, task_id, at):
        self.state.index[state][task_id] = at

    def set_limit(self, entry, value):
        if value is None:
            self.state.slots.limits.pop(entry, None)
        else:
            self.state.slots.limits[entry] = str(value)

    def slots(self, entry):
        return set(self.state.slots.taken.get(entry, ()))

    def line(self, entry):
        found = self.state.slots.lines.get(entry, {})
        return sorted(found, key=lambda one: (found[one], one))

    def slotted(self):
        return {i: f"{len(g.encode())}:{g}{f}" for i, (g, f) in self.state.slots.slotted.items()}

    def woken(self):
        return dict(self.state.slots.woken)

    def runners(self):
        return dict(self.state.slots.runners)

    def groups(self):
        return set(self.state.slots.groups)

    def look_again(self, looked=0):
        for entry in self.state.slots.groups:
            self.state.slots.groups[entry] = looked

    def take_slot(self, entry, task_id):
        group = entry.partition(":")[2] if entry.startswith("group") else ""
        self.state.slots.take(task_id, group, "" if group else entry.partition(":")[2])

    def line_up(self, entry, task_id, arrival=1):
        self.state.slots.line_up(entry, task_id, arrival)

    def rated(self, function):
        return dict(self.state.slots.rated.get(function, {}))

    def set_rated(self, function, task_id, at):
        self.state.slots.rated[function][task_id] = at

    def set_arrival(self, function, at):
        self.state.slots.rates[function] = at

    def drop_slots(self):
        self.state.slots.taken.clear()
        self.state.slots.slotted.clear()

    def set_schedule(self, name, score=None, **fields):
        if fields:
            self.state.write(f"pytask:schedule:{name}", **fields)
        if score is not None:
            self.state.schedules[name] = float(score)

    def schedule(self, name):
        return self.hash(f"pytask:schedule:{name}")

    def delete_schedule(self, name):
        self.state.delete(f"pytask:schedule:{name}")

    def spoil_schedule(self, name):
        self.state.values[f"pytask:schedule:{name}"] = b"x"

    def spoil_occurrences(self, name):
        self.state.values[f"pytask:occurrences:{name}"] = b"x"

    def times(self):
        return dict(self.state.schedules)

    def occurrences(self, name):
        return [json.loads(line) for line in self.state.occurrences.get(name, [])]

    def rejected(self):
        return [json.loads(note) for note in self.state.rejected]

    def workers(self):
        return set(self.state.workers)

    def publish(self, channel, payload):
        self.backend.publish(channel, payload)

    def events(self):
        found = self.backend.events()[self._read :]
        self._read += len(found)
        return [(one.task_id, one.event, one.data) for one in found]

    def dump(self):
        state = self.state
        kept = (state.values, state.expires, state.queue, state.parking, state.rejected, state.runs)
        more = (
            self.claimed(),
            state.timers,
            sorted(state.paused),
            state.leases,
            state.index,
            state.workers,
            state.monitors,
        )
        return repr((kept, more, list(state.events)))

    def close(self):
        pass


class RedisBench(Bench):
    """`raw` is a plain client of its own, with bytes; `client` the one under test."""

    def __init__(self, client, raw, retention, namespace=""):
        super().__init__()
        self.retention = retention
        self.client, self.raw, self.keys = client, raw, Keys(namespace)
        self.backend = RedisBackend(
            client, BackendOptions(namespace=namespace, retention=retention, call_timeout=SOON)
        )
        self.store = self.backend.store()
        self.store.renew([])  # the marker of the data, which the first renewal makes
        self._watch = raw.pubsub(ignore_subscribe_messages=True)
        self._watch.psubscribe(f"{namespace}task-*")
        self._marks = count()
        self.events()

    def write(self, task_id, **fields):
        self.raw.hset(self.keys.task(task_id), mapping=fields)

    def lpush(self, raw):
        self.raw.lpush(self.keys.queue, raw)

    def set_string(self, task_id):
        self.raw.set(self.keys.task(task_id), "x")

    def delete(self, task_id):
        self.raw.delete(self.keys.task(task_id))

    def erase(self, task_id, *names):
        self.raw.hdel(self.keys.task(task_id), *names)

    def drop(self, name):
        self.raw.delete(getattr(self.keys, name))

    def clear(self):
        """Nothing is kept, but the marker of the data."""
        self.raw.flushall()
        self.store.renew([])

    def drop_entry(self, name, task_id):
        remove = self.raw.hdel if name == "runs" else self.raw.zrem
        remove(getattr(self.keys, name), task_id)

    def marker(self):
        return _texts(self.raw.hgetall(self.keys.incarnation))

    def fail_over(self, *, safe):
        """The server gets a new replication id, as one that is promoted does; False where it has none."""
        if not self.marker()["server"]:
            return False
        self.raw.config_set("appendonly", "yes" if safe else "no")
        self.store.renew([])
        self.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
        self.raw.execute_command("REPLICAOF", "NO", "ONE")
        return True

    def forget_scripts(self):
        self.raw.script_flush()

    def set_lease(self, task_id, micros):
        self.raw.zadd(self.keys.leases, {task_id: micros})

    def set_run(self, task_id, run):
        self.raw.hset(self.keys.runs, task_id, run)

    def now(self):
        seconds, micros = self.raw.time()
        return seconds * 1_000_000 + micros

    def set_ttl(self, task_id, seconds):
        self.raw.expire(self.keys.task(task_id), seconds)

    def ttl(self, task_id):
        left = self.raw.ttl(self.keys.task(task_id))
        return None if left < 0 else left

    def hash(self, task_id):
        return {} if self.is_string(task_id) else _texts(self.raw.hgetall(self.keys.task(task_id)))

    def is_string(self, task_id):
        return self.raw.type(self.keys.task(task_id)) == b"string"

    def exists(self, task_id):
        return bool(self.raw.exists(self.keys.task(task_id)))

    def kept(self, ids, functions):
        """The same in one round trip; of a key of another type only that it is one."""
        keys, lists = self.keys, (self.keys.queue, *map(self.keys.parking, functions), self.keys.rejected)
        sets = (*map(keys.index, RESTING), keys.workers)
        pipe = self.raw.pipeline(transaction=False)
        for key in map(keys.task, ids):
            pipe.type(key).hgetall(key).ttl(key)
        for key in lists:
            pipe.lrange(key, 0, -1)
        for key in sets:
            pipe.zrange(key, 0, -1)
        for key in (keys.leases, keys.timers):
            pipe.zrange(key, 0, -1, withscores=True)
        pipe.smembers(keys.paused).hgetall(keys.runs).hgetall(keys.incarnation)
        found = iter(pipe.execute(raise_on_error=False))
        hashes = {i: _hash_of(next(found), next(found), next(found)) for i in ids}
        queue, *parking, rejected = ([raw.decode(errors="replace") for raw in next(found)] for _ in lists)
        *indexes, workers = ({raw.decode() for raw in next(found)} for _ in sets)
        leases, timers, paused, runs, marker = found
        claimed = self.claimed()
        return {
            "hashes": hashes,
            "queue": queue,
            "parking": dict(zip(functions, parking, strict=True)),
            "rejected": [json.loads(note) for note in rejected],
            "runs": _texts(runs),
            "leases": _scores(leases),
            "timers": _scores(timers),
            "claimed": claimed,
            "paused": {raw.decode() for raw in paused},
            "indexes": dict(zip(RESTING, indexes, strict=True)),
            "workers": workers,
            "marker": _texts(marker),
        }

    def queue(self):
        return [raw.decode(errors="replace") for raw in self.raw.lrange(self.keys.queue, 0, -1)]

    def parking(self, function):
        return [raw.decode() for raw in self.raw.lrange(self.keys.parking(function), 0, -1)]

    def log(self, task_id):
        return self.raw.lrange(self.keys.log(task_id), 0, -1)

    def log_ttl(self, task_id):
        return self.raw.ttl(self.keys.log(task_id))

    def runs(self):
        return _texts(self.raw.hgetall(self.keys.runs))

    def leases(self):
        return _scores(self.raw.zrange(self.keys.leases, 0, -1, withscores=True))

    def index(self, state):
        return {raw.decode() for raw in self.raw.zrange(self.keys.index(state), 0, -1)}

    def timers(self):
        return _scores(self.raw.zrange(self.keys.timers, 0, -1, withscores=True))

    def set_timer(self, task_id, ms):
        self.raw.zadd(self.keys.timers, {task_id: ms})

    def samples(self, ring):
        return _texts(self.raw.hgetall(self.keys.samples(ring)))

    def set_sample(self, ring, place, line):
        self.raw.hset(self.keys.samples(ring), place, line)

    def claimed(self):
        head = self.keys.claimed("").encode()
        found = {}
        for key in self.raw.scan_iter(head + b"*"):
            base, *ids = self.raw.get(key).decode().split("\n")
            assert self.raw.ttl(key) > 0
            found[key.removeprefix(head).decode()] = (int(base), ids)
        return found

    def claimed_for(self, session):
        """Seconds for which the record is kept."""
        return self.raw.ttl(self.keys.claimed(session))

    def forget_claims(self):
        for key in self.raw.scan_iter(self.keys.claimed("*")):
            self.raw.delete(key)

    def paused(self):
        return {raw.decode() for raw in self.raw.smembers(self.keys.paused)}

    def set_paused(self, task_id):
        self.raw.sadd(self.keys.paused, task_id)

    def set_index(self, state, task_id, at):
        self.raw.zadd(self.keys.index(state), {task_id: at})

    def set_limit(self, entry, value):
        name = f"{self.keys.own}limits"
        self.raw.hdel(name, entry) if value is None else self.raw.hset(name, entry, value)

    def slots(self, entry):
        return {raw.decode() for raw in self.raw.smembers(self.keys.slots(entry))}

    def line(self, entry):
        return [raw.decode() for raw in self.raw.zrange(self.keys.line(entry), 0, -1)]

    def slotted(self):
        return _texts(self.raw.hgetall(f"{self.keys.own}slotted"))

    def woken(self):
        return _texts(self.raw.hgetall(f"{self.keys.own}woken"))

    def runners(self):
        return _texts(self.raw.hgetall(f"{self.keys.own}runners"))

    def groups(self):
        return {raw.decode() for raw in self.raw.zrange(f"{self.keys.own}groups", 0, -1)}

    def look_again(self, looked=0):
        for entry in self.groups():
            self.raw.zadd(f"{self.keys.own}groups", {entry: looked})

    def take_slot(self, entry, task_id):
        kind, _, name = entry.partition(":")
        held = f"{len(name.encode())}:{name}" if kind == "group" else f"0:{name}"
        self.raw.sadd(self.keys.slots(entry), task_id)
        self.raw.hset(f"{self.keys.own}slotted", task_id, held)

    def line_up(self, entry, task_id, arrival=1):
        self.raw.zadd(self.keys.line(entry), {task_id: arrival})
        self.raw.zadd(f"{self.keys.own}groups", {entry: 0}, nx=True)

    def rated(self, function):
        return _scores(self.raw.zrange(self.keys.rated(function), 0, -1, withscores=True))

    def set_rated(self, function, task_id, at):
        self.raw.zadd(self.keys.rated(function), {task_id: at})

    def set_arrival(self, function, at):
        self.raw.hset(f"{self.keys.own}rates", function, at)

    def drop_slots(self):
        for name in self.raw.keys(f"{self.keys.own}slot*"):
            self.raw.delete(name)

    def set_schedule(self, name, score=None, **fields):
        if fields:
            self.raw.hset(self.keys.schedule(name), mapping=fields)
        if score is not None:
            self.raw.zadd(self.keys.schedules, {name.encode(errors="surrogateescape"): score})

    def schedule(self, name):
        return _texts(self.raw.hgetall(self.keys.schedule(name)))

    def delete_schedule(self, name):
        self.raw.delete(self.keys.schedule(name))

    def spoil_schedule(self, name):
        self.raw.set(self.keys.schedule(name), "x")

    def spoil_occurrences(self, name):
        self.raw.set(self.keys.occurrences(name), "x")

    def times(self):
        found = self.raw.zrange(self.keys.schedules, 0, -1, withscores=True)
        return {raw.decode(errors="surrogateescape"): score for raw, score in found}

    def occurrences(self, name):
        return [json.loads(line) for line in self.raw.lrange(self.keys.occurrences(name), 0, -1)]

    def rejected(self):
        return [json.loads(note) for note in self.raw.lrange(self.keys.rejected, 0, -1)]

    def workers(self):
        return {raw.decode() for raw in self.raw.zrange(self.keys.workers, 0, -1)}

    def publish(self, channel, payload):
        self.raw.publish(self.keys.namespace + channel, payload)

    def events(self):
        """What was published since the last call; a message of our own marks the end."""
        mark = f"{self.keys.channel}mark-{next(self._marks)}"
        self.raw.publish(mark, "")
        found = []
        while (message := self._watch.get_message(timeout=5)) is None or message["channel"].decode() != mark:
            if message is not None and not message["channel"].endswith(b"-control"):
                content = json.loads(message["data"])
                task_id = message["channel"].decode()[len(self.keys.channel) :]
                found.append((task_id, content["event"], content["data"]))
        return found

    def dump(self):
        """All keys: their kind, their value, and whether they expire; in three round trips."""
        keys = sorted(self.raw.keys())
        about, values = (self.raw.pipeline(transaction=False) for _ in range(2))
        for key in keys:
            about.type(key).ttl(key)
        told = iter(about.execute())
        kinds = {key: (next(told).decode(), next(told) >= 0) for key in keys}
        for key, (kind, _) in kinds.items():
            READS[kind](values, key)
        found = zip(kinds.items(), values.execute(), strict=True)
        return {key: (kind, _in_order(value), expires) for (key, (kind, expires)), value in found}

    def close(self):
        self.store.close()
        self._watch.close()
        for client in (self.client, self.raw):
            client.close()
            client.connection_pool.disconnect()


class AclBench(RedisBench):
    """As the user that docs/security.md recommends for workers; a refused command fails the test."""

    def __init__(self, at, raw, retention):
        raw.execute_command("ACL", "SETUSER", "pytask-worker", "on", ">secret", *rules("worker", NAMESPACE))
        raw.acl_log_reset()
        super().__init__(
            redis.Redis(**at, username="pytask-worker", password="secret"), raw, retention, NAMESPACE
        )

    def close(self):
        # Of what the library sends by itself as it connects, it ignores a refusal.
        log = [(entry["reason"], entry["object"]) for entry in self.raw.acl_log()]
        refused = [entry for entry in log if not entry[1].startswith("client")]
        super().close()
        assert refused == []


def _hash_of(kind, fields, ttl):
    return kind == b"string", {} if kind == b"string" else _texts(fields), None if ttl < 0 else ttl


def _in_order(value):
    """What a key has, without the order in which Redis tells what has none."""
    if isinstance(value, dict):
        return sorted(value.items())
    return sorted(value) if isinstance(value, set) else value


def _scores(found):
    return {raw.decode(): int(score) for raw, score in found}


def _texts(fields):
    return {name.decode(): value.decode(errors="replace") for name, value in fields.items()}


def make_bench(kind, servers, retention=KEEP):
    if kind == "memory":
        return MemoryBench(retention)
    if kind.startswith("fakeredis"):
        server = fakeredis.FakeServer()
        decoded = kind == "fakeredis-decoded"
        client = fakeredis.FakeRedis(server=server, decode_responses=decoded)
        return RedisBench(client, fakeredis.FakeRedis(server=server), retention)
    place = servers("redis62" if kind.startswith("redis62") else "valkey")
    at = {"host": place.host, "port": place.port, "socket_timeout": SOON}
    raw = redis.Redis(**at)
    raw.flushall()
    if kind == "valkey-resp3-decoded":
        return RedisBench(redis.Redis(**at, protocol=3, decode_responses=True), raw, retention)
    if kind == "valkey-py":
        return RedisBench(valkey.Valkey(**at), raw, retention)
    if kind.endswith("-acl"):
        return AclBench(at, raw, retention)
    namespace = NAMESPACE if kind == "valkey-namespace" else ""
    return RedisBench(redis.Redis(**at), raw, retention, namespace)


def words(claims):
    return [claim.verdict for claim in claims]


def ended(ref, trigger=Trigger.END, **options):
    return Change(ref.id, ref.run, X, trigger, **options)
