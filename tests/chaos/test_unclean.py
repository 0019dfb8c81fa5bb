"""The expectations of single kinds can fail: made-up histories with one thing wrong, beside one with none."""

from tests.chaos.audit import View
from tests.chaos.invariants import SECOND
from tests.chaos.test_invariants import FIRST, R1, act, entry
from tests.chaos.unclean import KILLED, Offender, beyond_limits, blamed, failed, lived_on
from tests.chaos.world import K


def test_a_worker_as_pid_1_that_lives_on_is_found():
    def broken(end, code, lines):
        lives = {"w1": [[1, SECOND, int(end * SECOND), code]]}
        return [rule for rule, _ in lived_on([(1, 10 * SECOND)], lives, lines, 0.1)]

    living = [act(5), act(9.8)]
    assert broken(10 + K, KILLED, living) == []
    assert broken(13 + K, KILLED, living) == ["PID 1"]
    assert broken(10 + K, 70, living) == ["PID 1"]
    assert broken(0, None, living) == ["PID 1"]
    monitor = [act(9, "7", kind="ack", task_id="-"), act(9.5, "m", kind="sweep", task_id="-")]
    assert broken(13 + K, 0, monitor) == ["PID 1"]
    assert broken(13 + K, 0, [act(5)]) == []  # no run, no deadline
    assert broken(13 + K, 0, [*living, act(9.9, kind="over")]) == []


def test_an_end_that_passes_a_size_limit_is_found():
    def judged(inside, rest=None, where="output", lines=()):
        one = Offender(2, where, 3, inside, 40 * SECOND)
        fates, broken = beyond_limits({"t": one}, {"t": rest or {}}, lines)
        return *fates, [rule for rule, _ in broken]

    whole = {"state": "ENDED", "output": '"xxx"'}
    small = {"state": "ENDED", "output": '"small"'}
    refused = {"state": "ERROR", "error": "[PT132] Redis refuses"}
    assert judged(refused) == judged({}, refused) == ("refused", [])
    assert judged({"state": "RUNNING"}, whole) == ("taken", [])
    assert judged(whole, whole) == ("taken", ["limit"])
    assert judged(small) == ("bad", ["limit"])
    assert judged({"state": "ERROR", "error": "poison"}) == ("bad", ["limit"])
    assert judged(small, where="event") == ("event", [])
    assert judged(refused, where="event") == ("bad", ["limit"])
    assert judged({}) == ("none", [])
    acks = [act(at, "5", kind="ack", task_id="-") for at in range(20, 41)]
    held = {"state": "RUNNING", "run": R1}
    assert judged(held, whole, lines=[act(20), *acks]) == ("taken", ["limit"])
    assert judged(held, whole, lines=[act(30), *acks]) == ("taken", [])  # not for long
    assert judged(held, whole, lines=[act(20), *acks[:10]]) == ("taken", [])  # Redis did not answer it


def test_a_worker_that_ends_with_an_error_is_found():
    lives = {"w1": [[1, 0, 1, 0], [2, 1, 2, -9], [3, 2, 3, 70], [4, 3, 0, None]]}
    assert failed(lives) == []
    assert [rule for rule, _ in failed({**lives, "w2": [[5, 0, 1, 1]]})] == ["exit"]


def test_a_lone_task_that_is_blamed_is_found():
    def broken(crashes, *, stepped=False, **task):
        expired = entry("expire", FIRST, View("WAIT", "", "6", crashes))
        found = blamed([("t", R1)], [expired], {"t": task}, lambda _: stepped)
        return [rule for rule, _ in found]

    assert broken("0", state="STOPPED") == broken("") == []
    assert broken("1", state="STOPPED") == ["lone"]
    assert broken("1", stepped=True) == []
    assert broken("0", state="ERROR") == ["lone"]
