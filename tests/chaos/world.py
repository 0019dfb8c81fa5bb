"""A real server, workers behind one proxy each, clients that push; dead processes are restarted."""

import json
import math
import os
import random
import signal
import subprocess
import threading
import time
import zlib
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import redis

from pytask.adapters.keys import Keys
from tests.chaos.audit import STREAM, Recorder, wrapped
from tests.chaos.clockstep import ServerClock
from tests.chaos.invariants import Replay
from tests.support.container import children, container
from tests.support.forked import start_program
from tests.support.proxy import Proxy
from tests.support.servers import HOST, start_server

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = "tests.chaos.worker_program"
SCALE = 0.1  # of the workers' times
D, G, K, T, H, SWEEP, E = 6.0, 1.0, 7.0, 9.0, 0.5, 1.0, 8.0
MONITORS = 3  # pre-started on that many of the workers
# Keys of which there is one each; when the first task fails, or is stopped, is chance.
FIXED = {STREAM, *Keys().indexes, *(name for name in attrs.astuple(Keys()) if isinstance(name, str))}
# What the killed workers claimed last, one key each, which Redis removes a day later: not counted as growth.
OF_THE_DEAD = Keys().claimed("")
READY = 4.0  # seconds after which a worker that was started takes tasks, on a busy machine
NAMESPACED = 10_000_000  # from here on are the pids that the judge gives to workers in a PID namespace
STEERED = 4  # long tasks that only measured control messages touch

# What the test writes, as a client would; the shim puts it into the same total order.
SCRIPTS = {
    "push": "redis.call('HSET', KEYS[1], 'function', ARGV[1], 'data', ARGV[2])"
    " redis.call('LPUSH', KEYS[2], KEYS[1]) note(KEYS[1]) return 1",
    "push_later": "local t = redis.call('TIME') local due = t[1] + t[2] / 1e6 + ARGV[3]"
    " redis.call('HSET', KEYS[1], 'function', ARGV[1], 'data', ARGV[2])"
    " redis.call('HSET', KEYS[1], 'not_before', string.format('%.3f', due))"
    " redis.call('LPUSH', KEYS[2], KEYS[1]) note(KEYS[1]) return 1",
    "again": "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end"
    " for i = 1, tonumber(ARGV[1]) do redis.call('LPUSH', KEYS[2], KEYS[1]) end note(KEYS[1]) return 1",
    "recreate": "if redis.call('HEXISTS', KEYS[1], 'function') == 0 then return 0 end"
    " redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'function', ARGV[1], 'data', ARGV[2])"
    " redis.call('LPUSH', KEYS[2], KEYS[1]) note(KEYS[1]) return 1",
    "delete": "note(KEYS[1]) return redis.call('DEL', KEYS[1])",
    "drop": "for i = 1, #KEYS do redis.call('DEL', KEYS[i]) note(KEYS[i]) end return 1",
}

COROUTINES = {"short", "long", "hog", "stubborn", "delayed"}  # functions with a twin that is a coroutine


@attrs.define(kw_only=True)
class Options:
    seed: int = 1
    minutes: float = 3.0
    workers: int = 4
    slots: int = 50
    long: int = 300
    short: int = 2000
    long_step: float = 0.2
    unprotected: float = 0.0
    min_replicas: int = 1  # of the block under Sentinel
    no_embargo: bool = False
    block: str = "server"
    slack: float = 0.0  # seconds that each bar of time allows beyond the machine's own lateness


@attrs.define
class Fault:
    """One fault, as it was done; times are CLOCK_MONOTONIC in ns."""

    kind: str
    target: str  # "server", "tasks", or a worker's name
    begin: int
    end: int = 0
    tail: float = 0.0  # seconds after the end during which its traces may still hinder others
    note: str = ""
    pid: int = 0


class Worker:
    """One place for a worker process, behind a proxy of its own."""

    def __init__(self, world, name, *, slots=None, tasks="", monitors=False):
        self.name = name
        self.world = world
        self.proxy = world.proxy()
        self.pinned = ""  # URL of the one server that it knows, in the block under Sentinel
        self.slots = slots or world.options.slots
        self.tasks = tasks  # which tasks it knows
        self.monitors = monitors
        self.next_as_init = False  # whether its next life is PID 1 of a PID namespace
        self.as_init = False  # whether this one is
        self.process = None
        self.lives = []  # (pid in the evidence, begin ns, end ns or 0, exit code or None)
        self.lock = threading.Lock()  # one process fault at a time
        self.wire = threading.Lock()  # one network fault at a time

    def start(self):
        self.as_init, self.next_as_init = self.next_as_init, False
        self.process = start_program(
            PROGRAM,
            self._words(),
            log=self.world.folder / f"{self.name}.log",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            prefix=container()[0] if self.as_init else (),
        )
        pid = self._alias() if self.as_init else self.process.pid
        self.lives.append([pid, time.monotonic_ns(), 0, None])

    def _words(self):
        options = self.world.options
        words = ["--url", self.world.url_of(self), "--name", self.name]
        words += ["--slots", self.slots, "--evidence", self.world.evidence, "--finish", self.world.finish]
        words += ["--long-step", options.long_step, "--unprotected", options.unprotected]
        words += ["--tasks", self.tasks] if self.tasks else []
        # Half of them: leases must expire, too.
        if not self.tasks and self.world.places.index(self) % 2 == 0:
            words += ["--runtime-dir", self.world.finish.parent / "locks"]
        words += ["--pid", self._alias()] if self.as_init else []
        words += ["--no-embargo"] if options.no_embargo else []
        words += ["--monitor"] if self.monitors and not self.pinned else []
        return list(map(str, words))

    def _alias(self):
        """What stands for the pid of the next life, as that of a namespace says nothing outside."""
        return NAMESPACED * (1 + len(self.lives) * 100 + self.world.places.index(self))

    def reap(self):
        """Note its end; whether it is dead."""
        code = self.process.poll()
        if code is not None and not self.lives[-1][2]:
            self.lives[-1][2:] = [time.monotonic_ns(), code]
        return code is not None

    @property
    def pids(self):
        """Who gets its signals, and who works: the same process, but in a namespace PID 1 and its child."""
        first = self.process.pid
        if self.as_init:
            first = next(iter(children(first)), first)
        return first, next(iter(children(first)), first) if self.as_init else first

    def signal(self, number):
        """SIGKILL to the one that works, as the kernel would; others, as an operator would, to a PID 1."""
        if not self.reap():
            init, works = self.pids
            with suppress(ProcessLookupError):
                os.kill(works if number == signal.SIGKILL else init, number)


def twin(task_id, function):
    """The function, or its twin that is a coroutine: for every other id."""
    return f"aio-{function}" if function in COROUTINES and zlib.crc32(task_id.encode()) % 2 else function


class World:
    """Everything that runs, and the record of it."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.evidence = folder / "evidence"
        self.evidence.touch()
        self.finish = folder / "finish"
        self.random = random.Random(options.seed)
        self.calm = threading.Event()  # no fault begins any more
        self._serve()
        self.faults = []
        self.controls = []  # (id, word, sent ns, effective ns or 0, judged)
        self.errors = deque(maxlen=50)
        self.unregistered = self.remade = -math.inf  # when the registry, or a hash, was last dropped
        self.over = threading.Event()
        self.served = threading.Lock()  # one fault of the server at a time
        self.limited = threading.Lock()  # one size limit of the proxies at a time
        self.alone = threading.Lock()  # one lone task at a time
        self.replay = Replay()
        self.recorder = self._record_with()
        self.acknowledged = {}  # id: when its push was answered (ns)
        self.samples = []  # (at ns, connections, keys of pytask beyond the fixed ones) every second
        self.frozen = []  # (pid of a worker as PID 1, when it was stopped for longer than K)
        self.large = {}  # id: what is known of a task over a size limit (see `unclean`)
        self.bereaved = []  # (id, run) of lone tasks whose workers were killed
        self.stuck = ""  # why there can be no more faults
        self.client = self.connect(socket_timeout=2)
        self.lock = threading.RLock()  # around `client`
        self.pushed = 0
        self.workers = [Worker(self, f"w{n}", monitors=n < MONITORS) for n in range(options.workers)]
        self.places = list(self.workers)  # and those that only some kinds of fault need
        self._threads = []
        self._cpu = {}

    def _serve(self):
        """Start what the workers connect to."""
        self.clock = ServerClock(self.folder)
        # kill -9 loses what the server has not handed to the kernel: with `everysec` up to two seconds of
        # acknowledged writes while an fsync is late, which is another fault. `no` hands over at once.
        self.server = start_server(
            "valkey", "--enable-debug-command", "yes", "--enable-protected-configs", "yes",
            "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0", appendonly=True,
        )  # fmt: skip
        if self.clock.works:
            self.server.stop()
            self.server._command = [*self.clock.prefix, *self.server._command]
            self.server.start()

    def _record_with(self):
        return Recorder(self.connect, self.replay.feed)

    def proxy(self):
        """What stands between one worker and the server, for the faults of the network."""
        return Proxy(self.server.port)

    def url_of(self, worker):
        return worker.proxy.url

    def raw_client(self):
        """For a store: replies as bytes."""
        return redis.Redis(HOST, self.server.port, socket_timeout=2)

    def settled(self, _at):
        """Whether what was recorded at that time (ns) can no longer be lost."""
        return True

    def connect(self, **options):
        return redis.Redis(HOST, self.server.port, decode_responses=True, **options)

    # -- clients --------------------------------------------------------------------------------------

    def do(self, verb, keys, args=()):
        """One of SCRIPTS, as a client; None where the server did not answer or refused."""
        try:
            with self.lock:
                return self.client.eval(wrapped(SCRIPTS[verb], verb, "client"), len(keys), *keys, *args)
        except (redis.RedisError, OSError) as error:
            self.errors.append(f"{verb}: {error}")
            return None

    def push(self, task_id, function, **data):
        self.pushed += 1
        done = self.do("push", [task_id, "new-task"], [twin(task_id, function), json.dumps(data)])
        if done is not None:
            self.acknowledged[task_id] = time.monotonic_ns()
        return done

    def publish(self, task_id, word):
        try:
            with self.lock:
                return self.client.publish(f"task-{task_id}-control", word)
        except (redis.RedisError, OSError) as error:
            self.errors.append(f"publish: {error}")
            return None

    def ids(self, state, prefixes=("long", "short")):
        """Ids in that state now, as far as the record was read."""
        known = list(self.replay.tasks.copy().items())
        return [i for i, k in known if k.view.state == state and not k.local and i.startswith(prefixes)]

    # -- threads --------------------------------------------------------------------------------------

    def start(self, *, lone=False):
        """Start all; with a place for a lone task, if that is wanted."""
        if lone:
            self.places.append(Worker(self, "lone", slots=1, tasks="lone"))
        for worker in self.places:
            worker.start()
        for loop in (self._record, self._supervise, self._count):
            self.spawn(loop)

    def spawn(self, run, *arguments):
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _record(self):
        while not self.over.is_set():
            try:
                if not self.recorder.drain():
                    time.sleep(0.05)
            except (redis.RedisError, OSError):
                time.sleep(0.1)

    def _supervise(self):
        while not self.over.is_set():
            for worker in self.places:
                if worker.reap():
                    worker.start()
                self._measure(worker.pids[1])
            time.sleep(0.1)

    def _count(self):
        client = self.connect(socket_timeout=2)
        while not self.over.wait(1.0):
            with suppress(redis.RedisError, OSError):
                found = set(client.scan_iter("pytask:*", count=1000)) - FIXED
                keys = sum(not key.startswith(OF_THE_DEAD) for key in found)
                connections = client.info("clients")["connected_clients"]
                self.samples.append((time.monotonic_ns(), connections, keys))
        client.close()

    def _measure(self, pid):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            self._cpu[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_seconds(self):
        """CPU time of all worker processes, dead and living, as last seen."""
        return sum(self._cpu.values())

    def feed(self, seconds):
        """Push long and short tasks over that many seconds, so that there are always some of both."""
        options = self.options
        dice = random.Random(options.seed + 1)
        began, longs, shorts = time.monotonic(), 0, 0
        room = min(80, options.workers * options.slots * 2 // 5)  # places for long tasks at one time
        while (passed := time.monotonic() - began) < seconds and not self.over.is_set():
            working = len(self.ids("RUNNING", ("long",))) + len(self.ids("", ("long",)))
            due = min(options.long, int(options.long * passed / seconds) + room)
            for _ in range(min(10, due - longs, room - working)):
                longs += self.push(f"long{longs}", "long", **{"for": dice.uniform(30, 120)}) is not None
            for _ in range(min(20, int(options.short * passed / seconds) + 1 - shorts)):
                shorts += self.push(f"short{shorts}", "short", **{"for": dice.uniform(0.05, 1.0)}) is not None
            time.sleep(0.1)

    # -- the end --------------------------------------------------------------------------------------

    def drained(self):
        """Whether every task that Redis kept came to an end."""
        return not self.replay.unfinished()

    def leave(self):
        """SIGTERM to all workers; they hand back their monitors and exit."""
        self.over.set()
        for thread in self._threads:
            thread.join(15)
        for worker in self.places:
            worker.signal(signal.SIGTERM)
        for worker in self.places:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(20)
            worker.reap()
        while self.recorder.drain():
            pass

    def close(self):
        self.over.set()
        for worker in self.places:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
            if worker.proxy is not None:
                worker.proxy.close()
        self.server.close()

    @contextmanager
    def fault(self, kind, target, tail=0.0, note="", pid=0):
        made = Fault(kind, target, time.monotonic_ns(), 0, tail, note, pid)
        self.faults.append(made)
        try:
            yield made
        finally:
            made.end = time.monotonic_ns()
