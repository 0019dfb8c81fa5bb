"""The tasks that the measurements at scale run; a target for `pytask run`."""

import os
import time

import gevent

from benchmarks.tasks import Sleeper
from pytask import Monitor, PyTask, Task


class Io(Task):
    """Waits as long as a call to another service would."""

    class Config:
        NAME = "io"

    def start(self):
        gevent.sleep(0.1)


class Stall(Task):
    """Looks, every millisecond, how late the event loop lets it look; gives the worst and its like, in s."""

    class Config:
        NAME = "stall"

    def start(self):
        late = []
        until = time.perf_counter() + self.task_data["seconds"]
        while (before := time.perf_counter()) < until:
            gevent.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)
        late.sort()
        return {"worst": late[-1], "p999": late[-1 - len(late) // 1000], "p99": late[-1 - len(late) // 100]}


class Emitter(Task):
    """Emits `rate` events a second for `seconds`, in small portions; gives the longest emit(), in s."""

    class Config:
        NAME = "emitter"

    def start(self):
        rate, seconds = self.task_data["rate"], self.task_data["seconds"]
        longest, done, began = 0.0, 0, time.perf_counter()
        while done < rate * seconds:
            portion = int((time.perf_counter() - began) * rate) - done
            for _ in range(min(portion, rate * seconds - done)):
                before = time.perf_counter()
                self.emit("tick", {"count": done})
                longest = max(longest, time.perf_counter() - before)
                done += 1
            gevent.sleep(0.002)
        return {"longest": longest, "took": time.perf_counter() - began}


class Sweeps(Monitor):
    """A monitor that sweeps when the benchmark says so, on a clock that is moved beyond T; gives seconds."""

    class Config:
        NAME = "sweeps"

    def __init__(self, task_data):
        self.moved, self.quiet = 0.0, task_data.pop("quiet")
        super().__init__(task_data)
        steady = self._clock
        self._clock = lambda: steady() + self.moved

    def start(self):
        took = [self._timed() for _ in range(self.quiet)]
        self.emit("swept", None)
        while not self.redis.exists("the-dead"):
            gevent.sleep(0.01)
        self.check_tasks()
        self.moved = 2 * self.timing.expiry
        return {"quiet": took, "dead": self._timed()}

    def _timed(self):
        before = time.perf_counter()
        self.check_tasks()
        return time.perf_counter() - before


app = PyTask(when_full=os.environ.get("WHEN_FULL", "wait"))
app.add_task(Sleeper, Io, Stall, Emitter, Sweeps)
