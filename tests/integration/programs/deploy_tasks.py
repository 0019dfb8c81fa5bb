"""Tasks of the deploy tests: each writes its acts to the file of $EVIDENCE."""

import os
import time

import gevent

from pytask import Task

evidence = os.open(os.environ["EVIDENCE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
STEP = float(os.environ.get("STEP", "0.05"))  # seconds between two acts


class Tick(Task):
    class Config:
        NAME = "tick"

    def start(self):
        while True:
            line = f"{time.monotonic_ns()} {self.id} {self._run.ref.run} {os.getpid()} act\n"
            os.write(evidence, line.encode())
            gevent.sleep(STEP)
