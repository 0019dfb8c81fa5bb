"""One drain of a queue by one worker, measured in the same way for pytask, the limit loop and every peer.

All tasks are enqueued first; then the worker starts and each task marks that it ran (peers/mark.py), in the
process in which it runs.  The rate is that of the marks, from the first to the last: the start of the worker
is not in it, nor are the few milliseconds in which the last tasks are put away.  The limit loop, which
runs no task code, tells its own time, from its first command to its last.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import redis

from benchmarks.peers import HERE, Peer
from benchmarks.peers.mark import EVERY, RECORD
from benchmarks.place import ROOT, TASKS, fill, server

PATIENCE = 30.0  # seconds without a mark, after which a worker has failed


class Marks:
    """The file in which tasks mark that they ran."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "marks"
        self.path.touch()

    def records(self) -> list[tuple[float, float]]:
        """(wall clock, number) of each."""
        data = self.path.read_bytes()
        return list(RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]))

    def wait(self, count: float, workers: Sequence[subprocess.Popen], *, counts: bool = True) -> None:
        """Wait until the numbers add up to `count`, or there are `count` records."""
        size, since = -1, time.monotonic()
        while True:
            if size != (size := self.path.stat().st_size):
                since = time.monotonic()
                found = self.records()
                if (sum(number for _, number in found) if counts else len(found)) >= count:
                    return
            codes = [worker.poll() for worker in workers]
            if codes != [None] * len(codes) or time.monotonic() - since > PATIENCE:
                raise RuntimeError(f"{workers[0].args}: {len(self.records())} marks, exit codes {codes}")
            time.sleep(0.02)

    def rate(self) -> float:
        """Tasks a second, from the first to the last record; 0 where there is one only."""
        found = sorted(self.records())
        took = found[-1][0] - found[0][0]
        return (sum(number for _, number in found) - found[0][1]) / took if took else 0.0


@contextlib.contextmanager
def running(
    command: list[str], env: dict[str, str], cwd: Path, processes: int = 1
) -> Iterator[tuple[Marks, list[subprocess.Popen]]]:
    """`processes` times the worker; they end with the block.  Their output is shown if the block fails."""
    with tempfile.TemporaryDirectory(prefix="pytask-bench-") as folder:
        marks = Marks(folder)
        log = Path(folder) / "log"
        started = []
        try:
            with log.open("ab") as output:
                for _ in range(processes):
                    started.append(  # noqa: PERF401 - what has been started must be ended
                        subprocess.Popen(
                            command,
                            env=env | {"BENCH_MARKS": str(marks.path)},
                            cwd=cwd,
                            stdin=subprocess.DEVNULL,
                            stdout=output,
                            stderr=output,
                            start_new_session=True,
                        )
                    )
            yield marks, started
        except BaseException:
            print(log.read_text(errors="replace")[-3000:], file=sys.stderr, flush=True)
            raise
        finally:
            for each in started:
                end(each)


def end(process: subprocess.Popen) -> None:
    """The worker and the processes it made; what is measured is over, so nobody need be polite for long."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)


def pytask_command(url: str, *options: str) -> list[str]:
    """`pytask run` with its default settings."""
    words = ["run", TASKS, "--redis", url, "--log-level", "warning", *options]
    return [sys.executable, "-m", "pytask", *words]


class Drained(NamedTuple):
    """Tasks a second, and the CPU time of worker and server for a task, microseconds."""

    rate: float
    worker: float = 0.0
    server: float = 0.0


def watched(client: redis.Redis, marks: Marks, workers: Sequence[subprocess.Popen], count: int) -> Drained:
    """Wait until `count` tasks ran."""

    def look() -> tuple[float, float, float]:
        info = client.info("cpu")
        done = sum(number for _, number in marks.records())
        return done, session_cpu([each.pid for each in workers]), info["used_cpu_user"] + info["used_cpu_sys"]

    marks.wait(1, workers)
    before = look()
    marks.wait(count - EVERY * len(workers), workers)
    done, own, theirs = (b - a for a, b in zip(before, look(), strict=True))
    return Drained(marks.rate(), *(cpu / done * 1e6 if done else 0.0 for cpu in (own, theirs)))


def session_cpu(leaders: Sequence[int]) -> float:
    """CPU seconds of the processes of these sessions, and of their children that have ended."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended just now
            fields = path.read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) if int(fields[3]) in leaders else 0
    return total / os.sysconf("SC_CLK_TCK")


def drain_pytask(count: int, processes: int = 1) -> Drained:
    """By one worker, or several."""
    with server() as (url, client):
        fill(client, "noop", count)
        with running(pytask_command(url), dict(os.environ), ROOT, processes) as (marks, workers):
            return watched(client, marks, workers, count)


def drain_limit(count: int) -> Drained:
    """By the bare loop; the server's part is not taken apart."""
    seconds, cpu = limit_loop(count)
    return Drained(count / seconds, cpu / count * 1e6)


def limit_loop(count: int) -> tuple[float, float]:
    """The bare loop's seconds, by the clock and of its own CPU."""
    with server() as (url, client):
        fill(client, "noop", count)
        return run_limit(url, count)


def run_limit(url: str, count: int, *waiting: str) -> tuple[float, float]:
    """The bare loop runs what is in the queue: the same two figures."""
    command = [sys.executable, "-m", "benchmarks.limit", url, *waiting]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    done, seconds, cpu = said.split()[:3]
    if int(done) != count:
        raise RuntimeError(f"the limit loop ran {done} of {count} tasks")
    return float(seconds), float(cpu)


def drain_peer(peer: Peer, cache: Path, pool: int, count: int) -> Drained:
    """By one worker process of a peer at this concurrency."""
    with server() as (url, client):
        env = peer.environment(cache, url, pool)
        produce(peer.producing(cache, "fill", count), env)
        with running(peer.working(cache, url, pool), env, HERE) as (marks, workers):
            return watched(client, marks, workers, count)


def produce(command: list[str], env: dict[str, str]) -> str:
    """Run a producer; what it said last."""
    said = subprocess.run(command, env=env, cwd=HERE, capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(f"{command}: {said.stderr[-2000:]}")
    return said.stdout.strip().rpartition("\n")[2]
