"""The old workers after a save: which are named and killed, and what is said once the new code runs."""

from types import SimpleNamespace

import pytest

from pytask.client import TaskInfo
from pytask.dev import leaving
from pytask.dev.leaving import BLOCKED, EXIT, SETTLING, SILENT, SLOW, STUCK, Leaving
from pytask.dev.tasks import Failed, Lost, Rest
from pytask.domain.lifecycle import ERROR


class Old:
    """A worker that was told to stop."""

    def __init__(self, clock):
        self._clock = clock
        self.slot = SimpleNamespace(left=False, prefix="p.", said_at=clock.now)
        self.named, self.blocked, self.blocked_at, self.asked_at = False, "", 0.0, 0.0
        self.killed, self.dumped = False, 0

    def stop(self):
        self.asked_at = self._clock.now

    def dump(self):
        self.dumped += 1

    def kill(self):
        self.killed = True


class Tasks:
    """What it reads of them."""

    def __init__(self):
        self.still, self.queued, self.lost, self.failed = ["clock-1 (tick)"], 0, [], Failed()

    def still_of(self, prefix):
        assert prefix == "p."
        return self.still

    def rest(self, functions):
        assert functions == {"tock"}
        return Rest(self.queued, self.lost, self.failed)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(leaving, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def scene(clock):
    said, dead, tasks = [], SimpleNamespace(waiting={}), Tasks()
    made = Leaving(dead, said.append)
    old = Old(clock)
    made.add(old)
    return SimpleNamespace(leaving=made, old=old, said=said, dead=dead, tasks=tasks)


def press(scene, clock, seconds, reports=True):
    clock.now += seconds
    if reports:
        scene.old.slot.said_at = clock.now
    scene.leaving.press(scene.tasks)
    said, scene.said[:] = list(scene.said), []
    return said


def settle(scene):
    scene.leaving.settle(scene.tasks, {"tock"}, 99.0)
    said, scene.said[:] = list(scene.said), []
    return said


def test_tasks_that_do_not_stop_are_named_once_and_their_worker_is_killed_in_the_end(scene, clock):
    assert press(scene, clock, SLOW / 2) == []
    (said,) = press(scene, clock, SLOW)
    assert said.startswith("1 task does not stop within 1 s: clock-1 (tick). ")
    assert press(scene, clock, STUCK - 2 * SLOW) == []
    assert not scene.old.killed
    (said,) = press(scene, clock, SLOW)
    assert scene.old.killed
    assert said == (
        "killed the old worker, as 1 task does not stop within 10 s: clock-1 (tick);"
        " 1 task continues with the new code"
    )


def test_who_blocks_the_loop_is_named_instead_of_those_that_cannot_be_stopped_for_it(scene, clock):
    scene.old.blocked, scene.old.blocked_at = "task b-1 (bad) at tasks.py:20", clock.now
    scene.tasks.still = ["b-1 (bad)", "clock-1 (tick)"]
    (said,) = press(scene, clock, SLOW)
    assert said.startswith("task b-1 (bad) at tasks.py:20 blocks the event loop of the old code, ")
    assert "clock-1" not in said
    assert press(scene, clock, BLOCKED - SLOW) == []
    (said,) = press(scene, clock, SLOW)
    assert scene.old.killed
    assert said == (
        "killed the old worker, as task b-1 (bad) at tasks.py:20 blocked its event loop;"
        " 2 tasks continue with the new code"
    )


def test_a_worker_that_does_not_report_is_said_not_to_respond_and_asked_where_it_is(scene, clock):
    (said,) = press(scene, clock, SLOW, reports=False)
    assert said.startswith("1 task does not stop within 1 s: clock-1 (tick). ")
    (said,) = press(scene, clock, SILENT, reports=False)
    assert said == (
        "the old worker does not respond, as in a call that cannot be interrupted, of clock-1 (tick): it is"
        " killed after 10 s; where it is:"
    )
    assert press(scene, clock, SLOW, reports=False) == []
    assert scene.old.dumped == 1


def test_a_loop_that_was_blocked_before_the_save_gets_a_second(scene, clock):
    scene.old.blocked, scene.old.blocked_at = "task b-1 (bad) at tasks.py:20", clock.now - 60
    assert press(scene, clock, SLOW / 2) == []
    assert not scene.old.killed
    assert len(press(scene, clock, SLOW / 2)) == 1
    assert scene.old.killed


def test_a_loop_that_responds_again_is_left_alone(scene, clock):
    scene.old.blocked, scene.old.blocked_at = "task b-1 (bad) at tasks.py:20", clock.now
    press(scene, clock, SLOW)
    scene.old.blocked, scene.old.blocked_at = "", clock.now
    assert press(scene, clock, BLOCKED) == []
    assert not scene.old.killed


def test_a_worker_that_has_stopped_all_tasks_may_take_a_while_to_exit(scene, clock):
    scene.old.slot.left = True
    assert press(scene, clock, STUCK + SLOW) == []
    assert not scene.old.killed
    assert press(scene, clock, EXIT) == []
    assert scene.old.killed


def test_at_the_end_there_is_no_new_code(scene, clock):
    scene.leaving.stop()
    (said,) = press(scene, clock, SLOW)
    assert "new code" not in said
    (said,) = press(scene, clock, STUCK)
    assert "new code" not in said
    scene.old.slot.left = True
    assert settle(scene) == []


def test_that_the_new_code_runs_is_said_once_the_runs_of_a_killed_worker_are_released(scene, clock):
    assert settle(scene) == []
    scene.dead.waiting = {"p.": "dead"}
    scene.leaving.workers.clear()
    assert settle(scene) == []
    scene.dead.waiting = {}
    assert settle(scene) == ["all tasks run the new code, 1.00 s after the save"]
    assert settle(scene) == []


def test_that_the_new_code_runs_is_said_once_the_new_worker_has_taken_the_tasks(scene, clock):
    scene.old.slot.left = True
    scene.tasks.queued = 7
    assert settle(scene) == []
    assert min(scene.leaving.due(clock.now)) < clock.now + 0.1
    clock.now += SETTLING
    assert settle(scene) == ["all tasks run the new code, 3.00 s after the save; 7 tasks wait in the queue"]


def test_tasks_without_a_class_are_named_once(scene, clock):
    scene.old.slot.left = True
    scene.tasks.lost = [Lost("tick", 2, ("clock-1", "clock-2"))]
    told = (
        "2 tasks wait for a class that the code does not have, 'tick': clock-1, clock-2. It has 'tock': if"
        " you renamed it, keep the old NAME. They run as soon as a save brings it; to delete them: pytask rm"
        " clock-1 clock-2"
    )
    assert settle(scene) == ["all other tasks run the new code, 1.00 s after the save", told]
    scene.leaving.add(scene.old)
    assert settle(scene) == ["all other tasks run the new code, 1.00 s after the save"]


def test_tasks_that_have_failed_are_named_with_how_they_run_again_until_another_run_fails(scene):
    scene.old.slot.left = True
    done = "all tasks run the new code, 1.00 s after the save"
    for epoch in (3, 4):
        scene.tasks.failed = Failed((TaskInfo(id="a b", state=ERROR, function="tock", epoch=epoch),), 1)
        told = "1 task has failed: a b (tock); to try again: pytask start 'a b'"
        scene.leaving.add(scene.old)
        assert settle(scene) == [done, told]
        scene.leaving.add(scene.old)
        assert settle(scene) == [done]


def test_many_tasks_that_have_failed_are_started_by_their_state():
    some = tuple(TaskInfo(id=name, state=ERROR, function="tock") for name in "ab")
    assert Failed(some, 9).told == (
        "9 tasks have failed: a (tock), b (tock) and 7 more; to try again: pytask start --state ERROR"
    )


def test_many_tasks_without_a_class_are_deleted_by_its_name():
    told = Lost("my tick", 7, ("a", "b")).told({"other"})
    assert "7 tasks wait for a class that the code does not have, 'my tick': a, b and more. They run" in told
    assert told.endswith("to delete them: pytask rm --name 'my tick' --state WAIT")
