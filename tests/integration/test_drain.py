"""How a worker begins and ends where its tasks must not all start, or be stopped, at once."""

import attrs
import gevent
import pytest

from pytask import PyTask, Task, Timing
from tests.integration.conftest import PATIENCE, wait_until

pytestmark = pytest.mark.slow

FAST = attrs.evolve(Timing().scaled(0.1), shutdown=PATIENCE)
RARELY = 0.001  # starts a second: one, and the next after the test


@pytest.fixture
def app_with(lab):
    """`app_with(*classes, **settings)`: an app of this process."""

    def make(*classes, **settings):
        app = PyTask(lab.server.url, timing=FAST, **settings)
        app.add_task(*classes)
        return app

    return make


def paced(rate, began):
    class Paced(Task):
        class Config:
            NAME = "paced"
            START_RATE = rate

        def start(self):
            began.append(self.id)
            gevent.sleep(1e9)

    return Paced


def test_what_a_worker_may_not_start_yet_is_left_to_others(lab, app_with):
    with app_with(paced(None, []), name="slow", start_rate=RARELY):
        ids = lab.push_many(3, "paced")
        wait_until(lambda: "RUNNING" in lab.states(ids).values())
        assert lab.redis.llen("new-task") == 2
        with app_with(paced(None, []), name="quick"):
            lab.wait_state(ids, "RUNNING")
            assert sorted(lab.field(one, "worker") for one in ids) == ["quick", "quick", "slow"]


def test_a_claimed_task_that_waits_for_its_turn_can_be_stopped_and_handed_back(lab, app_with):
    began = []
    app = app_with(paced(RARELY, began), name="one")
    with app:
        ids = lab.push_many(3, "paced")
        lab.wait_state(ids, "RUNNING")
        wait_until(lambda: began)
        renewed = {one: lab.field(one, "last_update") for one in ids}
        waiting = [one for one in ids if one not in began]
        wait_until(lambda: all(lab.field(one, "last_update") != renewed[one] for one in waiting))
        lab.control(waiting[0], "stop")
        lab.wait_state(waiting[0], "STOPPED")
    assert lab.states(ids) == {one: "STOPPED" if one == waiting[0] else "WAIT" for one in ids}
    assert len(began) == 1
