"""`pytask dev`: from the save of a file until all running tasks run its new code.

python -m benchmarks dev
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from benchmarks.place import ROOT, fill, wait
from benchmarks.results import Row

TASKS = 100
SAVES = 10
PAUSE = 2.0  # seconds between the new code and the next save
CODE = """
import gevent
from pytask import Task

class Count(Task):
    class Config:
        NAME = "count"
    def start(self):
        self.save((self.saved or 0) + 1, now=True)
        print("<VERSION>", flush=True)
        gevent.sleep(10_000)
"""


def measured(share: float) -> Iterator[Row]:
    """The rows."""
    tasks = max(20, int(TASKS * share))
    took = saved(tasks)
    yield Row(
        f"{tasks} tasks: from a save to new code in all of them, s, median of {SAVES}",
        f"{statistics.median(took):.2f}",
        "<= 1.0",
    )
    yield Row("  the slowest of them, s", f"{max(took):.2f}", "<= 1.0")


def saved(tasks: int) -> list[float]:
    """Seconds of each save."""
    with tempfile.TemporaryDirectory(prefix="pytask-bench-") as name:
        folder = Path(name)
        write(folder, 0)
        output = folder / "output"
        with output.open("wb") as printed:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytask", "dev", "tasks.py"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=printed,
            )
        try:
            return list(each(folder, output, tasks))
        finally:
            process.terminate()
            process.wait(60)


def each(folder: Path, output: Path, tasks: int) -> Iterator[float]:
    """The seconds of one save after the other."""
    wait(lambda: "the code runs" in output.read_text())
    found = re.search(r"PYTASK_REDIS_URL=(\S+)", output.read_text())
    with redis.Redis.from_url(found[1]) as client:
        fill(client, "count", tasks)
    wait(lambda: output.read_text().count("<0>") == tasks)
    for version in range(1, SAVES + 1):
        time.sleep(PAUSE)
        began = time.monotonic()
        write(folder, version)
        wait(lambda text=f"<{version}>": output.read_text().count(text) == tasks, step=0.005)
        yield time.monotonic() - began


def write(folder: Path, version: int) -> None:
    """Save the code."""
    (folder / "tasks.py").write_text(CODE.replace("VERSION", str(version)))
