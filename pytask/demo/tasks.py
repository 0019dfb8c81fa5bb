"""The tasks of `pytask demo`.  They can also be run with `pytask run pytask.demo.tasks`."""

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
    """Counts until stopped.  The count is saved, so the next worker that runs it continues from there."""

    class Config:
        """The task's configuration."""

        NAME = "demo/counter"
        DATA = Pace

    def __init__(self, pace: Pace) -> None:
        self.interval = pace.interval

    def start(self) -> None:
        """Tick until stopped."""
        self.count = self.saved or 0
        run_loop(self.tick, self.interval)

    def tick(self) -> None:
        """Increment the count, save it and publish it."""
        self.count += 1
        self.save(self.count)
        self.emit("tick", {"count": self.count})


class Greeter(Task):
    """Publishes the text in its data: change the hash and publish `reload` to change it."""

    class Config:
        """The task's configuration."""

        NAME = "demo/greeter"

    def __init__(self, task_data: dict[str, Any]) -> None:
        self.text = task_data["text"]

    def start(self) -> None:
        """Greet until stopped."""
        run_loop(lambda: self.emit("says", {"text": self.text}), 0.7)


class Report(Task):
    """Ends after three parts, with an output."""

    class Config:
        """The task's configuration."""

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
        """The task's configuration."""

        NAME = "demo/broken"

    def start(self) -> None:
        """Raise an error."""
        gevent.sleep(1)
        raise self.Error("the printer is on fire")
