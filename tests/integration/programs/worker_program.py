# ruff: noqa: E402 - patching comes first
"""A worker of the integration tests: its tasks write what they do to a file, not to Redis."""

from gevent import monkey

from tests.support.patching import patch_all

patch_all()

import argparse
import asyncio
import gc
import logging
import os
import random
import sys
import threading
import time
from functools import partial
from pathlib import Path

import attrs
import gevent
import greenlet
import redis
from gevent.pool import Pool
from redis.cluster import RedisCluster
from redis.sentinel import Sentinel

from pytask import Monitor, PyTask, Restart, Task, Timing, run_loop
from pytask.domain.errors import PytaskError
from pytask.runtime.process import log_format
from tests.support.evidence import BEAT, BEAT_SECONDS
from tests.support.servers import HOST, MASTER_NAME

STEP = 0.05  # seconds between two acts
evidence = -1  # a file descriptor
app = None


class Acting(Task):
    """Writes its acts."""

    def act(self, kind="act"):
        line = f"{time.monotonic_ns()} {self.id} {self._run.ref.run} {os.getpid()} {kind}\n"
        os.write(evidence, line.encode())

    def seconds(self, default):
        return (self.task_data or {}).get("for", default)

    def tick(self, seconds):
        """Acts for that long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.act()
            gevent.sleep((self.task_data or {}).get("step", STEP))


class Tick(Acting):
    """Acts until stopped, or for `for` seconds."""

    class Config:
        NAME = "tick"

    def start(self):
        self.emit("started", self.task_data)
        self.tick(self.seconds(1e9))
        return {"done": True}


class AioTick(Acting):
    """As Tick, as a coroutine, which counts its acts for the next run."""

    class Config:
        NAME = "aio-tick"

    async def start(self):
        self.emit("started", self.task_data)
        self.acts = (self.saved or {"acts": 0})["acts"]
        self.emit("from", self.acts)
        until = time.monotonic() + self.seconds(1e9)
        try:
            await run_loop(partial(self.once, until), (self.task_data or {}).get("step", STEP))
        except StopAsyncIteration:
            return {"done": True}
        finally:
            await asyncio.sleep(0)
            self.act("finally")

    async def once(self, until):
        if time.monotonic() > until:
            raise StopAsyncIteration
        self.act()
        self.acts += 1
        self.save({"acts": self.acts})

    async def on_reload(self, data):
        self.emit("took", data)


class AioChild(Acting):
    """Acts in an asyncio task beside start(), and in greenlets and threads that it waits for."""

    class Config:
        NAME = "aio-child"

    async def start(self):
        async with asyncio.TaskGroup() as group:
            group.create_task(self.acting())
            while True:
                await asyncio.to_thread(self.act, "thread")
                await self.in_greenlet(self.act, "greenlet")
                await self.redis.incr(f"count-{self.id}")
                await asyncio.sleep(STEP)

    async def acting(self):
        while True:
            self.act()
            await self.sleep(STEP)

    async def stop(self, reason):
        self.emit("stopping", reason)
        raise ValueError("start() is cancelled at once")


class AioStuck(Acting):
    """Blocks the asyncio loop, or swallows every cancel."""

    class Config:
        NAME = "aio-stuck"

    async def start(self):
        while True:
            self.act()
            if self.task_data.get("block"):
                time.sleep(self.task_data["block"])  # noqa: ASYNC251
            try:
                await asyncio.sleep(STEP)
            except asyncio.CancelledError:
                self.act("swallowed")


class Loop(Acting):
    """The seed's synopsis: start() spawns a loop and returns."""

    class Config:
        NAME = "loop"

    def start(self):
        self.loop = gevent.spawn(self.tick, self.seconds(1e9))

    def stop(self):
        self.loop.kill()


class Shot(Acting):
    """Acts once and ends."""

    class Config:
        NAME = "shot"

    def start(self):
        self.act()
        return self.id


class Large(Acting):
    """Ends with an output of two million bytes."""

    class Config:
        NAME = "large"

    def start(self):
        self.act()
        return "x" * 2_000_000


class Chatty(Acting):
    """Logs fifty lines of a thousand characters at once."""

    class Config:
        NAME = "chatty"

    def start(self):
        self.act()
        for n in range(50):
            logging.getLogger("chatty").warning("%d %s", n, "x" * 1000)


class Fail(Acting):
    """Fails."""

    class Config:
        NAME = "fail"

    def start(self):
        self.act()
        raise self.Error("as asked")


class Flap(Acting):
    """Fails soon, again and again, until it gives up."""

    class Config:
        NAME = "flap"
        RESTART = Restart("failure", first=0.05, cap=0.2, healthy=60, limit=20)

    def start(self):
        self.act(f"begin:{self.attempt}")
        gevent.sleep(random.uniform(0.1, 0.5))
        self.act(f"fail:{self.attempt}")
        raise self.Error("as asked")


class Bad(Acting):
    """Its constructor fails."""

    class Config:
        NAME = "bad"

    def __init__(self, task_data):
        raise ValueError("no such thing")

    def start(self):
        self.act("never")


class Stubborn(Acting):
    """Ignores being killed."""

    class Config:
        NAME = "stubborn"

    def start(self):
        while True:
            try:
                self.act()
                gevent.sleep(STEP)
            except BaseException:
                pass


class Hog(Acting):
    """Holds the event loop for `for` seconds, if no other run of it did so before."""

    class Config:
        NAME = "hog"

    def start(self):
        self.act()
        gevent.sleep(0.2)
        first = Path(self.task_data["first"])
        if first.exists():
            return self.tick(1e9)
        first.touch()
        until = time.monotonic() + self.seconds(60)
        while time.monotonic() < until:
            pause = time.monotonic() + STEP
            while time.monotonic() < pause:
                pass
            self.act("hog")
        return None


class Forker(Acting):
    """Its child tries to act as the worker, then waits; other tasks of the worker must not run in it."""

    class Config:
        NAME = "forker"

    def start(self):
        if os.fork():
            self.tick(1e9)
        caught = []
        for call in (app.start, app.stop, lambda: self.emit("from-child"), lambda: self.redis):
            try:
                call()
            except PytaskError:
                caught.append("y")
            except BaseException as error:
                caught.append(type(error).__name__)
            else:
                caught.append("n")
        self.act("child:" + ",".join(caught))
        until = time.monotonic() + 1
        while time.monotonic() < until:
            gevent.sleep(STEP)  # hands over to whatever else would run here
        self.act("child-done")
        os._exit(0)


class Leaver(Acting):
    """Leaves by `how`: an exception that is more than one of the task's own."""

    class Config:
        NAME = "leaver"

    def start(self):
        how = self.task_data["how"]
        if how == "exit":
            sys.exit("gone")
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "timeout":
            with gevent.Timeout(0.05):
                gevent.sleep(10)
        if how == "child-exit":
            self.spawn(sys.exit, "gone")
        if how == "grandchild-exit":
            self.spawn(lambda: gevent.spawn(sys.exit, "gone").join())
        if how == "thread-exit":
            threading.Thread(target=sys.exit, args=("gone",)).start()
        if how == "killed":
            gevent.getcurrent().kill()
        if how == "main-error":
            throw_at_main(LookupError("no reason to stay"))
        if how in WAYS:
            WAYS[how]()
            gevent.sleep(0.05)


def stop_as_c_code_does():
    raise SystemError("returned a result with an exception set")


def interrupt():
    raise KeyboardInterrupt


def throw_at_main(error):
    hub = gevent.get_hub()
    hub.loop.run_callback(hub.parent.throw, error)


def kill_all():
    every = [one for one in gc.get_objects() if issubclass(type(one), gevent.Greenlet)]
    gevent.killall([gevent.get_hub().parent, gevent.get_hub(), *every], block=False)


def break_standard_error():
    read, write = os.pipe()
    os.dup2(write, 2)
    for fd in (read, write):
        os.close(fd)


class Raising(logging.Handler):
    """A handler that lets out what it meets."""

    def emit(self, record):
        raise RuntimeError("this handler is broken")


def start_timer():
    timer = gevent.get_hub().loop.timer(0.01)
    timer.start(sys.exit, "gone")


# What a task may do that is no error of its own greenlet; all of it ended the worker once.
WAYS = {
    "child-system-error": lambda: gevent.spawn(stop_as_c_code_does).join(),
    "child-interrupt": lambda: gevent.spawn(interrupt).join(),
    "raw-exit": lambda: gevent.spawn_raw(sys.exit, "gone"),
    "raw-system-error": lambda: gevent.spawn_raw(stop_as_c_code_does),
    "timer-exit": start_timer,
    "main-killed": lambda: throw_at_main(gevent.GreenletExit()),
    "main-timeout": lambda: throw_at_main(gevent.Timeout(1)),
    "handler": lambda: logging.getLogger("pytask").addHandler(Raising()),
    "broken-stderr": break_standard_error,
    "closed-stderr": sys.stderr.close,
    "all": kill_all,
}


class Family(Acting):
    """start() returns; what it spawned, in all the ways there are, lives on."""

    class Config:
        NAME = "family"

    def start(self):
        self.spawn(self.beat, "spawn")
        gevent.spawn(self.beat, "gevent")
        gevent.spawn_later(0.01, self.beat, "later")
        self.pool = Pool(2)
        self.pool.spawn(self.beat, "pool")
        threading.Thread(target=self.beat, args=("thread",), daemon=True).start()
        gevent.spawn(lambda: gevent.spawn(self.beat, "grandchild"))
        logging.getLogger("family").warning("a line of the task")

    def beat(self, kind):
        while True:
            self.act(kind)
            gevent.sleep(STEP)


class Census(Acting):
    """Counts the greenlets of its process that are not dead."""

    class Config:
        NAME = "census"

    def start(self):
        gc.collect()
        return sum(isinstance(one, greenlet.greenlet) and not one.dead for one in gc.get_objects())


class SaveOnce(Acting):
    """Saves once, when the file `when` exists, and then goes on without."""

    class Config:
        NAME = "save-once"

    def start(self):
        self.act(f"begin:{self.saved}")
        while not Path(self.task_data["when"]).exists():
            self.act()
            gevent.sleep(STEP)
        self.save("kept")
        self.tick(1e9)


class Saver(Acting):
    """Counts, and saves each number; with `fail` it fails in one of so many steps."""

    class Config:
        NAME = "saver"

    def start(self):
        number = self.saved or 0
        self.act(f"begin:{number}")
        fail = self.task_data.get("fail")
        while True:
            number += 1
            self.save(number)
            self.act(f"save:{number}")
            if fail and random.random() * fail < 1:
                raise self.Error("as asked")
            gevent.sleep(STEP)


TASKS = [
    AioChild,
    AioStuck,
    AioTick,
    SaveOnce,
    Saver,
    Large,
    Chatty,
    Tick,
    Loop,
    Shot,
    Fail,
    Flap,
    Bad,
    Stubborn,
    Hog,
    Forker,
    Leaver,
    Family,
    Census,
]


def beat():
    """Writes that this process runs; from a thread of the system's, which no event loop holds up."""
    sleep = monkey.get_original("time", "sleep")
    while True:
        os.write(evidence, f"{time.monotonic_ns()} - - {os.getpid()} {BEAT}\n".encode())
        sleep(BEAT_SECONDS)


def client_of(url, feed_port):
    """The URL, or a client whose control messages take another port than all else."""
    if url.startswith("sentinel://"):
        ports = url.removeprefix("sentinel://").split(",")
        return Sentinel([(HOST, int(port)) for port in ports], socket_timeout=0.3).master_for(MASTER_NAME)
    if not feed_port:
        return url
    options = redis.connection.parse_url(url)

    class Routed(redis.Connection):
        def __init__(self, *arguments, **keywords):
            if keywords.get("client_name") == "pytask-feed":
                keywords["port"] = feed_port
            super().__init__(*arguments, **keywords)

    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=Routed, **options))


def main():
    global evidence, app  # noqa: PLW0603 - one worker a process
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--max-tasks", type=int, default=1000)
    parser.add_argument("--evidence", required=True)
    parser.add_argument("--feed-port", type=int)
    parser.add_argument("--without", default="", help="a task class that this worker does not know")
    parser.add_argument("--monitor", action="store_true", help="pre-start one")
    parser.add_argument("--slow-sweep", action="store_true")
    parser.add_argument("--prestart", action="append", default=[], help="name of a task")
    parser.add_argument("--namespace", default="")
    parser.add_argument("--max-data", type=int, default=1 << 20)
    parser.add_argument("--task-logs", type=int, default=0)
    parser.add_argument("--no-embargo", action="store_true")
    parser.add_argument("--on-data-loss", default="stop")
    parser.add_argument("--durable-acks", type=int, default=0)
    parser.add_argument("--cluster", action="store_true", help="the URL is that of a node")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--scale", type=float, default=0.1, help="of all times")
    parser.add_argument("--failover", type=float, help="instead of a scale, at real times")
    parser.add_argument("--shutdown", type=float, default=2.5, help="seconds to hand everything back")
    parser.add_argument("--runtime-dir", default="off", help="for the lock that proves its death")
    options = parser.parse_args()
    evidence = os.open(options.evidence, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    monkey.get_original("_thread", "start_new_thread")(beat, ())
    log_format.set_up(options.name, "INFO")
    scaled = attrs.evolve(Timing().scaled(options.scale), shutdown=options.shutdown)
    app = PyTask(
        RedisCluster.from_url(options.url) if options.cluster else client_of(options.url, options.feed_port),
        name=options.name,
        max_tasks=options.max_tasks,
        namespace=options.namespace,
        partitions=options.partitions,
        max_data=options.max_data,
        task_logs=options.task_logs,
        slow_sweep=options.slow_sweep,
        embargo=False if options.no_embargo else None,
        on_data_loss=options.on_data_loss,
        durable_acks=options.durable_acks,
        runtime_dir=options.runtime_dir,
        timing=scaled if options.failover is None else Timing.for_failover(options.failover),
    )
    app.add_task(Monitor, *(cls for cls in TASKS if options.without != cls.Config.NAME))
    if options.monitor:
        app.pre_start_task("pytask/monitor")
    for name in options.prestart:
        app.pre_start_task(name)
    app.run()


if __name__ == "__main__":
    main()
