"""Which kinds of fault there are, how often each is made, and the thread that makes them."""

import random
import threading
import time

import attrs

from tests.chaos import faults, unclean
from tests.chaos.world import K
from tests.support.container import container


@attrs.frozen
class Kind:
    run: object
    weight: float
    on: str  # "process", "wire", "server", "limit", "lone" or "tasks": what it needs for itself


KINDS = {
    # Weights as in the plan's table.
    "kill": Kind(faults.kill, 250, "process"),
    "stop": Kind(faults.stop, 150, "process"),
    "term": Kind(faults.term, 60, "process"),
    "blackhole": Kind(faults.blackhole, 100, "wire"),
    "drop_replies": Kind(faults.drop_replies, 100, "wire"),
    "cut": Kind(faults.cut_after_request, 100, "wire"),
    "delay": Kind(faults.delay, 100, "wire"),
    "redis_kill": Kind(faults.redis_kill, 50, "server"),
    "redis_freeze": Kind(faults.redis_freeze, 20, "server"),
    "redis_sleep": Kind(faults.redis_sleep, 20, "server"),
    "pause_write": Kind(faults.pause_write, 20, "server"),
    "maxmemory": Kind(faults.maxmemory, 20, "server"),
    "misconf": Kind(faults.misconf, 20, "server"),
    "readonly": Kind(faults.readonly, 20, "server"),
    "flushall": Kind(faults.flush_all, 10, "server"),
    "del_keys": Kind(faults.drop_keys, 10, "server"),
    "clock": Kind(faults.clock_step, 30, "server"),
    "hog": Kind(faults.bad_task("hog", "cpu hog", K + 4), 20, "tasks"),
    "regex": Kind(faults.bad_task("regex", "gil hog", K + 4), 20, "tasks"),
    "stubborn": Kind(faults.bad_task("stubborn", "stubborn", 0), 20, "tasks"),
    "fork": Kind(faults.bad_task("forker", "fork", 0), 20, "tasks"),
    "stubborn_reload": Kind(faults.stubborn_reload, 20, "tasks"),
    "alarm": Kind(faults.bad_task("alarm", "alarm user", 0), 20, "tasks"),
    "handler": Kind(faults.bad_task("handler", "signal handlers", 0), 20, "tasks"),
    "child": Kind(faults.bad_task("child", "multiprocessing", 0), 20, "tasks"),
    "breaker": Kind(faults.bad_task("breaker", "raising log", 0), 20, "tasks"),
    "pid1": Kind(unclean.as_init, 40, "process"),
    "limit_proxy": Kind(unclean.limit_proxy, 20, "limit"),
    "limit_server": Kind(unclean.limit_server, 10, "server"),
    "lone": Kind(unclean.lone, 20, "lone"),
    "recreate": Kind(faults.recreate, 180, "tasks"),
    "delete": Kind(faults.delete, 20, "tasks"),
    "duplicates": Kind(faults.duplicates, 200, "tasks"),
    "storm": Kind(faults.storm, 200, "tasks"),
}


def impossible(names, world):
    """Of these kinds, those that cannot be made here, with the reason of each."""
    reasons = {"clock": world.clock.reason, "pid1": container()[1]}
    return {name: reason for name, reason in reasons.items() if name in names and reason}


class Scheduler:
    """Draws faults by weight and starts each in a thread, so that they overlap.

    The kinds of `first` come before all that are drawn, each as soon as what it needs for itself is free.
    """

    def __init__(self, world, weights, gap, first=()):
        self.world = world
        self.weights = weights
        self.gap = gap  # mean seconds between two faults
        self.first = list(first)
        self.running = []

    def run(self, seconds, most=None):
        dice = self.world.random
        names, weights = list(self.weights), list(self.weights.values())
        until = time.monotonic() + seconds
        while time.monotonic() < until and not (most and len(self.world.faults) >= most):
            if self.first and self._begin(self.first[0], random.Random(dice.random())):
                del self.first[0]
            elif names:
                self._begin(dice.choices(names, weights)[0], random.Random(dice.random()))
            time.sleep(min(dice.expovariate(1 / self.gap), max(0.0, until - time.monotonic())))
        self.world.calm.set()
        return self

    def wait(self):
        for thread in self.running:
            thread.join(60)

    def _begin(self, name, dice):
        """Begin a fault of that kind; False where another one holds what it needs."""
        kind, world = KINDS[name], self.world
        worker = dice.choice(world.workers)
        locks = {"process": worker.lock, "wire": worker.wire, "server": world.served}
        lock = {**locks, "limit": world.limited, "lone": world.alone}.get(kind.on)
        if lock is not None and not lock.acquire(blocking=False):
            return False
        thread = threading.Thread(target=self._hold, args=(kind, worker, dice, lock), daemon=True)
        self.running.append(thread)
        thread.start()
        return True

    def _hold(self, kind, worker, dice, lock):
        try:
            kind.run(self.world, worker, dice)
        except Exception as error:
            self.world.errors.append(f"{kind.run.__name__}: {error!r}")
            raise
        finally:
            if lock is not None:
                lock.release()
