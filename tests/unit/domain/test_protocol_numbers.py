"""The numbers of the protocol and what follows from them.  No clock: `now` is an argument."""

import math
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask.domain.control import Starts, StopReason, closing, outweighs
from pytask.domain.crashes import Crowd, Watch, bury, crash_pause
from pytask.domain.errors import ConfigError
from pytask.domain.leases import Lease, LeaseBook
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import RunRef, Suspect
from pytask.domain.timing import Timing

T = 90.0


def ref(name):
    return RunRef(name, f"s:{name}")


# -- Timing ------------------------------------------------------------------------------------------------


def test_the_promised_numbers():
    timing = Timing()
    assert (timing.lease, timing.expiry, timing.kill) == (60, 90, 70)
    assert (timing.tick, timing.watch) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lease": 0.0}, "positive"),
        ({"heartbeat": -1.0}, "positive"),
        ({"sweep": math.nan}, "positive"),
        ({"shutdown": math.inf}, "positive"),
        ({"expiry": 70.0}, "expiry"),
        ({"expiry": 82.0}, "clock error"),
        ({"grace": 20.0, "embargo": 100.0}, "expiry"),
        ({"heartbeat": 9.0}, "quarter of the lease"),
        ({"call_timeout": 5.0}, "quarter of the lease"),
        ({"claim_gate": 31.0}, "half the lease"),
        ({"embargo": 74.0}, "embargo"),
        ({"grace": 1.9}, "at least 2 s"),
    ],
)
def test_times_under_which_runs_could_overlap_are_refused(change, why):
    with pytest.raises(ConfigError, match=why):
        Timing(**change)


def test_the_limits_themselves():
    Timing(claim_gate=30.0, embargo=75.0)
    Timing(grace=2.0)
    with pytest.raises(ConfigError):
        Timing(heartbeat=9.0, call_timeout=3.0)  # 15 s are not under a quarter of 60
    Timing(heartbeat=8.9, call_timeout=3.0)


@pytest.mark.parametrize("factor", [0.02, 0.1, 0.5, 1, 3])
def test_times_may_be_scaled_for_tests(factor):
    scaled = Timing().scaled(factor)
    for name, value in attrs.asdict(Timing()).items():
        assert getattr(scaled, name) == pytest.approx(value * factor)


def test_scaled_times_are_held_to_the_same_rules():
    assert (Timing().scaled(0.1).lease, Timing().scaled(0.1).grace) == (6, 1)
    with pytest.raises(ConfigError):
        attrs.evolve(Timing().scaled(0.1), expiry=7.5)


@given(
    lease=st.floats(20, 500),
    grace=st.floats(2, 100),
    expiry=st.floats(20, 1000),
    slow=st.floats(-0.05, 0.05),
    fast=st.floats(-0.05, 0.05),
)
def test_whatever_is_accepted_kills_the_old_run_first(lease, grace, expiry, slow, fast):
    try:
        timing = Timing(
            lease=lease, grace=grace, expiry=expiry, heartbeat=1, call_timeout=1, claim_gate=1, embargo=2000
        )
    except ConfigError:
        return
    dead_at = timing.kill * (1 + slow)
    handed_on_at = timing.expiry * (1 - fast)
    assert dead_at < handed_on_at


# -- stop reasons -------------------------------------------------------------------------------------------


def test_of_two_requests_the_stronger_wins():
    order = [
        StopReason.MOVE, StopReason.RELOAD, StopReason.TIMEOUT, StopReason.HAND_BACK, StopReason.STOP,
        StopReason.FORGET, StopReason.FENCED,
    ]  # fmt: skip
    for weaker, stronger in pairwise(order):
        assert outweighs(stronger, weaker)
        assert not outweighs(weaker, stronger)
    for stop_reason in StopReason:
        assert outweighs(stop_reason, None)
        assert not outweighs(stop_reason, stop_reason)


@pytest.mark.parametrize(
    ("stop_reason", "failed", "trigger"),
    [
        (None, False, Trigger.END),
        (None, True, Trigger.FAIL),
        (StopReason.STOP, False, Trigger.STOP),
        (StopReason.STOP, True, Trigger.STOP),
        (StopReason.HAND_BACK, False, Trigger.RELEASE),
        (StopReason.HAND_BACK, True, Trigger.RELEASE),
        (StopReason.TIMEOUT, False, Trigger.FAIL),
        (StopReason.TIMEOUT, True, Trigger.FAIL),
        (StopReason.FORGET, False, Trigger.RELEASE),
        (StopReason.FENCED, False, None),
        (StopReason.FENCED, True, None),
        (StopReason.RELOAD, False, None),
    ],
)
def test_how_a_dead_run_is_settled(stop_reason, failed, trigger):
    assert closing(stop_reason, failed) is trigger


# -- LeaseBook ---------------------------------------------------------------------------------------------


def test_a_start_that_was_not_received_yet_is_younger_than_the_subscription():
    starts = Starts(slack=5.0)
    assert starts.not_received("a", 100.0) == 0.0  # nothing is known before the first subscription
    starts.listen(100.0)
    assert starts.not_received("a", 103.0) == 0.0
    assert starts.not_received("a", 160.0) == 55.0


def test_a_start_that_was_received_is_no_reason_to_ignore_the_stop_behind_it():
    starts = Starts(slack=5.0)
    starts.listen(0.0)
    starts.received("a", 100.0)
    assert starts.not_received("a", 101.0) == 0.0
    assert starts.not_received("a", 130.0) == 25.0
    assert starts.not_received("b", 101.0) == 96.0
    starts.listen(200.0)
    assert starts.not_received("a", 203.0) == 0.0


def test_what_was_received_is_remembered_for_so_many_tasks_and_never_wrongly():
    starts = Starts(slack=0.0, limit=2)
    starts.listen(0.0)
    for at, task_id in enumerate("abc"):
        starts.received(task_id, 10.0 + at)
    # "a" was dropped: its start may have been received by then.
    assert starts.not_received("a", 20.0) == 10.0
    assert starts.not_received("z", 20.0) == 10.0


def test_the_book_knows_the_longest_unrenewed_run():
    book = LeaseBook()
    assert (book.oldest(), len(book)) == (None, 0)
    book.add(ref("a"), 1)
    book.add(ref("b"), 2)
    assert (book.oldest(), len(book)) == (1, 2)
    assert "s:a" in book
    book.renewed([ref("a")], 5)
    assert book.oldest() == 2
    book.remove("s:b")
    assert book.oldest() == 5
    book.remove("s:b")
    book.remove("s:a")
    assert book.oldest() is None


def test_a_run_that_ended_is_not_brought_back_by_its_renewal():
    book = LeaseBook()
    book.add(ref("a"), 1)
    book.remove("s:a")
    book.renewed([ref("a")], 2)
    assert "s:a" not in book
    assert book.oldest() is None


def test_due_runs_come_oldest_first_and_in_chunks():
    book = LeaseBook()
    for at, name in enumerate("abcd"):
        book.add(ref(name), at)
    assert book.due(-1) == []
    assert book.due(1) == [ref("a"), ref("b")]
    assert book.due(9, limit=3) == [ref(n) for n in "abc"]
    book.renewed([ref("a"), ref("b")], 10)
    assert book.due(9) == [ref("c"), ref("d")]


@given(st.lists(st.tuples(st.sampled_from("arx"), st.integers(0, 5)), max_size=60))
def test_the_book_stays_in_order_of_time(moves):
    book, times = LeaseBook(), {}
    for now, (move, number) in enumerate(moves):
        run = ref(str(number))
        if move == "a" and run.run not in book:
            book.add(run, now)
            times[run.run] = now
        elif move == "r":
            book.renewed([run], now)
            times.update({run.run: now} if run.run in times else {})
        elif move == "x":
            book.remove(run.run)
            times.pop(run.run, None)
    assert book.oldest() == min(times.values(), default=None)
    assert [run.run for run in book.due(math.inf)] == sorted(times, key=times.get)


# -- Lease -------------------------------------------------------------------------------------------------


@pytest.fixture
def lease():
    return Lease(Timing())


def test_nothing_is_claimed_before_redis_answered(lease):
    assert not lease.may_claim(0)
    lease.acknowledged([], 100)
    assert lease.may_claim(100)


def test_the_gate_closes_half_a_lease_after_the_last_answer(lease):
    lease.acknowledged([], 100)
    assert lease.may_claim(129.9)
    assert not lease.may_claim(130)
    lease.acknowledged([], 90)  # an answer that was overtaken changes nothing
    assert lease.may_claim(129.9)


def test_the_embargo_closes_the_gate(lease):
    lease.acknowledged([], 100)
    lease.embargo_until = 110
    assert not lease.may_claim(109.9)
    assert lease.may_claim(110)


def test_a_slow_claim_is_not_used(lease):
    assert lease.claim_holds(100, 129.9)
    assert not lease.claim_holds(100, 130)


def test_runs_are_lost_after_sixty_seconds_without_an_answer(lease):
    assert not lease.lost(1e9)
    lease.living.add(ref("a"), 100)
    assert not lease.lost(160)
    assert lease.lost(160.1)
    lease.acknowledged([ref("a")], 150)
    assert not lease.lost(210)
    assert lease.lost(210.1)


def test_one_unanswered_run_is_enough(lease):
    lease.living.add(ref("a"), 100)
    lease.living.add(ref("b"), 100)
    lease.acknowledged([ref("b")], 150)
    assert lease.lost(161)


def test_a_run_that_only_waits_to_be_written_down_does_not_count(lease):
    lease.settling.add(ref("a"), 0)
    assert not lease.lost(1000)
    assert lease.kill_in(1000) is None


def test_the_kernel_ends_the_process_after_lease_and_grace(lease):
    assert lease.kill_in(100) is None
    lease.living.add(ref("a"), 100)
    assert lease.kill_in(100) == 70
    assert lease.kill_in(150) == 20
    assert 0 < lease.kill_in(1000) <= 0.001
    lease.acknowledged([ref("a")], 150)
    assert lease.kill_in(150) == 70


def test_the_deadline_is_looked_at_more_often_when_it_is_near(lease):
    assert lease.nap(100) == 2.5
    lease.living.add(ref("a"), 100)
    assert [lease.nap(100 + age) for age in (0, 50, 55, 58, 58.5, 59, 59.9, 60, 200)] == [
        2.5, 2.5, 2.5, 1, 0.75, 0.5, 0.25, 0.25, 0.25,
    ]  # fmt: skip


def test_due_runs_are_living_and_settling_ones(lease):
    lease.acknowledged([], 100)
    lease.living.add(ref("a"), 100)
    lease.settling.add(ref("b"), 100)
    assert lease.due(104.4) == []
    assert lease.due(104.5) == [ref("a"), ref("b")]
    lease.acknowledged([ref("a"), ref("b")], 104.5)
    assert lease.due(105) == []


def test_between_renewals_a_worker_rests_until_the_next_is_due(lease):
    tick, most = lease.timing.tick, lease.timing.heartbeat / 2
    assert lease.rest(100) == tick  # nothing was acknowledged so far
    lease.acknowledged([], 100)
    assert lease.rest(100) == most  # the answer of a claim may come late
    assert lease.rest(102.5) == 2.0
    lease.living.add(ref("a"), 99)
    assert lease.rest(102.5) == 1.0
    lease.settling.add(ref("b"), 98.75)
    assert lease.rest(102.5) == 0.75
    assert lease.rest(103.2) == tick
    assert lease.rest(200) == tick


def test_dead_runs_are_not_kept_registered_by_a_worker_that_hears_nothing(lease):
    # Its requests may arrive all the same, and then no monitor could hand them on.
    lease.acknowledged([], 100)
    lease.living.add(ref("a"), 100)
    lease.settling.add(ref("b"), 100)
    assert lease.due(160) == [ref("a"), ref("b")]
    assert lease.due(160.1) == [ref("a")]
    lease.acknowledged([], 170)
    assert lease.due(170.5) == [ref("a"), ref("b")]


def test_a_chunk_has_at_most_1000_runs(lease):
    lease.acknowledged([], 150)
    for number in range(800):
        lease.living.add(ref(f"l{number}"), 100)
        lease.settling.add(ref(f"s{number}"), 100)
    chunk = lease.due(200)
    assert len(chunk) == 1000
    assert chunk[799:801] == [ref("l799"), ref("s0")]


# -- crashes -----------------------------------------------------------------------------------------------


def suspect(name="a", *, session="dead", lease=1000, age=10.0, crashes=0):
    micros = int(lease * 1e6)
    epoch = int((lease - age) * 1e3)
    return Suspect(id=name, run=f"{session}:{name}", lease=micros, epoch=epoch, crashes=crashes)


@pytest.mark.parametrize(("crashes", "pause"), [(0, 0), (1, T), (2, 5 * T), (3, 0), (9, 0)])
def test_the_pause_after_crashes(crashes, pause):
    assert crash_pause(crashes, T) == pause


def blamed(one, crowd):
    return Crowd(crowd).blames(one)


def test_a_young_run_alone_on_its_worker_is_blamed():
    young = suspect(age=59)
    assert blamed(young, [young])


@pytest.mark.parametrize("crashes", [0, 1, 2, 3, 9])
def test_a_long_lived_run_alone_on_its_worker_is_never_blamed(crashes):
    """However often its workers are killed: the row ends, and nothing is waited for beyond T."""
    old = suspect(age=60, crashes=crashes)
    crowd = Crowd([old])
    expiry = crowd.judge(old)
    assert (expiry.crashes, expiry.poison, crowd.pause(old, T)) == (0, False, 0)


def test_few_young_runs_are_blamed_together():
    young = [suspect(n, age=59) for n in "abc"]
    old = suspect("old", age=61)
    assert all(blamed(one, [*young, old]) for one in young)
    assert not blamed(old, [*young, old])


def test_many_young_runs_are_not_blamed_and_do_not_wait():
    young = [suspect(n, age=1, crashes=2) for n in "abcd"]
    assert not any(blamed(one, young) for one in young)
    assert {Crowd(young).pause(one, T) for one in young} == {0}


def test_a_run_without_a_lease_has_no_known_age_and_is_not_blamed():
    one = Suspect(id="a", run="dead:a", lease=0, epoch=1_000_000, crashes=1)
    assert (Crowd([one]).judge(one).crashes, Crowd([one]).pause(one, T)) == (1, 0)


@pytest.mark.parametrize("crashes", [0, 3])
def test_a_run_that_was_claimed_after_the_clock_went_back_has_no_known_age_and_is_not_blamed(crashes):
    """Its epoch stays ahead of the clock, perhaps for hours, so it would count as young all that time."""
    one = suspect(age=-3600, crashes=crashes)
    expiry = Crowd([one]).judge(one)
    assert (expiry.crashes, expiry.poison, Crowd([one]).pause(one, T)) == (crashes, False, 0)
    again = suspect(age=-0.002)  # an end and a start within one millisecond
    assert blamed(again, [again])


@pytest.mark.parametrize(
    ("crashes", "age", "after", "poison"),
    [(0, 10, 1, False), (2, 10, 3, False), (3, 10, 4, True), (3, 59, 4, True), (3, 60, 0, False)],
)
def test_the_fourth_crash_in_a_row_is_poison_and_a_long_run_ends_the_row(crashes, age, after, poison):
    one = suspect(crashes=crashes, age=age)
    expiry = Crowd([one]).judge(one)
    assert (expiry.crashes, expiry.poison) == (after, poison)
    assert (expiry.id, expiry.run, expiry.seen) == (one.id, one.run, one.lease)


def test_a_bystander_keeps_its_count():
    crowd = [suspect(str(n), age=1, crashes=2) for n in range(5)]
    expiry = Crowd(crowd).judge(crowd[0])
    assert (expiry.crashes, expiry.poison) == (2, False)


def test_one_left_over_of_a_family_that_died_together_is_not_blamed():
    """A sibling released the others, and died before the last: what the next one sees looks alone."""
    family = [suspect(str(n), age=100, crashes=n % 2) for n in range(5)]
    for left in family:
        (expiry,), waiting = bury([left], T)
        assert (expiry.crashes, waiting) == (0, 0)


def test_what_a_release_leaves_to_the_monitor_is_judged_alike_by_both(watch):
    """The monitor never sees those whom the release handed on, so it must not depend on them."""
    crowd = [suspect(str(n), age=1, crashes=n) for n in range(3)] + [suspect("old", age=90, crashes=2)]
    due, left = bury(crowd, T)
    assert ({one.id: one.crashes for one in due}, left) == ({"0": 1, "old": 0}, 2)
    waiting = [one for one in crowd if one.id in ("1", "2")]
    watch.observe(waiting, 0)
    assert {one.id: one.crashes for one in watch.observe(waiting, 6 * T + 1)} == {"1": 2, "2": 3}


def test_an_age_is_never_negative():
    assert suspect(age=-50).age == 0


# -- Watch -------------------------------------------------------------------------------------------------


@pytest.fixture
def watch():
    return Watch(T)


def names(expiries):
    return [expiry.id for expiry in expiries]


def test_the_next_sweep_comes_after_i_or_when_t_is_over(watch):
    assert watch.wait(1000, 10) == 10
    watch.observe([suspect()], 1000)
    assert watch.wait(1000, 10) == 10
    assert watch.wait(1000 + T - 4, 10) == pytest.approx(4, abs=0.01)
    assert names(watch.observe([suspect()], 1000 + T - 4 + watch.wait(1000 + T - 4, 10))) == ["a"]


def test_a_sweep_is_never_due_at_once_and_what_was_forgotten_is_not_due(watch):
    watch.observe([suspect()], 1000)
    assert watch.wait(1000 + 2 * T, 10) == 0.5
    watch.observe([suspect()], 1000 + 2 * T)  # handed on: whatever came of it, the next sweep sees
    assert watch.wait(1000 + 2 * T, 10) == 10
    watch.observe([suspect("b")], 2000)
    watch.forget()
    assert watch.wait(2000 + T, 10) == 10


def test_a_lease_unchanged_for_longer_than_t_is_dead(watch):
    one = suspect()
    assert watch.observe([one], 1000) == []
    assert watch.observe([one], 1000 + T) == []
    assert names(watch.observe([one], 1000.1 + T)) == ["a"]


def test_the_age_of_the_lease_itself_proves_nothing(watch):
    assert watch.observe([suspect(lease=1)], 1e9) == []


def test_a_lease_that_moved_is_watched_again(watch):
    watch.observe([suspect(lease=1000)], 0)
    watch.observe([suspect(lease=1001)], T)
    assert watch.observe([suspect(lease=1001)], 2 * T) == []
    assert names(watch.observe([suspect(lease=1001)], 2 * T + 1)) == ["a"]


def test_a_lease_that_moved_backwards_moved(watch):
    watch.observe([suspect(lease=1000)], 0)
    assert watch.observe([suspect(lease=500)], T + 1) == []


def test_another_run_is_watched_again(watch):
    watch.observe([suspect(session="dead")], 0)
    assert watch.observe([suspect(session="next")], T + 1) == []


def test_a_lease_that_was_away_is_watched_again(watch):
    watch.observe([suspect()], 0)
    watch.observe([], T / 2)
    assert len(watch) == 0
    assert watch.observe([suspect()], T + 1) == []


def test_what_was_seen_before_redis_was_away_is_forgotten(watch):
    watch.observe([suspect()], 0)
    assert len(watch) == 1
    watch.forget()
    assert len(watch) == 0
    assert watch.observe([suspect()], T + 1) == []
    assert names(watch.observe([suspect()], 2 * T + 2)) == ["a"]


@pytest.mark.parametrize(("crashes", "wait"), [(0, T), (1, 2 * T), (2, 6 * T), (3, T)])
def test_a_task_that_crashed_before_waits_longer(watch, crashes, wait):
    one = suspect(crashes=crashes)
    watch.observe([one], 0)
    assert watch.observe([one], wait) == []
    assert names(watch.observe([one], wait + 1)) == ["a"]


def test_neighbours_are_those_of_the_same_session(watch):
    crowd = [suspect(n, session="one", age=1) for n in "abde"] + [suspect("c", session="two", age=1)]
    watch.observe(crowd, 0)
    assert [e.crashes for e in watch.observe(crowd, T + 1)] == [0, 0, 0, 0, 1]


@given(st.lists(st.tuples(st.sampled_from("arn"), st.integers(0, 9), st.integers(0, 50)), max_size=60))
def test_the_lease_book_always_knows_its_oldest(steps):
    """Whatever the order in which answers come: compared with a plain dictionary."""
    book, plain = LeaseBook(), {}
    for what, number, sent_at in steps:
        ref = RunRef(f"t{number}", f"s:{number}")
        if what == "r":
            book.remove(ref.run)
            plain.pop(ref.run, None)
        elif what == "a":
            book.add(ref, sent_at)
            plain[ref.run] = max(sent_at, plain.get(ref.run, 0))
        else:
            book.renewed([ref], sent_at)
            if ref.run in plain:
                plain[ref.run] = max(sent_at, plain[ref.run])
        assert book.oldest() == (min(plain.values()) if plain else None)
        assert {r.run for r in book.due(25)} == {run for run, at in plain.items() if at <= 25}
