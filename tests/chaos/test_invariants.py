"""Each invariant can fail: made-up histories with one thing wrong, beside one with nothing wrong."""

import pytest

from tests.chaos import figures, invariants, report
from tests.chaos.audit import LINE, UNIT, Change, Entry, View, read_entry
from tests.chaos.invariants import SECOND, Replay
from tests.chaos.world import Fault
from tests.support.evidence import Act

R1, R2 = "a:1", "b:1"
WAITING = View(state="WAIT", epoch="5")
FIRST = View("RUNNING", R1, "6", "", "", R1, "100")
SECOND_RUN = View("RUNNING", R2, "7", "", "", R2, "200")
ENDED = View("ENDED", "", "6")


def entry(verb, before, after, *, named=True, queued=(), source="worker", at=SECOND, task_id="t"):
    return Entry(at, source, verb, (Change(task_id, named, before, after),), (), queued)


def push(task_id="t"):
    return Entry(0, "client", "push", (), (), (task_id,), (task_id,))


def replayed(*entries):
    replay = Replay()
    for one in entries:
        replay.feed(one)
    return replay


def rules(*entries):
    return [rule for rule, _ in replayed(*entries).broken]


CLAIM = entry("claim", View(), FIRST)
END = entry("commit", FIRST, ENDED)
EXPIRE = entry("expire", FIRST, View("WAIT", "", "6"), queued=("t",))
AGAIN = entry("claim", View("WAIT", "", "6"), SECOND_RUN)


def test_a_plain_history_breaks_nothing():
    replay = replayed(push(), CLAIM, EXPIRE, AGAIN, entry("commit", SECOND_RUN, View("ENDED", "", "7")))
    assert replay.broken == []
    assert replay.unfinished() == set()
    assert set(replay.begun) == {R1, R2} == set(replay.ended)


def test_i2_finds_a_move_that_the_lifecycle_lacks():
    assert rules(CLAIM, entry("commit", FIRST, ENDED), entry("stop", ENDED, View("STOPPED", "", "6"))) == [
        "I2"
    ]


def test_what_was_pushed_again_after_its_end_may_be_stopped():
    stop = entry("stop", ENDED, View("STOPPED", "", "6"))
    assert rules(push(), CLAIM, END, push(), stop) == []
    assert rules(push(), CLAIM, END, stop) == ["I2"]


def test_i2_finds_a_change_that_nobody_recorded():
    assert rules(CLAIM, END, entry("start", View("ERROR", "", "6"), View("WAIT", "", "6"))) == ["I2"]


def test_i3_finds_a_hash_that_runs_without_a_registered_run():
    assert rules(entry("claim", View(), FIRST._replace(registered=""))) == ["I3"]
    assert rules(entry("claim", View(), FIRST._replace(lease=""))) == ["I3"]
    assert rules(CLAIM, entry("commit", FIRST, ENDED._replace(lease="100"))) == ["I3"]


def test_i4_finds_an_epoch_that_does_not_grow():
    assert rules(CLAIM, EXPIRE, entry("claim", View("WAIT", "", "6"), SECOND_RUN._replace(epoch="6"))) == [
        "I4"
    ]


def test_a_run_that_a_failover_made_current_again_may_write():
    writes = [("commit", "t", R1), ("renew", "t", R1), ("commit", "u", R1), ("event", "t", R2)]
    renewal = Entry(SECOND, "test", "renew", (Change("t", True, None, View(run=R1, registered=R1)),), (), ())
    mine = [renewal, entry("commit", FIRST, ENDED, source="test")]
    assert invariants.made_current_again(mine, writes) == writes[:2]
    assert invariants.made_current_again([entry("commit", FIRST, ENDED)], writes) == []


@pytest.mark.parametrize("verb", ["renew", "commit", "expire", "reload"])
def test_i5_finds_a_write_of_a_run_that_is_not_the_current_one(verb):
    after = {"renew": FIRST._replace(control="x"), "commit": ENDED, "expire": View("WAIT", "", "6")}.get(
        verb, SECOND_RUN
    )
    assert rules(CLAIM, entry(verb, FIRST, after, named=False)) == ["I5"]
    assert rules(CLAIM, entry(verb, FIRST, after)) == []


def test_i6_finds_a_run_that_ends_or_begins_twice():
    back = entry("claim", View("WAIT", "", "6"), FIRST._replace(epoch="7"))
    assert rules(CLAIM, EXPIRE, back) == ["I6"]
    assert rules(CLAIM, EXPIRE, back, entry("commit", FIRST._replace(epoch="7"), View("ENDED", "", "7"))) == [
        "I6",
        "I6",
    ]


def test_i6_finds_a_task_without_an_end():
    assert invariants.runs_end_once(replayed(push(), CLAIM, END)) == []
    assert [rule for rule, _ in invariants.runs_end_once(replayed(push(), CLAIM, EXPIRE))] == ["I6"]
    assert [rule for rule, _ in invariants.runs_end_once(replayed(push()))] == ["I6"]


def test_what_flushall_took_is_counted_exactly():
    flush = Entry(2 * SECOND, "client", "flush", (), (), (), ("flush",))
    replay = replayed(
        push("waits"), push(), CLAIM, push("done"), entry("claim", View(), FIRST, task_id="done"), flush
    )
    assert replay.lost == {"waits", "t", "done"}
    replay = replayed(push(), CLAIM, END, flush)
    assert replay.lost == set()
    assert replay.unfinished() == set()


def act(at, run=R1, pid=1, kind="act", task_id="t"):
    return Act(int(at * SECOND), task_id, run, pid, kind)


def test_i1_finds_an_act_of_an_older_run():
    assert invariants.overlaps([act(1), act(2), act(3, R2, 2), act(4, R2, 2)]) == []
    assert [rule for rule, _ in invariants.overlaps([act(1), act(3, R2, 2), act(4)])] == ["I1"]


def test_i1_finds_one_run_in_two_processes():
    assert [rule for rule, _ in invariants.overlaps([act(1), act(2, pid=2)])] == ["I1"]


def test_i7_finds_two_runs_of_an_id_in_one_process():
    assert invariants.two_in_one_process([act(1), act(2), act(3, R2)]) == []
    assert [rule for rule, _ in invariants.two_in_one_process([act(1), act(2, R2), act(3)])] == ["I7"]


def test_i8_finds_an_act_after_the_end():
    over = act(2, kind="over")
    assert invariants.acts_after_the_end([act(1), over, act(3, R2)], {}) == []
    assert [rule for rule, _ in invariants.acts_after_the_end([act(1), over, act(3)], {})] == ["I8"]
    ended = {R1: ("t", "expire", 2 * SECOND)}
    assert [rule for rule, _ in invariants.acts_after_the_end([act(1), act(3)], ended)] == ["I8"]


def test_i9_finds_what_is_left_at_rest():
    assert invariants.at_rest({}, [], ["t"], {}) == []
    assert len(invariants.at_rest({"t": R1}, ["t"], ["t", "t"], {"ghost": ["state"]})) == 4


def test_i10_finds_a_late_act():
    ack = act(1, "-", kind="ack", task_id="-")
    assert invariants.acts_beyond([ack, act(8)], 7.25) == []
    assert [rule for rule, _ in invariants.acts_beyond([ack, act(8.3)], 7.25)] == ["I10"]


def test_i10_counts_a_claim_for_its_own_run_alone():
    ack, claim = act(1, "-", kind="ack", task_id="-"), act(3, R1, kind="ack")
    assert invariants.acts_beyond([ack, claim, act(10)], 7.25) == []
    assert len(invariants.acts_beyond([ack, claim, act(10, R2)], 7.25)) == 1


def test_i11_finds_a_bystander_that_was_blamed():
    old = FIRST._replace(epoch="1000", lease="20000000")
    young = FIRST._replace(epoch="15000", lease="20000000")
    blame = entry("expire", old, View("WAIT", "", "6", "1"), at=60 * SECOND)
    neighbours = [act(20, f"a:{n}", task_id=f"n{n}") for n in range(2, 9)]
    lines = [act(1), *neighbours, act(20)]
    assert [rule for rule, _ in invariants.blamed_bystanders([blame], lines)] == ["I11"]
    unheard = entry("expire", young, View("WAIT", "", "6", "1"), at=60 * SECOND)
    assert invariants.blamed_bystanders([unheard], lines) == []  # young when it was last renewed
    alone = invariants.blamed_bystanders([blame], [act(1), act(20)])
    assert [rule for rule, _ in alone] == ["I11"]
    assert invariants.blamed_bystanders([blame], lines, steps=[10 * SECOND]) == []  # Redis's clock stepped


def test_growth_is_seen():
    lines = [act(n, "-", kind=f"stat:{20 if n < 30 else 40}:30:5", task_id="-") for n in range(60)]
    assert figures.growth(lines, 29 * SECOND) == {1: ((20, 25), (40, 25))}


def test_a_disturbed_recovery_counts_from_the_end_of_the_disturbance():
    troubled = figures.disturbances([Fault("redis kill", "server", 5 * SECOND, 8 * SECOND, 2.0)], {}, [], {})
    assert figures.quiet_from(1 * SECOND, 10, troubled["server"]) == 10 * SECOND
    assert figures.quiet_from(11 * SECOND, 10, troubled["server"]) == 11 * SECOND


def test_a_process_that_starts_slowly_is_counted_on_from_its_first_sweep():
    lines = [act(2, "-", kind="ack", task_id="-"), act(9, "-", kind="sweep", task_id="-")]
    lines += [act(3, "-", pid=2, kind="ack", task_id="-")]
    begun = figures.beginnings(lines)
    assert begun == {1: 9 * SECOND, 2: 3 * SECOND}
    lives = {"w1": [[1, SECOND, 0, None]], "w2": [[2, SECOND, 0, None]]}
    troubled = figures.disturbances([], lives, [], begun)
    assert troubled == {"w1": [(SECOND, 9 * SECOND)], "w2": [(SECOND, 5 * SECOND)]}


def test_an_entry_is_read_as_the_shim_writes_it():
    full = UNIT.join(["t", "1", *FIRST, *ENDED])
    plain = UNIT.join(["u", "0", R1, R1])
    fields = {"s": "worker", "v": "commit", "c": full + LINE + plain, "r": "OK GONE", "q": "", "n": ""}
    read = read_entry(fields, 3)
    assert read.changes == (
        Change("t", True, FIRST, ENDED),
        Change("u", False, None, View(run=R1, registered=R1)),
    )
    assert read.verdicts == ("OK", "GONE")


def test_parts_are_summed():
    one = {"seed": [1], "lost": 1, "latest_act": 2.0, "faults": {"kill": 1}, "healed": None, "violations": []}
    two = {
        "seed": [2],
        "lost": 2,
        "latest_act": 1.0,
        "faults": {"stop": 3, "kill": 1},
        "healed": 4.0,
        "violations": [["a", "b"]],
    }
    total = report.add([one, two])
    assert total == {
        "seed": [1, 2], "lost": 3, "latest_act": 2.0, "faults": {"kill": 2, "stop": 3}, "healed": 4.0,
        "violations": [["a", "b"]],
    }  # fmt: skip
