"""The block of failovers: a primary, two replicas and three sentinels under the same load and record.

Replication hands on a prefix: what a new primary knows of the audit is exactly what it knows of the tasks.
So the history that must be legal is the one that survived; what only the old primary had is counted apart.
"""

import random
import signal
import threading
import time
from contextlib import closing, contextmanager, suppress

import redis
from redis.sentinel import Sentinel

from tests.chaos.audit import STREAM, Recorder
from tests.chaos.invariants import SECOND, Replay
from tests.chaos.world import D, E, K, World
from tests.support.servers import HOST, MASTER_NAME, Trio

SETTLED = 15.0  # seconds after which no failover takes an entry back: replicas are cut off for less
PAGE = 2000
HANGS = 40.0  # seconds at most that a sentinel hangs beyond a failover
BATCH = 30  # tasks whose claims are lost
READ = (
    "local info = redis.call('INFO', 'replication')"
    " return {string.match(info, 'master_replid:(%w+)'), string.match(info, 'role:(%w+)'),"
    " redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])}"
)


class Follower(Recorder):
    """Reads the stream of whichever server is the primary; what a new one lacks is taken back."""

    def __init__(self, connect, on_entry, on_rollback):
        super().__init__(connect, on_entry)
        self._on_rollback = on_rollback
        self._server = None
        self._raw = []  # (name, fields) beside each entry
        self.lost = []  # entries that Redis acknowledged and forgot
        self.changes = 0

    def drain(self):
        with self._lock:
            server, role, found = self._read(self._last)
            if role != "master":
                return 0
            if server != self._server:
                if self._server is not None:
                    self.changes += 1
                    self._agree()
                self._server = server
                return 1  # what is new follows with the next call
            self._take(found)
            return len(found)

    def _read(self, after):
        server, role, found = self._client.eval(READ, 1, STREAM, f"({after}" if after != "0" else "-", PAGE)
        return server, role, [(name, dict(zip(f[::2], f[1::2], strict=True))) for name, f in found]

    def _take(self, found):
        super()._take(found)
        self._raw += found

    def _agree(self):
        """Keep the common beginning of what was read and what the new primary has."""
        common, after = 0, "0"
        while True:
            found = self._read(after)[2]
            same = 0
            for theirs, ours in zip(found, self._raw[common:], strict=False):
                if theirs != ours:
                    break
                same += 1
            common += same
            if not found or same < len(found):
                break
            after = found[-1][0]
        if common < len(self._raw):
            self.lost += self.entries[common:]
            del self.entries[common:], self._raw[common:]
            self._last = self._raw[-1][0] if self._raw else "0"
            self._on_rollback(self.entries)


class NoClock:
    """Nothing steps the clocks here."""

    works, reason, prefix = False, "not in this block", ()


class Fresh(redis.Redis):
    """Asks the sentinels again where a kept connection leads to a server that is no primary any more.

    redis-py (8.1 too) keeps a connection on which READONLY was answered.
    """

    def execute_command(self, *words, **options):
        try:
            return super().execute_command(*words, **options)
        except redis.exceptions.ReadOnlyError:
            self.connection_pool.disconnect()
            raise


class SentinelWorld(World):
    """A world whose server is a trio; workers and clients ask the sentinels where the primary is."""

    def _serve(self):
        options = self.options
        self.clock = NoClock()
        self.trio = Trio(
            "--min-replicas-to-write", options.min_replicas, "--min-replicas-max-lag", 10,
            "--enable-debug-command", "yes", "--repl-backlog-size", "64mb",
        )  # fmt: skip
        self.hung = None  # the sentinel that does not answer
        self.failovers = []  # (kind, begin ns, promoted ns, end ns, entries lost)
        self._sentinel = Sentinel([(HOST, s.port) for s in self.trio.sentinels], socket_timeout=0.5)
        self.server = self.trio
        wait(self.whole, 40, "sentinels that know each other and both replicas")

    def _record_with(self):
        return Follower(self.connect, self._feed, self._roll_back)

    def _feed(self, entry):
        self.replay.feed(entry)  # another one after each rollback

    def _roll_back(self, entries):
        replay = Replay()
        for entry in entries:
            replay.feed(entry)
        self.replay = replay

    def connect(self, **options):
        return self._sentinel.master_for(MASTER_NAME, redis_class=Fresh, decode_responses=True, **options)

    def proxy(self):
        return None

    def url_of(self, worker):
        return worker.pinned or self.trio.url

    def raw_client(self):
        return self._sentinel.master_for(MASTER_NAME, redis_class=Fresh, socket_timeout=2)

    def settled(self, at):
        return at < time.monotonic_ns() - SETTLED * SECOND

    # -- the trio -------------------------------------------------------------------------------------

    @property
    def answering(self):
        """The sentinels that do not hang."""
        return [sentinel for sentinel in self.trio.sentinels if sentinel is not self.hung]

    def primary(self):
        """The server that all sentinels that answer call the primary, or None."""
        ports = {ask(s.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME) for s in self.answering}
        if len(ports) != 1:
            return None
        answer = ports.pop()
        return next((s for s in self.trio.servers if answer and s.port == int(answer[1])), None)

    def whole(self):
        """Whether all know the same primary, with two replicas that have what it has."""
        primary = self.primary()
        if primary is None:
            return False
        for one in self.trio.sentinels:
            state = ask(one.port, "SENTINEL", "MASTER", MASTER_NAME) or ()
            state = dict(zip(state[::2], state[1::2], strict=True))
            if (state.get("num-slaves"), state.get("num-other-sentinels"), state.get("flags")) != (
                "2", "2", "master",
            ):  # fmt: skip
                return False
            if not self.calm.is_set() and "sentinel_tilt:0" not in (ask(one.port, "INFO", "sentinel") or ""):
                return False  # for 30 s after it hung it takes no part in a failover
        for server in self.trio.servers:
            role = ask(server.port, "ROLE")
            if not role or (server is not primary and role[:4] != ("slave", HOST, primary.port, "connected")):
                return False
        return ask(primary.port, "ROLE")[0] == "master"


def ask(port, *words, timeout=0.5):
    """The reply as (nested) tuples, or None."""
    with (
        suppress(redis.RedisError, OSError),
        closing(redis.Redis(HOST, port, decode_responses=True, socket_timeout=timeout, protocol=2)) as client,
    ):
        client.response_callbacks.clear()
        reply = client.execute_command(*words)
        return tuple(reply) if isinstance(reply, list) else reply
    return None


def wait(condition, seconds, why, over=None):
    until = time.monotonic() + seconds
    while not condition():
        if over is not None and over.is_set():
            return
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds:g} s in vain for {why}")
        time.sleep(0.1)


# -- the kinds ----------------------------------------------------------------------------------------------


def planned(world, primary, dice):
    """A failover that an operator asked for."""
    sentinel = dice.choice(world.answering)
    for _ in range(3):
        wait(
            lambda: ask(sentinel.port, "SENTINEL", "FAILOVER", MASTER_NAME) == "OK", 20, "a failover to begin"
        )
        # Sentinels give up what is not done within their failover-timeout (5 s here), and do not try again.
        with suppress(RuntimeError):
            wait(lambda: world.primary() not in (None, primary), 15, "a new primary")
            break
    return lambda: None


def death(world, primary, dice):
    """The primary dies; it comes back empty, and as a primary, until the sentinels tell it."""
    primary.kill()
    return primary.start


def freeze(world, primary, dice):
    """The primary does not answer; later it wakes up and believes to be the primary still."""
    primary.freeze()

    def heal():
        world.over.wait(dice.uniform(0, 5))
        primary.thaw()

    return heal


def lose(world, primary, dice):
    """Acknowledged writes that only the old primary has; in half of them one worker knows no other server."""
    worker = dice.choice(world.workers) if dice.random() < 0.5 or world.options.unprotected else None
    if worker is not None:
        worker.lock.acquire()
        pin(worker, primary.url)
        time.sleep(4)  # it takes tasks
    with still(world.workers):
        # All servers know that these wait; that they were claimed, only the old primary will know.
        for number in range(BATCH):
            name = f"long-lost{len(world.failovers)}-{number}"
            world.push(name, "long", **{"for": dice.uniform(10, 30)})
        ask(primary.port, "WAIT", 2, 1000, timeout=3)
        ask(primary.port, "ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
        ask(primary.port, "CLIENT", "KILL", "TYPE", "replica")
    world.over.wait(dice.uniform(1.5, 4))
    primary.freeze()
    frozen = time.monotonic()

    def heal():
        # A primary that lives on, together with a worker in a network of its own, is only stopped by
        # min-replicas (docs/failover.md): without those it stays away until that worker has given up.
        away = K + 1 if worker is not None and not world.options.min_replicas else dice.uniform(0, 5)
        world.over.wait(max(0.0, frozen + away - time.monotonic()))
        if worker is not None:
            world.over.wait(max(0.0, frozen + D + 1 - time.monotonic()))
        primary.thaw()
        wait(lambda: ask(primary.port, "ACL", "SETUSER", "default", "+@all") == "OK", 20, "the old primary")
        if worker is not None:
            pin(worker, "")
            worker.lock.release()

    return heal


@contextmanager
def still(workers):
    """The workers do nothing meanwhile."""
    processes = [worker.process for worker in workers]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def pin(worker, url):
    """A worker of that place which knows this server only ('' for: asks the sentinels)."""
    worker.pinned = url
    worker.signal(signal.SIGKILL)


def hung(which):
    """One of those, while a sentinel takes connections and never answers."""

    def fail_over(world, primary, dice):
        chosen = world.hung = which(world.trio.sentinels, dice)
        chosen.freeze()
        heal_primary = dice.choice((planned, death, freeze))(world, primary, dice)

        def heal():
            heal_primary()
            world.calm.wait(dice.uniform(0, HANGS))
            chosen.thaw()
            world.hung = None

        return heal

    return fail_over


FAILOVERS = {
    "planned": (planned, 2),
    "death": (death, 2),
    "freeze": (freeze, 1),
    "lose": (lose, 2),
    "hung": (hung(lambda sentinels, dice: dice.choice(sentinels[1:])), 1),
    "hung_first": (hung(lambda sentinels, _: sentinels[0]), 1),  # the first one that workers ask
}


class Failovers(threading.Thread):
    """One failover after the other, each from a whole trio to a whole trio."""

    def __init__(self, world, weights, seconds):
        super().__init__(daemon=True)
        self.world = world
        self.weights = {name: weights[name] for name in FAILOVERS if name in weights}
        self.until = time.monotonic() + seconds
        self.dice = random.Random(world.options.seed + 4)

    def run(self):
        names = []
        while time.monotonic() < self.until:
            if not names:  # every kind as often as its weight says, in a drawn order
                least = min(self.weights.values())
                names = [n for n, w in self.weights.items() for _ in range(max(1, round(w / least)))]
                self.dice.shuffle(names)
            try:
                self._one(names.pop())
            except Exception as error:
                self.world.errors.append(f"failover: {error!r}")
                self.world.stuck = repr(error)
                return

    def _one(self, name):
        world, dice = self.world, self.dice
        wait(world.whole, 90, "a whole trio")
        if world.calm.is_set():
            return  # the last one to hang may not take part in a failover yet
        time.sleep(dice.uniform(1, 4))
        old = world.primary()
        if old is None:
            return
        with world.fault(f"failover: {name}", "server", E + 4) as made:
            changes, lost = world.recorder.changes, len(world.recorder.lost)
            heal = FAILOVERS[name][0](world, old, dice)
            wait(lambda: world.primary() not in (None, old), 60, f"a new primary after {name}")
            promoted = time.monotonic_ns()
            heal()
            wait(world.whole, 90, f"a whole trio after {name}")
            wait(lambda: world.recorder.changes > changes, 20, "a record of the new primary")
            lost = world.recorder.lost[lost:]
            made.note = f"{len(lost)} entries lost"
            world.failovers.append((name, made.begin, promoted, time.monotonic_ns(), lost))
