"""Faults for a user's own tasks: found, replayed, and survived where the task saves."""

from itertools import pairwise

import pytest

from pytask import Task
from pytask.demo.tasks import Counter
from pytask.testing import world


class Forgetful(Counter):
    """The counter of the demo, by somebody who forgot to save."""

    def tick(self):
        self.count += 1
        self.emit("tick", {"count": self.count})


def never_goes_back(seed, cls):
    """What its author expects of a counter: a test with faults of all kinds."""
    with world(seed, cls, workers=2) as w:
        w.client.start(cls, {"interval": 5}, id="c")
        w.trouble(120)
        w.assert_state("c", "RUNNING")
        counts = [data["count"] for data in w.events("c", "tick")]
        assert counts[-1] > 20
        # What was counted since the last renewal (5 s) may be counted again, no more.
        assert all(after >= before - 2 for before, after in pairwise(counts)), counts
        return w.log


def test_a_task_that_forgets_to_save_is_caught_and_one_that_saves_is_not():
    caught = None
    for seed in range(50):
        try:
            never_goes_back(seed, Forgetful)
        except AssertionError as error:
            caught = seed, error
            break
    assert caught is not None
    seed, error = caught
    assert f"world(seed={seed}):" in error.__notes__[0]
    first = error.__notes__
    with pytest.raises(AssertionError) as again:
        never_goes_back(seed, Forgetful)
    assert again.value.__notes__ == first, "the same seed, the same world"
    for good in range(3):
        never_goes_back(good, Counter)


class Long(Task):
    """Counts minutes, and says where."""

    class Config:
        NAME = "long"

    def start(self):
        for minute in range(self.saved or 0, 10):
            self.emit("minute", minute)
            self.sleep(60)
            self.save(minute + 1)
        return "done"


class Short(Long):
    def start(self):
        return "shorter"


def test_each_fault_by_name():
    with world(1, Long, workers=2) as w:
        w.client.start("long", id="l")
        task = w.assert_state("l", "RUNNING")
        w.advance(70)
        owner = task.worker.partition(".")[0]
        assert w.kill(owner) == owner
        w.until(lambda: w.client.get("l").epoch > task.epoch, 200)
        task = w.assert_state("l", "RUNNING", within=60)
        assert w.until(lambda: w.events("l", "minute") == [0, 1, 1], 5), w.events("l")
        w.restart_redis(20)
        w.advance(30)
        assert w.client.get("l").epoch == task.epoch, "it was not disturbed"
        w.freeze(task.worker.partition(".")[0], 30)
        w.lose_reply(seconds=10)
        w.advance(40)
        assert w.client.get("l").epoch == task.epoch
        w.partition(task.worker.partition(".")[0], 200)
        w.until(lambda: w.client.get("l").epoch > task.epoch, 300)
        w.assert_state("l", "RUNNING", within=60)
        w.deploy(Short)
        w.assert_output("l", "shorter")
        with pytest.raises(AssertionError, match="no worker 'w7': there are w0, w1"):
            w.kill("w7")
