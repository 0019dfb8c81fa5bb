"""Where a task waits for its time: delayed starts, runs that are tried again, and what takes them out."""

import pytest

from pytask.domain.errors import StoreError
from pytask.domain.lifecycle import RUNNING, STOPPED, WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change, Due, RunRef, StartFields, Verdict
from tests.contract.benches import X, ended, words

CENTURY = 3_155_760_000  # seconds


def seconds_of(bench):
    return bench.now() / 1e6


def in_time(bench, seconds):
    """A value of `not_before` so many seconds from now, by the clock of the server."""
    return f"{seconds_of(bench) + seconds:.3f}"


def delayed(bench, task_id="a", seconds=1000, **fields):
    """A task that a claim has moved to the timers."""
    bench.push(task_id, not_before=in_time(bench, seconds), **fields)
    (answer,) = bench.claim(bench.ref(task_id))
    assert answer.verdict is Verdict.DELAYED
    return answer


def retried(bench, task_id="a", seconds=1000.0, ref=None, **fields):
    """A task whose run has failed and is tried again later."""
    ref = ref or bench.running(task_id)
    fields = {"error": "lost", "restarts": "1", "failed_at": "5.5"} | fields
    assert bench.store.commit([Change(ref.id, ref.run, X, Trigger.RETRY, fields, delay=seconds)]) == [
        Verdict.OK
    ]
    return ref


def make_due(bench, *ids):
    for task_id in ids:
        bench.set_timer(task_id, bench.now() // 1000 - 1)


def places(bench, task_id, function="f"):
    """Where a task waits: each place once for each time that it is there."""
    found = ["queue"] * bench.queue().count(task_id) + ["parked"] * bench.parking(function).count(task_id)
    return found + ["timers"] * (task_id in bench.timers())


# -- delayed starts -----------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_claim_before_its_time_moves_a_task_to_the_timers(bench):
    bench.push("a", not_before=in_time(bench, 1000))
    bench.lpush("a")
    bench.set_ttl("a", 100)
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.verdict is Verdict.DELAYED
    assert 980 < answer.delay <= 1001
    bench.assert_at_rest("a", WAIT)
    assert places(bench, "a") == ["timers"]  # both copies left the queue
    assert bench.ttl("a") is None
    due = bench.timers()["a"] / 1000
    assert due == pytest.approx(float(bench.hash("a")["not_before"]), abs=0.0011)
    ((task_id, name, data),) = bench.events()
    assert (task_id, name) == ("a", "delayed")
    assert data["delay"] == pytest.approx(answer.delay)
    assert "history" not in bench.hash("a")  # `not_before` says it


def test_a_delay_is_a_line_of_the_history_if_there_is_one(bench):
    ref = bench.running("a")
    bench.store.commit([ended(ref, Trigger.FAIL)])
    bench.push("a", not_before=in_time(bench, 1000))
    bench.claim(bench.ref("a"))
    line = bench.hash("a")["history"].splitlines()[-1].split()
    assert line[1:5] == ["ERROR", "WAIT", "delay", "w"]
    assert line[5] == f"not%20before%20{bench.hash('a')['not_before']}"


@pytest.mark.wire
@pytest.mark.parametrize("text", ["0", "1.5", "1000000000", "1000000000."])
def test_a_time_that_has_come_delays_nothing(bench, text):
    bench.push("a", not_before=text)
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.verdict is Verdict.OK
    assert answer.fields is None
    assert bench.timers() == {}


@pytest.mark.wire
@pytest.mark.parametrize("more", [{}, {"restarts": "1"}, {"epoch": "5", "state": "ENDED"}])
def test_a_claim_takes_the_time_that_has_come_away(bench, more):
    """The clock may be set back later: the next run of this start does not wait for that time again."""
    bench.push("a", not_before="5", **more)
    ref = bench.ref("a")
    assert words(bench.claim(ref)) == [Verdict.OK]
    assert "not_before" not in bench.hash("a")
    assert words(bench.claim(ref)) == [Verdict.ALREADY]
    # What a client writes from now on counts for the next run.
    bench.write("a", not_before=in_time(bench, 1000))
    bench.store.commit([Change(ref.id, ref.run, X, Trigger.RELEASE)])
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DELAYED]


@pytest.mark.parametrize("text", ["5", "9999999999", "soon"])
def test_a_run_that_is_put_back_takes_away_the_time_that_it_waited_for(bench, text):
    """Redis has lost the claim, and perhaps an early start before it, or its clock was set back."""
    bench.push("a", not_before=text)
    assert bench.store.adopt([Adoption("a", "other:1", 1)], "me") == [Verdict.OK]
    assert "not_before" not in bench.hash("a")


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        ({}, {}),
        (
            {"crashes": 1, "restarts": 2, "failed": "7 8"},
            {"crashes": "1", "restarts": "2", "restart_times": "7 8"},
        ),
    ],
)
@pytest.mark.parametrize(
    "older",
    [
        {},
        {
            "crashes": "3",
            "crash_at": "5",
            "lost_at": "5",
            "restarts": "3",
            "restart_times": "5 6 7",
            "failed_at": "7",
        },
    ],
)
def test_a_run_that_is_put_back_brings_its_counts_along(bench, older, known, kept):
    """Redis has lost the end before it and its claim: what that claim has read is newer than the hash."""
    bench.push("a", epoch="5", **older)
    assert bench.store.adopt([Adoption("a", "other:1", 6, **known)], "me") == [Verdict.OK]
    counts = ("crashes", "restarts", "restart_times")
    assert {name: value for name, value in bench.hash("a").items() if name in counts} == kept
    assert not {"crash_at", "lost_at", "failed_at"} & bench.hash("a").keys() or known
    # A hash that names this run has what its claim has read, and is left as it is.
    bench.write("a", restarts="9")
    assert bench.store.adopt([Adoption("a", "other:1", 6, **known)], "me") == [Verdict.OK]
    assert bench.hash("a")["restarts"] == "9"


def test_a_task_may_be_delayed_by_a_century(bench):
    assert delayed(bench, seconds=CENTURY).delay == pytest.approx(CENTURY, abs=20)
    found = bench.store.due()
    assert found.moved == 0
    assert found.timer == pytest.approx(CENTURY, abs=20)
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    assert places(bench, "a") == ["queue"]


@pytest.mark.wire
@pytest.mark.parametrize(
    "text",
    ["soon", "-1", "nan", "inf", "0x10", "1e9", " 5", "5 ", "1,5", "+5", "1.5.2", "2026-12-01",
     "1764579600000", "9" * 70, "253402300800", "٣"],
)  # fmt: skip
def test_what_is_no_time_starts_the_run_that_fails_for_it(bench, text):
    bench.push("a", not_before=text)
    ref = bench.ref("a")
    for verdict in (Verdict.OK, Verdict.ALREADY):
        (answer,) = bench.claim(ref)
        assert answer.verdict is verdict
        assert answer.fields.not_before == text.encode()[:64].decode()
        assert answer.data == b'{"a":1}'
    assert bench.timers() == {}
    assert bench.hash("a")["not_before"] == text  # it shows what is wrong


def test_the_latest_time_is_the_end_of_the_year_9999(bench):
    bench.push("a", not_before="253402300799")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DELAYED]


def test_a_delayed_task_of_an_unknown_function_is_parked_when_it_is_due(bench):
    bench.push("a", function="g", not_before=in_time(bench, 1000))
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DELAYED]
    bench.write("a", not_before="5")
    make_due(bench, "a")
    assert bench.store.due().moved == 1
    assert words(bench.claim(bench.ref("a"))) == [Verdict.UNKNOWN]
    assert bench.store.park("a", "g", X) is Verdict.OK
    assert places(bench, "a", "g") == ["parked"]


def test_a_parked_task_can_be_delayed_from_its_list(bench):
    bench.push("a", function="g")
    bench.store.park("a", "g", X)
    bench.write("a", not_before=in_time(bench, 1000))
    answers = bench.claim(bench.ref("a"), source="g", functions=("g",))
    assert words(answers) == [Verdict.DELAYED]
    assert places(bench, "a", "g") == ["timers"]


def test_one_claim_tells_each_of_its_tasks_apart(bench):
    bench.push("plain", data="1")
    bench.push("late", not_before=in_time(bench, 1000))
    bench.push("odd", not_before="never", restart="failure", scheduled=b'{"schedule":"s"}')
    bench.push("unknown", function="nobody")
    bench.push("again", restarts="3", restart_times="1 2 3", data="2")
    refs = [bench.ref(i) for i in ("plain", "late", "late", "odd", "unknown", "again", "gone")]
    found = bench.claim(*refs, look=4)
    assert words(found) == [
        Verdict.OK, Verdict.DELAYED, Verdict.DUPLICATE, Verdict.OK, Verdict.UNKNOWN, Verdict.OK,
        Verdict.MOVED,
    ]  # fmt: skip
    assert [claim.data for claim in found if claim.won] == [b"1", b'{"a":1}', b"2"]
    assert [claim.fields for claim in found] == [
        None, None, None,
        StartFields(not_before="never", restart="failure", scheduled=b'{"schedule":"s"}'),
        None, StartFields(restarts=3, failed="1 2 3"), None,
    ]  # fmt: skip
    assert bench.store.ahead == [b"unknown"]


@pytest.mark.wire
def test_the_fields_of_a_start_have_limits(bench):
    bench.push(
        "a",
        restart="x" * 70,
        restarts="-1",
        restart_times="1 " * 40_000,
        scheduled="{" + "x" * 3000,
        data="7",
    )
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.fields == StartFields(restart="x" * 64, failed="1 " * 16_384)
    assert answer.data == b"7"


@pytest.mark.wire
def test_a_task_without_data_has_its_fields_all_the_same(bench):
    bench.write("a", function="f", restart="always")
    bench.lpush("a")
    (answer,) = bench.claim(bench.ref("a"))
    assert (answer.data, answer.fields) == (None, StartFields(restart="always"))


def test_a_task_with_oversized_data_has_its_fields_all_the_same(bench):
    bench.push("a", data="x" * 20, not_before=in_time(bench, 1000))
    assert words(bench.claim(bench.ref("a"), max_data=10)) == [Verdict.DELAYED]
    bench.push("b", data="x" * 20, restart="always")
    (answer,) = bench.claim(bench.ref("b"), max_data=10)
    assert (answer.oversize, answer.fields) == (20, StartFields(restart="always"))


def test_an_end_after_all_is_delayed_when_it_is_pushed_with_a_time(bench):
    ref = bench.running("a")
    bench.store.commit([ended(ref)])
    bench.push("a", not_before=in_time(bench, 1000))
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DELAYED]
    bench.assert_at_rest("a", WAIT)


# -- when the time has come ---------------------------------------------------------------------------


@pytest.mark.wire
def test_what_is_due_goes_behind_what_waits(bench):
    for task_id in ("b", "a", "later"):
        delayed(bench, task_id)
    bench.push("first")
    bench.set_timer("a", bench.now() // 1000 - 2)
    make_due(bench, "b")
    found = bench.store.due()
    assert (found.moved, found.schedule) == (2, None)
    assert 980 < found.timer <= 1001
    assert bench.queue() == ["b", "a", "first"]  # the next one last
    assert 0.002 <= found.late < 60  # that of the first one
    assert set(bench.timers()) == {"later"}
    assert (bench.store.due().moved, bench.store.due().late) == (0, 0.0)
    bench.write("a", not_before="5")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.OK]


@pytest.mark.wire
def test_the_timers_are_empty_at_first(bench):
    assert bench.store.due() == Due(moved=0, timer=None, schedule=None)


def test_a_look_moves_as_many_as_it_is_asked(bench):
    for number in range(5):
        delayed(bench, f"t{number}")
        bench.set_timer(f"t{number}", number + 1)
    found = bench.store.due(2)
    assert (found.moved, found.timer) == (2, 0.0)
    assert bench.queue() == ["t1", "t0"]
    assert bench.store.due(2).moved == 2
    assert bench.store.due(2).moved == 1
    assert bench.queue() == ["t4", "t3", "t2", "t1", "t0"]


def test_a_look_tells_when_the_next_schedule_is_due(bench):
    bench.set_schedule("late", bench.now() // 1000 + 500_000)
    assert 480 < bench.store.due().schedule <= 500
    bench.set_schedule("new", 0)
    assert bench.store.due().schedule == 0.0


@pytest.mark.wire
def test_due_is_what_the_hash_agrees_to(bench):
    """An id may be left behind in the timers by a client, or by a worker that does not know them."""
    for task_id in ("gone", "string", "stopped", "ended", "waits", "odd"):
        delayed(bench, task_id)
    bench.delete("gone")
    bench.delete("string")
    bench.set_string("string")
    for task_id, word in (("stopped", "STOPPED"), ("ended", "ENDED"), ("odd", "hop")):
        bench.write(task_id, state=word)
    bench.write("new", function="f")
    runs = bench.running("runs")
    make_due(bench, "gone", "string", "stopped", "ended", "waits", "odd", "new", "runs", "never")
    assert bench.store.due().moved == 3
    assert set(bench.queue()) == {"waits", "odd", "new"}
    assert bench.timers() == {}
    bench.assert_registered(runs)


def test_an_id_of_any_bytes_comes_due(real):
    raw, keys = real.raw, real.keys
    raw.hset(b"\xff\xfe", mapping={"function": "f"})
    raw.zadd(keys.timers, {b"\xff\xfe": 5})
    assert real.store.due().moved == 1
    assert raw.lrange(keys.queue, 0, -1) == [b"\xff\xfe"]


@pytest.mark.parametrize("name", ["queue", "runs", "timers"])
def test_a_key_of_another_type_moves_nothing(real, name):
    delayed(real)
    make_due(real, "a")
    key = getattr(real.keys, name)
    real.raw.delete(key)
    real.raw.set(key, "x")
    before = real.dump()
    with pytest.raises(StoreError):
        real.store.due()
    assert real.dump() == before


def test_a_broken_key_of_schedules_stops_no_timer(real):
    delayed(real)
    make_due(real, "a")
    real.raw.set(real.keys.schedules, "x")
    found = real.store.due()
    assert (found.moved, found.timer, found.schedule) == (1, None, None)


# -- runs that are tried again ------------------------------------------------------------------------


@pytest.mark.wire
def test_a_failed_run_is_tried_again_after_a_delay(bench):
    ref = bench.running("a", restart="failure")
    bench.events()
    start = bench.now() // 1000
    retried(bench, ref=ref, seconds=2.5, restart_times="7")
    bench.assert_at_rest("a", WAIT)
    assert start + 2500 <= bench.timers()["a"] <= bench.now() // 1000 + 2500
    fields = bench.hash("a")
    assert {
        "error": "lost",
        "restarts": "1",
        "failed_at": "5.5",
        "restart_times": "7",
    }.items() <= fields.items()
    assert fields["last_run"] == ref.run
    assert fields["history"].split()[1:4] == ["RUNNING", "WAIT", "retry"]
    assert fields["history"].split()[5] == "lost"
    assert bench.events() == [("a", "x", None)]
    again = Change(ref.id, ref.run, X, Trigger.RETRY, {"restarts": "2"}, delay=5)
    assert bench.store.commit([again]) == [Verdict.ALREADY]
    assert bench.hash("a") == fields
    make_due(bench, "a")
    assert bench.store.due().moved == 1
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.fields == StartFields(restarts=1, restart="failure", failed="7")
    assert "error" not in bench.hash("a")  # it waits no longer


@pytest.mark.wire
def test_a_stop_that_was_asked_for_is_carried_out_in_its_place(bench):
    ref = bench.running("a")
    bench.store.control(Command.STOP, ["a"])
    bench.events()
    retried(bench, ref=ref)
    bench.assert_at_rest("a", STOPPED)
    assert bench.timers() == {}
    assert bench.events() == [("a", "stopped", None)]
    assert "restarts" not in bench.hash("a")


def test_a_run_that_is_not_the_current_one_is_not_tried_again(bench):
    old = bench.running("a")
    for _ in range(2):  # the hash remembers its last run, for a repeat
        new = bench.ref("a")
        bench.store.commit([ended(RunRef("a", bench.runs()["a"]), Trigger.RELEASE)])
        bench.claim(new)
    before = bench.dump()
    change = Change(old.id, old.run, X, Trigger.RETRY, {"restarts": "9"}, delay=1)
    assert bench.store.commit([change]) == [Verdict.FENCED]
    assert bench.dump() == before
    bench.delete("a")
    assert bench.store.commit([Change(new.id, new.run, X, Trigger.RETRY, {}, delay=1)]) == [Verdict.GONE]
    assert not bench.exists("a")
    assert bench.timers() == {}


@pytest.mark.wire
def test_changes_of_one_batch_have_delays_of_their_own(bench):
    refs = [bench.running(i) for i in "abc"]
    changes = [
        Change(ref.id, ref.run, X, Trigger.RETRY, {"restarts": str(n)}, delay=n * 100.0)
        for n, ref in enumerate(refs, 1)
    ]
    assert bench.store.commit(changes) == [Verdict.OK] * 3
    first = bench.timers()["a"]
    assert {i: round((at - first) / 100_000) for i, at in bench.timers().items()} == {"a": 0, "b": 1, "c": 2}
    assert [bench.hash(i)["restarts"] for i in "abc"] == ["1", "2", "3"]


@pytest.mark.wire
def test_an_end_forgets_the_count_and_a_hand_back_does_not(bench):
    count = {"restarts": "2", "failed_at": "5.5", "restart_times": "7 8"}
    for trigger, kept in ((Trigger.END, {}), (Trigger.RELEASE, count), (Trigger.FAIL, count)):
        ref = bench.running("a", **count)
        bench.store.commit([ended(ref, trigger)])
        fields = bench.hash("a")
        assert {name: fields[name] for name in count if name in fields} == kept
        bench.drop("queue")


def test_an_expiry_keeps_the_count(bench):
    ref = bench.running("a", restarts="2")
    assert bench.store.expire([bench.expiry(ref)]) == [Verdict.OK]
    assert bench.hash("a")["restarts"] == "2"
    assert places(bench, "a") == ["queue"]


@pytest.mark.wire
def test_timers_of_another_type_refuse_the_change_alone(real):
    ref, other = real.running("a"), real.running("b")
    real.raw.set(real.keys.timers, "x")
    change = Change(ref.id, ref.run, X, Trigger.RETRY, {"restarts": "1"}, delay=1)
    assert real.store.commit([change, ended(other)]) == [Verdict.BADTYPE, Verdict.OK]
    real.assert_registered(ref)
    real.raw.delete(real.keys.timers)
    assert real.store.commit([change]) == [Verdict.OK]


# -- what takes a task out of the timers --------------------------------------------------------------


@pytest.mark.wire
@pytest.mark.parametrize("wait", [delayed, retried])
def test_start_is_now_and_forgets_the_count(bench, wait):
    wait(bench)
    bench.write("a", restarts="3", failed_at="1", restart_times="1 2", control="reload", crashes="2")
    bench.events()
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert places(bench, "a") == ["queue"]
    assert bench.events() == [("a", "queued", None)]
    fields = bench.hash("a")
    assert not {"not_before", "restarts", "failed_at", "restart_times", "control"} & fields.keys()
    assert fields["crashes"] == "0"
    assert fields["history"].splitlines()[-1].split()[1:4] == ["WAIT", "WAIT", "start_now"]
    assert bench.store.control(Command.START, ["a"]) == [Verdict.STATE]
    (answer,) = bench.claim(bench.ref("a"))
    assert (answer.verdict, answer.fields) == (Verdict.OK, None)


def test_a_start_that_every_worker_hears_is_one_start(bench):
    delayed(bench)
    assert bench.store.control(Command.START, ["a"], [30.0]) == [Verdict.OK]
    ref = bench.ref("a")
    bench.claim(ref)
    retried(bench, ref=ref)
    assert bench.store.control(Command.START, ["a"], [30.0]) == [Verdict.STATE]
    assert places(bench, "a") == ["timers"]


@pytest.mark.wire
@pytest.mark.parametrize("wait", [delayed, retried])
def test_stop_takes_a_task_out_of_the_timers(bench, wait):
    wait(bench)
    bench.events()
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    bench.assert_at_rest("a", STOPPED)
    assert places(bench, "a") == []
    assert bench.events() == [("a", "stopped", None)]
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    assert places(bench, "a") == ["queue"]
    (answer,) = bench.claim(bench.ref("a"))
    assert (answer.verdict, answer.fields) == (Verdict.OK, None)


@pytest.mark.wire
@pytest.mark.parametrize("fresh", [False, True])
def test_a_push_and_a_claim_take_a_task_out_of_the_timers(bench, fresh):
    if fresh:  # its hash was deleted and made again
        delayed(bench)
        bench.delete("a")
    else:
        retried(bench)
    bench.push("a")
    ref = bench.ref("a")
    assert words(bench.claim(ref)) == [Verdict.OK]
    bench.assert_registered(ref)
    assert places(bench, "a") == []


def test_a_task_that_waits_and_is_pushed_is_not_tried_before_its_new_time(bench):
    retried(bench)
    bench.push("a", not_before=in_time(bench, 500))
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DELAYED]
    assert places(bench, "a") == ["timers"]
    assert bench.timers()["a"] / 1000 == pytest.approx(seconds_of(bench) + 500, abs=20)


def test_parking_takes_a_task_out_of_the_timers(bench):
    retried(bench)
    bench.push("a", function="g")
    assert bench.store.park("a", "g", X) is Verdict.OK
    assert places(bench, "a", "g") == ["parked"]


def test_an_adoption_takes_a_task_out_of_the_timers(bench):
    ref = retried(bench)
    epoch = int(bench.hash("a")["epoch"]) + 1
    assert bench.store.adopt([Adoption("a", ref.run + "0", epoch)], "w") == [Verdict.OK]
    bench.assert_registered(RunRef("a", ref.run + "0"))
    assert places(bench, "a") == []


def test_what_was_left_in_the_timers_is_not_queued_twice(bench):
    """A worker that does not know the timers claims tasks, and leaves them there."""
    released, expired, gone, orphan = [bench.running(i) for i in ("released", "expired", "gone", "orphan")]
    for ref in (released, expired, gone, orphan):
        bench.set_timer(ref.id, 5)
    bench.store.commit([ended(released, Trigger.RELEASE)])
    bench.store.expire([bench.expiry(expired)])
    bench.drop_entry("runs", "gone")
    bench.drop_entry("leases", "gone")
    bench.delete("gone")
    assert bench.store.restore("gone", "f", None) is Verdict.OK
    for name in ("runs", "leases"):
        bench.drop_entry(name, "orphan")
    bench.erase("orphan", "run")
    bench.write("orphan", last_update="5")
    cursor = None
    while cursor != 0:
        cursor, _ = bench.store.repair(cursor or 0, 90)
    for ref in (released, expired, gone, orphan):
        assert places(bench, ref.id) == ["queue"], ref.id


@pytest.mark.wire
def test_a_task_is_claimed_when_its_time_has_come_by_the_clock_of_redis(bench):
    """Not by that of a worker or a client: the score is compared with TIME."""
    delayed(bench, seconds=0.2)
    due = float(bench.hash("a")["not_before"])
    while bench.store.due().moved == 0:
        assert bench.now() // 1000 <= bench.timers()["a"] + 1000
    assert bench.now() / 1e6 >= due
    assert words(bench.claim(bench.ref("a"))) == [Verdict.OK]
    assert bench.hash("a")["state"] == RUNNING
