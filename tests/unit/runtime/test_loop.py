"""`run_loop`."""

from itertools import pairwise

import pytest
from gevent import GreenletExit

from pytask.domain.task import Task
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


def rounds(passing, work, count=5, **options):
    """When each of these rounds began, by the clock; `work(number)` is what it does."""
    clock = Clock(0.0)
    passing(clock)
    began = []

    def one():
        began.append(clock())
        if len(began) > count:
            raise GreenletExit
        work(len(began))

    with pytest.raises(GreenletExit):
        run_loop(one, 10, now=clock, **options)
    return began[:count]


def test_the_first_round_can_wait(passing):
    assert rounds(passing, lambda _: None, first=3) == [3, 13, 23, 33, 43]


def test_jitter_delays_each_round_and_does_not_add_up(passing):
    shares = iter([1.0, 0.0, 0.5, 1.0, 0.25, 0.0])
    began = rounds(
        passing, lambda _: None, jitter=4, uniform=lambda low, high: low + next(shares) * (high - low)
    )
    assert began == [4, 10, 22, 34, 41]


def test_jitter_of_the_whole_interval_keeps_one_round_for_each(passing):
    began = rounds(passing, lambda _: None, count=200, jitter=10)
    assert [int(one // 10) for one in began] == list(range(200))
    assert len({one % 10 for one in began}) > 190


def test_an_error_goes_to_the_function_and_the_loop_goes_on(passing):
    errors = []

    def work(number):
        if number in (2, 3):
            raise KeyError(number)

    assert rounds(passing, work, on_error=errors.append) == [0, 10, 20, 30, 40]
    assert [error.args for error in errors] == [(2,), (3,)]


def test_the_function_decides_which_error_ends_the_loop():
    def decide(error):
        if isinstance(error, KeyError):
            raise error

    def work():
        raise KeyError("enough")

    with pytest.raises(KeyError):
        run_loop(work, 10, on_error=decide)


@pytest.mark.parametrize("error", [Task.Fatal("bad key"), ExceptionGroup("two", [Task.Fatal("bad key")])])
def test_a_fatal_failure_is_no_round_that_failed(error):
    def work():
        raise error

    with pytest.raises(type(error)):
        run_loop(work, 10, on_error=lambda _: pytest.fail("not asked"))


def test_a_kill_is_no_error():
    def work():
        raise GreenletExit

    with pytest.raises(GreenletExit):
        run_loop(work, 10, on_error=lambda _: pytest.fail("not asked"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"jitter": -1}, "jitter"),
        ({"jitter": 11}, "from 0 to the interval"),
        ({"jitter": float("nan")}, "jitter"),
        ({"first": -1}, "`first`"),
        ({"first": float("inf")}, "`first`"),
        ({"on_error": "log"}, "'raise' or a function"),
        ({"on_error": None}, "'raise' or a function"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_first_round(wrong, says):
    with pytest.raises(ValueError, match=says):
        run_loop(lambda: pytest.fail("not called"), 10, **wrong)
