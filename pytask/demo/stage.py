"""The processes of the demo, and a client that acts and watches with plain Redis commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from pytask.adapters.keys import Keys
from pytask.domain.errors import PytaskError
from pytask.domain.messages import Event
from pytask.terminal import out

TIME_SCALE = 0.1  # tasks of a dead worker continue after about 10 s instead of 100
PATIENCE = 30.0  # seconds to wait for each step
CLOSING = 4.0  # seconds reserved for the shutdown of the workers
LOG_LINES = 10
STORED_LINES = 100  # of the log of each task
UUID_LENGTH = 32  # of the ids of pre-started tasks; those of the demo are short words


class Over(Exception):
    """A signal was received, or the time is up."""


@attrs.frozen
class Seen:
    """One message of `task-<id>`, and the worker that ran the task at that time."""

    task: str
    event: str
    data: Any
    worker: str


class Stage:
    """Uses one thread and no greenlets.  Signals are only recorded, and handled in `look`."""

    def __init__(self, url: str, folder: Path, ends_at: float | None) -> None:
        import redis

        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.owners: dict[str, str] = {}  # task id -> the last worker that ran it
        self.seen: list[Seen] = []
        self.signal: int | None = None
        self._page: subprocess.Popen[bytes] | None = None
        self._url = url
        self._folder = folder
        self._ends_at = ends_at  # on time.monotonic()
        self._began = time.monotonic()
        client: Any = redis.Redis.from_url(url, decode_responses=True, encoding_errors="replace")
        self._redis = client
        self._events = self._redis.pubsub(ignore_subscribe_messages=True)
        self._events.psubscribe("task-*")

    # -- acting, like any client ----------------------------------------------------------------------

    def clear(self, *task_ids: str) -> None:
        """Delete the tasks of an earlier demo in this folder; only before workers run."""
        keys = Keys()
        for task_id in task_ids:
            self._redis.lrem(keys.queue, 0, task_id)
            self._redis.hdel(keys.runs, task_id)
            self._redis.zrem(keys.leases, task_id)
        self._redis.delete(*task_ids)

    def push(self, task_id: str, function: str, **data: object) -> None:
        """HMSET and LPUSH."""
        self._redis.hset(task_id, mapping={"function": function, "data": json.dumps(data)})
        self._redis.lpush("new-task", task_id)

    def change(self, task_id: str, **data: object) -> None:
        """HSET of new data."""
        self._redis.hset(task_id, "data", json.dumps(data))

    def control(self, task_id: str, word: str) -> None:
        """PUBLISH on the task's control channel."""
        self.tell(f"PUBLISH task-{task_id}-control {word}")
        self._redis.publish(f"task-{task_id}-control", word)

    def fields(self, task_id: str, *names: str) -> list[Any]:
        """HMGET."""
        values: list[Any] = self._redis.hmget(task_id, names)
        return values

    # -- watching -------------------------------------------------------------------------------------

    def wait(self, holds: Callable[[], bool]) -> bool:
        """Wait until it is true; False after a timeout."""
        until = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > until:
                return False
            self.look()
        return True

    def look(self) -> None:
        """Print the events of the next moment.  Raises :class:`Over`."""
        if self.signal or (self._ends_at and time.monotonic() > self._ends_at - CLOSING):
            raise Over
        self.receive(0.1)

    def receive(self, timeout: float) -> None:
        """Print the events that arrive within `timeout` seconds."""
        message = self._events.get_message(timeout=timeout)
        while message is not None:
            self._note(message["channel"].removeprefix("task-"), message["data"])
            message = self._events.get_message(timeout=0)

    def of(self, task: str, event: str) -> list[Seen]:
        """The received events of one kind of one task, oldest first."""
        return [seen for seen in self.seen if (seen.task, seen.event) == (task, event)]

    def _note(self, task: str, payload: str) -> None:
        try:
            message = json.loads(payload)
            event, data = message["event"], message.get("data")
            if begins := event in (Event.RUNNING, Event.RELOADED):
                self.owners[task] = data["worker"]
        except (ValueError, TypeError, KeyError):
            return  # a control message, or a message of another program
        seen = Seen(task, event, data, self.owners.get(task, "-"))
        self.seen.append(seen)
        name = f"monitor {task[:6]}" if len(task) == UUID_LENGTH else task
        detail = "" if data is None or begins else json.dumps(data)
        self.line(f"{seen.worker:9} {name:15} {event:9} {detail}")

    # -- printing -------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """One line with the time since the start."""
        out(f"{time.monotonic() - self._began:5.1f} s  {text}".rstrip())

    def tell(self, text: str) -> None:
        """Print a line about the next step."""
        out()
        self.line(text)

    # -- processes ------------------------------------------------------------------------------------

    def start_worker(self, name: str) -> None:
        """Start `pytask run` on the demo's tasks."""
        words = ["run", "pytask.demo.tasks", "--name", name, "--time-scale", str(TIME_SCALE)]
        words += ["--task-logs", str(STORED_LINES)]
        self.workers[name] = self._started(name, words)

    def start_page(self) -> str:
        """Start `pytask web`; returns its address."""
        self._page = self._started("page", ["web", "--port", "0"], stdout=subprocess.PIPE)
        assert self._page.stdout is not None  # noqa: S101 - for the type checker
        told = self._page.stdout.readline().decode(errors="replace")
        if "http" not in told:
            raise PytaskError(f"the page did not start\n{self._log('page').read_text(errors='replace')}")
        return told.rpartition(" ")[2].strip()

    def _started(self, name: str, words: list[str], stdout: int | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "pytask", *words, "--redis", self._url]
        # The same pytask as this one, also if it is not on PATH.
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with self._log(name).open("wb") as log:
            # A separate session: only the demo receives Ctrl-C, and then ends the workers.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def showed_up(self, name: str) -> bool:
        """Whether the worker runs: its monitor is a task that publishes events."""
        return name in self.owners.values()

    def end_workers(self) -> bool:
        """Send SIGTERM to the workers; returns whether all that started ended in time with exit code 0."""
        living = {name: process for name, process in self.workers.items() if process.poll() is None}
        for process in living.values():
            process.terminate()
        until = time.monotonic() + PATIENCE  # a busy machine is given time: a late end is not a failure
        while time.monotonic() < until and any(process.poll() is None for process in living.values()):
            self.receive(0.05)
        self.receive(0.05)
        return all(process.poll() == 0 for name, process in living.items() if self.showed_up(name))

    def close(self) -> None:
        """Kill remaining workers and disconnect."""
        page = [] if self._page is None else [self._page]
        for process in [*self.workers.values(), *page]:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._page is not None and self._page.stdout is not None:
            self._page.stdout.close()
        self._events.close()
        self._redis.close()

    def last_words(self) -> str:
        """The last lines of each worker's log."""
        parts = []
        for name in self.workers:
            said = self._log(name).read_text(errors="replace").splitlines()
            parts += [f"The last lines of {name}:", *said[-LOG_LINES:]]
        return "\n".join(parts)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    @contextmanager
    def noting_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the demo and everything it started, at its next `look`."""

        def note(number: int, _frame: object) -> None:
            self.signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
