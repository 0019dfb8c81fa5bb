"""One drain of a queue by one worker, measured in the same way for pytask, the limit loop and every peer.

All tasks are enqueued first; then the worker starts and each task marks that it ran (peers/mark.py), in the
process in which it runs.  The rate is that of the marks, from the first to the last: the start of the worker
is not in it, and neither are the few milliseconds in which the last tasks are put away.  The limit loop, which
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
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.peers import HERE, Peer
from benchmarks.peers.mark import EVERY, RECORD
from benchmarks.place import ROOT, TASKS, fill, server

PATIENCE = 30.0  # seconds without a mark, after which a worker has failed


@attrs.frozen(kw_only=True)
class Outcome:
    """Tasks a second in the drain, and calls a second of the producer (0: was filled in bulk)."""

    rate: float
    calls: float = 0.0


class Marks:
    """The file in which tasks mark that they ran."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "marks"
        self.path.touch()

    def records(self) -> list[tuple[float, float]]:
        """(wall clock, number) of each."""
        data = self.path.read_bytes()
        return list(RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]))

    def wait(self, count: float, process: subprocess.Popen, *, counts: bool = True) -> None:
        """Until the numbers add up to `count`, or so many records are there."""
        size, since = -1, time.monotonic()
        while True:
            if size != (size := self.path.stat().st_size):
                since = time.monotonic()
                found = self.records()
                if (sum(number for _, number in found) if counts else len(found)) >= count:
                    return
            if process.poll() is not None or time.monotonic() - since > PATIENCE:
                raise RuntimeError(f"{process.args}: {len(self.records())} marks, exit {process.returncode}")
            time.sleep(0.02)

    def rate(self) -> float:
        """Tasks a second, from the first to the last record."""
        found = sorted(self.records())
        return (sum(number for _, number in found) - found[0][1]) / (found[-1][0] - found[0][0])


@contextlib.contextmanager
def running(
    command: list[str], env: dict[str, str], cwd: Path, processes: int = 1
) -> Iterator[tuple[Marks, subprocess.Popen]]:
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
            yield marks, started[0]
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


def pytask_command(url: str) -> list[str]:
    """`pytask run` with its default settings."""
    return [sys.executable, "-m", "pytask", "run", TASKS, "--redis", url, "--log-level", "warning"]


def drain_pytask(count: int, processes: int = 1) -> Outcome:
    """By one worker, or several."""
    with server() as (url, client):
        fill(client, "noop", count)
        with running(pytask_command(url), dict(os.environ), ROOT, processes) as (marks, process):
            marks.wait(count - EVERY * processes, process)
            return Outcome(rate=marks.rate())


def drain_limit(count: int) -> Outcome:
    """By the bare loop."""
    with server() as (url, client):
        fill(client, "noop", count)
        command = [sys.executable, "-m", "benchmarks.limit", url]
        said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        done, seconds = said.split()[:2]
        if int(done) != count:
            raise RuntimeError(f"the limit loop ran {done} of {count} tasks")
        return Outcome(rate=count / float(seconds))


def drain_peer(peer: Peer, cache: Path, pool: int, count: int) -> Outcome:
    """By one worker process of a peer at this concurrency."""
    with server() as (url, _):
        env = peer.environment(cache, url, pool)
        seconds = float(produce(peer, cache, env, "fill", count))
        with running(peer.working(cache, url, pool), env, HERE) as (marks, process):
            marks.wait(count - EVERY, process)
            return Outcome(rate=marks.rate(), calls=0.0 if peer.node else count / seconds)


def produce(peer: Peer, cache: Path, env: dict[str, str], *words: object) -> str:
    """Run a peer's producer; what it said last."""
    said = subprocess.run(
        peer.producing(cache, *words), env=env, cwd=HERE, capture_output=True, text=True, check=False
    )
    if said.returncode:
        raise RuntimeError(f"{peer.name}: {said.stderr[-2000:]}")
    return said.stdout.strip().rpartition("\n")[2]
