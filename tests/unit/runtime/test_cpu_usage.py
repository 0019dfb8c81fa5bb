"""The time of tasks, and the part of a core that a worker uses."""

import gevent
import greenlet
import pytest

from pytask.domain.figures import Busy
from pytask.domain.task import Task
from pytask.runtime.process import cpu_usage
from pytask.runtime.process.cpu_usage import MEASURE_EVERY, Load, Meter, measure
from tests.unit.runtime.fakes import Clock, World, really_sleep, until


class Claimed:
    def __init__(self, task_id):
        self.id = task_id
        self.claim = self
        self.function = "demo"


class Greenlet:
    """What is switched to: of a run, or (None) the event loop."""

    def __init__(self, run=None):
        if run is not None:
            self.pytask_run = run


def test_a_run_has_its_own_time_and_what_the_loop_needed_for_its_turn():
    clock = Clock()
    meter = Meter(clock)
    one, other, loop = Greenlet(Claimed("one")), Greenlet(Claimed("other")), Greenlet()
    for target, seconds in [(one, 0.3), (loop, 0.00005), (other, 0.1), (loop, 0.5), (one, 0.09995)]:
        meter.switch(target)
        clock.move(seconds)
    first, second = meter.busiest()
    assert (first.id, first.function, first.turns) == ("one", "demo", 2)
    assert first.share == pytest.approx(0.4, abs=0.001)  # the half second was a wait
    assert (second.id, second.share, second.turns) == ("other", pytest.approx(0.1, abs=0.001), 1)


def test_a_task_that_spins_politely_is_the_busiest_and_the_hook_is_put_back():
    class Spin(Task):
        class Config:
            NAME = "demo"

        def start(self):
            while True:
                really_sleep(0)

    class Rest(Task):
        class Config:
            NAME = "rest"

        def start(self):
            really_sleep(1000)

    world = World(Spin, Rest)
    runs = [world.launch("spin"), world.launch("rest", function="rest")]
    seen = []
    before = greenlet.settrace(lambda event, args: seen.append(event))
    try:
        (found,) = measure(0.05)
        assert greenlet.gettrace() is not None
        assert "switch" in seen  # whoever was told before goes on to be
    finally:
        greenlet.settrace(before)
    assert (found.id, found.function) == ("spin", "demo")
    assert found.share > 0
    assert found.turns > 10
    gevent.killall([run.greenlet for run in runs])
    until(lambda: all(run.over for run in runs))


def test_one_measures_at_a_time():
    first = gevent.spawn(measure, 0.02)
    really_sleep(0)
    assert measure(0) is None
    assert first.get() == ()
    assert measure(0) == ()


def test_tasks_are_looked_at_while_most_of_a_core_is_used_and_then_once_a_minute():
    clock, used, measured = Clock(0.0), Clock(0.0), []
    found = (Busy("a", "demo", 0.9, 7),)
    load = Load(clock=clock, used=used, measure=lambda seconds: measured.append(seconds) or found, pause=2.5)

    def beat(cpu):
        clock.move(5)
        used.move(5 * cpu)
        load.look()
        return load.cpu, load.busiest

    assert load.cpu is None
    assert beat(0.3) == (0.3, ())
    assert beat(0.95) == (0.95, found)
    assert [beat(1.0)[1] for _ in range(int(MEASURE_EVERY / 5) - 1)] == [found] * 11
    assert len(measured) == 1
    beat(1.0)
    assert len(measured) == 2
    clock.move(1)
    load.look()  # another lane's
    assert load.cpu == 1.0
    assert beat(0.1) == (pytest.approx(0.5 / 6, abs=0.001), ())
    assert beat(0.99) == (0.99, found)
    assert len(measured) == 3


def test_it_is_printed_for_one_who_asked(monkeypatch, capfd):
    monkeypatch.setattr(cpu_usage, "measure", lambda seconds: (Busy("t\udce9", "demo", 0.934, 1200),))
    cpu_usage.tell()
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("--- busiest tasks of process ")
    assert lines[1:] == [" 93% task demo: t\\udce9, 1200 turns", "--- end of busiest tasks"]
