"""Run one worker with one library, and record seconds and counts; they are judged elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psutil

import pytask
from benchmarks.libraries.cases import Case
from pytask.domain.errors import TimedOut
from tests.support.servers import start_postgres, start_server

ROOT = Path(__file__).parents[2]
FEW, TASKS, WAIT = 3, 20, 0.5  # waiting tasks of the small and the large case, and the seconds of each wait
LONG, SHORT = 30.0, 0.05
ENDS = (
    8.0  # seconds within which a task with a call of SHORT must end; a thread that keeps it is named after 5
)
HELD = WAIT / 2  # seconds without an iteration after which the loop counts as blocked
PATIENCE = 8.0  # the timeout for steps that should take a second or two
SOCKET = 3.0  # seconds within which the connection of a stopped run must be closed
KILLS = 40
CANCELS = 100  # of coroutines
KEPT = re.compile(r"\[PT045\].*?thread [\w .:<>-]+ \(in (\w+)")

RETURNED = ("ENDED", "kept")  # states in which the call has returned

Facts = dict[str, Any]


class Worker:
    """A worker with one library."""

    def __init__(self, case: Case, python: Path, redis: str, ports: dict[str, int], folder: Path) -> None:
        self.case, self.port = case, ports.get(case.peer, 0)
        self.client = pytask.Client(redis, timeout=10, connect_timeout=10)
        self.log, self._folder = folder / "worker.log", folder
        env = os.environ | {"PYTHONPATH": str(ROOT), "LIBRARY": case.name, "FOLDER": str(folder)}
        words = ["run", "benchmarks.libraries.program", "--redis", redis, "--run-dir", str(folder / "run")]
        self._command, self._env = [python, "-m", "pytask", *words], env | {"PEERS": json.dumps(ports)}
        self._ids = itertools.count()
        self.begin()

    def begin(self) -> None:
        """Start the process; again after it has ended."""
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def start(self, function: str, **data: Any) -> str:
        return self.client.start(function, data, id=f"{function}-{next(self._ids)}")

    def result(self, task_id: str, timeout: float = PATIENCE) -> tuple[str, Any]:
        """State and output, or the error text; the state is "" after a timeout."""
        try:
            found = self.client.wait(task_id, timeout=timeout)
        except TimedOut:
            return "", None
        return found.state, found.output if found.state == "ENDED" else (found.error or "").split("\n")[0]

    def ask(self, function: str) -> Any:
        """The output of a task that returns at once."""
        state, output = self.result(self.start(function), 10)
        if state != "ENDED":
            raise Stands(f"{function}: {state} {output}")
        return output

    def results(self, tasks: list[str], timeout: float = PATIENCE) -> list[tuple[str, Any]]:
        """The results of several tasks within one `timeout`; the remaining ones are then stopped.

        The state is "kept" if the call has returned but a thread keeps the task.
        """
        until = time.monotonic() + timeout
        results = [self.result(task, max(0.1, until - time.monotonic())) for task in tasks]
        if all(state for state, _ in results):
            return results
        self.client.stop_many(task for task, (state, _) in zip(tasks, results, strict=True) if not state)
        returned = self.ask("returned")
        return [
            ("kept", returned[task]) if not one[0] and task in returned else one
            for task, one in zip(tasks, results, strict=True)
        ]

    def ready(self) -> bool:
        """Wait until it claims tasks; False if it ended before."""
        while self.process.poll() is None:
            if "takes tasks from" in self.log.read_text(errors="replace"):
                return True
            time.sleep(0.05)
        return False

    def connections(self) -> int:
        """The connections to the server."""
        lines = psutil.Process(self.process.pid).net_connections("tcp")
        return sum(1 for line in lines if line.raddr and line.raddr.port == self.port)

    def stop(self, task_id: str) -> float | None:
        """Stop a task; returns the seconds until it was STOPPED, None after a timeout."""
        began = time.monotonic()
        try:
            ended = self.client.stop(task_id, wait=15).state == "STOPPED"
        except TimedOut:
            return None
        return time.monotonic() - began if ended else None

    def end(self) -> None:
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(8)
            os.killpg(self.process.pid, signal.SIGKILL)  # including its child processes
        self.process.wait()


class Stands(Exception):
    """The worker no longer responds."""


def once(worker: Worker) -> Iterator[Facts]:
    """One task calls it once: does the task end?"""
    began = time.monotonic()
    task = worker.start("wait", seconds=SHORT)
    state, output = worker.result(task, ENDS)
    yield {"once": state, "once seconds": round(time.monotonic() - began, 2)}
    if state == "ERROR":
        yield {"error": output}
    if not state:
        worker.ask("gap")
        kept = KEPT.search(worker.log.read_text(errors="replace"))
        yield {"kept by": kept[1] if kept else "", "once stopped": worker.stop(task)}


def few(worker: Worker) -> Iterator[Facts]:
    """A few wait together: do others continue?"""
    worker.start("tick")
    worker.ask("gap")
    results = worker.results([worker.start("wait", seconds=WAIT) for _ in range(FEW)])
    yield {"gap": round(worker.ask("gap"), 3), "later": results[-1]}


def together(worker: Worker) -> Iterator[Facts]:
    """Many wait together: do they wait concurrently?"""
    results = worker.results([worker.start("wait", seconds=WAIT) for _ in range(TASKS)])
    times = [output for state, output in results if state in RETURNED]
    yield {"gap of many": round(worker.ask("gap"), 3), "right": sum(right for *_, right in times)}
    if times:
        yield {"span": round(max(end for _, end, _ in times) - min(start for start, *_ in times), 3)}
    yield {"errors": sorted({str(output)[:150] for state, output in results if state not in RETURNED})}


def held(worker: Worker) -> Iterator[Facts]:
    """Stop a task that blocks the loop."""
    task = worker.start("wait", seconds=2)
    time.sleep(0.3)
    yield {"stop": worker.stop(task)}


def stopped(worker: Worker) -> Iterator[Facts]:
    """One of three is stopped while all wait: are the others and its connection affected?"""
    first = worker.start("wait", seconds=LONG)
    others = [worker.start("wait", seconds=3) for _ in range(2)]
    time.sleep(1.2)
    before = worker.connections()
    yield {"stop": worker.stop(first)}
    until = time.monotonic() + SOCKET
    while worker.connections() >= before and time.monotonic() < until:
        time.sleep(0.05)
    yield {
        "connections": [before, worker.connections()],
        "others": [state for state, _ in worker.results(others)],
    }
    yield {"later": worker.results([worker.start("wait", seconds=SHORT)], 5)[0]}


def killed(worker: Worker) -> Iterator[Facts]:
    """Tasks that share an object are stopped during its calls: do others get wrong replies?"""
    asking = [worker.start("ask") for _ in range(10)]
    time.sleep(0.3)
    kills = CANCELS if worker.case.coroutine else KILLS
    for number in range(kills):
        worker.client.stop(asking[number])
        asking.append(worker.start("ask"))
        time.sleep(0.03)
    for task in asking[kills:]:
        worker.stop(task)
    yield {
        "answers": worker.ask("answers"),
        "after kills": worker.results([worker.start("wait", seconds=SHORT)], 5)[0],
    }


def reloaded(worker: Worker) -> Iterator[Facts]:
    """A task gets other data while it waits: does the new run get its answer?"""
    task = worker.start("wait", seconds=LONG)
    time.sleep(0.5)
    began = time.monotonic()
    worker.client.reload(task, {"seconds": SHORT})
    yield {"reloaded": worker.results([task], 5)[0], "reload seconds": round(time.monotonic() - began, 2)}


def handed_over(worker: Worker) -> Iterator[Facts]:
    """The worker is ended while tasks wait, and another one takes them: do they get their answers?"""
    tasks = [worker.start("wait", seconds=WAIT * 4) for _ in range(TASKS)]
    time.sleep(WAIT)
    began = time.monotonic()
    worker.process.terminate()
    code = worker.process.wait(60)
    yield {"handed seconds": round(time.monotonic() - began, 2), "code": code}
    yield {"back": sum(worker.client.get(task).state == "WAIT" for task in tasks)}
    worker.begin()
    if worker.ready():
        results = worker.results(tasks, 20)
        yield {"handed": sum(state in RETURNED and bool(output[2]) for state, output in results)}


def measure(worker: Worker, statements: Callable[[], int]) -> Facts:
    """All measurements of one library; `statements` counts those that continue in the database."""
    facts: Facts = {"worker": "stands"}
    with contextlib.suppress(Stands, psutil.Error):
        for part in parts(worker.case, facts):
            for more in part(worker):
                facts |= more
            if part is stopped and worker.case.peer == "postgres":
                facts["statements"] = statements()
        facts["worker"] = "answers" if worker.process.poll() is None else worker.process.returncode
    return facts


def holds(facts: Facts) -> bool:
    """Whether it blocks the loop; many simultaneous connects may also do so on a busy machine."""
    return facts["gap"] > HELD


def parts(case: Case, facts: Facts) -> Iterator[Callable[[Worker], Iterator[Facts]]]:
    """The next measurements, depending on the results."""
    yield once
    if facts["once"] == "ERROR":
        return
    yield few
    if holds(facts):
        yield held
    elif facts["once"] or facts["later"][0]:  # otherwise the stop of the first task ended it for all
        yield from (together, stopped)
        yield from (reloaded, handed_over, killed) if case.coroutine else (killed,) if case.shared else ()


class Place:
    """The servers, for the duration of the measurements."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
        self._undo = contextlib.ExitStack()
        self._postgres: Any = None
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self._redis = self._undo.enter_context(start_server("valkey"))
        return self

    def __exit__(self, *_error: object) -> None:
        self._undo.close()

    def row(self, case: Case) -> Facts:
        """Measure one library, with its own servers."""
        folder = self._folder / f"row-{next(self._numbers)}"
        folder.mkdir()
        with peers(self._python, case.peer) as ports:
            if case.peer and ports.get(case.peer) == 0:
                return {"missing": case.against}
            worker = Worker(case, self._python, self._redis.url, self._known(case.peer) | ports, folder)
            try:
                if not worker.ready():
                    said = worker.log.read_text(errors="replace").strip().splitlines()
                    return {"worker": "did not start", "once": "ERROR", "error": said[-1]}
                return measure(worker, self._statements)
            finally:
                worker.end()
                self._flush()

    def _known(self, peer: str) -> dict[str, int]:
        if peer == "postgres" and self._postgres is None:
            self._postgres = self._undo.enter_context(start_postgres())
        return {"redis": self._redis.port} | ({"postgres": self._postgres.port} if self._postgres else {})

    def _flush(self) -> None:
        import redis

        with redis.Redis.from_url(self._redis.url) as client:
            client.flushall()

    def _statements(self) -> int:
        """Count the statements of the stopped run that still run, and end them for the next row."""
        import psycopg

        with psycopg.connect(self._postgres.url, autocommit=True) as line:
            found = line.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()"
            )
            return found.rowcount


@contextlib.contextmanager
def peers(python: Path, kind: str) -> Iterator[dict[str, int]]:
    """A server of that kind in its own process."""
    if kind in ("", "redis", "postgres"):
        yield {}
        return
    process = subprocess.Popen(
        [python, "-m", "benchmarks.libraries.peers", kind], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()  # it ends the servers that it started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.kill()
        process.wait()


def here() -> Path:
    """The interpreter of this process."""
    return Path(sys.executable)
