"""Real servers, real worker processes, and evidence that does not go through Redis.

Times are a tenth of the real ones: D=6 s, G=1, K=7, T=9, H=0.5, I=1, C=0.3, F=3.
"""

import warnings

from gevent import monkey

with warnings.catch_warnings():
    # When all suites run at once, another one has imported ssl before us; TLS is not used here.
    warnings.simplefilter("ignore")
    monkey.patch_all()

import contextlib
import json
import os
import signal
import time
import uuid
from itertools import count
from pathlib import Path

import gevent
import pytest
import redis

from tests.support import fixtures
from tests.support.evidence import Evidence
from tests.support.fixtures import invoked, without_settings
from tests.support.forked import start_program
from tests.support.servers import HOST, start_server

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = "tests.integration.programs.worker_program"
PATIENCE = 60.0  # seconds for what should take well under one: a busy machine starts a worker in 15

D, G, K, T, H, SWEEP, F = 6.0, 1.0, 7.0, 9.0, 0.5, 1.0, 3.0
TAKEOVER = T + 2 * SWEEP + H  # the protocol's bound for a dead worker's tasks


def wait_until(predicate, timeout=PATIENCE, why=""):
    """The first true value of `predicate()`; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := predicate()):
        if time.monotonic() > deadline:
            reason = why() if callable(why) else why or predicate
            pytest.fail(f"not within {timeout:g} s: {reason}")
        gevent.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def running_server(request):
    with start_server(getattr(request.module, "SERVER", "valkey")) as server:
        yield server


@pytest.fixture
def server(running_server):
    """A real server, one a module; empty at the start of each test."""
    with redis.Redis(HOST, running_server.port) as client:
        client.flushall()
    return running_server


store, client = fixtures.store, fixtures.client


@pytest.fixture
def no_settings(monkeypatch, tmp_path):
    """Neither the environment nor the current folder sets anything."""
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("PYTASK_TIMEOUT", "5")  # the machine may be busy with other tests


@pytest.fixture
def cli(store, no_settings, monkeypatch):
    """`cli(*words)` against the server, in this process; `cli.json(*words)` is the answer decoded."""
    monkeypatch.setenv("PYTASK_REDIS_URL", store.url)

    def call(*words, **options):
        return invoked(*words, **options)

    def decoded(*words):
        shown = call(*words, "-o", "json")
        assert shown.exit_code == 0, shown.stderr
        return json.loads(shown.stdout)

    call.json = decoded
    return call


@pytest.fixture
def workers(tmp_path):
    """Starts worker processes, and ends those that are left after the test."""
    recent_workers = Crew(tmp_path)
    yield recent_workers
    recent_workers.close()
    print(recent_workers.logs())  # shown if the test failed


@pytest.fixture
def lab(server, workers):
    """A server, its workers, a client's view and an ear on all events."""
    with Lab(server, workers) as made:
        yield made


class WorkerProcess:
    """One worker as a process of its own; its log is a file."""

    def __init__(self, name, arguments, log):
        self.name = name
        self._log = log
        env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        self.process = start_program(PROGRAM, ["--name", name, *arguments], log=log, env=env)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    @property
    def code(self):
        """The exit code, or None while it lives."""
        return self.process.poll()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE):
        """The exit code."""
        return self.process.wait(timeout)

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE)


class Crew:
    """All workers of a test, and the file they write their evidence to."""

    def __init__(self, folder):
        self._folder = folder
        self._numbers = count(1)
        self.evidence = Evidence(folder / "evidence")
        self.evidence.path.touch()
        self.all = []

    def start(self, url, *arguments, name=None, max_tasks=1000):
        name = name or f"w{next(self._numbers)}"
        words = ["--url", url, "--max-tasks", str(max_tasks), "--evidence", str(self.evidence.path)]
        worker = WorkerProcess(name, [*words, *map(str, arguments)], self._folder / f"{name}.log")
        self.all.append(worker)
        return worker

    def close(self):
        for worker in self.all:
            if worker.code is None:
                worker.process.kill()
        for worker in self.all:
            worker.wait()

    def logs(self):
        return "\n".join(f"--- {worker.name} ({worker.code})\n{worker.log}" for worker in self.all)


class EventStream:
    """Hears every event, as a person with PSUBSCRIBE would."""

    def __init__(self, client, pattern="task-*"):
        self._client = client
        self._marks = f"ear-{uuid.uuid4().hex}"  # a channel of its own, for _catch_up
        self._marked = 0
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(self._marks)  # first: who sees the pattern knows that this is heard, too
        self._pubsub.psubscribe(pattern)
        self._received = []
        self._greenlet = gevent.spawn(self._listen)

    def _listen(self):
        while True:
            try:
                message = self._pubsub.get_message(timeout=1.0)
            except (redis.RedisError, OSError):
                gevent.sleep(0.05)
                continue
            if message is None:
                continue
            if message["channel"] == self._marks:
                self._marked = max(self._marked, int(message["data"]))
            else:
                self._received.append((message["channel"], message["data"]))

    def _catch_up(self):
        """Until everything is heard that was published before this call.

        A message is on its way while its sender goes on, and what a task did may be seen before what was
        told of it. Redis keeps one order for one subscriber, so a mark comes after all that was before it.
        """
        mark = time.monotonic_ns()
        with contextlib.suppress(redis.RedisError, OSError):  # no Redis: nothing is published now
            while self._marked < mark and self._client.publish(self._marks, time.monotonic_ns()):
                with gevent.Timeout(1.0, False):  # the connection may be cut: it listens again, to a new mark
                    while self._marked < mark:
                        gevent.sleep(0.001)

    @property
    def received(self):
        """(channel, payload) of all so far, in their order."""
        self._catch_up()
        return list(self._received)

    def of(self, task_id):
        """The events of a task, in their order."""
        return [json.loads(data) for channel, data in self.received if channel == f"task-{task_id}"]

    def names(self, task_id):
        return [event["event"] for event in self.of(task_id)]

    def wait(self, task_id, name, timeout=PATIENCE):
        """The first event of that name."""
        return wait_until(
            lambda: next((e for e in self.of(task_id) if e["event"] == name), None),
            timeout,
            lambda: f"event {name} of {task_id}; heard {self.names(task_id)}",
        )

    def close(self):
        self._greenlet.kill()
        self._pubsub.close()


class Lab:
    """What a test does from outside: push, look, steer, and wait."""

    def __init__(self, server, workers):
        self.server = server
        self.workers = workers
        self.redis = self.connect()
        self.events = EventStream(self.connect(socket_timeout=5, encoding_errors="replace"))
        self._ids = count(1)
        wait_until(lambda: self.redis.pubsub_numpat() >= 1)

    def connect(self, **options):
        return redis.Redis(HOST, self.server.port, decode_responses=True, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.events.close()

    @property
    def evidence(self):
        return self.workers.evidence

    # -- workers --------------------------------------------------------------------------------------

    def worker(self, *arguments, url=None, **options):
        """A worker that takes tasks and hears control messages."""
        before, monitors = self.listeners(), self.monitors()
        worker = self.workers.start(url or self.server.url, *arguments, **options)
        wait_until(lambda: worker.code is not None or self.listeners() - before, why=f"{worker.name} listens")
        assert worker.code is None, worker.log
        if "--monitor" in arguments and "--namespace" not in arguments:
            wait_until(lambda: self.monitors() - monitors, why=f"the monitor of {worker.name} sweeps")
        return worker

    def listeners(self):
        """The sessions that hear control messages."""
        return set(self.redis.pubsub_channels("*pytask:ping:*"))

    def monitors(self):
        """The ids of monitors that have swept."""
        return set(self.redis.zrange("pytask:monitors", 0, -1))

    # -- tasks ----------------------------------------------------------------------------------------

    def new_id(self, stem="t"):
        return f"{stem}{next(self._ids)}"

    def push(self, function, task_id=None, **data):
        task_id = task_id or self.new_id(function)
        self.redis.hset(task_id, mapping={"function": function, "data": json.dumps(data)})
        self.redis.lpush("new-task", task_id)
        return task_id

    def push_many(self, number, function, **data):
        return [self.push(function, **data) for _ in range(number)]

    def started(self, number, function="tick", **data):
        """That many tasks, all seen to act."""
        ids = self.push_many(number, function, **data)
        self.wait_acting(ids)
        return ids

    def field(self, task_id, name):
        return self.redis.hget(task_id, name)

    def state(self, task_id):
        return self.field(task_id, "state")

    def run(self, task_id):
        return self.field(task_id, "run")

    def states(self, ids):
        with self.redis.pipeline(transaction=False) as pipe:
            for task_id in ids:
                pipe.hget(task_id, "state")
            return dict(zip(ids, pipe.execute(), strict=True))

    def control(self, task_id, word):
        return self.redis.publish(f"task-{task_id}-control", word)

    # -- waiting --------------------------------------------------------------------------------------

    def wait_state(self, ids, state, timeout=PATIENCE):
        ids = [ids] if isinstance(ids, str) else ids
        wait_until(
            lambda: set(self.states(ids).values()) == {state},
            timeout,
            lambda: f"{state}; there are {self.states(ids)}",
        )

    def wait_acting(self, ids, since=0, timeout=PATIENCE, pid=None):
        """Every id has acted since that time (monotonic ns), in `pid` if given."""
        ids = [ids] if isinstance(ids, str) else ids

        def missing():
            acted = {a.id for a in self.evidence.acts() if a.at > since and pid in (None, a.pid)}
            return set(ids) - acted

        wait_until(lambda: not missing(), timeout, lambda: f"acts of {missing()}")

    def wait_new_run(self, task_id, old_run, timeout=PATIENCE):
        """The run after `old_run`, seen to act."""

        def found():
            run = self.run(task_id)
            return run if run and run != old_run and self.evidence.of_run(run) else None

        return wait_until(found, timeout, f"a new run of {task_id}")


def stop_politely(worker, timeout=PATIENCE):
    """SIGTERM; the exit code."""
    worker.signal(signal.SIGTERM)
    return worker.wait(timeout)
