"""A task that holds a lock of its group outside Redis; a target for `pytask run`."""

import fcntl
import json
import os
from pathlib import Path

import gevent

from pytask import Task

FOLDER = Path(os.environ.get("GROUP_LOCKS", "."))


class Serial(Task):
    """Notes whether another task of its group runs at the same time."""

    class Config:
        NAME = "serial"

    def start(self):
        lock = os.open(FOLDER / f"lock-{self.task_data['g']}", os.O_CREAT | os.O_RDWR)
        try:
            beside = 0
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                beside = 1
            gevent.sleep(0.001)
            with (FOLDER / f"ran-{os.getpid()}").open("a") as file:
                file.write(json.dumps([self.id, beside]) + "\n")
        finally:
            os.close(lock)
