"""A forked child is not the worker: it runs none of its greenlets and owns none of its tasks."""

import pytest

from tests.integration.conftest import stop_politely, wait_until

pytestmark = pytest.mark.slow


def test_a_child_forked_in_a_task_does_not_act_for_the_worker(lab):
    worker = lab.worker("--monitor")
    others = lab.started(5)
    forker = lab.push("forker")
    wait_until(lambda: lab.evidence.acts(kind="child-done"))
    (first,) = [act for act in lab.evidence.acts(forker) if act.kind.startswith("child:")]
    child = first.pid
    assert child != worker.pid
    # Not one act of another task, nor of the parent's half of this one.
    assert {act.kind for act in lab.evidence.acts() if act.pid == child} == {first.kind, "child-done"}
    # Every call on the app or the task is refused in there.
    assert first.kind == "child:y,y,y,y"
    assert "from-child" not in lab.events.names(forker)
    # The worker is none the worse for it.
    assert lab.states([*others, forker]) == dict.fromkeys([*others, forker], "RUNNING")
    shot = lab.push("shot")
    lab.wait_state(shot, "ENDED")
    lab.control(forker, "stop")
    lab.wait_state(forker, "STOPPED")
    assert stop_politely(worker) == 0
    lab.wait_state(others, "WAIT")
