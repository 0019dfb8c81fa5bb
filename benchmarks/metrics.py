"""What metrics cost a task that does nothing: processor time of the worker, with them and without, in turns.

python -m benchmarks metrics
"""

from __future__ import annotations

import socket
import statistics
import threading
import urllib.request
from collections.abc import Iterator

from benchmarks.place import TASKS, cpu, fill, server, wait, worker_process
from benchmarks.results import Row

DRAINED = 30_000  # tasks of one turn
LIMIT = 1.03  # of the time without metrics
UNCOUNTED = "benchmarks/uncounted.py"


def measured(rounds: int, share: float) -> Iterator[Row]:
    """The rows."""
    tasks = max(500, int(DRAINED * share))
    without, with_them = [], []
    for number in range(rounds):
        turns = [lambda: without.append(spent(tasks, metrics=False)), lambda: with_them.append(spent(tasks))]
        for turn in turns if number % 2 else turns[::-1]:  # neither is always the first
            turn()
    ratio = statistics.median(one / other for one, other in zip(with_them, without, strict=True))
    yield Row(
        "no-op task without metrics, us of the worker's processor", f"{1e6 * least(without, tasks):.1f}"
    )
    yield Row("  counted, and scraped once a second", f"{1e6 * least(with_them, tasks):.1f}")
    yield Row(f"  ratio, median of {rounds} rounds", f"{ratio:.3f}", f"<= {LIMIT:g}")


def least(seconds: list[float], tasks: int) -> float:
    """Of the quietest turn, for one task."""
    return min(seconds) / tasks


def spent(tasks: int, *, metrics: bool = True) -> float:
    """Processor seconds of a worker that drains so many tasks."""
    port = free_port()
    options = ("--metrics", str(port)) if metrics else ()
    over = threading.Event()
    with (
        server() as (url, client),
        worker_process(url, "--no-monitor", *options, target=TASKS if metrics else UNCOUNTED) as pid,
    ):
        wait(lambda: client.zcard("pytask:workers") == 1)
        scraper = threading.Thread(target=scrape, args=(port, over), daemon=True)
        if metrics:
            scraper.start()
        began = cpu(pid)
        fill(client, "noop", tasks)
        wait(lambda: client.zcard("pytask:index:ENDED") == tasks)
        used = cpu(pid) - began
        over.set()
        if metrics:
            scraper.join()
        return used


def scrape(port: int, over: threading.Event) -> None:
    """As Prometheus does it, only more often."""
    while not over.wait(1.0):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert b"pytask_start_latency_seconds_count" in answer.read()


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
