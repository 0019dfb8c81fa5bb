"""The other task queues: for each a no-op program as its documentation recommends, and how to run it.

All have their default settings but for the concurrency, which is the best of those listed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs

HERE = Path(__file__).parent
POOLS = (10, 100, 500)


@attrs.frozen(kw_only=True)
class Peer:
    """A task queue: its packages, its program, its worker's command line.

    `worker` may hold `{pool}`, the concurrency, and `{url}`; programs read the same from the environment.
    `count` tasks take roughly two seconds.
    """

    name: str
    program: str
    packages: tuple[str, ...]
    worker: tuple[str, ...]
    count: int
    pools: tuple[int, ...] = POOLS
    env: tuple[tuple[str, str], ...] = ()

    @property
    def node(self) -> bool:
        """Whether Node runs it."""
        return self.program.endswith(".js")

    def prepare(self, cache: Path) -> None:
        """Install it once into its own environment, and again when the list of packages changes."""
        home = self.home(cache)
        stamp = home / "installed.txt"
        if stamp.exists() and stamp.read_text() == "\n".join(self.packages):
            return
        print(f"installing {' '.join(self.packages)} into {home}", flush=True)
        home.mkdir(parents=True, exist_ok=True)
        if self.node:
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *self.packages]
            subprocess.run([*command, "--prefix", str(home)], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *self.packages], check=True)
        stamp.write_text("\n".join(self.packages))

    def home(self, cache: Path) -> Path:
        """The folder of its environment."""
        return cache / self.program.partition("_")[0]

    def environment(self, cache: Path, url: str, pool: int) -> dict[str, str]:
        """The variables that its program reads."""
        own = {"BENCH_REDIS": url, "BENCH_CONCURRENCY": str(pool), **dict(self.env)}
        modules = {"NODE_PATH": str(self.home(cache) / "node_modules")} if self.node else {}
        return os.environ | own | modules | {"PYTHONPATH": str(HERE)}

    def working(self, cache: Path, url: str, pool: int) -> list[str]:
        """The command line of its worker."""
        words = [word.format(pool=pool, url=url) for word in self.worker]
        return ["node", *words] if self.node else [str(self.home(cache) / "bin" / words[0]), *words[1:]]

    def producing(self, cache: Path, *words: object) -> list[str]:
        """The command line of its producer; see produce.py for the words."""
        runner = ["node"] if self.node else [str(self.home(cache) / "bin/python")]
        return [*runner, self.program, *(["produce"] if self.node else []), *map(str, words)]

    def version(self, cache: Path) -> str:
        """What is installed, as `name version`s."""
        names = [name.partition("[")[0] for name in self.packages]
        if self.node:
            folder = self.home(cache) / "node_modules"
            found = [json.loads((folder / name / "package.json").read_text())["version"] for name in names]
        else:
            code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
            command = [str(self.home(cache) / "bin/python"), "-c", code, *names]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return ", ".join(f"{name} {each}" for name, each in zip(names, found, strict=True))


TASKIQ = ("taskiq", "worker", "taskiq_noop:broker", "--workers", "1", "--max-async-tasks", "{pool}")
TASKIQ_QUIET = (*TASKIQ, "--log-level", "WARNING")

CELERY = ("celery", "-A", "celery_noop", "worker", "-P", "gevent", "-c", "{pool}", "-l", "warning")
HUEY = ("huey_consumer", "huey_noop.huey", "-k", "greenlet", "-w", "{pool}", "-q")
DRAMATIQ = ("dramatiq-gevent", "dramatiq_noop", "-p", "1", "-t", "{pool}")
SAQ = ("saq", "saq_noop.settings", "--quiet")
BY_LIST = {"env": (("BENCH_BROKER", "ListQueueBroker"),)}

PEERS = tuple(
    Peer(name=name, program=program, packages=packages, worker=worker, count=count, **more)
    for name, program, packages, worker, count, more in (
        ("BullMQ", "bullmq_noop.js", ("bullmq", "ioredis"), ("bullmq_noop.js", "work"), 40_000, {}),
        ("bee-queue", "bee_noop.js", ("bee-queue",), ("bee_noop.js", "work"), 40_000, {}),
        ("taskiq-redis (stream)", "taskiq_noop.py", ("taskiq", "taskiq-redis"), TASKIQ_QUIET, 6_000, {}),
        ("taskiq-redis (list)", "taskiq_noop.py", ("taskiq", "taskiq-redis"), TASKIQ_QUIET, 6_000, BY_LIST),
        ("Huey (greenlet)", "huey_noop.py", ("huey", "redis", "gevent"), HUEY, 6_000, {}),
        ("Dramatiq (gevent)", "dramatiq_noop.py", ("dramatiq[redis,gevent]",), DRAMATIQ, 5_000, {}),
        ("SAQ", "saq_noop.py", ("saq[redis,hiredis]", "typing_extensions"), SAQ, 4_000, {}),
        ("arq", "arq_noop.py", ("arq",), ("arq", "arq_noop.WorkerSettings"), 3_000, {}),
        ("streaQ", "streaq_noop.py", ("streaq",), ("streaq", "run", "streaq_noop:worker"), 3_000, {}),
        ("Celery (gevent)", "celery_noop.py", ("celery[redis,gevent]",), CELERY, 2_000, {}),
        ("RQ", "rq_noop.py", ("rq",), ("rq", "worker", "--url", "{url}", "--quiet"), 400, {"pools": (1,)}),
    )
)
