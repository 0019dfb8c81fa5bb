# ruff: noqa: E402 - patching comes first
"""The worker that the transcripts talk to: `python -m conformance.worker --url redis://...`."""

from gevent import monkey

monkey.patch_all()

import argparse

import attrs
import gevent

from pytask import Monitor, PyTask, Task, Timing
from pytask.errors import BadData
from pytask.runtime.process import log_format

# A tenth of the real times: renewals every half second, one second until `stop-timeout`.  To hand back its
# tasks it has as long as ever, on a busy machine.
TIMING = attrs.evolve(Timing().scaled(0.1), shutdown=Timing().shutdown)


class Echo(Task):
    """Ends at once; its output is its data."""

    class Config:
        NAME = "conformance/echo"

    def start(self):
        return self.task_data


class Wait(Task):
    """Says `ready` with its data, then waits until it is stopped."""

    class Config:
        NAME = "conformance/wait"

    def start(self):
        self.emit("ready", self.task_data)
        while True:
            gevent.sleep(3600)


@attrs.frozen
class Numbered:
    """Data of `conformance/typed`."""

    n: int


class Typed(Task):
    """Says `ready` with the number in its data, then waits until it is stopped."""

    class Config:
        NAME = "conformance/typed"
        DATA = Numbered

    def start(self):
        self.emit("ready", self.task_data.n)
        while True:
            gevent.sleep(3600)


class Taker(Task):
    """Says `ready` with the number in its data, takes another one in place (`took`), and fails with 9."""

    class Config:
        NAME = "conformance/taker"
        DATA = Numbered

    @staticmethod
    def check(data):
        if data.n < 0:
            raise BadData("n is below 0", "$.n")

    def on_reload(self, data):
        self.emit("took", [self.task_data.n, data.n])

    def start(self):
        self.emit("ready", self.task_data.n)
        while True:
            if self.task_data.n == 9:
                gevent.sleep(0.1)  # the reload is recorded by then, and on trial
                raise self.Error("9 is too much")
            gevent.sleep(0.01)


class Emit(Task):
    """Emits each of `events`, a list of [name, data]."""

    class Config:
        NAME = "conformance/emit"

    def start(self):
        for name, data in self.task_data["events"]:
            self.emit(name, data)
        return len(self.task_data["events"])


class Fail(Task):
    """Fails with the text in `text`, and no traceback."""

    class Config:
        NAME = "conformance/fail"

    def start(self):
        raise self.Error(self.task_data["text"])


class Crash(Task):
    """Fails with an exception: the error has several lines."""

    class Config:
        NAME = "conformance/crash"

    def start(self):
        return 1 / 0


class Stubborn(Task):
    """Says `ready`, and then ignores being stopped until a `conformance/release` names it."""

    class Config:
        NAME = "conformance/stubborn"

    def start(self):
        self.emit("ready")
        while self.id not in released:
            try:
                gevent.sleep(0.05)
            except gevent.GreenletExit:
                continue


class Release(Task):
    """Lets a stubborn task of this worker go."""

    class Config:
        NAME = "conformance/release"

    def start(self):
        released.add(self.task_data["id"])


class Slow(Wait):
    """As `conformance/wait`; its stop() says `stopping`, and then takes a moment."""

    class Config:
        NAME = "conformance/slow"

    def stop(self):
        self.emit("stopping")
        gevent.sleep(0.3)


class Saves(Task):
    """Says `ready` with what an earlier run has saved, saves its data, then waits until it is stopped.

    With `end` in its data it ends instead.
    """

    class Config:
        NAME = "conformance/saves"

    def start(self):
        self.emit("ready", self.saved)
        self.save(self.task_data)
        while not self.task_data.get("end"):
            gevent.sleep(3600)


class Gates(Task):
    """Says `ready`, and `passed` when it was resumed; a pause holds it at its gate."""

    class Config:
        NAME = "conformance/gates"

    def start(self):
        self.emit("ready")
        while True:
            self.gate()
            gevent.sleep(0.02)

    def on_resume(self):
        self.emit("passed")


released = set()
TASKS = [Echo, Wait, Typed, Taker, Emit, Fail, Crash, Stubborn, Release, Slow, Saves, Gates]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", default="conformance")
    parser.add_argument("--namespace", default="")
    parser.add_argument("--partitions", type=int, default=1)
    options = parser.parse_args()
    log_format.set_up(options.name, "INFO")
    app = PyTask(
        options.url,
        name=options.name,
        namespace=options.namespace,
        partitions=options.partitions,
        embargo=False,
        timing=TIMING,
    )
    app.add_task(Monitor, *TASKS)
    app.pre_start_task("pytask/monitor")
    app.run()


if __name__ == "__main__":
    main()
