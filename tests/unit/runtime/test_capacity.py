"""The worker's places, shared by its lanes."""

import pytest

from pytask.runtime.runs.capacity import Capacity


class PartitionWorker:
    def __init__(self, capacity):
        self.running = 0
        self.crashed = False
        self.woken = 0
        capacity.join(lambda: self.running, lambda: self.crashed, self.wake)

    def wake(self):
        self.woken += 1


@pytest.fixture
def capacity():
    return Capacity(4)


def test_alone_a_partition_has_them_all(capacity):
    partition = PartitionWorker(capacity)
    assert capacity.free(partition) == 4
    partition.running = 3
    assert capacity.free(partition) == 1
    assert capacity.quarantine(partition) == 1
    assert capacity.quarantine(partition) == 1


def test_partitions_never_take_more_than_there_are(capacity):
    first, second = PartitionWorker(capacity), PartitionWorker(capacity)
    first.running = 2
    capacity.reserve(second, 1)
    assert capacity.free(first) == 1
    capacity.reserve(first, 1)
    assert capacity.free(second) == 1  # its own
    second.running, first.running = 1, 3
    capacity.release(first)
    capacity.release(second)
    assert capacity.free(first) == capacity.free(second) == 0


def test_no_partition_holds_all_places_by_a_claim_without_an_answer(capacity):
    first, second = PartitionWorker(capacity), PartitionWorker(capacity)
    capacity.reserve(first, capacity.free(first))
    assert capacity.free(second) > 0


def test_a_place_is_kept_for_the_partition_that_waits_longest(capacity):
    first, second, third = PartitionWorker(capacity), PartitionWorker(capacity), PartitionWorker(capacity)
    first.running = 4
    capacity.line_up(second)
    capacity.line_up(third)
    first.running = 3
    assert [capacity.free(partition) > 0 for partition in (first, second, third)] == [False, True, False]
    second.running = 1
    capacity.release(second)
    assert second.woken == third.woken == 1  # there is still somebody in line
    first.running = 2
    assert [capacity.free(partition) > 0 for partition in (first, second, third)] == [False, False, True]


def test_one_task_that_crashed_before_at_a_time_in_all_partitions(capacity):
    first, second = PartitionWorker(capacity), PartitionWorker(capacity)
    assert capacity.quarantine(first) == 1
    assert capacity.quarantine(second) == 0  # the first one's claim is on its way
    first.crashed = True
    capacity.release(first)
    assert capacity.quarantine(second) == 0  # it won one, which is young
    first.crashed = False
    assert capacity.quarantine(second) == 1
