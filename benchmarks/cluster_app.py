"""The app of `benchmarks cluster`; a target for `pytask run`."""

import os

from redis.cluster import RedisCluster

from benchmarks.tasks import Noop, Sleeper
from pytask import PyTask

app = PyTask(
    RedisCluster.from_url(os.environ["BENCH_NODE"]),
    namespace="{pytask}:",
    partitions=int(os.environ["BENCH_PARTITIONS"]),
    max_tasks=20_000,
)
app.add_task(Noop, Sleeper)
app.run()
