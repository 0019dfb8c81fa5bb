"""Workers, a server and the way between them, on virtual time, with faults that a test or a seed chooses."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gevent

from pytask.adapters.memory import MemoryBackend
from pytask.app import PyTask
from pytask.client.client import Client
from pytask.domain.task import Task
from pytask.runtime.monitor import Monitor
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.services.schedules import Defined
from pytask.runtime.settings import Settings, changed
from pytask.testing.links import Call, Link
from pytask.testing.looks import DAY, Looks
from pytask.testing.memory_app import Direct, check_virtual, collected, next_step
from pytask.testing.memory_server import MemoryServer
from pytask.testing.virtual_time import Loop, VirtualHub, virtual_time
from pytask.testing.waiting import Ids
from pytask.testing.worker_process import WorkerProcess

GAP = (5.0, 40.0)  # seconds between two faults of `trouble()`
AWAY = (0.5, 20.0)  # seconds until a process is started again
LONG = (1.0, 120.0)  # seconds that a fault lasts
SETTLE = 300.0  # seconds in which all that the faults have broken is put right
LEAVES = 200.0  # seconds in which a process that was told to has left, also one that was frozen or cut off
KINDS = ("kill", "freeze", "partition", "lose_reply", "restart_redis", "deploy")
SHOWN = 30  # lines of the log in a message


class World(Looks):
    """Some workers, in processes of their own, and a server; made by `world()`.

    Attributes:
        seed: The seed: the same test with it happens again in the same way.
        workers: The names of the workers: "w0", "w1", ...
        log: What happened, one line each.
    """

    tails = 1.0

    def __init__(self, seed: int, loop: Loop, made: PyTask, workers: int) -> None:
        self.seed = seed
        self.loop = loop
        self.log: list[str] = []
        self.workers = [f"w{number}" for number in range(workers)]
        self.monitors: Iterable[str] = self.workers[:2]
        self.links = {place: Link(self, place) for place in self.workers}
        self.processes: dict[str, WorkerProcess] = {}  # those that should be there
        self.server = MemoryServer(self)
        self.server.state.queue = Ids(lambda: loop.soon(None, self.server.wake))
        self.backend = MemoryBackend(now=self.server.now, clock=loop.now, sleep=gevent.sleep)
        self.backend.state = self.server.state
        self.client = Client(self.backend, name="test")
        self._made = made
        self._numbers = dict.fromkeys(self.workers, 0)
        self._faults = self.stream("faults")
        self._broken: list[str] = []
        self.everyone: list[WorkerProcess] = []  # kept: collected, their greenlets would be unwound
        for place in self.workers:
            self._boot(place)

    # -- time -----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time by the clock of the server: seconds since 1970."""
        return self.server.now()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        gevent.sleep(seconds)
        self._check()

    def until(self, condition: Callable[[], Any], within: float = DAY) -> bool:
        """Let time pass until a condition holds; returns whether it does `within` this many seconds."""
        end = self.loop.time + within
        while not condition():
            left = end - self.loop.time
            if left <= 0:
                return False
            gevent.sleep(next_step(self.loop, left))
            self._check()
        return True

    def _check(self) -> None:
        assert not self._broken, f"seed {self.seed}: {self._broken[0]}\n{self.story()}"  # noqa: S101

    def story(self) -> str:
        """The last lines of the log, for a message."""
        return "\n".join([f"world(seed={self.seed}):", *self.log[-SHOWN:]])

    # -- faults ---------------------------------------------------------------------------------------

    def kill(self, worker: str | None = None) -> str:
        """Kill -9: nothing of the process runs again, no `finally` either; another is started soon.

        Args:
            worker: Its name; by default the seed chooses.

        Returns:
            The name.
        """
        return self._at(worker, lambda process: process.kill("kill -9"))

    def freeze(self, worker: str | None = None, seconds: float | None = None) -> str:
        """SIGSTOP, and SIGCONT after this many seconds; from 70 s on the kernel's timer kills it then."""
        lasts = self._lasts(seconds)

        def stop(process: WorkerProcess) -> None:
            self.note(process, f"frozen for {lasts:.0f} s")
            process.stop()
            self.loop.later(None, lasts, process.cont)

        return self._at(worker, stop)

    def partition(self, worker: str | None = None, seconds: float | None = None) -> str:
        """Cut a worker off from the server for this many seconds."""
        return self._on_link(worker, "cut", "is cut off", seconds)

    def lose_reply(self, worker: str | None = None, seconds: float | None = None) -> str:
        """Lose most of the replies to a worker for this many seconds: the server applied what it asked."""
        return self._on_link(worker, "lose_replies", "loses replies", seconds)

    def restart_redis(self, seconds: float = 5.0) -> None:
        """Restart the server, with its data, which takes this many seconds."""
        self.note(None, f"the server restarts, {seconds:.0f} s")
        self.server.go_down()
        self.loop.later(None, seconds, self._unless_up)

    def _unless_up(self) -> None:
        if self.server.down:
            self.server.come_up()

    def deploy(self, *what: type[Task]) -> None:
        """Replace the workers one after another, as a rolling deploy does: SIGTERM, and a new process.

        Args:
            *what: Task classes of the new release, instead of those of the same names.
        """
        if what:
            self._made.tasks = {**self._made.tasks, **{cls.Config.NAME: cls for cls in what}}
        for place in self.workers:
            process = self.processes.get(place)
            if process is not None and not process.dead:
                self._replace(place, process)

    def _replace(self, place: str, process: WorkerProcess) -> None:
        self.note(process, "SIGTERM")
        process.terminate()
        left = self.until(lambda: process.dead, LEAVES)
        assert left, f"{process} did not leave within {LEAVES:g} s\n{self.story()}"  # noqa: S101
        self.until(lambda: place in self.processes, AWAY[1])

    def trouble(self, seconds: float, kinds: Sequence[str] = KINDS) -> None:
        """Let time pass with faults that the seed chooses, then let everything recover.

        Args:
            seconds: How long faults begin.
            kinds: Of which faults: the names of the methods.
        """
        until = self.loop.time + seconds
        while True:
            self.advance(self._faults.uniform(*GAP))
            if self.loop.time >= until:
                break
            getattr(self, self._faults.choice(kinds))()
        self.heal()

    def heal(self) -> None:
        """End all faults, and let the workers put right what these have broken, which takes five minutes."""
        self.note(None, "healed")
        self.server.heal()
        for link in self.links.values():
            link.heal()
        for process in self.processes.values():
            process.cont()
        self.advance(SETTLE)

    def _at(self, worker: str | None, act: Callable[[WorkerProcess], None]) -> str:
        name = self._name(worker)
        process = self.processes.get(name)
        if process is not None and not process.dead and not process.stopped:
            act(process)
        return name

    def _name(self, worker: str | None) -> str:
        if worker is None:
            return self._faults.choice(self.workers)
        assert worker in self.workers, f"no worker {worker!r}: there are {', '.join(self.workers)}"  # noqa: S101
        return worker

    def _lasts(self, seconds: float | None) -> float:
        return self._faults.uniform(*LONG) if seconds is None else seconds

    def _on_link(self, worker: str | None, fault: str, what: str, seconds: float | None) -> str:
        name, lasts = self._name(worker), self._lasts(seconds)
        link = self.links[name]
        self.note(name, f"{what} for {lasts:.0f} s")
        setattr(link, fault, getattr(link, fault) + 1)
        self.loop.later(None, lasts, lambda: setattr(link, fault, max(0, getattr(link, fault) - 1)))
        return name

    # -- processes ------------------------------------------------------------------------------------

    def _boot(self, place: str) -> None:
        process = WorkerProcess(self, place, self._numbers[place])
        self._numbers[place] += 1
        self.processes[place] = process
        self.everyone.append(process)
        process.start()
        self.note(process, "starts")

    def died(self, process: WorkerProcess) -> None:
        """A supervisor starts another in its place."""
        if self.processes.get(process.place) is process:
            del self.processes[process.place]
            self.loop.later(None, process.random.uniform(*AWAY), self._boot_again, process.place)

    def _boot_again(self, place: str) -> None:
        if place not in self.processes:
            self._boot(place)

    # -- what processes and connections ask for -------------------------------------------------------

    def stream(self, name: str) -> random.Random:
        """Chance for one purpose, so that a change in one place leaves the others as they were."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311

    def note(self, who: Any, *what: Any) -> None:
        """A line of the log."""
        self.log.append(f"{self.loop.time:9.3f} {who or '-'!s:<6} {' '.join(map(str, what))}")

    def broken(self, process: WorkerProcess | None, what: str) -> None:
        """Something failed that never may."""
        self._broken.append(f"{process}: {what}")

    def settings_of(self, process: WorkerProcess) -> Settings:
        """The settings of its worker."""
        return changed(self._made.settings, {"name": process.name, "block_limit": None})

    def task_classes(self, process: WorkerProcess) -> Mapping[str, type[Task]]:  # noqa: ARG002 - all know all
        """The tasks of the release that is deployed."""
        return self._made.tasks

    def prestarted(self, process: WorkerProcess) -> Sequence[tuple[str, bytes]]:  # noqa: ARG002 - all start all
        """The tasks that start with it; monitors are there anyway."""
        return [one for one in self._made.prestart if one[0] != Monitor.Config.NAME]

    def schedules(self) -> Sequence[Defined]:
        """The schedules that the code defines."""
        return self._made.schedules

    def native(self, size: int) -> NativePool:
        """Blocking calls take no virtual time."""
        return Direct(size)

    def aimed(self, link: Link, process: WorkerProcess, verb: str) -> None:
        """Nothing is aimed at."""

    def acknowledged(self, call: Call, outcome: Any) -> None:
        """A renewal was answered."""


@contextmanager
def world(seed: int, *what: type[Task] | PyTask, workers: int = 3, **settings: Any) -> Iterator[World]:
    """Run tasks on several workers, with faults, on virtual time: each by pytask's own runtime.

    Everything that happens follows from the seed, so a failure is seen again with it.  As in `app()`, sockets
    and asyncio have no virtual time.

    Args:
        seed: Any number.
        *what: Task classes, or one `PyTask` of yours.
        workers: How many workers; two of them have monitors.
        **settings: The fields of `pytask.Settings` to change.

    Yields:
        The world; its workers have started.

    Raises:
        NotSimulated: A task that needs asyncio.
        BadTaskClass: A class that cannot run.
    """
    made = collected(what, settings)
    check_virtual(made)
    with virtual_time() as loop:
        found = World(seed, loop, made, workers)
        hub = gevent.get_hub()
        assert isinstance(hub, VirtualHub)  # noqa: S101
        hub.on_error = lambda _, error: found.broken(None, repr(error))
        try:
            yield found
        except AssertionError as error:
            error.add_note(found.story())
            raise
        finally:
            loop.ended = True
            _kept.append(found)


_kept: list[World] = []  # collected, it would unwind the greenlets of its processes
