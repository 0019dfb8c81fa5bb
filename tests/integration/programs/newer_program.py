"""Stands for a worker of a later release: writes what this one has never heard of, until it is killed."""

import json
import sys
import time

import redis

RUN = "v2/0f0f:1"
WORDS = [b"freeze", b"STOP", b"stop ", b'{"command":"stop"}', b"", b"\xff\xfe", b"stop\n", b"x" * 100_000]
SHOWN = {
    "v2": json.dumps({"session": "v2", "name": "next", "host": "h", "version": "2.0.0", "zones": [1]}),
    "twin": json.dumps({"session": "twin", "name": "next", "host": "h", "version": "2.0.0"}),
    "odd": json.dumps({"session": 7, "pid": "x", "running": {}, "functions": 3, "version": 2}),
    "map": json.dumps({"session": "map", "functions": {"tick": 1}, "tasks": 1e300, "version": "two"}),
    "deep": "[" * 100_000,
    "torn": '{"session":"torn"',
    "bare": "{}",
    "list": "[1]",
    "bytes": b"\xff\x00",
    "empty": "",
}


def be_newer(client, own, theirs):
    """One pass: `own` is a run of ours, `theirs` are tasks that the older worker runs."""
    now = f"{time.time_ns() // 1000}"
    client.hset(own, mapping={"state": "RUNNING", "run": RUN, "worker": "next", "zone": "b", "lease": "v2"})
    client.hset("pytask:runs", own, RUN)
    client.zadd("pytask:leases", {own: now})
    client.zadd("pytask:workers", dict.fromkeys(SHOWN, time.time()))
    client.hset("pytask:workers:info", mapping=SHOWN)
    client.hset("pytask:incarnation", mapping={"term": "12", "since": "soon", "safe": "perhaps"})
    client.zadd("pytask:monitors", {"v2/monitor": time.time()})
    for task_id in theirs:
        client.hset(
            task_id, mapping={"control": "freeze", "state": "PAUSED", "zone": b"\xff", "traits": "[]"}
        )
        for word in WORDS:
            client.publish(f"task-{task_id}-control", word)
    for word in (b"", b"future", b"\xff", b'{"function":"tick"}'):
        client.publish("pytask:hint", word)
        for channel in client.pubsub_channels("pytask:ping:*"):
            client.publish(channel, word)


def main():
    url, own, *theirs = sys.argv[1:]
    client = redis.Redis.from_url(url)
    while True:
        be_newer(client, own, theirs)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
