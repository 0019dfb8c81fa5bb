"""The workers whose tasks go to the new code: which are slow or killed, and what is said at the end."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytask.daemon.dead_children import DeadChildren
from pytask.dev.tasks import NAMED, Rest, Tasks
from pytask.dev.worker import DevWorker
from pytask.domain.wording import counted

SLOW = 1.0  # seconds after which tasks that do not stop are named
BLOCKED = 5.0  # seconds that an event loop may be blocked before its worker is killed
SILENT = 2.5  # seconds without a report, which is due every second, after which a worker does not respond
STUCK = 10.0  # seconds until a worker must have stopped its tasks: twice what a task has for that
EXIT = 30.0  # seconds until a worker without tasks must have ended
SETTLING = 2.0  # seconds in which the new worker takes what the old one has released
PAUSE = 0.05  # seconds between two looks at that


class Leaving:
    """The old workers.  `tasks` reads the tasks of the code, and may be None until a worker has stood by."""

    def __init__(self, dead: DeadChildren, say: Callable[[str], None]) -> None:
        self.workers: list[DevWorker] = []
        self.stopping = False  # whether all of it ends: then there is no new code
        self._dead = dead
        self._say = say
        self._pending = False  # whether it has not been said yet that the new code runs
        self._settled = 0.0  # since when no old worker has a task
        self._told = Rest()

    @property
    def over(self) -> bool:
        """Whether none of them runs a task any more."""
        return all(worker.slot.left for worker in self.workers)

    def due(self, now: float) -> list[float]:
        """When to look again."""
        times = [worker.asked_at + SLOW for worker in self.workers if not worker.named]
        return [*times, now + PAUSE] if self._pending and self._settled else times

    def add(self, worker: DevWorker) -> None:
        """Have it stop its tasks."""
        worker.stop()
        self.workers.append(worker)
        self._pending, self._settled = not self.stopping, 0.0

    def stop(self) -> None:
        """All of it ends."""
        self.stopping, self._pending = True, False

    # -- those that take long ---------------------------------------------------------------------------

    def press(self, tasks: Tasks | None) -> None:
        """Name what is slow, and kill what cannot be stopped: its tasks run again once it is dead."""
        now = time.monotonic()
        for worker in self.workers:
            asked = now - worker.asked_at
            if worker.slot.left:
                if asked > EXIT:
                    worker.kill()
            elif asked < SLOW:
                continue
            elif worker.blocked and now - worker.blocked_at > BLOCKED:
                self._kill(worker, f"{worker.blocked} blocked its event loop", tasks)
            elif asked > STUCK:
                self._kill(worker, _slow(self._still(worker, tasks), STUCK), tasks)
            elif now - worker.slot.said_at > SILENT and not (worker.blocked or worker.dumped):
                self._dump(worker, tasks)
            elif not worker.named:
                worker.named = True
                self._name(worker, tasks)

    def _name(self, worker: DevWorker, tasks: Tasks | None) -> None:
        if worker.blocked:
            self._say(
                f"{worker.blocked} blocks the event loop of the old code, so none of its tasks can be"
                f" stopped: it is killed after {BLOCKED:g} s"
            )
        elif still := self._still(worker, tasks):
            rest = "" if self.stopping else "; the others run the new code"
            self._say(f"{_slow(still, SLOW)}. What does not stop is killed, by default after 5 s{rest}")

    def _dump(self, worker: DevWorker, tasks: Tasks | None) -> None:
        """It is in a call that cannot be interrupted, as of a regular expression: its stack tells where."""
        whose = ", ".join(self._still(worker, tasks)[:NAMED]) or "a task"
        worker.named = True
        self._say(
            f"the {self._name_of_old} does not respond, as in a call that cannot be interrupted, of {whose}:"
            f" it is killed after {STUCK:g} s; where it is:"
        )
        worker.dump()

    def _kill(self, worker: DevWorker, why: str, tasks: Tasks | None) -> None:
        still = len(self._still(worker, tasks))
        worker.kill()
        then = counted(still, "task continues", "tasks continue") + " with the new code"
        self._say(f"killed the {self._name_of_old}, as {why}" + ("" if self.stopping else f"; {then}"))

    @property
    def _name_of_old(self) -> str:
        return "worker" if self.stopping else "old worker"

    def _still(self, worker: DevWorker, tasks: Tasks | None) -> list[str]:
        return tasks.still_of(worker.slot.prefix) if tasks is not None else []

    # -- the new code runs ------------------------------------------------------------------------------

    def settle(self, tasks: Tasks | None, functions: frozenset[str], saved_at: float) -> None:
        """Say so once the new worker has all tasks; and which have no class any more."""
        if not self._pending or not self.over or self._dead.waiting:
            return
        now = time.monotonic()
        self._settled = self._settled or now
        rest = tasks.rest(functions) if tasks is not None else Rest()
        if rest.queued and now - self._settled < SETTLING:
            return
        self._pending, self._settled = False, 0.0
        which = "all other tasks run" if rest.lost else "all tasks run"
        wait = f"; {counted(rest.queued, 'task waits', 'tasks wait')} in the queue" if rest.queued else ""
        self._say(f"{which} the new code, {now - saved_at:.2f} s after the save{wait}")
        for one in rest.lost:
            if one not in self._told.lost:
                self._say(one.told(functions))
        if rest.failed.number and rest.failed.last != self._told.failed.last:
            self._say(rest.failed.told)
        self._told = rest


def _slow(still: list[str], limit: float) -> str:
    if not still:
        return f"it does not stop within {limit:g} s"
    names = ", ".join(still[:NAMED]) + (f" and {len(still) - NAMED} more" if len(still) > NAMED else "")
    return f"{counted(len(still), 'task does', 'tasks do')} not stop within {limit:g} s: {names}"
