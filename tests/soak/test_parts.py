"""The parts of the soak that decide, without servers: plan, flatness, streamed evidence, verdict."""

from itertools import pairwise

import pytest

from tests.soak.flat import family, flatness
from tests.soak.history import SECOND, History, Reader, Takeover
from tests.soak.schedule import KINDS, OVER_T, plan
from tests.soak.verdict import compare, violations

WINDOWS = [(10, 20), (30, 40)]


@pytest.mark.parametrize("seed", range(50))
def test_the_plan_of_an_hour_holds_every_fault_and_leaves_room(seed):
    made = plan(3600, 1, seed)
    faults = made.faults
    assert len(faults) >= 25
    assert not made.dropped
    assert {fault.kind for fault in faults} == set(KINDS)
    for before, after in pairwise(faults):
        assert before.free_at <= after.at + 1e-6
    for begin, end in made.windows:
        assert not [fault for fault in faults if fault.at < end and fault.free_at > begin - 120]
    assert any(fault.kind in OVER_T for fault in faults if fault.at > 1800)


@pytest.mark.parametrize("seed", range(50))
def test_the_process_of_w1_outlives_the_second_half(seed):
    faults = [fault for fault in plan(3600, 1, seed).faults if fault.at >= 1800 and fault.target == "w1"]
    assert faults
    assert not [fault for fault in faults if KINDS[fault.kind].ends_process]


def test_a_seed_gives_one_plan_and_a_short_form_says_what_it_dropped():
    assert plan(3600, 1, 7) == plan(3600, 1, 7) != plan(3600, 1, 8)
    assert plan(180, 0.1, 7).dropped


def test_two_per_cent_is_flat_and_more_is_not():
    flat = flatness("x", [(11, 100), (12, 100), (31, 102), (32, 102), (35, 900)], WINDOWS)
    assert flat.holds
    assert not flatness("x", [(11, 100), (31, 103)], WINDOWS).holds
    assert flatness("x", [(11, 100), (31, 50)], WINDOWS).holds
    assert not flatness("x", [(11, 17), (31, 18)], WINDOWS, bar=0).holds
    assert not flatness("x", [(11, 0), (31, 1)], WINDOWS).holds
    assert flatness("x", [(11, 1), (25, 5)], WINDOWS) is None


def fed(*lines):
    history = History()
    for line in lines:
        history.feed(line)
    return history


def test_an_older_run_after_a_newer_one_is_an_overlap():
    assert not fed("1 a r1 1 act", "2 a r2 2 act", "3 a r2 2 act").overlaps
    assert fed("1 a r1 1 act", "2 a r2 2 act", "3 a r1 1 act").overlaps == ["3 a r1 1 act"]
    assert fed("1 a r1 1 act", "2 a r1 2 act").overlaps == ["2 a r1 2 act"]


def test_gaps_runs_and_ends_are_counted():
    history = fed("0 a r1 1 act", f"{6 * SECOND} a r2 2 act", "5 s1 r3 1 begin", "6 s1 r3 1 end")
    assert history.lasts["a"].runs == 2
    assert history.gaps == [(0, 6.0, "a")]
    assert history.ended == {"s1"}
    assert history.living_in(2) == ["a"]
    assert history.living_in(1) == []


def test_a_takeover_ends_with_the_first_act_of_another_run():
    history = fed("1 a r1 1 act", "1 b r2 1 act", "1 c r3 1 act")
    takeover = Takeover("kill", 0, ["a", "b", "c"])
    history.watch(takeover, ["a", "b", "c"])
    history.dismiss("c")
    history.feed("2 a r1 1 act")  # written before the fault was felt
    history.feed(f"{90 * SECOND} a r4 1 act")  # in the process that was cut off
    history.feed(f"{99 * SECOND} a r4 2 act")
    assert takeover.seconds == [90.0]
    assert takeover.missing == {"b"}


def test_the_pause_after_a_counted_crash_is_no_delay():
    takeover = Takeover("kill", 0, ["a", "b"], {"a": 90.0})
    takeover.back("a", 190 * SECOND)
    takeover.back("b", 100 * SECOND)
    assert takeover.seconds == [190.0, 100.0]
    assert takeover.beyond == [100.0, 100.0]


def test_a_short_task_that_ended_where_it_was_need_not_come_back():
    history = fed("1 s1 r1 1 begin", "1 s2 r2 1 begin")
    takeover = Takeover("blackhole", 0, ["s1", "s2"])
    history.watch(takeover, ["s1", "s2"])
    history.feed("2 s1 r1 1 end")
    assert takeover.missing == {"s2"}
    assert takeover.seconds == []


@pytest.mark.parametrize(("beyond", "late"), [(116.0, False), (116.1, True)])
def test_a_task_is_late_by_what_is_beyond_its_pause(beyond, late):
    facts = dict.fromkeys(
        ("overlaps", "lost_short", "lost_long", "unexpected_exits", "troubles", "rest", "unheard"), ()
    )
    facts |= {"takeovers": [("kill", [], [beyond + 90], [beyond])], "acts": 1, "finished": False}
    assert bool(violations(facts, [], 116)) is late


def test_a_reader_waits_for_whole_lines(tmp_path):
    path = tmp_path / "evidence"
    path.touch()
    reader = Reader(path, History())
    with path.open("a") as file:
        for text, acts in (("1 a r1 1 a", 0), ("ct\n2 a r1 1 act\n3 a", 2), (" r1 1 act\n", 3)):
            file.write(text)
            file.flush()
            reader.catch_up()
            assert reader.history.acts == acts
    reader.close()


def test_a_key_belongs_to_its_family():
    keys = ("L1", "s12", "m-json", "pytask:runs", "new-task", "0f" * 16)
    assert [family(key) for key in keys] == ["long", "short", "malformed", "pytask", "pytask", "local"]


def test_what_grows_is_a_violation_and_so_is_a_soak_without_evidence():
    series = {(5, "fds"): [(11, 17), (31, 18)], (5, "rss_kib"): [(11, 100), (31, 100)]}
    facts = dict.fromkeys(
        ("overlaps", "lost_short", "lost_long", "unexpected_exits", "troubles", "rest", "unheard"), ()
    )
    facts |= {"takeovers": [("kill", ["L1"], [117.0], [117.0])], "acts": 0, "finished": True}
    found = violations(facts, compare(series, WINDOWS, {5: "w1"}), 116)
    assert [line.partition(":")[0] for line in found] == ["not flat", "kill", "kill", "no evidence"]
