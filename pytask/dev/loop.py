"""The loop of `pytask dev`: on a save a new worker starts on standby, and takes over if its code can run.

The process is not patched by gevent and imports neither the target nor gevent.  At any time one worker is the
current one; a trial may be starting, and predecessors may be stopping their last tasks.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Protocol

import attrs

from pytask.daemon.child import YOUNG, Command
from pytask.daemon.dead_children import DeadChildren
from pytask.daemon.supervisor import HOPELESS, restart_delay
from pytask.dev.complaint import START, complaint
from pytask.dev.leaving import Leaving
from pytask.dev.orphans import Orphans
from pytask.dev.page import Page
from pytask.dev.sources import Watch
from pytask.dev.tasks import MONITOR, NAMED, Shown, Tasks
from pytask.dev.worker import DevWorker

TURN = 1.0  # maximum seconds between two turns
LATE = 3.0  # seconds after which the output of a trial is shown although it does not stand by
IMPORT_LIMIT = 60.0  # seconds until a trial must stand by or have ended, where another worker runs
KILLED, STOPPED = 130, 0  # exit codes
ROWS = 10
SPARES = 2  # an editor that also formats saves twice within the time that a worker needs to start
OLD = 2.0  # seconds; an older time stamp is not that of the save


class Screen(Protocol):
    """Where it is shown."""

    live: bool
    """Whether it has room for a view of the tasks."""

    def line(self, text: str) -> None:
        """A line that a worker printed."""

    def message(self, text: str) -> None:
        """A message of the loop."""

    def draw(self, shown: Shown) -> None:
        """The view of the tasks."""


@attrs.frozen(kw_only=True)
class Parts:
    """What the loop works with."""

    command: Command
    url: str
    roots: Sequence[Path]
    screen: Screen
    orphans: Orphans
    page: Page | None = None


class Signals:
    """Counts the signals that end the loop, from before anything has to be cleaned up."""

    def __init__(self) -> None:
        self.count = 0
        self.wake, self._theirs = socket.socketpair()
        for end in (self.wake, self._theirs):
            end.settimeout(0)
        handled = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # otherwise it is ignored by `nohup`
            handled.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._signalled) for number in handled}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._fd = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def ring(self) -> None:
        """Wake the loop, from any thread."""
        with suppress(OSError):
            self._theirs.send(b"\0")

    def hush(self) -> None:
        """The loop is awake."""
        with suppress(BlockingIOError):
            self.wake.recv(4096)

    def close(self) -> None:
        """Restore the handlers."""
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.wake.close()
        self._theirs.close()


def age(saved: Sequence[Path]) -> float:
    """Seconds since the last of these saves, by its time stamp; 0 if that cannot be."""
    stamps = []
    for path in saved:
        with suppress(OSError):  # it was deleted
            stamps.append(path.stat().st_mtime)
    seconds = time.time() - max(stamps, default=0.0)
    return seconds if 0 <= seconds < OLD else 0.0


def named(functions: Collection[str]) -> str:
    """The functions of the code, without our own monitor."""
    return ", ".join(sorted(set(functions) - {MONITOR})) or "it has no task class"


def what_happened(saved: Sequence[Path]) -> str:
    """For example "tasks.py saved, old.py deleted"."""
    words = []
    there = {path: path.exists() for path in saved}
    for what, exists in (("saved", True), ("deleted", False)):
        if not (names := [path.name for path in saved if there[path] is exists]):
            continue
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        words.append(f"{', '.join(names[:NAMED])}{more} {what}")
    return ", ".join(words)


class Loop:
    """One `turn` processes all that has happened."""

    def __init__(self, parts: Parts, signals: Signals) -> None:
        self._parts = parts
        self._screen = parts.screen
        self._signals = signals
        self._watch = Watch(parts.roots, signals.ring)
        self._current: DevWorker | None = None
        self._trial: DevWorker | None = None
        self._spares: list[DevWorker] = []  # have loaded all but the code
        self._can_spare = True  # whether they can be had
        self._dead = DeadChildren()
        self._leaving = Leaving(self._dead, parts.screen.message)
        self._tasks: Tasks | None = None
        self._saved_at = time.monotonic()
        self._due: float | None = self._saved_at  # when a worker is started that no save has asked for
        self._deaths = 0
        self._started = 0
        self._stopping = False
        self._drawn_at = 0.0
        self._alone = True  # whether no predecessor may still run tasks

    def run(self) -> int:
        """Run until a signal; returns the exit code."""
        self._watch.start()
        try:
            while not (self._stopping and not self._workers()):
                self.turn()
                if self._signals.count > 1:
                    return KILLED
            return STOPPED
        finally:
            for worker in self._workers():
                worker.kill()
                worker.close()
            self._watch.close()

    def turn(self) -> None:
        """Start what is due, wait, read, reap."""
        if not self._stopping:
            self._start_due()
        self._wait()
        if self._signals.count and not self._stopping:
            self._stop()
        for worker in self._workers():
            if worker.listen() and worker is self._trial:
                self._hand_over(worker)
            self._dead_released(worker)
            self._show_lines(worker)
        self._reap()
        self._settle()
        self._draw()

    def _workers(self) -> list[DevWorker]:
        others = [one for one in (self._current, self._trial) if one is not None]
        return [*self._leaving.workers, *others, *self._spares]

    # -- starting -------------------------------------------------------------------------------------

    def _start_due(self) -> None:
        if saved := self._watch.taken():
            self._saved_at = time.monotonic() - age(saved)
            self._deaths = 0
            self._screen.message(f"{what_happened(saved)}: trying the new code")
            self._start()
        elif self._due is not None and time.monotonic() >= self._due:
            self._start()
        elif self._may_spare():
            self._spares.append(self._worker())

    def _start(self) -> None:
        self._due = None
        if self._trial is not None:  # of code that has changed since
            self._trial.kill()
            self._trial.close()
        self._trial, self._can_spare = self._spares.pop(0) if self._spares else self._worker(), True
        self._trial.begin()

    def _may_spare(self) -> bool:
        """Whether one is wanted; one at a time, and none that slows down a trial of a loaded worker."""
        if self._trial is not None and self._trial.loaded:
            return False
        ready = all(spare.loaded for spare in self._spares)
        return self._can_spare and ready and len(self._spares) < SPARES

    def _worker(self) -> DevWorker:
        self._started += 1
        return DevWorker(self._parts.command, self._started, self._parts.orphans)

    def _hand_over(self, trial: DevWorker) -> None:
        old, self._current, self._trial = self._current, trial, None
        if old is not None:
            self._leaving.add(old)
        trial.slot.tell("go")
        if trial.place is not None and (old is None or old.place != trial.place):
            self._tasks = Tasks(self._parts.url, trial.place, trial.functions)
            if self._parts.page is not None:
                self._screen.message(f"the page is at {self._parts.page.start(trial.place)}")
        if old is None:
            self._screen.message(f"the code runs: {named(trial.functions)}")
        self._alone = False

    def _settle(self) -> None:
        """Deal with predecessors; pre-started tasks begin once none of them runs theirs."""
        self._leaving.press(self._tasks)
        if self._current is None:
            return
        if not self._alone and self._leaving.over:
            self._alone = self._current.slot.tell("alone")
        self._leaving.settle(self._tasks, self._current.functions, self._saved_at)

    # -- ending ---------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._stopping, self._due = True, None
        self._leaving.stop()
        for idle in (*self._spares, *filter(None, [self._trial])):
            idle.kill()
            idle.close()
        self._trial, self._spares = None, []
        if self._current is not None:
            self._leaving.add(self._current)
            self._current = None
        self._screen.message("stopping; Ctrl-C again ends at once")

    def _reap(self) -> None:
        for worker in self._workers():
            how = worker.ended
            if not how:
                self._press(worker)
                continue
            worker.listen()
            self._show_lines(worker)
            if worker is self._trial:
                self._trial_ended(worker, how)
            elif worker in self._spares:  # its error is shown by the next trial
                self._spares.remove(worker)
                self._can_spare = False
            else:
                self._ended(worker, how)
            worker.close()

    def _press(self, worker: DevWorker) -> None:
        """End a trial that does not stand by."""
        now = time.monotonic()
        tried = worker is self._trial and self._current is not None
        if tried and worker.place is None and now - worker.began > IMPORT_LIMIT:
            worker.printed += f"\npytask: it has not been imported within {IMPORT_LIMIT:g} s"
            worker.kill()

    def _trial_ended(self, trial: DevWorker, how: str) -> None:
        self._trial = None
        which, then = "code", "waiting for the next save"
        if self._current is not None:
            which, then = "new code", "the old code keeps running"
        self._screen.message(f"[PT235] the {which} cannot run; {then}: {complaint(trial.printed, how)}")

    def _ended(self, worker: DevWorker, how: str) -> None:
        if worker.process.returncode != 0 or not worker.slot.left:
            self._dead.add(worker.slot.prefix, f"worker {worker.slot.number}", time.monotonic())
        if worker is self._current:
            self._current = None
            self._start_again(worker, how)
            return
        self._leaving.workers.remove(worker)

    def _start_again(self, worker: DevWorker, how: str) -> None:
        now = time.monotonic()
        young = now - worker.began < YOUNG
        self._deaths = self._deaths + 1 if young else 1
        if young and worker.process.returncode in HOPELESS:
            self._screen.message(f"the worker {how}; waiting for the next save")
            return
        delay = restart_delay(self._deaths)
        self._due = now + delay
        self._screen.message(f"the worker {how}; restarting in {delay:g} s, or at the next save")

    def _dead_released(self, worker: DevWorker) -> None:
        for words in worker.replies:
            self._dead.receive(words)
        worker.replies.clear()
        if worker is self._current:
            self._dead.entrust([worker.slot], time.monotonic())

    # -- showing --------------------------------------------------------------------------------------

    def _show_lines(self, worker: DevWorker) -> None:
        worker.read()
        tried = worker is self._trial
        if worker in self._spares or (tried and time.monotonic() - worker.began < LATE):
            return  # shown when it takes over; if it ends, only its error is
        for text in worker.taken_before(START) if tried else worker.taken():
            self._screen.line(text)

    def _draw(self) -> None:
        now = time.monotonic()
        if self._screen.live and self._tasks is not None and now - self._drawn_at >= TURN:
            self._drawn_at = now
            self._screen.draw(self._tasks.shown(ROWS))

    # -- waiting --------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = time.monotonic()
        times = [now + TURN, *self._leaving.due(now)]
        if self._due is not None:
            times.append(self._due)
        ends: list[socket.socket | int] = [self._signals.wake]
        for worker in self._workers():
            if worker.slot.line is not None and not worker.slot.silent:
                ends.append(worker.slot.line)
            if not worker.silent:
                ends.append(worker.output)
        select.select(ends, [], [], max(0.0, min(times) - now))
        self._signals.hush()
