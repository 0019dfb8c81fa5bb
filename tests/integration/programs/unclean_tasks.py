"""Tasks that hold up, disarm or end their process; each writes its acts to the file of $EVIDENCE.

Only those of $KINDS (all, if it is not set) are known, so that a test can choose who runs which.
"""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

import gevent
from gevent import monkey

from pytask import PyTask, Task

evidence = os.open(os.environ["EVIDENCE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
STEP = 0.05
HELD = float(os.environ.get("HELD", "25"))  # seconds: far beyond a takeover
hold = monkey.get_original("time", "sleep")  # it stops every greenlet, and costs no CPU


def late(*_):
    raise TimeoutError


class Acting(Task):
    def act(self):
        line = f"{time.monotonic_ns()} {self.id} {self._run.ref.run} {os.getpid()} act\n"
        os.write(evidence, line.encode())

    def start(self):
        self.act()
        begun = Path(f"{os.environ['EVIDENCE']}-{self.id}")
        if not begun.exists():
            begun.touch()
            gevent.sleep(0.3)
            self.first()
        while True:
            self.act()
            gevent.sleep(STEP)

    def first(self):
        """What only the first run does."""

    def endless_loop(self):
        until = time.monotonic() + HELD
        while time.monotonic() < until:
            self.act()
            hold(STEP)


class Loop(Acting):
    def first(self):
        self.endless_loop()


class Gil(Acting):
    """C code that keeps the interpreter's lock."""

    def first(self):
        ctypes.PyDLL(None).sleep(int(HELD))


class Stopped(Acting):
    """The test stops its process."""


class Alarm(Acting):
    """A time limit as other libraries set it; it leaves its handler behind."""

    def first(self):
        signal.signal(signal.SIGALRM, late)
        signal.alarm(5)
        signal.alarm(0)
        self.endless_loop()


class Quitter(Acting):
    """Leaves an orphan, and ends its process as if all were well."""

    def first(self):
        subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True)
        os._exit(0)


KINDS = {"loop": Loop, "gil": Gil, "stopped": Stopped, "alarm": Alarm, "quitter": Quitter}
app = PyTask()
for name in os.environ.get("KINDS", " ".join(f"{kind} {kind}-1" for kind in KINDS)).split():
    config = type("Config", (), {"NAME": name})
    app.add_task(type(name, (KINDS[name.removesuffix("-1")],), {"Config": config}))
