"""How quickly the command line answers about a million tasks: `python -m benchmarks.cli [tasks]`."""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from functools import partial

import redis

from pytask.domain.lifecycle import RESTING, State
from tests.servers import free_port, start_server

ROUNDS = 7
STEP = 5000
# Seconds that issue and documents promise; None: no promise beyond 0.4 s for any Redis command.
PROMISED = {
    ("--help",): 0.15,
    ("run", "--help"): 0.15,
    ("ls",): 0.5,
    ("ls", "-s", "running"): 0.5,
    ("ls", "-s", "wait"): 0.5,
    ("ls", "-n", "nobody"): 0.5,
    ("status",): 0.3,
    ("top", "--once"): 0.4,
    ("show", "error-7777"): 0.4,
    ("why", "wait-7777"): 0.4,
    ("workers",): 0.4,
    ("functions",): 0.4,
    ("doctor",): 0.5,
}


def fill(client, number):
    """So many tasks, a fifth in each state, as workers leave them."""
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
                pipe.hset("pytask:runs", mapping=dict.fromkeys(ids, "s:1"))
            if state is State.WAIT:
                pipe.lpush("new-task", *ids)
            pipe.execute()


def seconds(words, url, codes=(0, 3), **settings):  # the doctor has something to say of this server: 3
    """Of one call, as a process of its own."""
    env = os.environ | {"PYTASK_REDIS_URL": url} | settings
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytask", *words], env=env, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    assert done.returncode in codes, done.stderr
    return took


def shown(what, promised, call):
    """Print how long the calls take; whether they take longer than promised."""
    times = sorted(call() for _ in range(ROUNDS))
    median = statistics.median(times)
    verdict = "" if median <= promised else "   MISSED"
    print(
        f"pytask {what:22} {median:6.3f} s  (best {times[0]:.3f}, worst {times[-1]:.3f})"
        f"  promised {promised:g} s{verdict}",
        flush=True,
    )
    return median > promised


@contextlib.contextmanager
def wrong_addresses():
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


def main():
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with wrong_addresses() as wrong:
        measured = [
            shown(f"status: {name}", 1.0, partial(seconds, ("status",), url, codes=(69,)))
            for name, url in wrong.items()
        ]
    missed = sum(measured)
    with start_server("valkey") as server, redis.Redis.from_url(server.url) as client:
        fill(client, number)
        print(f"{client.dbsize():,} keys, {client.info('memory')['used_memory_human']}")
        for words, promised in PROMISED.items():
            call = partial(seconds, words, server.url, PYTASK_TIMEOUT="5")
            missed += shown(" ".join(words), promised, call)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
