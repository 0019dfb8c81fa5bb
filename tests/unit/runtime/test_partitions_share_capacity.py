"""Two lanes that consume into the places of one worker."""

import gevent
import pytest

from pytask.domain.errors import Unavailable
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.runs.capacity import Capacity
from tests.unit.runtime.fakes import World, switch


@pytest.fixture
def demo(gate):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            gate.wait()

    return Demo


def lanes_of(demo, max_tasks):
    capacity = Capacity(max_tasks)
    made = []
    for _ in range(2):
        world = World(demo, timing=Timing(), max_tasks=max_tasks, capacity=capacity)
        made.append((world, world.consumer()))
    return capacity, *made


def test_together_they_run_no_more_than_the_worker_may(demo):
    _, (first, one), (second, two) = lanes_of(demo, 3)
    for world, consumer in [(first, one), (second, two)] * 3:
        world.store.say("peek", [b"a", b"b", b"c", b"d"][len(world.executor.living) :])
        consumer.consume()
    assert len(first.executor.living) + len(second.executor.living) == 3
    assert one.free == two.free == 0


def test_a_place_that_another_partition_took_during_the_peek_is_not_taken_twice(demo):
    _, (first, one), (second, two) = lanes_of(demo, 1)

    def peek(*_):
        second.store.say("peek", [b"b"])
        two.consume()
        return [b"a"]

    first.store.say("peek", peek)
    assert one.consume() == (1, 0)
    assert (list(first.executor.living), list(second.executor.living)) == ([], ["b"])


def test_a_claim_that_fails_gives_its_places_back(demo):
    capacity, (first, one), (_second, two) = lanes_of(demo, 1)
    first.store.say("peek", [b"a"])

    def no_answer(_request):
        first.clock.move(first.timing.claim_gate + 1)
        raise Unavailable("no answer")

    first.store.say("claim", no_answer)
    with pytest.raises(Unavailable):
        one.consume()
    assert two.free == 1
    assert capacity.quarantine(two) == 1


def test_a_partition_that_may_not_claim_any_more_keeps_no_place_from_the_others(demo, passing):
    capacity, (first, one), (_second, two) = lanes_of(demo, 1)
    capacity.line_up(one)
    assert two.free == 0
    first.clock.move(first.timing.claim_gate + 1)  # its shard was lost while it stood in line
    passing(first.clock, limit=100_000)
    loop = gevent.spawn(one.run)
    switch()
    one.end()
    loop.join(20)
    assert two.free == 1


def test_a_partition_that_came_too_late_stands_in_line_instead_of_sleeping(demo, passing):
    _capacity, (first, one), (second, two) = lanes_of(demo, 1)
    naps = passing(first.clock)
    one._hints.clear()

    def peek(*_):
        second.store.say("peek", [b"b"])
        two.consume()
        return [b"a"]

    first.store.say("peek", peek)
    one._step()
    assert naps == []
