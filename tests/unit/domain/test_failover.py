"""The times that follow from a failover, and the sessions that name the expiry of their runs."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask.domain.crashes import Watch
from pytask.domain.errors import BadFailover, ConfigError
from pytask.domain.record import Suspect
from pytask.domain.session_marks import expiry_of, session_mark
from pytask.domain.timing import SHORTEST_EXPIRY, Timing
from pytask.runtime.settings import Settings, changed, settings_of

T = 90.0
SHORT = Timing.for_failover(15)
SCALES = [0.001, 0.02, 0.05, 0.1, 0.3, 0.5, 1, 3]


@given(st.floats(15, 60), st.sampled_from(SCALES))
def test_each_is_accepted_and_kills_the_old_run_first(seconds, scale):
    timing = Timing.for_failover(seconds).scaled(scale)  # which checks them against each other
    assert timing.kill * 1.05 + 5 * scale < timing.expiry * 0.95
    assert timing.expiry <= T * scale * (1 + 1e-9)


def test_the_default_is_what_it_was():
    assert Timing.for_failover(60) == Timing() == Settings().timing
    assert Settings(failover=60, timing=Timing().scaled(0.1)).timing == Timing().scaled(0.1)


@pytest.mark.parametrize(
    ("seconds", "expiry", "mark"),
    [(15, 24.9, "~e249"), (20, 31.4, "~e314"), (30, 45.0, "~e450"), (45, 67.5, "~e675"), (60, 90.0, "")],
)
def test_the_expiry_and_what_a_session_says_of_it(seconds, expiry, mark):
    timing = Timing.for_failover(seconds)
    assert (timing.lease, timing.expiry) == (seconds, expiry)
    assert session_mark(timing) == mark
    assert expiry_of(f"session{mark}", T) == expiry


def test_the_others_follow_in_proportion():
    timing = Timing.for_failover(24)
    assert (timing.heartbeat, timing.call_timeout, timing.grace, timing.sweep, timing.claim_gate) == (
        pytest.approx((2, 1.2, 4, 4, 12))
    )


def test_what_protects_the_runs_of_others_is_never_shorter():
    default = Timing()
    for name in ("embargo", "reassert", "shutdown", "slowest_heartbeat", "longest_kill", "longest_expiry"):
        assert getattr(SHORT, name) == getattr(default, name), name
        assert getattr(SHORT.scaled(0.1), name) == pytest.approx(getattr(default, name) / 10)
    assert (default.longest_kill, default.longest_expiry, default.reassert) == (70, 90, 10)


def test_longer_times_of_ones_own_stay_the_longest():
    longer = Timing(lease=90, claim_gate=45, expiry=125, embargo=110)
    assert (longer.longest_expiry, longer.longest_kill) == (125, 100)
    assert session_mark(longer) == ""


@pytest.mark.parametrize("given", [14.9, 60.1, 0, -20, float("nan"), float("inf"), "20", None, True])
def test_what_is_too_short_too_long_or_no_number_is_refused(given):
    with pytest.raises(BadFailover, match=r"PT190\] failover is .* must be from 15 to 60 seconds"):
        Timing.for_failover(given)
    with pytest.raises(BadFailover, match="--failover 20s"):
        Settings(failover=given)


def test_a_failover_and_times_of_ones_own_exclude_each_other():
    with pytest.raises(ConfigError, match="leave one of them out"):
        Settings(failover=20, timing=Timing(expiry=100))
    assert Settings(timing=Timing(expiry=100)).timing.expiry == 100


def test_it_is_changed_like_other_settings_and_keeps_the_scale_and_the_time_to_shut_down():
    own = settings_of({"failover": 20, "timing": attrs.evolve(Timing().scaled(0.1), shutdown=20)})
    assert own.timing == attrs.evolve(Timing.for_failover(20).scaled(0.1), shutdown=20)
    again = changed(own, {"failover": 30, "name": "w"})
    assert (again.timing.lease, again.timing.shutdown) == (3, 20)
    assert changed(again, {"timing": Timing()}).timing == Timing.for_failover(30)


# -- sessions ----------------------------------------------------------------------------------------------


@given(st.floats(15, 60), st.sampled_from(SCALES))
def test_a_session_names_the_expiry_whatever_the_scale(seconds, scale):
    timing = Timing.for_failover(seconds)
    mark = session_mark(timing.scaled(scale))
    assert mark == session_mark(timing)
    assert expiry_of("s" + mark, T * scale, scale) == pytest.approx(timing.expiry * scale)


@pytest.mark.parametrize(
    "session",
    [
        "", "4f1c", "w~e", "w~e248", "w~e0", "w~e1", "w~e900", "w~e901", "w~e999", "w~e24.9", "w~e0314",
        "w~e31", "w~e314s", "w~e314 ", "w~e314~x", "w~e-314", "w~e1e9", "w~enan", "w~e3,1", "w~E314", "we314",
        "~e314:1", "w~e314\n", "w~e\u0663\u0661\u0664",
    ],
)  # fmt: skip
def test_a_session_with_no_or_an_odd_mark_has_the_longest(session):
    assert expiry_of(session, T) == T


def test_the_limits_of_a_mark():
    assert expiry_of(f"w~e{SHORTEST_EXPIRY * 10:.0f}", T) == SHORTEST_EXPIRY == SHORT.expiry
    assert expiry_of("w~e899", T) == 89.9


def suspect(session, task_id="a", crashes=0, age=100.0):
    return Suspect(
        id=task_id, run=f"{session}:1", lease=1_000_000_000, epoch=int((1000 - age) * 1e3), crashes=crashes
    )


def died(watch, *suspects):
    """When each is requeued, in whole seconds after it was first seen."""
    watch.observe(suspects, 0)
    found = {}
    for now in range(1, 700):
        found |= {one.run: now for one in watch.observe([s for s in suspects if s.run not in found], now)}
    return found


def test_each_run_has_the_expiry_of_its_owner():
    fleet = suspect("one"), suspect("two~e249", "b"), suspect("three~e450", "c")
    assert died(Watch(T), *fleet) == {"one:1": 91, "two~e249:1": 25, "three~e450:1": 46}


def test_the_next_sweep_comes_with_the_first_that_expires():
    watch = Watch(T)
    watch.observe([suspect("one"), suspect("two~e249", "b")], 1000)
    assert watch.wait(1020, 10) == pytest.approx(4.9, abs=0.01)


def test_the_pause_of_a_run_that_is_blamed_again_is_one_of_its_own_expiries():
    fleet = suspect("one", crashes=1, age=5), suspect("two~e249", "b", crashes=1, age=5)
    assert died(Watch(T), *fleet) == {"one:1": 181, "two~e249:1": 50}


def test_a_time_that_an_operator_gave_holds_for_all():
    assert died(Watch(120.0, uniform=True), suspect("one"), suspect("two~e249", "b")) == {
        "one:1": 121,
        "two~e249:1": 121,
    }


def test_scaled_times_scale_what_a_session_names():
    watch = Watch(9.0, 0.1)
    fleet = suspect("one"), suspect("two~e450", "b")
    assert died(watch, *fleet) == {"one:1": 10, "two~e450:1": 5}
