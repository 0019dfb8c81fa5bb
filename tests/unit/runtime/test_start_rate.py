"""How many tasks start in a second: of a worker, and of a class."""

import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.errors import BadTaskClass, ConfigError
from pytask.domain.task import Task
from pytask.domain.task_class import register
from pytask.domain.timing import Timing
from pytask.runtime.runs.capacity import Capacity
from pytask.runtime.runs.start_rate import Allowance
from pytask.runtime.settings import Settings
from tests.unit.runtime.fakes import Clock, FakeQueue, World, switch, until

IDS = [b"a", b"b", b"c", b"d"]


def paced(gate, rate, began):
    class Demo(Task):
        class Config:
            NAME = "demo"
            START_RATE = rate

        def start(self):
            began.append(self.id)
            gate.wait()

    return Demo


# -- of a worker ---------------------------------------------------------------------------------------------


def test_a_worker_without_a_rate_starts_all_that_it_has_places_for():
    allowance = Allowance(None, Clock())
    allowance.take(10**6)
    assert allowance.left == float("inf")
    assert allowance.pause == 0


def test_starts_are_saved_up_for_a_quarter_of_a_second_at_the_most():
    clock = Clock()
    allowance = Allowance(40.0, clock)
    clock.move(3600)
    assert allowance.left == 10
    allowance.take(10)
    assert allowance.left == 0
    assert allowance.pause == pytest.approx(1 / 40)
    clock.move(0.1)
    assert (allowance.left, allowance.pause) == (4, 0)


def test_a_slow_rate_starts_one_at_a_time():
    clock = Clock()
    allowance = Allowance(0.5, clock)
    assert allowance.left == 1
    allowance.take(1)
    for _ in range(20):
        assert allowance.left == 0
        clock.move(allowance.pause / 2)
    clock.move(allowance.pause)
    assert allowance.left == 1


def test_what_the_rate_does_not_allow_is_not_claimed(gate):
    began = []
    world = World(paced(gate, None, began), timing=Timing())
    consumer = world.consumer(capacity=Capacity(100, Allowance(2.0, world.clock)))
    world.store.say("peek", lambda limit, _: IDS[:limit], lambda limit, _: IDS[1 : 1 + limit])
    consumer.consume()
    consumer.consume()
    switch()
    assert began == ["a"]
    assert [[ref.id for ref in request.refs] for (request,) in world.store.asked("claim")] == [["a"]]
    world.clock.move(0.5)
    consumer.consume()
    switch()
    assert began == ["a", "b"]


def test_a_paced_worker_comes_back_as_soon_as_it_may(gate, passing):
    """Also where it has places, nobody else wakes it, and a renewal period is far longer."""
    began = []
    world = World(paced(gate, None, began), timing=Timing())
    naps = passing(world.clock)
    consumer = world.consumer(FakeQueue(), capacity=Capacity(100, Allowance(2.0, world.clock)))
    consumer._room = Room(world.clock, naps)
    world.store.say("peek", *[[one] for one in IDS], lambda *_: consumer.end() or [])
    world.store.ahead = [b"stale"]
    consumer.run()
    switch()
    assert began == ["a", "b", "c", "d"]  # and no claim of an id that was seen before the pause
    assert max(consumer._room.waits) <= 0.5 < world.timing.heartbeat


class Room:
    """The flag of a consumer, by the clock of the test."""

    def __init__(self, clock, naps):
        self.clock, self.naps, self.waits = clock, naps, []

    def wait(self, timeout):
        self.waits.append(timeout)
        self.clock.move(timeout)
        gevent.sleep(0)

    def clear(self):
        pass


# -- of a class ----------------------------------------------------------------------------------------------


def test_runs_of_a_class_begin_in_the_order_of_their_claims(gate, passing):
    began = []
    world = World(paced(gate, 2.0, began))
    passing(world.clock)
    start = world.clock()
    for one in "abc":
        world.launch(one)
    until(lambda: len(began) == 3)
    assert began == ["a", "b", "c"]
    assert world.clock() - start == pytest.approx(1.0)


def test_a_run_that_waits_for_its_turn_is_renewed_like_any_other(gate):
    began = []
    world = World(paced(gate, 0.001, began))
    for one in "abc":
        world.launch(one)
    assert began == ["a"]
    world.clock.move(world.timing.heartbeat)
    assert {ref.id for ref in world.lease.due(world.clock(), 10)} == {"a", "b", "c"}


def test_one_that_is_stopped_leaves_its_turn_to_the_next(gate):
    began = []
    world = World(paced(gate, 0.001, began))
    first, waits, last = (world.launch(one) for one in "abc")
    world.executor.stop_reason(waits, StopReason.STOP)
    until(lambda: waits.over)
    assert [trigger.name for _, trigger in world.ends()] == ["STOP"]
    assert began == ["a"]
    world.executor.stop_reason(first, StopReason.HAND_BACK)
    world.executor.stop_reason(last, StopReason.HAND_BACK)
    until(lambda: first.over and last.over)
    assert [trigger.name for _, trigger in world.ends()] == ["STOP", "RELEASE", "RELEASE"]


def test_the_turn_of_one_that_is_stopped_is_not_lost(gate):
    began = []
    world = World(paced(gate, 0.001, began))
    _, head, next_one, last = (world.launch(one) for one in "abcd")
    world.clock.move(1000)  # the head is asleep, and knows nothing of it
    world.executor.stop_reason(head, StopReason.STOP)
    until(lambda: began == ["a", "c"])
    assert head.over
    assert not next_one.over
    world.executor.stop_reason(last, StopReason.STOP)
    until(lambda: last.over)


@pytest.mark.parametrize("rate", [0, -1, True, "2", float("inf"), float("nan")])
def test_what_is_no_rate_is_refused(gate, rate):
    with pytest.raises(
        BadTaskClass, match=r"START_RATE of .*Demo must be a number of starts per second above 0"
    ):
        register({}, paced(gate, rate, []))
    with pytest.raises(ConfigError, match="start_rate must be a number per second above 0, or None"):
        Settings(start_rate=rate)
