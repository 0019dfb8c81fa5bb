"""The tasks of `pytask demo`.  They run like anybody's: `pytask run pytask.demo.tasks`."""

from __future__ import annotations

from typing import Any

import attrs
import gevent

from pytask import Task, run_loop


@attrs.frozen
class Pace:
    """Seconds from one tick to the next."""

    interval: float = 1.0


class Counter(Task):
    """Counts for ever.  The count is in Redis, so whichever worker runs it next goes on from there."""

    class Config:
        """Its name on the wire."""

        NAME = "demo/counter"
        DATA = Pace

    def __init__(self, pace: Pace) -> None:
        self.interval = pace.interval

    def start(self) -> None:
        """Tick until stopped."""
        run_loop(self.tick, self.interval)

    def tick(self) -> None:
        """One more."""
        self.emit("tick", {"count": self.redis.incr(f"demo:count:{self.id}")})


class Greeter(Task):
    """Says what its data says: change the hash and publish `reload` to hear something else."""

    class Config:
        """Its name on the wire."""

        NAME = "demo/greeter"

    def __init__(self, task_data: dict[str, Any]) -> None:
        self.text = task_data["text"]

    def start(self) -> None:
        """Greet until stopped."""
        run_loop(lambda: self.emit("says", {"text": self.text}), 0.7)


class Report(Task):
    """Has an end: three parts, then an output."""

    class Config:
        """Its name on the wire."""

        NAME = "demo/report"

    def start(self) -> dict[str, int]:
        """Write the parts."""
        for part in (1, 2, 3):
            self.emit("progress", {"part": part, "of": 3})
            gevent.sleep(0.5)
        return {"parts": 3}


class Broken(Task):
    """Fails."""

    class Config:
        """Its name on the wire."""

        NAME = "demo/broken"

    def start(self) -> None:
        """Try, in vain."""
        gevent.sleep(1)
        raise self.Error("the printer is on fire")
