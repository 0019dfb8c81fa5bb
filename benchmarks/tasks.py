"""The tasks that the benchmarks run; a target for `pytask run`."""

import gevent

from benchmarks.peers.mark import mark
from pytask import Task


class Noop(Task):
    """Ends at once."""

    class Config:
        NAME = "noop"

    def start(self):
        mark((self.task_data or {}).get("sent", 0))


class Sleeper(Task):
    """Runs until it is stopped."""

    class Config:
        NAME = "sleeper"

    def start(self):
        while True:
            gevent.sleep(3600)
