"""How quickly the command line answers about a million tasks and some hundred workers.

Each call is a process of its own, from its start to its end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import redis

from benchmarks.results import Row
from pytask.adapters.keys import Keys
from pytask.adapters.redis.store import RedisStore
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import RESTING, State
from pytask.domain.version import __version__
from tests.support.servers import free_port, start_server

TASKS, WORKERS = 1_000_000, 300
ROUNDS = 7
STEP = 5000
# Seconds that are promised: 0.4 for any command that asks Redis.  `ID` is the number of a task.
PROMISED = {
    ("--help",): 0.15,
    ("run", "--help"): 0.15,
    ("ls",): 0.5,
    ("ls", "-s", "running"): 0.5,
    ("ls", "-s", "wait"): 0.5,
    ("ls", "-n", "nobody"): 0.5,
    ("status",): 0.3,
    ("top", "--once"): 0.4,
    ("show", "error-ID"): 0.4,
    ("why", "wait-ID"): 0.4,
    ("workers",): 0.4,
    ("functions",): 0.4,
    ("doctor",): 0.5,
}
UNREACHABLE = 1.0


def fill(client: redis.Redis, number: int) -> None:
    """So many tasks, a fifth in each state, as workers leave them, and the workers."""
    now = client.time()[0]
    each = number // len(State)
    for state in State:
        for at in range(0, each, STEP):
            ids = [f"{state.lower()}-{i}" for i in range(at, min(at + STEP, each))]
            pipe = client.pipeline(transaction=False)
            for task_id in ids:
                pipe.hset(
                    task_id, mapping={"function": "f", "data": "{}", "state": state, "last_update": now}
                )
            if state in RESTING:
                pipe.zadd(f"pytask:index:{state}", {task_id: now + i for i, task_id in enumerate(ids)})
            else:
                pipe.zadd("pytask:leases", dict.fromkeys(ids, now * 1_000_000))
                pipe.hset("pytask:runs", mapping={i: f"s{at % WORKERS}:1" for at, i in enumerate(ids)})
            if state is State.WAIT:
                pipe.lpush("new-task", *ids)
            pipe.execute()


def show_workers(client: redis.Redis, running: int) -> None:
    """Each as if it had shown itself just now."""
    store = RedisStore(client, Keys())
    functions = tuple(f"function-{n}" for n in range(20))
    for n in range(WORKERS):
        store.announce(
            WorkerInfo(
                session=f"s{n}", name=f"worker-{n}", host=f"host-{n % 20}", pid=1000 + n, running=running,
                functions=functions, tasks=running, max_tasks=10_000, version=__version__, started=1.7e9,
                lag=0.001, round_trip=0.001, task_logs=0,
            )
        )  # fmt: skip


def seconds(words: tuple[str, ...], url: str, codes: tuple[int, ...] = (0, 3), **settings: str) -> float:
    """Of one call, as a process of its own; the doctor has something to say of this server: 3."""
    env = os.environ | {"PYTASK_REDIS_URL": url} | settings
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytask", *words], env=env, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    assert done.returncode in codes, done.stderr
    return took


def row(what: str, promised: float, rounds: int, call: Callable[[], float]) -> Row:
    """How long the calls take, and what is promised."""
    times = sorted(call() for _ in range(rounds))
    seen = f"{statistics.median(times):.3f} s ({times[0]:.3f} to {times[-1]:.3f})"
    return Row(f"pytask {what}", seen, f"<= {promised:g} s")


@contextlib.contextmanager
def wrong_addresses() -> Iterator[dict[str, str]]:
    """An address where nobody listens, one that does not let us in, and one that never answers."""
    with socket.socket() as silent, socket.socket() as full, contextlib.ExitStack() as undo:
        for one, backlog in ((silent, 16), (full, 0)):
            one.bind(("127.0.0.1", 0))
            one.listen(backlog)
        for _ in range(3):
            waiting = undo.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        ports = {"nobody listens": free_port(), "no way in": full.getsockname()[1]}
        ports |= {"no answer": silent.getsockname()[1]}
        yield {name: f"redis://127.0.0.1:{port}" for name, port in ports.items()}


def measured(rounds: int = ROUNDS, number: int = TASKS) -> Iterator[Row]:
    """Every verb that looks, and what a wrong address costs."""
    with start_server("valkey") as server, redis.Redis.from_url(server.url) as client:
        fill(client, number)
        each = number // len(State)
        keys, memory = client.dbsize(), client.info("memory")["used_memory_human"]
        yield Row("tasks, workers", f"{each * len(State):,}, {WORKERS} ({keys:,} keys, {memory})")
        for pattern, promised in PROMISED.items():
            show_workers(client, each // WORKERS)  # again and again: they would fall silent meanwhile
            words = tuple(word.replace("ID", str(each // 2)) for word in pattern)
            call = partial(seconds, words, server.url, PYTASK_TIMEOUT="5")
            yield row(" ".join(words), promised, rounds, call)
    with wrong_addresses() as wrong:
        for name, url in wrong.items():
            yield row(f"status: {name}", UNREACHABLE, rounds, partial(seconds, ("status",), url, (69,)))
