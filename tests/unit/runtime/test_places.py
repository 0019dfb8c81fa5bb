"""The worker's places, shared by its lanes."""

import pytest

from pytask.runtime.runs.capacity import Places


class Lane:
    def __init__(self, places):
        self.running = 0
        self.crashed = False
        self.woken = 0
        places.join(lambda: self.running, lambda: self.crashed, self.wake)

    def wake(self):
        self.woken += 1


@pytest.fixture
def places():
    return Places(4)


def test_alone_a_lane_has_them_all(places):
    lane = Lane(places)
    assert places.free(lane) == 4
    lane.running = 3
    assert places.free(lane) == 1
    assert places.quarantine(lane) == 1
    assert places.quarantine(lane) == 1


def test_lanes_never_take_more_than_there_are(places):
    first, second = Lane(places), Lane(places)
    first.running = 2
    places.reserve(second, 1)
    assert places.free(first) == 1
    places.reserve(first, 1)
    assert places.free(second) == 1  # its own
    second.running, first.running = 1, 3
    places.release(first)
    places.release(second)
    assert places.free(first) == places.free(second) == 0


def test_no_lane_holds_all_places_by_a_claim_without_an_answer(places):
    first, second = Lane(places), Lane(places)
    places.reserve(first, places.free(first))
    assert places.free(second) > 0


def test_a_place_is_kept_for_the_lane_that_waits_longest(places):
    first, second, third = Lane(places), Lane(places), Lane(places)
    first.running = 4
    places.line_up(second)
    places.line_up(third)
    first.running = 3
    assert [places.free(lane) > 0 for lane in (first, second, third)] == [False, True, False]
    second.running = 1
    places.release(second)
    assert second.woken == third.woken == 1  # there is still somebody in line
    first.running = 2
    assert [places.free(lane) > 0 for lane in (first, second, third)] == [False, False, True]


def test_one_task_that_crashed_before_at_a_time_in_all_lanes(places):
    first, second = Lane(places), Lane(places)
    assert places.quarantine(first) == 1
    assert places.quarantine(second) == 0  # the first one's claim is on its way
    first.crashed = True
    places.release(first)
    assert places.quarantine(second) == 0  # it won one, which is young
    first.crashed = False
    assert places.quarantine(second) == 1
