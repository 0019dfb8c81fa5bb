# ruff: noqa: E402 - patching comes first
"""A worker under chaos: its tasks write to a file what they do, its scripts to a stream what they did."""

from tests.support.patching import patch_all

patch_all()

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import gevent
import greenlet
from redis.sentinel import Sentinel

from pytask import Monitor, PyTask, Restart, Task, Timing
from pytask.domain import leases
from pytask.runtime import monitor
from pytask.runtime.process import log_format
from pytask.runtime.process.clock import steady
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor
from tests.chaos.audit import wrap_store
from tests.chaos.policies import HEALTHY, LIMIT
from tests.support.servers import HOST, MASTER_NAME

SHORT_STEP = 0.05  # seconds between two acts
evidence = -1  # a file descriptor
long_step = 0.2
finish = Path()
alias = 0  # what stands for the pid of the worker in a PID namespace: the init, or its child


def write(at, name, run, kind):
    pid = os.getpid()
    if alias:
        pid = alias + (0 if 1 in (pid, os.getppid()) else pid)
    os.write(evidence, f"{at} {name} {run} {pid} {kind}\n".encode())


class Acting(Task):
    """Writes its acts."""

    def act(self, kind="act"):
        write(time.monotonic_ns(), self.id, self._run.ref.run, kind)

    def tick(self, seconds, step):
        """Acts for that long, or until the run of the whole test is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not finish.exists():
            self.act()
            gevent.sleep(step)

    def first(self):
        """Whether no run of this id came here before."""
        mark = Path(f"{finish}-{self.id}")
        if mark.exists():
            return False
        mark.touch()
        return True


class Short(Acting):
    class Config:
        NAME = "short"

    def start(self):
        self.tick(self.task_data["for"], SHORT_STEP)
        return {"run": self._run.ref.run}


class Long(Acting):
    """start() returns; the greenlet it spawned goes on."""

    class Config:
        NAME = "long"

    def start(self):
        self.loop = gevent.spawn(self.tick, self.task_data["for"], long_step)

    def stop(self):
        self.loop.kill()


class Hog(Acting):
    """Holds the event loop, the first time it runs."""

    class Config:
        NAME = "hog"

    def start(self):
        self.act()
        gevent.sleep(0.2)
        until = time.monotonic() + (self.task_data["for"] if self.first() else 0)
        while time.monotonic() < until:
            pause = time.monotonic() + SHORT_STEP
            while time.monotonic() < pause:
                pass
            self.act()


class Regex(Acting):
    """C code that keeps the interpreter's lock, the first time it runs."""

    class Config:
        NAME = "regex"

    def start(self):
        self.act()
        gevent.sleep(0.2)
        if self.first():
            re.match("(a+)+$", "a" * 40 + "b")
        self.act()


class Stubborn(Acting):
    """Ignores being killed, the first time it runs."""

    class Config:
        NAME = "stubborn"

    def start(self):
        until = time.monotonic() + (self.task_data["for"] if self.first() else 0)
        while time.monotonic() < until:
            try:
                self.act()
                gevent.sleep(SHORT_STEP)
            except BaseException:
                pass


class Forker(Acting):
    """Its child waits in gevent's loop, where no other task may go on."""

    class Config:
        NAME = "forker"

    def start(self):
        self.act()
        child = os.fork()
        if not child:
            until = time.monotonic() + 1
            while time.monotonic() < until:
                gevent.sleep(SHORT_STEP)
            os._exit(0)
        self.tick(1.5, SHORT_STEP)
        os.waitpid(child, 0)


class Alarm(Acting):
    """Limits a step by SIGALRM, as code that comes from other queues does."""

    class Config:
        NAME = "alarm"

    def start(self):
        def late(*_):
            raise TimeoutError

        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 60)
        self.tick(0.5, SHORT_STEP)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.tick(1.5, SHORT_STEP)


class Handler(Acting):
    """Sets handlers for the signals that end a worker."""

    class Config:
        NAME = "handler"

    def start(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.tick(2, SHORT_STEP)


class Child(Acting):
    """A child of multiprocessing that its worker would wait for at the exit."""

    class Config:
        NAME = "child"

    def start(self):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(self.task_data["for"],))
        child.start()
        self.tick(1, SHORT_STEP)
        while child.is_alive() and not finish.exists():
            self.act()
            gevent.sleep(0.2)
        child.kill()
        child.join()
        child.close()


class Breaker(Acting):
    """For a while each line of the log meets a handler that raises."""

    class Config:
        NAME = "breaker"

    def start(self):
        handler = logging.Handler()
        handler.emit = self._raise
        logging.getLogger().addHandler(handler)
        try:
            self.tick(2, SHORT_STEP)
        finally:
            logging.getLogger().removeHandler(handler)

    @staticmethod
    def _raise(_record):
        raise RuntimeError("a log handler that fails")


class Large(Acting):
    """Makes an output, or an event, that some server or proxy may never take."""

    class Config:
        NAME = "large"

    def start(self):
        self.act()
        much = "x" * self.task_data["bytes"]
        if self.task_data["in"] == "output":
            return much
        self.emit("much", much)
        self.tick(0.3, SHORT_STEP)
        return "small"


class Delayed(Acting):
    """Pushed with a time before which it may not begin."""

    class Config:
        NAME = "delayed"

    def start(self):
        self.tick(self.task_data["for"], SHORT_STEP)
        self.act("done")


class Flap(Acting):
    """Fails as often as its data says; the failures are counted outside Redis."""

    longest = HEALTHY + 1.5  # seconds of a run that fails

    class Config:
        NAME = "flap"
        RESTART = Restart("failure", first=0.2, factor=1.5, cap=2, healthy=HEALTHY)

    def start(self):
        self.act(f"attempt:{self.attempt}")
        count = Path(f"{finish}-fails-{self.id}")
        failed = count.stat().st_size if count.exists() else 0
        if finish.exists() or not self.fails(failed):
            self.tick(0.5, SHORT_STEP)
            self.act("done")
            return
        dice = random.Random(self._run.ref.run)
        self.tick(dice.choice((0.0, dice.uniform(0, 1), dice.uniform(0, 2), self.longest)), SHORT_STEP)
        with count.open("a") as file:
            file.write(".")
        self.act("fails")
        raise self.Error("flaps")

    def fails(self, failed):
        return failed < self.task_data["fails"]


class Limited(Flap):
    """Fails until it has to give up."""

    longest = 0.5

    class Config:
        NAME = "limited"
        RESTART = Restart("failure", first=0.2, factor=1.2, cap=1, healthy=3600, limit=LIMIT)

    def fails(self, failed):
        return True


class Tick(Acting):
    """Started by a schedule."""

    class Config:
        NAME = "tick"

    def start(self):
        told = self.scheduled
        if told is None:
            self.act("unscheduled")
            return
        self.act(f"sched:{told.schedule}@{told.scheduled_for * 1000:.0f}")
        dice = random.Random(self._run.ref.run)
        self.tick(dice.choice((0.1, 0.5, 0.5, 1.0, 6.0)), SHORT_STEP)


class Awaiting(Acting):
    """Acts as a coroutine."""

    async def acting(self, seconds, step):
        """As tick."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not finish.exists():  # noqa: ASYNC240 - as the others do
            self.act()
            await asyncio.sleep(step)


class AioShort(Awaiting):
    class Config:
        NAME = "aio-short"

    async def start(self):
        await self.acting(self.task_data["for"], SHORT_STEP)
        return {"run": self._run.ref.run}


class AioLong(Awaiting):
    """start() returns; the asyncio task that it created goes on, and its end takes a while."""

    class Config:
        NAME = "aio-long"

    async def start(self):
        self.loop = asyncio.create_task(self.going_on())

    async def going_on(self):
        try:
            await self.acting(self.task_data["for"], long_step)
        finally:
            await asyncio.sleep(0.02)
            self.act()


class AioHog(Awaiting):
    """Holds the asyncio loop, the first time it runs."""

    class Config:
        NAME = "aio-hog"

    async def start(self):
        self.act()
        await asyncio.sleep(0.2)
        until = time.monotonic() + (self.task_data["for"] if self.first() else 0)
        while time.monotonic() < until:
            pause = time.monotonic() + SHORT_STEP
            while time.monotonic() < pause:
                pass
            self.act()


class AioStubborn(Awaiting):
    """Swallows every cancel, the first time it runs."""

    class Config:
        NAME = "aio-stubborn"

    async def start(self):
        until = time.monotonic() + (self.task_data["for"] if self.first() else 0)
        while time.monotonic() < until:
            try:
                self.act()
                await asyncio.sleep(SHORT_STEP)
            except BaseException:
                pass


class AioDelayed(Awaiting):
    class Config:
        NAME = "aio-delayed"

    async def start(self):
        await self.acting(self.task_data["for"], SHORT_STEP)
        self.act("done")


class Lone(Long):
    """A precious long task, which has a worker of its own."""

    class Config:
        NAME = "lone"


TASKS = [Short, Long, Hog, Regex, Stubborn, Forker, Alarm, Handler, Child, Breaker, Large]
TASKS += [Delayed, Flap, Limited, Tick]
TASKS += [AioShort, AioLong, AioHog, AioStubborn, AioDelayed]
PRECIOUS = [Lone]


def record_renewals():
    """Note when each acknowledged renewal was sent, each sweep, and which runs are over by our own word."""
    sweep = monitor.Monitor.check_tasks
    acknowledged, put, launch = leases.Lease.acknowledged, Committer.put, Executor.launch

    def noting_acknowledged(self, refs, sent_at):
        acknowledged(self, refs, sent_at)
        write(time.monotonic_ns() - int((steady() - sent_at) * 1e9), "-", len(refs), "ack")

    def noting_put(self, change, *more):
        if change.trigger is not None:
            write(time.monotonic_ns(), change.id, change.run, "over")
        put(self, change, *more)

    def noting_launch(self, claim, sent_at, **options):
        # For this run alone the claim was an acknowledged sign of life: its lease counts from there.
        write(time.monotonic_ns() - int((steady() - sent_at) * 1e9), claim.id, claim.run, "ack")
        launch(self, claim, sent_at, **options)

    def noting_sweep(self):
        write(time.monotonic_ns(), "-", self.id, "sweep")
        return sweep(self)

    monitor.Monitor.check_tasks = noting_sweep
    leases.Lease.acknowledged = noting_acknowledged
    Executor.launch = noting_launch
    Committer.put = noting_put


def take_protections_off(expiry):
    """What the promise rests on, switched off: the deadline in the process, and a T that outlasts it."""
    leases.Lease.lost = lambda self, now: False
    watch = monitor.Watch
    monitor.Watch = lambda _expiry, scale, **_: watch(expiry, scale, uniform=True)


def count_ourselves(app):
    """File descriptors, greenlets and runs of this process, every second."""
    while True:
        gevent.sleep(1.0)
        worker = app.worker
        if worker is None:
            continue
        living = len(worker.executor.living)
        greenlets = sum(1 for thing in gc.get_objects() if isinstance(thing, greenlet.greenlet) and thing)
        fds = sum(1 for _ in Path("/proc/self/fd").iterdir())
        write(time.monotonic_ns(), "-", worker.partitions[0].session.id, f"stat:{fds}:{greenlets}:{living}")


def client_of(url):
    """The URL, or a client that asks the sentinels behind these ports, with the library's own timeouts."""
    if not url.startswith("sentinel://"):
        return url
    ports = url.removeprefix("sentinel://").split(",")
    return Sentinel([(HOST, int(port)) for port in ports]).master_for(MASTER_NAME)


def main():
    global alias, evidence, finish, long_step  # noqa: PLW0603 - one worker a process
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--evidence", required=True)
    parser.add_argument("--finish", type=Path, required=True)
    parser.add_argument("--long-step", type=float, required=True)
    parser.add_argument("--tasks", choices=["all", "lone"], default="all")
    parser.add_argument("--pid", type=int, default=0, help="as the judge knows it, in a PID namespace")
    parser.add_argument("--monitor", action="store_true")
    parser.add_argument("--no-embargo", action="store_true")
    parser.add_argument("--unprotected", type=float, default=0.0, help="seconds instead of T")
    parser.add_argument("--runtime-dir", default="off", help="for the lock that proves its death")
    options = parser.parse_args()
    evidence = os.open(options.evidence, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    alias, finish, long_step = options.pid, options.finish, options.long_step
    log_format.set_up(options.name, "INFO")
    wrap_store("worker")
    record_renewals()
    if options.unprotected and not options.no_embargo:
        take_protections_off(options.unprotected)
    app = PyTask(
        client_of(options.url),
        name=options.name,
        max_tasks=options.slots,
        # A lost registry or lease index together with a dead worker is found by the slow sweep alone.
        slow_sweep=True,
        hard_deadline=options.no_embargo or not options.unprotected,
        embargo=False if options.no_embargo else None,
        runtime_dir=options.runtime_dir,
        timing=Timing().scaled(0.1),
    )
    app.add_task(*(PRECIOUS if options.tasks == "lone" else [Monitor, *TASKS]))
    if options.monitor:
        app.pre_start_task("pytask/monitor")
    gevent.spawn(count_ourselves, app)
    app.run()


if __name__ == "__main__":
    main()
