"""Schedules: what a look reads, and what a firing does."""

import json

import pytest

from pytask.domain.firing import DUE_MOST, FIRES_MOST, Definition, Firing, Skip, Start
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.occurrences import skipped_line
from pytask.domain.record import Verdict
from pytask.domain.schedules import KEPT, NEVER, Overlap, Reason
from pytask.runtime.services import schedules as schedules_service
from pytask.runtime.services.schedules import Schedules
from tests.contract.benches import ended

MINUTE = 60_000


def now_ms(bench):
    return bench.now() // 1000


def due(bench, name="nightly", ago=1000, every="60", **fields):
    """A schedule with an occurrence that was due so many ms ago; the time of it."""
    at = now_ms(bench) - ago
    bench.set_schedule(name, at, function="f", data='{"a":1}', every=every, **fields)
    return at


def firing(at, *starts, name="nightly", **options):
    options = {"next": at + 10**6, "recheck": at + 5000, **options}
    return Firing(name=name, score=at, starts=starts or (Start(name, at),), **options)


def define(bench, name, fields, data=b"", **options):
    definition = Definition(name=name, fields=fields, data=data, origin="code", **options)
    return bench.store.schedules.define(definition)


def fire(bench, *firings):
    return bench.store.schedules.fire(firings)


@pytest.mark.wire
def test_an_occurrence_starts_a_task(bench):
    at = due(bench)
    assert fire(bench, firing(at, Start("nightly", at, 3))) == [Verdict.OK]
    assert bench.queue() == ["nightly"]
    told = bench.hash("nightly")
    assert (told["function"], told["data"], told["state"]) == ("f", '{"a":1}', "WAIT")
    assert json.loads(told["scheduled"]) == {"schedule": "nightly", "scheduled_for": at / 1000, "missed": 3}
    assert bench.times() == {"nightly": at + 10**6}
    assert bench.occurrences("nightly") == [{"at": at, "id": "nightly"}]
    kept = bench.schedule("nightly")
    assert (kept["last_ms"], kept["last_id"], kept["fires"]) == (str(at), "nightly", "1")
    assert bench.events() == [("nightly", "queued", None)]
    ref = bench.ref("nightly")
    assert bench.claim(ref)[0].won
    bench.assert_registered(ref)


def test_a_task_gets_the_longest_name(bench):
    name = '"' * 512
    at = due(bench, name=name)
    assert fire(bench, firing(at, name=name)) == [Verdict.OK]
    (claim,) = bench.claim(bench.ref(name))
    assert json.loads(claim.fields.scheduled)["schedule"] == name


@pytest.mark.wire
def test_a_repeated_fire_changes_nothing(bench):
    """A late answer, a second scheduler, a worker that came back: the time is another one by now."""
    at = due(bench)
    assert fire(bench, firing(at), firing(at)) == [Verdict.OK, Verdict.MOVED]
    before = bench.dump()
    assert fire(bench, firing(at)) == [Verdict.MOVED]
    assert bench.dump() == before


def test_after_a_flush_of_scripts_a_fire_still_works(bench):
    at = due(bench)
    bench.forget_scripts()
    assert fire(bench, firing(at), firing(at, name="other")) == [Verdict.OK, Verdict.MOVED]


def test_a_finished_task_is_started_again_with_the_data_of_now(bench):
    ref = bench.running("nightly", not_before="1", restarts="3", scheduled="{}")
    bench.store.commit([ended(ref)])
    at = due(bench)
    bench.set_schedule("nightly", data='{"b":2}')
    assert fire(bench, firing(at)) == [Verdict.OK]
    told = bench.hash("nightly")
    assert told["data"] == '{"b":2}'
    assert not {"not_before", "restarts", "control"} & told.keys()
    bench.assert_at_rest("nightly", "WAIT")
    assert bench.queue() == ["nightly"]


def test_without_data_the_task_has_none(bench):
    at = due(bench)
    ref = bench.running("nightly")
    bench.store.commit([ended(ref)])
    if bench.hash("nightly"):
        bench.set_schedule("nightly", data="")
    fire(bench, firing(at))
    assert bench.hash("nightly").get("data", "") == ""


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE])
def test_a_paused_schedule_starts_nothing(bench, overlap):
    at = due(bench, paused="1")
    assert fire(bench, firing(at)) == [Verdict.STATE]
    line = json.dumps({"at": at, "reason": "paused"})
    skip = Firing(
        name="nightly", score=at, paused=True, overlap=overlap, skipped=(line,), next=at + 9, recheck=0
    )
    assert fire(bench, skip) == [Verdict.OK]
    assert bench.queue() == []
    assert bench.occurrences("nightly") == [{"at": at, "reason": "paused"}]
    assert bench.times() == {"nightly": at + 9}


def test_paused_between_the_look_and_the_fire(bench):
    at = due(bench)
    bench.set_schedule("nightly", paused="1")
    assert fire(bench, firing(at)) == [Verdict.STATE]
    assert bench.queue() == []


@pytest.mark.wire
def test_skip_while_it_runs(bench):
    ref = bench.running("nightly")
    at = due(bench)
    assert fire(bench, firing(at)) == [Verdict.OK]
    assert bench.queue() == []
    assert bench.occurrences("nightly") == [{"at": at, "reason": "overlap"}]
    bench.assert_registered(ref)
    # A run that is longer than the interval: the first occurrence after its end starts.
    bench.store.commit([ended(ref)])
    assert fire(bench, firing(at + 10**6)) == [Verdict.OK]
    assert bench.queue() == ["nightly"]


@pytest.mark.parametrize("place", ["queue", "again", "parked", "timer"])
def test_skip_while_it_waits(bench, place):
    if place == "queue":
        bench.push("nightly")
    elif place == "again":
        ref = bench.running("nightly")
        bench.store.commit([ended(ref)])
        bench.write("nightly", function="f", state="ENDED")
        bench.lpush("nightly")
    elif place == "parked":
        bench.push("nightly", function="f")
        bench.store.park("nightly", "f", b'{"event":"parked","data":{}}')
    else:
        bench.write("nightly", function="f", state="ENDED")
        bench.set_timer("nightly", now_ms(bench) + MINUTE)
    at, before = due(bench), bench.queue()
    assert fire(bench, firing(at)) == [Verdict.OK]
    assert bench.occurrences("nightly") == [{"at": at, "reason": "overlap"}]
    assert bench.queue() == before


@pytest.mark.wire
def test_queue_starts_one_once_the_run_has_ended(bench):
    ref = bench.running("nightly")
    at = due(bench, overlap="queue")
    queue = {"overlap": Overlap.QUEUE}
    assert fire(bench, firing(at, **queue)) == [Verdict.OK]
    assert (bench.queue(), bench.occurrences("nightly")) == ([], [])
    kept = bench.schedule("nightly")
    assert (kept["behind"], kept["next_ms"]) == (str(at), str(at + 10**6))
    assert bench.times() == {"nightly": at + 5000}
    # The next one finds the place taken.
    again = firing(at + 5000, Start("nightly", at + 6000), **queue)
    assert fire(bench, again) == [Verdict.OK]
    assert bench.occurrences("nightly") == [{"at": at + 6000, "reason": "overlap"}]
    bench.store.commit([ended(ref)])
    look = Firing(
        name="nightly", score=at + 10_000, overlap=Overlap.QUEUE, next=at + 10**6, recheck=at + 15_000
    )
    assert fire(bench, look) == [Verdict.OK]
    assert bench.queue() == ["nightly"]
    assert bench.occurrences("nightly")[0] == {"at": at, "id": "nightly"}
    assert json.loads(bench.hash("nightly")["scheduled"])["scheduled_for"] == at / 1000
    assert bench.times() == {"nightly": at + 10**6}
    assert "behind" not in bench.schedule("nightly")


@pytest.mark.wire
def test_the_end_of_a_run_makes_what_waits_for_it_due(bench):
    """Only that: one that waits for nothing, or was put off, is left as it is."""
    later = now_ms(bench) + MINUTE
    for name, behind in (("nightly", "7"), ("calm", ""), ("broken", "7"), ("ahead", str(later))):
        due(bench, name=name, **({"behind": behind} if behind else {}))
        bench.set_schedule(name, later)
    bench.set_schedule("broken", NEVER)
    bench.set_string("pytask:schedule:odd")
    bench.set_schedule("odd", later)
    names = ("nightly", "calm", "broken", "odd", "gone", "ahead")
    assert [one.name for one in bench.store.schedules.due(9, names[1:]).due] == []
    found = bench.store.schedules.due(9, names)
    assert [one.name for one in found.due] == ["nightly"]
    assert found.due[0].score <= found.now
    left = {"calm": later, "broken": NEVER, "odd": later, "ahead": later}
    assert bench.times() == {"nightly": found.due[0].score} | left


@pytest.mark.parametrize("overlap", list(Overlap))
def test_an_occurrence_that_waits_is_not_lost_when_the_schedule_is_changed(bench, overlap):
    ref = bench.running("s")
    at = due(bench, name="s", every="3600", overlap="queue")
    fire(bench, firing(at, Start("s", at), name="s", overlap=Overlap.QUEUE))
    changed = {"function": "f", "every": "7200", "overlap": overlap}
    changed |= {"missed": "all"} if overlap is Overlap.ALLOW else {}
    assert define(bench, "s", changed) is Verdict.OK
    Schedules()(bench.store)
    waits = overlap in (Overlap.QUEUE, Overlap.REPLACE)
    expected = [] if waits else [{"at": at, "reason": "overlap"}]
    assert bench.occurrences("s") == expected
    assert ("behind" in bench.schedule("s")) is waits
    if waits:
        bench.store.commit([ended(ref, Trigger.STOP)])
        bench.set_schedule("s", now_ms(bench) - 1)
        Schedules()(bench.store)
        assert bench.occurrences("s") == [{"at": at, "id": "s"}]


def test_allow_starts_each_with_an_id_of_its_own(bench):
    at = due(bench, overlap="allow", missed="all")
    starts = (Start("nightly@1", at - 5), Start("nightly@2", at))
    assert fire(bench, firing(at, *starts, overlap=Overlap.ALLOW)) == [Verdict.OK]
    assert bench.queue() == ["nightly@2", "nightly@1"]
    assert bench.occurrences("nightly") == [{"at": at, "id": "nightly@2"}, {"at": at - 5, "id": "nightly@1"}]
    assert bench.schedule("nightly")["fires"] == "2"


def test_allow_starts_no_occurrence_twice(bench):
    """Even if its time is set back by hand: the id says the time."""
    at = due(bench, overlap="allow")
    one = firing(at, Start("nightly@1", at), overlap=Overlap.ALLOW)
    fire(bench, one)
    ref = bench.ref("nightly@1")
    bench.claim(ref)
    bench.store.commit([ended(ref)])
    bench.set_schedule("nightly", at)
    assert fire(bench, one) == [Verdict.OK]
    assert bench.queue() == []
    assert len(bench.occurrences("nightly")) == 1


def test_no_occurrence_of_one_call_is_dropped(bench):
    """A hundred starts, and a row of skipped ones before them, are more lines than the list has otherwise."""
    at = due(bench, overlap="allow", missed="all")
    slots = [Start(f"nightly@{n}", at - FIRES_MOST + n) for n in range(FIRES_MOST)]
    skipped = '{"at":1,"reason":"late"}'
    one = firing(at, *slots, overlap=Overlap.ALLOW, skipped=(skipped,))
    assert fire(bench, one) == [Verdict.OK]
    found = bench.occurrences("nightly")
    assert len(found) == FIRES_MOST + 1
    assert found[-1] == json.loads(skipped)


@pytest.mark.wire
def test_replace_stops_the_run_and_starts_when_it_has_ended(bench):
    ref = bench.running("nightly")
    at = due(bench, overlap="replace")
    assert fire(bench, firing(at, overlap=Overlap.REPLACE)) == [Verdict.OK]
    assert bench.hash("nightly")["control"] == "stop"
    assert bench.store.renew([ref]) == {ref: Verdict.STOP}
    assert bench.queue() == []
    newer = firing(at + 5000, Start("nightly", at + 5000), overlap=Overlap.REPLACE)
    assert fire(bench, newer) == [Verdict.OK]
    assert bench.occurrences("nightly") == [{"at": at, "reason": "overlap"}]
    bench.store.commit([ended(ref, Trigger.STOP)])
    look = Firing(name="nightly", score=at + 10_000, overlap=Overlap.REPLACE, next=at + 10**6, recheck=at)
    assert fire(bench, look) == [Verdict.OK]
    assert bench.queue() == ["nightly"]
    assert bench.occurrences("nightly")[0] == {"at": at + 5000, "id": "nightly"}
    assert "control" not in bench.hash("nightly")


def test_replace_of_one_that_waits_changes_it_in_its_place(bench):
    at = due(bench, overlap="replace")
    fire(bench, firing(at, overlap=Overlap.REPLACE))
    bench.set_schedule("nightly", data='{"b":2}')
    later = firing(at + 10**6, Start("nightly", at + 10**6), overlap=Overlap.REPLACE)
    assert fire(bench, later) == [Verdict.OK]
    assert bench.queue() == ["nightly"]
    assert bench.hash("nightly")["data"] == '{"b":2}'
    assert json.loads(bench.hash("nightly")["scheduled"])["scheduled_for"] == at / 1000 + 1000


def test_replace_of_one_in_the_timers_starts_it_at_once(bench):
    bench.write("nightly", function="f", state="WAIT", not_before="9999999999", scheduled="{}")
    bench.set_timer("nightly", now_ms(bench) + MINUTE)
    at = due(bench, overlap="replace")
    assert fire(bench, firing(at, overlap=Overlap.REPLACE)) == [Verdict.OK]
    assert bench.queue() == ["nightly"]
    assert "not_before" not in bench.hash("nightly")


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_key_of_another_task_or_program_is_let_be(bench, overlap):
    at = due(bench)
    bench.write("nightly", function="g", state="ENDED")
    bench.set_string("other")
    other = due(bench, name="other")
    found = fire(bench, firing(at, overlap=overlap), firing(other, name="other", overlap=overlap))
    assert found == [Verdict.OK, Verdict.OK]
    assert bench.queue() == []
    assert bench.hash("nightly") == {"function": "g", "state": "ENDED"}
    assert bench.is_string("other")
    assert bench.occurrences("nightly") == [{"at": at, "reason": "taken"}]
    assert bench.occurrences("other") == [{"at": other, "reason": "taken"}]


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_hash_that_is_no_task_is_let_be(bench, overlap):
    """A program keeps a hash of its own under the name: nothing of it may be written or lost."""
    at = due(bench)
    bench.write("nightly", data="mine", theirs="1")
    assert fire(bench, firing(at, overlap=overlap)) == [Verdict.OK]
    assert bench.hash("nightly") == {"data": "mine", "theirs": "1"}
    assert bench.queue() == []
    assert bench.occurrences("nightly") == [{"at": at, "reason": "taken"}]


def test_a_schedule_that_got_another_function_knows_its_task(bench):
    at = due(bench)
    fire(bench, firing(at))
    ref = bench.ref("nightly")
    assert json.loads(bench.claim(ref)[0].fields.scheduled)["scheduled_for"] == at / 1000
    bench.store.commit([ended(ref)])
    if bench.hash("nightly"):
        assert bench.store.control(Command.START, ["nightly"]) == [Verdict.OK]
        assert "scheduled" not in bench.hash("nightly")  # this start is not the schedule's
        ref = bench.ref("nightly")
        bench.claim(ref)
        bench.store.commit([ended(ref)])
    bench.set_schedule("nightly", function="g")
    assert fire(bench, firing(at + 10**6)) == [Verdict.OK]
    assert bench.queue() == ["nightly"]
    assert bench.hash("nightly")["function"] == "g"


def test_a_delayed_occurrence_that_is_started_at_once_stays_one(bench):
    at = due(bench)
    fire(bench, firing(at, Start("nightly", at, 0, f"{now_ms(bench) / 1000 + 900:.3f}")))
    assert bench.claim(bench.ref("nightly"))[0].verdict is Verdict.DELAYED
    assert bench.store.control(Command.START, ["nightly"]) == [Verdict.OK]
    assert json.loads(bench.hash("nightly")["scheduled"])["scheduled_for"] == at / 1000


def test_jitter_is_a_delayed_start(bench):
    at = due(bench, jitter="10")
    fire(bench, firing(at, Start("nightly", at, 0, "1764579600.500")))
    assert bench.hash("nightly")["not_before"] == "1764579600.500"
    assert bench.queue() == ["nightly"]


def test_a_deleted_schedule_leaves_the_set(bench):
    at = due(bench)
    bench.delete_schedule("nightly")
    assert fire(bench, firing(at)) == [Verdict.NOHASH]
    assert bench.times() == {}


def test_a_schedule_that_is_no_hash_is_put_off(bench):
    at = due(bench)
    bench.spoil_schedule("nightly")
    assert [one.fields for one in bench.store.schedules.due(9).due] == [None]
    assert fire(bench, firing(at)) == [Verdict.BADTYPE]
    assert bench.times() == {"nightly": NEVER}


def test_a_list_of_another_type_stops_no_other_schedule(bench):
    at = due(bench)
    other = due(bench, name="other")
    bench.spoil_occurrences("nightly")
    assert fire(bench, firing(at), firing(other, name="other")) == [Verdict.BADTYPE, Verdict.OK]
    assert bench.times()["nightly"] == NEVER
    assert bench.queue() == ["other"]


@pytest.mark.parametrize("text", ["x", "-1", "1e400", "nan", "", "99999999999999999999"])
def test_numbers_that_others_wrote_are_not_trusted(bench, text):
    at = due(bench, overlap="queue", behind=text, fires=text, next_ms=text)
    assert fire(bench, firing(at, overlap=Overlap.QUEUE)) == [Verdict.OK]
    assert bench.schedule("nightly")["fires"] == "1"
    assert "behind" not in bench.schedule("nightly")
    assert bench.occurrences("nightly") == [{"at": at, "id": "nightly"}]


def test_names_that_can_be_no_id_are_faults(bench):
    for name in ("a\nb", "new-task"):
        bench.set_schedule(name, 0, function="f", every="60")
    Schedules()(bench.store)
    for name in ("a\nb", "new-task"):
        assert "also the id of its task" in bench.schedule(name)["error"]


@pytest.mark.wire
def test_a_name_that_is_no_text_and_has_no_hash_stops_no_other(bench):
    bench.set_schedule("\udcff\udcfe", 0)
    at = due(bench, every="60")
    Schedules()(bench.store)
    assert bench.occurrences("nightly")[0]["at"] == at
    assert list(bench.times()) == ["nightly"]


@pytest.mark.parametrize("fault", [ValueError("odd"), OverflowError("too far"), TypeError("none")])
def test_one_that_cannot_be_computed_stops_no_other(bench, fault, monkeypatch, caplog):
    at = due(bench, every="60")
    due(bench, name="other", every="60")
    whole = schedules_service.read

    def read(name, fields):
        if name == "other":
            raise fault
        return whole(name, fields)

    monkeypatch.setattr(schedules_service, "read", read)
    Schedules()(bench.store)
    assert bench.occurrences("nightly")[0]["at"] == at
    assert bench.times()["other"] == NEVER
    assert f"schedule 'other' cannot be computed: {fault!r}" in bench.schedule("other")["error"]
    assert "[PT155]" in caplog.text


def test_only_the_last_lines_are_kept(bench):
    at = due(bench)
    for call in (3, 2, 1):
        first = at - call * KEPT
        lines = tuple(json.dumps({"at": first + n, "reason": "late"}) for n in range(1, KEPT))
        fire(bench, firing(at, skipped=lines))
        bench.set_schedule("nightly", at)
    kept = bench.occurrences("nightly")
    assert len(kept) == KEPT
    assert kept[0] == {"at": at, "reason": "overlap"}
    assert kept[1] == {"at": at - 1, "reason": "late"}
    assert kept[-1] == {"at": at - KEPT + 1, "reason": "late"}


# -- a look -------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_look_reads_what_is_due(bench):
    at = due(bench, tz="x" * 2000)
    bench.set_schedule("later", now_ms(bench) + MINUTE, function="f", every="60")
    bench.set_schedule("lost", 0)
    found = bench.store.schedules.due(10)
    assert [one.name for one in found.due] == ["lost", "nightly"]
    lost, nightly = found.due
    assert lost.fields == {}
    assert lost.fresh
    assert nightly.score == nightly.pending == at
    assert (nightly.fields["function"], nightly.fields["every"], len(nightly.fields["tz"])) == (
        "f",
        "60",
        513,
    )
    assert "data" not in nightly.fields
    assert abs(found.now - now_ms(bench)) < 5000
    assert 50 < found.next <= 60


def test_a_look_is_bounded(bench):
    for number in range(5):
        due(bench, name=f"s{number}", ago=1000 * (number + 1))
    found = bench.store.schedules.due(3)
    assert [one.name for one in found.due] == ["s4", "s3", "s2"]
    assert found.next == 0
    assert bench.store.schedules.due(9).next is None


def test_no_schedules(bench):
    found = bench.store.schedules.due(9)
    assert (found.due, found.next) == ((), None)


# -- definitions --------------------------------------------------------------------------------------


FIELDS = {"function": "f", "every": "60"}


@pytest.mark.wire
def test_a_definition_is_stored_once(bench):
    assert define(bench, "nightly", FIELDS, b'{"a":1}') is Verdict.OK
    assert bench.times() == {"nightly": 0}
    assert bench.schedule("nightly") == {**FIELDS, "data": '{"a":1}', "origin": "code"}
    bench.set_schedule("nightly", 123456789012345, last_ms="7", fires="2", paused="1")
    assert define(bench, "nightly", FIELDS, b'{"a":1}') is Verdict.ALREADY
    # Other data, or another function, keep the next time.
    assert define(bench, "nightly", {**FIELDS, "function": "g", "jitter": "5"}) is Verdict.ALREADY
    assert bench.times() == {"nightly": 123456789012345}
    kept = bench.schedule("nightly")
    assert (kept["last_ms"], kept["fires"], kept["paused"], kept["function"]) == ("7", "2", "1", "g")
    assert "data" not in kept
    # Other times do not.
    other = {"function": "g", "cron": "0 3 * * *", "tz": "Europe/Berlin"}
    assert define(bench, "nightly", other) is Verdict.OK
    assert bench.times() == {"nightly": 0}
    kept = bench.schedule("nightly")
    assert not {"every", "jitter"} & kept.keys()
    assert (kept["cron"], kept["last_ms"], kept["paused"]) == ("0 3 * * *", "7", "1")


@pytest.mark.parametrize(("paused", "reason"), [("", "late"), ("1", "paused")])
def test_an_occurrence_that_is_due_when_the_times_change_is_reported(bench, paused, reason):
    at = due(bench, paused=paused)
    assert define(bench, "nightly", {"function": "f", "every": "90"}) is Verdict.OK
    assert bench.times() == {"nightly": 0}
    assert bench.occurrences("nightly") == [{"at": at, "reason": reason}]
    later = now_ms(bench) + MINUTE
    bench.set_schedule("nightly", later, behind="7", next_ms=str(later))
    assert define(bench, "nightly", FIELDS) is Verdict.OK
    assert len(bench.occurrences("nightly")) == 1


@pytest.mark.wire
def test_a_definition_of_other_data_is_not_stored(bench):
    """The call was sent before the worker knew that all data was lost."""
    bench.store.renew([])
    marker = bench.store.incarnation.id
    assert define(bench, "one", FIELDS, marker=marker) is Verdict.OK
    bench.drop("incarnation")
    assert define(bench, "two", FIELDS, marker=marker) is Verdict.MOVED
    assert define(bench, "two", FIELDS, marker=marker, lost=True) is Verdict.MOVED
    bench.store.renew([])
    assert define(bench, "two", FIELDS, marker=marker) is Verdict.MOVED
    assert bench.times() == {"one": 0}
    assert define(bench, "two", FIELDS, marker=bench.store.incarnation.id) is Verdict.OK
    assert bench.times() == {"one": 0, "two": 0}


def test_a_marker_that_cannot_be_read_keeps_no_definition_away(real):
    real.drop("incarnation")
    real.raw.set(real.keys.incarnation, "x")
    assert define(real, "nightly", FIELDS, marker="one") is Verdict.OK


@pytest.mark.wire
def test_a_definition_that_was_lost_is_stored_and_no_other(bench):
    assert define(bench, "nightly", FIELDS, b"{}", lost=True) is Verdict.OK
    bench.set_schedule("nightly", 123456789012345, every="30")
    before = bench.dump()
    assert define(bench, "nightly", FIELDS, b"{}", lost=True) is Verdict.ALREADY
    assert bench.dump() == before
    bench.set_schedule("other", None, function="f", every="60")
    assert define(bench, "other", FIELDS, lost=True) is Verdict.OK
    assert bench.times()["other"] == 0


@pytest.mark.wire
def test_one_that_cannot_be_used_is_paused_with_the_reason(bench):
    bench.set_schedule("nightly", 0, function="f", every="soon")
    assert bench.store.schedules.fault("nightly", 7, "no") is Verdict.MOVED
    assert bench.store.schedules.fault("nightly", 0, "no number") is Verdict.OK
    assert bench.times() == {"nightly": NEVER}
    told = bench.schedule("nightly")
    assert (told["error"], told["paused"]) == ("no number", "error")
    assert bench.store.schedules.due(9).due == ()
    # Put right with redis-cli, and given a time.
    bench.set_schedule("nightly", 0, every="60")
    assert Schedules()(bench.store) is not None
    assert not {"error", "paused"} & bench.schedule("nightly").keys()
    assert bench.times()["nightly"] > now_ms(bench)


def test_a_pause_by_hand_outlasts_a_fault(bench):
    bench.set_schedule("nightly", 0, function="f", every="soon", paused="1")
    bench.store.schedules.fault("nightly", 0, "no number")
    bench.set_schedule("nightly", 0, every="60")
    Schedules()(bench.store)
    assert bench.schedule("nightly")["paused"] == "1"


# -- the service on a store ---------------------------------------------------------------------------


@pytest.mark.wire
def test_redis_cli_alone_makes_a_schedule(bench):
    bench.set_schedule("nightly", 0, function="f", cron="* * * * *", data='{"a":1}')
    service = Schedules()
    assert 0 <= service(bench.store) <= 60
    at = bench.times()["nightly"]
    assert now_ms(bench) < at <= now_ms(bench) + MINUTE
    assert (bench.queue(), bench.occurrences("nightly")) == ([], [])
    bench.set_schedule("nightly", at - MINUTE)  # as if the minute had passed
    service(bench.store)
    assert bench.queue() == ["nightly"]
    assert bench.times() == {"nightly": at}


def test_two_schedulers_fire_once(bench):
    at = due(bench, every="86400")  # of every 60 s another occurrence may be due, too
    first, second = bench.store, bench.backend.store()
    found = [store.schedules.due(9) for store in (first, second)]
    assert all(one.due for one in found)
    service = Schedules()
    firings = [service._decided(one.due[0], one.now) for one in found]
    assert [store.schedules.fire([one])[0] for store, one in zip((first, second), firings, strict=True)] == [
        Verdict.OK,
        Verdict.MOVED,
    ]
    assert bench.queue() == ["nightly"]
    assert len(bench.occurrences("nightly")) == 1
    assert bench.occurrences("nightly")[0]["at"] >= at - MINUTE
    second.close()


def test_a_manual_run_takes_no_occurrence(bench):
    ref = bench.running("nightly", scheduled="{}")
    bench.store.commit([ended(ref)])
    at = due(bench, ago=-MINUTE)
    assert bench.store.control(Command.START, ["nightly"]) == [Verdict.OK]
    assert bench.times() == {"nightly": at}
    ref = bench.ref("nightly")
    bench.claim(ref)
    bench.store.commit([ended(ref)])
    bench.set_schedule("nightly", now_ms(bench) - 1000)
    Schedules()(bench.store)
    assert bench.queue() == ["nightly"]


def test_a_bad_one_written_by_hand_is_reported_and_stops_no_other(bench):
    bench.set_schedule("bad", 0, function="f", cron="0 0 30 2 *")
    bench.set_schedule("worse", 0, cron="* * * * *")
    bench.set_schedule("worst", 0)
    bench.spoil_schedule("worst")
    due(bench)
    Schedules()(bench.store)
    assert bench.queue() == ["nightly"]
    assert "never comes" in bench.schedule("bad")["error"]
    assert "no function" in bench.schedule("worse")["error"]
    assert {name: bench.times()[name] for name in ("bad", "worse", "worst")} == dict.fromkeys(
        ("bad", "worse", "worst"), NEVER
    )


def test_more_than_one_look_does(bench):
    many = DUE_MOST + 20
    for number in range(many):
        due(bench, name=f"s{number}")
    service = Schedules()
    assert service(bench.store) == 0
    assert len(bench.queue()) == DUE_MOST
    assert service(bench.store) > 0
    assert len(set(bench.queue())) == many


@pytest.mark.wire
def test_a_firing_tells_what_became_of_its_occurrences(bench):
    bench.running("busy")
    at, other = due(bench), due(bench, name="busy", ago=2000)
    schedules = bench.store.schedules
    line = skipped_line(Skip(at - 9000, Reason.LATE, at - 3000, 3))
    assert fire(
        bench,
        firing(at, Start("nightly", at), skipped=(line,)),
        firing(other, Start("busy", other), name="busy", overlap=Overlap.SKIP),
        firing(5, name="gone"),
    ) == [Verdict.OK, Verdict.OK, Verdict.MOVED]
    told = {name: count for name, count in schedules.outcomes.items() if count}
    assert told == {"started": 1, "late": 3, "taken": 1} or told == {"started": 1, "late": 3, "overlap": 1}
    assert fire(bench, firing(at)) == [Verdict.MOVED]  # a repeated call: it is counted once
    assert not any(schedules.outcomes.values())
