"""How a worker begins and ends where its tasks must not all start, or be stopped, at once."""

import signal

import attrs
import gevent
import psutil
import pytest

from pytask import PyTask, Task, Timing
from tests.integration.conftest import PATIENCE, wait_until
from tests.support.cli_tools import Started, pytask, write

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


def test_a_claimed_task_that_waits_for_its_turn_can_be_stopped_and_released(lab, app_with):
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


# -- the end -------------------------------------------------------------------------------------------------

JOBS = """
import pathlib
import gevent
from pytask import Task

class Job(Task):
    class Config:
        NAME = "job"

    def start(self):
        while not pathlib.Path(self.id).exists():
            gevent.sleep(0.02)
"""


@pytest.fixture
def daemon(lab, tmp_path):
    """`daemon(*flags)`: a `pytask run` whose jobs end once a file of their name is there."""
    made = []

    def start(*flags):
        target = write(tmp_path / "jobs.py", JOBS)
        command = pytask("run", target, "--redis", lab.server.url, "--time-scale=0.5", *flags)
        made.append(Started(command, tmp_path, tmp_path))
        wait_until(lab.listeners, why="it listens")
        return made[-1]

    yield start
    for one in made:
        one.__exit__()
        print(one.output)


def family(started):
    parent = psutil.Process(started.process.pid)
    return [parent, *parent.children(recursive=True)]


def test_what_runs_ends_by_itself_and_nothing_more_is_taken(lab, daemon, tmp_path):
    worker = daemon("--drain=600", "--processes=2", "--max-tasks=2")
    ids = lab.push_many(4, "job")
    lab.wait_state(ids, "RUNNING")
    for one in family(worker):  # as a service manager does it, to every process
        one.terminate()
    wait_until(lambda: worker.output.count("signal received: draining") == 2)
    late = lab.push("job")
    for one in ids:
        (tmp_path / one).touch()
    assert worker.process.wait(PATIENCE) == 0
    assert set(lab.states(ids).values()) == {"ENDED"}
    assert lab.state(late) is None
    assert lab.redis.lrange("new-task", 0, -1) == [late]


def test_a_second_signal_hands_back_what_still_runs(lab, daemon, tmp_path):
    worker = daemon("--drain=600")
    ids = lab.push_many(2, "job")
    lab.wait_state(ids, "RUNNING")
    worker.process.terminate()
    worker.says("signal received: draining")
    worker.process.send_signal(signal.SIGCONT)  # does not take tasks again now
    (tmp_path / ids[0]).touch()
    lab.wait_state(ids[0], "ENDED")
    worker.process.terminate()
    assert worker.process.wait(PATIENCE) == 0
    assert lab.state(ids[1]) == "WAIT"
    assert lab.field(ids[1], "crashes") is None
    assert "takes tasks again" not in worker.output
