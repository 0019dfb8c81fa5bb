"""The tasks that the browser sees."""

import logging

import attrs

from pytask import Task, run_loop

log = logging.getLogger("counting")


@attrs.frozen
class Pace:
    """Seconds from one tick to the next, and a secret."""

    interval: float = 1.0
    key: str = ""


class Counter(Task):
    """Counts, logs and reports progress."""

    class Config:
        NAME = "counter"
        DATA = Pace
        SECRET = ("key",)

    def __init__(self, pace):
        self.interval = pace.interval

    def start(self):
        self.count = self.saved or 0
        run_loop(self.tick, self.interval)

    def tick(self):
        self.count += 1
        self.save(self.count)
        log.info("tick %d", self.count)
        self.emit("tick", {"count": self.count})
        self.progress(self.count % 100, 100)


class Broken(Task):
    """Fails."""

    class Config:
        NAME = "broken"

    def start(self):
        raise ValueError("the printer is on fire")
