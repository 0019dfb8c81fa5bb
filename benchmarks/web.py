"""What the page costs: a list of 1,000,000 tasks, and 100 viewers while 1,000 events a second arrive.

python -m benchmarks web
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import redis

from benchmarks.place import ROOT, cpu, rss, server
from benchmarks.results import Row
from tests.support.web_page import Served

TASKS = 1_000_000
SHARES = {"RUNNING": 0.1, "WAIT": 0.1, "ERROR": 0.1, "STOPPED": 0.1, "ENDED": 0.6}
READERS, READ_SECONDS = 10, 60.0  # of the list
VIEWERS, VIEW_SECONDS = 100, 600.0
EVENTS = 1000  # a second
LIMIT_MS, LIMIT_REDIS, LIMIT_GROWTH = 150.0, 0.05, 10.0
PATHS = (*(f"/tasks?state={state}" for state in SHARES), "/tasks", "/tasks?state=ERROR&state=ENDED")
# What the viewers look at: the page, its topics, its parts.  Of the tasks one half runs, the other has ended.
PAGES = (
    ("/?", "overview workers", {"overview": "counts", "workers": "fleet"}),
    ("/tasks?", "tasks", {"tasks": "rows"}),
    ("/tasks?state=RUNNING&", "tasks", {"tasks": "rows"}),
    ("/task?id=task-{n}&", "task log events", {"task": "story", "log": "log", "events": "events"}),
)
# Events of tasks that run: of those that `seed` makes, each tenth.
PUBLISHER = """
import sys, time, json, redis
client, rate = redis.Redis.from_url(sys.argv[1]), int(sys.argv[2])
began, sent = time.monotonic(), 0
while True:
    due = int((time.monotonic() - began) * rate)
    pipe = client.pipeline(transaction=False)
    for number in range(sent, due):
        event = json.dumps({"event": "tick", "data": {"count": number}})
        pipe.publish(f"task-task-{number % 500 * 10}", event)
    if due > sent:
        pipe.execute()
    sent = due
    time.sleep(0.02)
"""


def measured(share: float) -> Iterator[Row]:
    """The rows."""
    tasks = max(10_000, int(TASKS * share))
    with server() as (url, raw):
        seed(raw, tasks)
        with contextlib.closing(Served(url, Path(mkdtemp(prefix="pytask-bench-")))) as page:
            yield from lists(page, tasks, max(5.0, READ_SECONDS * share))
            yield from viewers(page, raw, url, max(20.0, VIEW_SECONDS * share))


def seed(raw: redis.Redis, tasks: int) -> None:
    """Tasks in all states, as workers and clients leave them."""
    now = int(time.time())
    states = [state for state, part in SHARES.items() for _ in range(int(10 * part))]
    for at in range(0, tasks, 2000):
        pipe = raw.pipeline(transaction=False)
        for number in range(at, min(at + 2000, tasks)):
            name, state = f"task-{number}", states[number % len(states)]
            fields = {"function": f"f{number % 7}", "state": state, "worker": "larch", "epoch": now * 1000,
                      "attempts": 1, "last_update": now - number % 9000, "data": '{"n": 1}'}  # fmt: skip
            if state == "RUNNING":
                fields["run"] = f"session:{number}"
                pipe.hset("pytask:runs", name, fields["run"])
                pipe.zadd("pytask:leases", {name: now * 1_000_000})
            else:
                pipe.zadd(f"pytask:index:{state}", {name: now - number % 9000})
                if state == "WAIT":
                    pipe.lpush("new-task", name)
            pipe.hset(name, mapping=fields)
        pipe.execute()


def lists(page: Served, tasks: int, seconds: float) -> Iterator[Row]:
    """Pages of 50: each viewer goes on to the next page, and begins with another list at the end."""
    found: list[float] = []
    until = time.monotonic() + seconds

    def read(number: int) -> None:
        chance, client = random.Random(number), Client(page.address)
        while time.monotonic() < until:
            path = chance.choice(PATHS)
            for _ in range(5):
                began = time.monotonic()
                text = client.get(path)
                found.append(time.monotonic() - began)
                following = text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
                if not following or time.monotonic() > until:
                    break
                path = following
                time.sleep(chance.uniform(0.2, 0.8))  # a person reads

    used = cpu(page.process.pid)
    _together(READERS, read)
    used = cpu(page.process.pid) - used
    p50, p99 = _at(found, 0.5), _at(found, 0.99)
    yield Row(f"50 of {tasks:,} tasks, {READERS} viewers, ms, p50 of {len(found):,}", f"{1000 * p50:.0f}")
    yield Row("  p99", f"{1000 * p99:.0f}", f"<= {LIMIT_MS:g}")
    yield Row("  processor of the page for each, ms", f"{1000 * used / len(found):.1f}")


def viewers(page: Served, raw: redis.Redis, url: str, seconds: float) -> Iterator[Row]:
    """Many viewers, one of them stuck, while events arrive."""
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER, url, str(EVENTS)], cwd=ROOT)
    try:
        time.sleep(2)
        without = _redis_cpu(raw, min(30.0, seconds / 2))
        found: list[float] = []
        sizes: list[int] = []
        stuck = [_stuck(page.address, path) for path in ("/live?topics=tasks", "/tasks?limit=500", "/")]
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_view, args=(page.address, number, until, found), daemon=True)
            for number in range(VIEWERS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(min(15.0, seconds / 4))  # all have begun
        before, used, began = _cpu_of(raw), cpu(page.process.pid), time.monotonic()
        while time.monotonic() < until - 2:
            sizes.append(rss(page.process.pid))
            time.sleep(1)
        took = time.monotonic() - began
        with_them = (_cpu_of(raw) - before) / took
        own = (cpu(page.process.pid) - used) / took
        for thread in threads:
            thread.join(30)
        for one in stuck:
            one.close()
    finally:
        publisher.kill()
        publisher.wait()
    part = max(1, len(sizes) // 10)
    first, last = max(sizes[:part]) / 2**20, max(sizes[-part:]) / 2**20
    yield Row(
        f"{VIEWERS} viewers, {EVENTS:,} events/s, {took:.0f} s: a part read again, ms, p50 of {len(found):,}",
        f"{1000 * _at(found, 0.5):.0f}",
    )
    yield Row("  p99, three browsers stuck", f"{1000 * _at(found, 0.99):.0f}")
    yield Row("  longest", f"{1000 * max(found):.0f}")
    yield Row("  memory of the page, MiB, at the start", f"{first:.0f}")
    yield Row("  at the end", f"{last:.0f}", f"<= {first + LIMIT_GROWTH:.0f}")
    yield Row("  processor of the page, cores", f"{own:.2f}")
    yield Row("  processor of Redis for the page, cores", f"{with_them - without:.3f}", f"<= {LIMIT_REDIS:g}")


def _view(address: str, number: int, until: float, found: list[float]) -> None:
    """One viewer: hears of changes, and reads the parts again."""
    path, topics, parts = PAGES[number % len(PAGES)]
    seen = number // len(PAGES) * 5
    path = path.format(n=seen)
    client = Client(address)
    client.get(path.rstrip("?&"))
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        asked = f"/live?topics={topics.replace(' ', '+')}&id=task-{seen}"
        line.sendall(f"GET {asked} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        stream = line.makefile("rb")
        while time.monotonic() < until:
            text = stream.readline()
            if not text:
                return
            if not text.startswith(b"event: "):
                continue
            began = time.monotonic()
            client.get(f"{path}part={parts[text[7:].decode().strip()]}")
            found.append(time.monotonic() - began)


class Client:
    """A browser's connection."""

    def __init__(self, address: str) -> None:
        self._line = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)

    def get(self, path: str) -> str:
        """The text of a page."""
        for again in (True, False):
            try:
                self._line.request("GET", path)
                answer = self._line.getresponse()
                text = answer.read().decode()
                break
            except (http.client.HTTPException, OSError):  # an idle connection that the server has closed
                self._line.close()
                if not again:
                    raise
        if answer.status != http.client.OK:
            raise SystemExit(f"{path}: {answer.status} {text[:500]}")
        return text


def _stuck(address: str, path: str) -> socket.socket:
    """A browser that asks, and reads nothing."""
    host, port = address.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 50)
    return line


def _together(number: int, work: object) -> None:
    threads = [threading.Thread(target=work, args=(at,)) for at in range(number)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cpu_of(raw: redis.Redis) -> float:
    info = raw.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]


def _redis_cpu(raw: redis.Redis, seconds: float) -> float:
    before, began = _cpu_of(raw), time.monotonic()
    time.sleep(seconds)
    return (_cpu_of(raw) - before) / (time.monotonic() - began)


def _at(found: list[float], part: float) -> float:
    ordered = sorted(found)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
