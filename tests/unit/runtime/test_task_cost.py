"""What a worker does for a task that does nothing, counted in calls: no other work changes that."""

import sys

from pytask import Task

from .fakes import World, switch

TASKS = 64
MOST = 58  # calls of functions of pytask for a task; 55 where this was written, and 70 before


class Noop(Task):
    class Config:
        NAME = "demo"

    def start(self):
        pass


def test_a_task_that_does_nothing_takes_few_calls():
    world, calls = World(Noop, max_tasks=TASKS), []
    consumer = world.consumer()

    def count(frame, what, _):
        if what == "call" and "pytask" in frame.f_globals.get("__name__", ""):
            calls.append(frame.f_code.co_name)

    for batch in range(2):  # the first one fills caches
        world.store.say("peek", [b"t%d-%d" % (batch, number) for number in range(TASKS)])
        calls.clear()
        sys.setprofile(count)
        try:
            consumer.consume()
            switch(2)
            world.committer.commit()
        finally:
            sys.setprofile(None)
    assert not world.executor.living
    assert not world.lease.settling
    assert len(calls) / TASKS < MOST, sorted({(calls.count(name), name) for name in calls})[-70:]
