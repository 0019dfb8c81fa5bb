"""Restart policies: delays, the count, the limit, and what a policy may be."""

import math
import random
from collections import Counter

import attrs
import pytest

from pytask.domain.errors import BadTaskClass, ConfigError
from pytask.domain.record import StartFields
from pytask.domain.restarts import (
    NEVER,
    GiveUp,
    Over,
    Restart,
    Retry,
    decide,
    policy_of,
    policy_text,
)
from pytask.domain.task import Task
from pytask.domain.task_class import check_class

NOW = 1_800_000_000.0
ALWAYS = Restart("always")


def failed(lived=1.0, at=NOW):
    return Over(failed=True, lived=lived, at=at)


def history(policy, lives, chance=0.5, start=NOW):
    """What is decided for runs that fail after these seconds, one after the other."""
    fields, now, found = None, start, []
    for lived in lives:
        now += lived
        found.append(decide(policy, fields, failed(lived, now), chance))
        if not isinstance(found[-1], Retry):
            break
        now += found[-1].delay
        fields = StartFields(restarts=found[-1].restarts, failed=found[-1].times)
    return found


# -- delays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.5), (0.5, 0.75), (1 - 2**-53, 1.0)])
def test_the_delay_doubles_up_to_the_cap_and_half_of_it_is_random(chance, share):
    delays = [one.delay for one in history(Restart(), [1.0] * 12, chance)]
    full = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert delays == pytest.approx([share * one for one in full])


def test_a_count_of_any_size_waits_for_the_cap():
    for policy in (Restart(), Restart(factor=2), Restart(factor=1.5, cap=9)):
        for restarts in (5000, 10**30):
            found = decide(policy, StartFields(restarts=restarts), failed(), 0.0)
            assert found.delay == policy.cap / 2


@pytest.mark.parametrize("restarts", range(2, 9))
def test_ten_thousand_that_fail_in_one_second_are_no_herd(restarts):
    chance = random.Random(restarts)
    policy, before = Restart(), StartFields(restarts=restarts)
    seconds = Counter()
    for _ in range(10_000):
        at = NOW + chance.random()
        seconds[int(at + decide(policy, before, failed(at=at), chance.random()).delay - NOW)] += 1
    longest = policy.first * policy.factor**restarts
    assert max(seconds.values()) <= 3 * 10_000 / longest  # the mean, if they used all of the wait


# -- the count ---------------------------------------------------------------------------------------------


def test_it_counts_from_one_and_names_the_attempt_that_follows():
    found = history(Restart(), [1.0] * 4)
    assert [one.restarts for one in found] == [1, 2, 3, 4]
    assert [one.attempt for one in found] == [2, 3, 4, 5]


def test_a_run_of_599_seconds_goes_on_counting_and_one_of_601_starts_again():
    before = StartFields(restarts=7, failed=f"{NOW * 1e3 - 90_000:.0f}")
    assert decide(Restart(), before, failed(599.0), 0.0).restarts == 8
    after = decide(Restart(), before, failed(601.0), 0.0)
    assert after == Retry(delay=0.5, restarts=1, times=f"{NOW * 1e3:.0f}")


def test_after_weeks_of_health_the_first_delay_is_the_shortest_again():
    found = history(Restart(), [1.0] * 9 + [20 * 86400.0], chance=1 - 2**-53)
    assert found[-2].delay == pytest.approx(256)
    assert found[-1].delay == pytest.approx(1)


def test_health_is_that_of_the_run_that_failed_not_of_the_time_between():
    found = history(Restart(first=300, cap=3000), [500.0] * 4)
    assert [one.restarts for one in found] == [1, 2, 3, 4]


def test_without_a_window_it_keeps_the_time_of_the_first_failure_alone():
    found = history(Restart(), [1.0] * 3)
    assert {one.times for one in found} == {f"{(NOW + 1) * 1e3:.0f}"}


# -- which runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "after_failure", "after_end"),
    [(NEVER, False, False), (Restart(), True, False), (ALWAYS, True, True)],
)
def test_what_each_word_restarts(policy, after_failure, after_end):
    assert isinstance(decide(policy, None, failed(), 0.5), Retry) is after_failure
    assert isinstance(decide(policy, None, attrs.evolve(failed(), failed=False), 0.5), Retry) is after_end
    if not after_failure:
        assert decide(policy, None, failed(), 0.5) is None


def test_a_run_that_ended_counts_and_waits_like_one_that_failed():
    ended = attrs.evolve(failed(), failed=False)
    before = StartFields(restarts=2)
    assert decide(ALWAYS, before, ended, 0.5) == decide(ALWAYS, before, failed(), 0.5)


def test_the_word_of_the_hash_overrides_the_class_and_keeps_its_times():
    of_class = Restart("never", first=7)
    assert policy_of(of_class, StartFields(restart="failure")) == Restart("failure", first=7)
    assert policy_of(None, StartFields(restart="always")) == ALWAYS
    assert policy_of(ALWAYS, StartFields(restart="never")).on == "never"
    assert policy_of(ALWAYS, StartFields()) is ALWAYS
    assert policy_of(None, None) is NEVER


# -- the limit ---------------------------------------------------------------------------------------------


def test_it_gives_up_after_the_limit_and_says_how_often_and_in_which_time():
    found = history(Restart(limit=3), [10.0] * 9)
    assert [type(one) for one in found] == [Retry, Retry, Retry, GiveUp]
    # Three delays of 0.75, 1.5 and 3 s, and three more runs.
    assert found[-1].reason == (
        "gave up after 3 restarts in 35s: the limit is 3 in a row, each run shorter than 10m"
    )


def test_a_healthy_run_gives_a_new_set_of_restarts():
    found = history(Restart(limit=2), [1.0, 1.0, 700.0, 1.0, 1.0])
    assert [type(one) for one in found] == [Retry, Retry, Retry, Retry, GiveUp]


def test_in_a_window_only_the_restarts_within_it_count():
    policy = Restart(first=1, cap=1, limit=3, window=100, healthy=10_000)
    often = history(policy, [20.0] * 9, start=NOW)
    assert [type(one) for one in often] == [Retry, Retry, Retry, GiveUp]
    assert often[-1].reason == "gave up after 3 restarts in 1m2s: the limit is 3 in 1m40s"
    seldom = history(policy, [40.0] * 50, start=NOW)
    assert len(seldom) == 50
    assert {type(one) for one in seldom} == {Retry}
    assert max(len(one.times.split()) for one in seldom) == 3


def test_a_window_counts_runs_that_were_healthy_too():
    policy = Restart(first=1, cap=1, limit=3, window=1000, healthy=100)
    found = history(policy, [120.0] * 9)
    assert [one.restarts for one in found[:3]] == [1, 1, 1]
    assert isinstance(found[3], GiveUp)


def test_times_that_nobody_can_read_or_far_ahead_are_left_out():
    policy = Restart(limit=1, window=100)
    far = f"{(NOW + 10**6) * 1e3:.0f}"
    found = decide(policy, StartFields(restarts=9, failed=f"x -5 1.5 ٣ {far}"), failed(), 0.5)
    assert found.times == f"{NOW * 1e3:.0f}"


def test_a_count_that_no_worker_writes_is_none():
    assert decide(Restart(), StartFields(restarts=-4), failed(), 0.5).restarts == 1


# -- what a policy may be ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"on": "sometimes"}, "'never', 'failure' or 'always'"),
        ({"on": None}, "'never', 'failure' or 'always'"),
        ({"first": 0}, "seconds above 0"),
        ({"first": True}, "seconds above 0"),
        ({"first": math.nan}, "seconds above 0"),
        ({"first": "1"}, "seconds above 0"),
        ({"factor": 0.5}, "at least 1"),
        ({"factor": math.inf}, "at least 1"),
        ({"cap": 0.5}, "at least `first` (1 s)"),
        ({"cap": math.inf}, "at most 366 days"),
        ({"healthy": -1}, "seconds above 0"),
        ({"limit": 0}, "Restart('never')"),
        ({"limit": 1.5}, "whole number"),
        ({"limit": True}, "whole number"),
        ({"window": 60}, "no effect without `limit`"),
        ({"window": 0, "limit": 3}, "seconds above 0"),
        ({"window": 60, "limit": 1001}, "at most 1000 with a window"),
    ],
)
def test_a_policy_that_makes_no_sense_names_the_argument_and_the_value(wrong, says):
    name = "limit" if wrong.get("limit") == 1001 else next(iter(wrong))
    with pytest.raises(ConfigError) as found:
        Restart(**wrong)
    assert f"Restart({name}={wrong[name]!r})" in str(found.value)
    assert says in str(found.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RESTART", "failure", "write RESTART = Restart('failure')"),
        ("RESTART", True, "must be a pytask.Restart"),
        ("RESTARTS", Restart(), "did you mean RESTART"),
        ("TIMOUT", 5, "did you mean TIMEOUT"),
        ("timeout", 5, "did you mean TIMEOUT"),
        ("TIMEOUT", 0, "seconds above 0"),
        ("TIMEOUT", True, "seconds above 0"),
        ("TIMEOUT", math.nan, "seconds above 0"),
        ("TIMEOUT", math.inf, "at most 31622400"),
        ("TIMEOUT", "5", "seconds above 0"),
    ],
)
def test_a_class_with_a_wrong_value_is_refused(name, value, says):
    class Wrong(Task):
        Config = type("Config", (), {"NAME": "wrong", name: value})

        def start(self): ...

    with pytest.raises(BadTaskClass, match=name) as found:
        check_class(Wrong)
    assert says in str(found.value)


def test_an_attribute_of_ones_own_is_no_misspelling():
    class Own(Task):
        class Config:
            NAME = "own"
            NAMES = ("a", "b")  # resembles an option that is set, too
            RETRIES = 3

        def start(self): ...

    check_class(Own)


# -- words -------------------------------------------------------------------------------------------------


def test_a_policy_in_words():
    assert policy_text(Restart()) == "at most 5m between two runs; the count resets after 10m of health"
    assert policy_text(Restart(limit=1, cap=90)) == (
        "at most 1m30s between two runs; the count resets after 10m of health;"
        " gives up after 1 restart in a row"
    )
    assert policy_text(Restart(limit=5, window=3600)).endswith("gives up after 5 restarts in 1h")
