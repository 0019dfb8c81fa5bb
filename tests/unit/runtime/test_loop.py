"""`run_loop`."""

from itertools import pairwise

import pytest

from pytask.runtime.loop import run_loop
from tests.unit.runtime.fakes import Clock


class Enough(Exception):
    pass


def starts(passing, works, interval=10):
    """When each round began, where the rounds take so long."""
    clock = Clock(0.0)
    passing(clock)
    began, works = [], list(works)

    def work():
        began.append(clock())
        if not works:
            raise Enough
        clock.move(works.pop(0))

    with pytest.raises(Enough):
        run_loop(work, interval, now=clock)
    return began


def test_the_first_round_is_at_once(passing):
    assert starts(passing, []) == [0]


def test_from_start_to_start_without_drift(passing):
    assert starts(passing, [3, 9.5, 0, 1]) == [0, 10, 20, 30, 40]


def test_no_drift_over_a_thousand_rounds_of_a_third(passing):
    began = starts(passing, [0.01] * 900, interval=1 / 3)
    assert began[-1] == pytest.approx(300, abs=1e-6)
    assert len(began) == 901


def test_late_rounds_are_skipped_not_bunched(passing):
    assert starts(passing, [25, 1, 10.5]) == [0, 30, 40, 60]


def test_a_round_never_begins_before_the_last_has_ended(passing):
    began = starts(passing, [10, 10, 10])
    assert all(later - earlier >= 10 for earlier, later in pairwise(began))


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_an_interval_of_nothing_is_refused(interval):
    with pytest.raises(ValueError, match="interval above 0"):
        run_loop(print, interval)
