"""Samples of every process, from outside and from its own gauge, and of the keys."""

import json
import os
import time
from collections import Counter, defaultdict
from pathlib import Path

import redis

from tests.soak.flat import family

SECOND = 1_000_000_000
KIB = os.sysconf("SC_PAGE_SIZE") // 1024
SIZES = {"runs": "hlen", "leases": "zcard", "workers": "zcard", "workers:info": "hlen", "monitors": "zcard"}


class Sampler:
    """Series by (owner, figure): lists of (seconds since the start, figure)."""

    def __init__(self, stage, begin):
        self.stage, self.begin = stage, begin
        self.series = defaultdict(list)
        self.client = stage.connect()
        self._gauge = (stage.folder / "gauge").open("rb")
        self.lives = {}  # pid -> worker's name

    def sample(self):
        at = time.monotonic() - self.begin
        for name, process in list(self.stage.workers.items()):
            if process.poll() is None:
                self.lives[process.pid] = name
                self._process(at, process.pid)
        self._read_gauges()
        try:
            self._redis(at)
        except (redis.RedisError, OSError):
            self.client.connection_pool.disconnect()

    def _process(self, at, pid):
        try:
            fds = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only, each 10 s
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * KIB
        except (OSError, IndexError):
            return  # it ended meanwhile
        self.series[pid, "fds"].append((at, fds))
        self.series[pid, "rss_kib"].append((at, resident))

    def _read_gauges(self):
        for line in self._gauge.read().splitlines():
            entry = json.loads(line)
            at = entry["mono_ns"] / SECOND - self.begin
            for figure in ("runs", "greenlets", "other_greenlets", "objects"):
                self.series[entry["pid"], figure].append((at, entry[figure]))

    def _redis(self, at):
        client = self.client
        info = client.info()
        add = lambda name, figure: self.series["redis", name].append((at, figure))  # noqa: E731
        for name in ("used_memory", "used_memory_dataset", "connected_clients"):
            add(name, info[name])
        families = Counter(map(family, client.scan_iter(count=1000)))
        add("dbsize", sum(families.values()))
        for name in ("long", "short", "malformed", "local", "pytask"):
            add(f"keys of {name}", families[name])
        for name, command in SIZES.items():
            add(f"pytask:{name}", getattr(client, command)(f"pytask:{name}"))
        for state in ("ENDED", "ERROR", "STOPPED", "WAIT"):
            add(f"index of {state}", client.zcard(f"pytask:index:{state}"))
        add("queue", client.llen("new-task"))
        add("rejected", client.llen("pytask:rejected"))
        owners = Counter(c["addr"] for c in client.client_list() if c["name"].startswith("pytask-"))
        add("connections", sum(owners.values()))
