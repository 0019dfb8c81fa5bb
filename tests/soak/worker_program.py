# ruff: noqa: E402 - patching comes first
"""A worker of the soak: its tasks write what they do to a file, and it tells its own size now and then."""

from tests.support.patching import patch_all

patch_all()

import argparse
import gc
import json
import os
import random
import time

import gevent
from greenlet import greenlet

from pytask import Monitor, PyTask, Task, Timing
from pytask.runtime.process import log_format

EMIT_EVERY = 30  # acts of a long task
files = {}
options = None
app = None


class Acting(Task):
    """Writes its acts."""

    def act(self, kind="act"):
        line = f"{time.monotonic_ns()} {self.id} {self._run.ref.run} {os.getpid()} {kind}\n"
        os.write(files["evidence"], line.encode())


class Long(Acting):
    """Runs for hours; acts about every second."""

    class Config:
        NAME = "long"

    def start(self):
        number = 0
        while True:
            self.act()
            gevent.sleep(random.uniform(0.7, 1.3) * options.scale)
            number += 1
            if number % EMIT_EVERY == 0:
                self.emit("tick", number)


class Short(Acting):
    """Ends soon."""

    class Config:
        NAME = "short"

    def start(self):
        self.act("begin")
        gevent.sleep(random.uniform(0, 0.5) * options.scale)
        self.act("end")
        return {"done": self.id}


class Gauge(Acting):
    """Pre-started on each worker: tells the size of its process."""

    class Config:
        NAME = "gauge"

    def start(self):
        while True:
            self.act()
            os.write(files["gauge"], (json.dumps(measure()) + "\n").encode())
            gevent.sleep(options.sample)


def measure():
    """What only the process itself knows.  `other_greenlets` belong to no run of an ordinary task."""
    executor = app.worker.executor if app.worker else None
    objects = gc.get_objects()
    greenlets = sum(1 for thing in objects if isinstance(thing, greenlet) and thing)  # started, not ended
    runs = len(executor.living) if executor else 0
    return {
        "mono_ns": time.monotonic_ns(),
        "worker": options.name,
        "pid": os.getpid(),
        "runs": runs,
        "greenlets": greenlets,
        "other_greenlets": greenlets - runs,
        "objects": len(objects),
    }


def main():
    global options, app  # noqa: PLW0603 - one worker a process
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--evidence", required=True)
    parser.add_argument("--gauge", required=True)
    parser.add_argument("--max-tasks", type=int, required=True)
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--sample", type=float, required=True)
    parser.add_argument("--keep", type=int, required=True)
    options = parser.parse_args()
    for name in ("evidence", "gauge"):
        files[name] = os.open(getattr(options, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    log_format.set_up(options.name, "INFO")
    app = PyTask(
        options.url,
        name=options.name,
        max_tasks=options.max_tasks,
        keep_ended=options.keep,
        keep_error=options.keep,
        timing=Timing() if options.scale == 1 else Timing().scaled(options.scale),
    )
    app.add_task(Monitor, Long, Short, Gauge)
    app.pre_start_task("pytask/monitor")
    app.pre_start_task("gauge")
    app.run()


if __name__ == "__main__":
    main()
