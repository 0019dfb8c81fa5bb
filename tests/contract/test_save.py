"""What `save` promises: the last value of the newest run survives every end but a good one."""

import pytest

from pytask.domain.lifecycle import ENDED, ERROR, STOPPED, WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import LONGEST_SAVED, Adoption, Change, Confirmation, Save, StartFields, Verdict
from tests.contract.benches import STRANGER, X

FIELDS = ("saved", "saved_at", "saved_by")


def saved(bench, ref, number, value=b"1"):
    """The values of a renewal."""
    return {ref.run: Save(ref.id, ref.run, number, value)}


def kept(bench, task_id="a"):
    return {name: value for name, value in bench.hash(task_id).items() if name in FIELDS}


def fresh(bench, stamp):
    return abs(float(stamp) - bench.now() / 1e6) < 60


def again(bench, task_id="a"):
    """The next run of a task, as its worker gets it."""
    ref = bench.ref(task_id)
    (claim,) = bench.claim(ref)
    assert claim.won, claim
    return ref, b"" if claim.fields is None else claim.fields.saved


@pytest.mark.wire
def test_a_renewal_stores_what_was_saved_of_the_runs_that_it_renews(bench):
    ours, fenced, deleted, plain = (bench.running(i) for i in "abcd")
    bench.delete("c")
    other = Save(fenced.id, STRANGER, 1, b"2")
    saves = {**saved(bench, ours, 1, b'{"at":1}'), STRANGER: other, **saved(bench, deleted, 1)}
    stranger = ours.__class__(fenced.id, STRANGER)
    assert bench.store.renew([plain, ours, stranger, deleted], saves) == {
        stranger: Verdict.FENCED,
        deleted: Verdict.GONE,
    }
    found = kept(bench)
    assert (found["saved"], found["saved_by"]) == ('{"at":1}', f"{ours.run} 1")
    assert fresh(bench, found["saved_at"])
    assert (kept(bench, "b"), kept(bench, "d"), bench.exists("c")) == ({}, {}, False)
    bench.assert_registered(ours)


@pytest.mark.wire
def test_each_call_of_a_large_renewal_stores_its_own_values(bench):
    refs = [bench.running(f"t{number}") for number in range(510)]
    saves = {}
    for at in (0, 249, 250, 509):
        saves |= saved(bench, refs[at], 1, b"%d" % at)
    assert bench.store.renew(refs, saves) == {}
    values = {at: kept(bench, f"t{at}").get("saved") for at in (0, 1, 249, 250, 251, 509)}
    assert values == {0: "0", 1: None, 249: "249", 250: "250", 251: None, 509: "509"}


@pytest.mark.wire
def test_an_older_value_never_replaces_a_newer_one(bench):
    """Calls without a reply may be executed late, in any order, and on two connections."""
    ref = bench.running("a")
    assert bench.store.renew([ref], saved(bench, ref, 7, b"7")) == {}
    assert bench.store.save(Save("a", ref.run, 9, b"9")) is Verdict.OK
    assert bench.store.renew([ref], saved(bench, ref, 8, b"8")) == {}
    assert bench.store.save(Save("a", ref.run, 6, b"6")) is Verdict.OK
    before = kept(bench)
    assert (before["saved"], before["saved_by"]) == ("9", f"{ref.run} 9")
    assert bench.store.renew([ref], saved(bench, ref, 9, b"9")) == {}  # a repeated call
    assert kept(bench) == before
    assert bench.store.renew([ref], saved(bench, ref, 10, b"10")) == {}
    assert kept(bench)["saved"] == "10"


def test_the_first_save_of_another_run_replaces_what_an_earlier_one_saved(bench):
    ref = bench.running("a")
    bench.store.renew([ref], saved(bench, ref, 70, b"70"))
    bench.store.commit([Change("a", ref.run, X, Trigger.RELEASE)])
    new, value = again(bench)
    assert value == b"70"
    bench.store.renew([new], saved(bench, new, 1, b"71"))
    assert kept(bench)["saved"] == "71"


@pytest.mark.parametrize("by", ["x", "", "s:1 -", " 3", "s:1 nan", "\xff"])
def test_whatever_a_client_wrote_as_the_number_is_replaced(bench, by):
    ref = bench.running("a", saved_by=by)
    bench.write("a", saved_by=by)
    bench.store.renew([ref], saved(bench, ref, 1))
    assert kept(bench)["saved"] == "1"


@pytest.mark.wire
def test_save_stores_at_once_and_only_for_the_run_that_owns_the_task(bench):
    ref = bench.running("a")
    assert bench.store.save(Save("a", ref.run, 1, b'"now"')) is Verdict.OK
    found = kept(bench)
    assert (found["saved"], found["saved_by"]) == ('"now"', f"{ref.run} 1")
    assert fresh(bench, found["saved_at"])
    before = bench.dump()
    assert bench.store.save(Save("a", STRANGER, 5, b"0")) is Verdict.FENCED
    assert bench.store.save(Save("none", ref.run, 5, b"0")) is Verdict.GONE
    assert bench.dump() == before
    bench.drop("runs")  # while the hash names it, nobody else has claimed it
    assert bench.store.save(Save("a", ref.run, 2, b"2")) is Verdict.OK
    bench.delete("a")
    assert bench.store.save(Save("a", ref.run, 3, b"3")) is Verdict.GONE
    assert not bench.exists("a")


def test_a_save_after_the_end_of_its_run_writes_nothing(bench):
    ref = bench.running("a")
    bench.store.commit([Change("a", ref.run, X, Trigger.RELEASE, {"saved": b"2"})])
    before = bench.dump()
    assert bench.store.save(Save("a", ref.run, 9, b"1")) is Verdict.GONE
    assert bench.store.renew([ref], saved(bench, ref, 9)) == {ref: Verdict.GONE}
    assert bench.dump() == before


def test_another_server_is_asked_for_nothing(bench):
    from pytask.domain.errors import FailoverSuspected

    ref = bench.running("a")
    with pytest.raises(FailoverSuspected):
        bench.store.save(Save("a", ref.run, 1, b"1"), "0" * 40)
    assert kept(bench) == {}


ENDS = [
    (Trigger.FAIL, ERROR),
    (Trigger.STOP, STOPPED),
    (Trigger.RELEASE, WAIT),
    (Trigger.RETRY, WAIT),
    (Trigger.ROLL_BACK, WAIT),
]


@pytest.mark.wire
@pytest.mark.parametrize(("trigger", "state"), ENDS)
@pytest.mark.parametrize("more", [{}, {"error": "x"}])
def test_every_end_but_a_good_one_keeps_what_was_saved(bench, trigger, state, more):
    ref, other = bench.running("a"), bench.running("b")
    bench.store.renew([ref], saved(bench, ref, 1, b"1"))
    changes = [
        Change("a", ref.run, X, trigger, {"saved": b"[2]", **more}),
        Change("b", other.run, X, trigger, more),  # which has saved nothing
    ]
    assert bench.store.commit(changes) == [Verdict.OK, Verdict.OK]
    found = bench.hash("a")
    assert (found["state"], found["saved"], found.get("error")) == (state, "[2]", more.get("error"))
    assert fresh(bench, found["saved_at"])
    assert kept(bench, "b") == {}
    bench.assert_at_rest("a", state)


@pytest.mark.wire
def test_an_end_takes_away_what_was_saved(bench):
    ref, other = bench.running("a"), bench.running("b", saved="1")
    bench.store.renew([ref], saved(bench, ref, 1, b"1"))
    fields = {"saved": b"", "output": b"5"}
    assert bench.store.commit([Change("a", ref.run, X, Trigger.END, fields)]) == [Verdict.OK]
    assert kept(bench) == {}
    assert bench.hash("a")["output"] == "5"
    bench.store.commit([Change("b", other.run, X, Trigger.END, {"saved": b""})])
    assert kept(bench, "b") == {}
    bench.assert_at_rest("a", ENDED)


@pytest.mark.wire
@pytest.mark.parametrize("trigger", [Trigger.RELEASE, Trigger.RETRY])
def test_a_stop_in_the_hash_keeps_what_was_saved_too(bench, trigger):
    ref, plain = bench.running("a"), bench.running("b")
    bench.store.control(Command.STOP, ["a", "b"])
    more = {"error": "x"} if trigger is Trigger.RETRY else {}
    changes = [
        Change("a", ref.run, X, trigger, {"saved": b"2", **more}),
        Change("b", plain.run, X, trigger, more),
    ]
    assert bench.store.commit(changes) == [Verdict.OK] * 2
    assert (bench.hash("a")["state"], bench.hash("a")["saved"]) == (STOPPED, "2")
    assert "error" not in bench.hash("a")
    assert (bench.hash("b")["state"], kept(bench, "b")) == (STOPPED, {})


@pytest.mark.wire
def test_the_claim_returns_it_with_the_other_fields(bench):
    bench.push("a", saved='{"at":5}', saved_at="5.5", restarts="2", restart="failure")
    bench.push("b", saved="null")
    bench.push("c")
    bench.write("d", function="f", saved="7")  # as many fields as a task with data alone
    bench.lpush("d")
    refs = [bench.ref(i) for i in "abcd"]
    fields = [claim.fields for claim in bench.claim(*refs)]
    assert fields == [
        StartFields(restarts=2, restart="failure", saved=b'{"at":5}'),
        StartFields(saved=b"null"),
        None,
        StartFields(saved=b"7"),
    ]
    repeated = bench.claim(*refs)
    assert [(one.verdict, one.fields) for one in repeated] == [(Verdict.ALREADY, one) for one in fields]
    assert kept(bench)["saved"] == '{"at":5}'


def test_a_value_over_the_limit_is_not_read_and_its_size_is_told(bench):
    bench.push("a", saved="x" * (LONGEST_SAVED + 1))
    bench.push("b", saved="y" * LONGEST_SAVED)
    bench.push("c", saved="z" * 20)
    refs = [bench.ref(i) for i in "abc"]
    claims = bench.claim(*refs)
    assert [(one.fields.unread, len(one.fields.saved)) for one in claims] == [
        (LONGEST_SAVED + 1, 0),
        (0, LONGEST_SAVED),
        (0, 20),
    ]
    few = bench.claim(*refs, max_saved=30)
    assert [(one.fields.unread, one.fields.saved) for one in few] == [
        (LONGEST_SAVED + 1, b""),
        (LONGEST_SAVED, b""),
        (0, b"z" * 20),
    ]


def test_it_counts_in_the_size_of_a_batch(bench):
    for task_id in "abc":
        bench.push(task_id, data="{}", saved="1" * 40)
    refs = [bench.ref(i) for i in "abc"]
    verdicts = [one.verdict for one in bench.claim(*refs, max_data=90)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.MOVED]
    assert bench.queue() == ["c"]
    assert [one.verdict for one in bench.claim(refs[2], max_data=10)] == [Verdict.OK], "the first always fits"


@pytest.mark.wire
def test_a_reload_stores_what_the_old_run_had_not_stored_yet(bench):
    ref = bench.running("a")
    bench.store.renew([ref], saved(bench, ref, 1, b"1"))
    new = bench.ref("a")
    assert bench.store.reload(ref, new, "w", 1000, b"2").verdict is Verdict.OK
    assert kept(bench)["saved"] == "2"
    assert bench.store.reload(ref, new, "w", 1000, b"2").verdict is Verdict.ALREADY
    assert bench.store.renew([ref], saved(bench, ref, 1, b"1")) == {ref: Verdict.FENCED}
    third = bench.ref("a")
    bench.store.reload(new, third, "w", 1000)
    assert kept(bench)["saved"] == "2", "nothing new"
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.reload(third, bench.ref("a"), "w", 1000, b"3").verdict is Verdict.STOP
    assert kept(bench)["saved"] == "2", "its end will carry it"


def test_a_task_that_is_restored_gets_back_what_it_saved(bench):
    assert bench.store.restore("a", "f", b"{}", b'"x"') is Verdict.OK
    assert bench.store.restore("b", "f", b"{}") is Verdict.OK
    assert (again(bench)[1], kept(bench, "b")) == (b'"x"', {})
    assert fresh(bench, kept(bench)["saved_at"])


def test_after_a_failover_the_value_is_stored_again_with_the_same_number(bench):
    """The server went back to a time before the save, or before the claim."""
    ref = bench.running("a")
    epoch = int(bench.hash("a")["epoch"])
    bench.store.renew([ref], saved(bench, ref, 3, b"3"))
    bench.write("a", saved="1", saved_by=f"{ref.run} 1")  # as it was before
    bench.store.renew([ref], saved(bench, ref, 3, b"3"))
    assert kept(bench)["saved"] == "3"
    bench.drop("runs")
    bench.drop("leases")
    bench.erase("a", "run", *FIELDS)
    bench.write("a", state="WAIT", epoch=epoch - 5, saved="0", saved_by="older:1 9")
    assert bench.store.adopt([Adoption("a", ref.run, epoch)], "w") == [Verdict.OK]
    bench.store.renew([ref], saved(bench, ref, 3, b"3"))
    assert kept(bench)["saved"] == "3"


@pytest.mark.wire
@pytest.mark.parametrize("how", ["stopped", "failed", "waits"])
def test_a_fresh_start_takes_it_away(bench, how):
    if how == "waits":
        bench.push("a", saved="1", saved_at="1")
    else:
        ref = bench.running("a")
        trigger = Trigger.STOP if how == "stopped" else Trigger.FAIL
        bench.store.commit([Change("a", ref.run, X, trigger, {"saved": b"1"})])
    assert "saved" in kept(bench)
    expected = Verdict.STATE if how == "waits" else Verdict.OK
    assert bench.store.control(Command.START, ["a", "none"], fresh=True) == [expected, Verdict.NOHASH]
    assert kept(bench) == {}
    assert bench.queue() == ["a"]
    assert again(bench)[1] == b""


def test_a_fresh_start_of_a_task_that_runs_changes_nothing(bench):
    ref = bench.running("a")
    bench.store.renew([ref], saved(bench, ref, 1))
    before = bench.dump()
    assert bench.store.control(Command.START, ["a"], fresh=True) == [Verdict.STATE]
    assert bench.dump() == before


@pytest.mark.wire
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_fresh_start_of_a_paused_run_changes_nothing(bench, confirmed):
    """It is not resumed either: what it saved is its own, and it would be stored again at once."""
    ref = bench.running("a")
    bench.store.renew([ref], saved(bench, ref, 1))
    bench.store.control(Command.PAUSE, ["a"])
    if confirmed:
        bench.store.confirm([Confirmation("a", ref.run, Command.PAUSE)])
    before = bench.dump()
    assert bench.store.control(Command.START, ["a"], fresh=True) == [Verdict.STATE]
    assert bench.dump() == before
    assert bench.store.control(Command.START, ["a"]) == [Verdict.REQUESTED]
    before = bench.dump()
    assert bench.store.control(Command.START, ["a"], fresh=True) == [Verdict.STATE], "it is being resumed"
    assert bench.dump() == before


@pytest.mark.wire
def test_a_fresh_start_of_a_paused_task_that_waits_takes_it_away_and_resumes(bench):
    bench.push("a", saved="1", saved_at="1")
    bench.store.control(Command.PAUSE, ["a"])
    assert bench.store.control(Command.START, ["a"], fresh=True) == [Verdict.OK]
    assert (kept(bench), bench.queue(), bench.paused()) == ({}, ["a"], set())
    assert again(bench)[1] == b""


def test_a_fresh_start_takes_it_from_a_new_hash_while_the_run_of_the_old_one_ends(bench):
    ref = bench.running("a")
    bench.delete("a")
    bench.write("a", function="f", saved="1")
    bench.store.control(Command.START, ["a"], fresh=True)
    assert kept(bench) == {}
    assert bench.store.renew([ref], saved(bench, ref, 9)) == {ref: Verdict.GONE}
    assert kept(bench) == {}, "that one cannot bring its value back"


@pytest.mark.parametrize("trigger", [Trigger.STOP, Trigger.FAIL])
def test_a_start_keeps_it(bench, trigger):
    ref = bench.running("a")
    bench.store.commit([Change("a", ref.run, X, trigger, {"saved": b"1"})])
    bench.store.control(Command.START, ["a"])
    assert again(bench)[1] == b"1"


@pytest.mark.parametrize("how", ["start", "push"])
def test_what_an_earlier_release_left_after_an_end_is_not_used(bench, how):
    bench.write("a", function="f", state="ENDED", epoch=5, saved="1", saved_at="1", saved_by="x:1 1")
    if how == "start":
        bench.store.control(Command.START, ["a"])
        assert kept(bench) == {}
    else:
        bench.lpush("a")
    assert again(bench)[1] == b""
    assert kept(bench) == {}


def test_a_waiting_task_that_is_stopped_keeps_it(bench):
    bench.push("a", saved="1")
    bench.store.control(Command.STOP, ["a"])
    assert (bench.hash("a")["state"], kept(bench)) == (STOPPED, {"saved": "1"})


def test_an_expired_run_keeps_it(bench):
    ref = bench.running("a")
    bench.store.renew([ref], saved(bench, ref, 1, b"1"))
    assert bench.store.expire([bench.expiry(ref)]) == [Verdict.OK]
    assert again(bench)[1] == b"1"


def test_a_deleted_task_is_not_created_again_by_its_end(bench):
    ref = bench.running("a")
    bench.delete("a")
    changes = [Change("a", ref.run, X, Trigger.FAIL, {"saved": b"1", "error": "x"})]
    assert bench.store.commit(changes) == [Verdict.GONE]
    assert not bench.exists("a")


def test_without_a_lease_of_memory_saves_are_still_stored(real):
    """A full Redis lets tasks live, save and end."""
    ref = real.running("a")
    real.raw.config_set("maxmemory", 1)
    try:
        assert real.store.renew([ref], saved(real, ref, 1, b"1")) == {}
        assert real.store.save(Save("a", ref.run, 2, b"2")) is Verdict.OK
        change = Change("a", ref.run, X, Trigger.RELEASE, {"saved": b"3"})
        assert real.store.commit([change]) == [Verdict.OK]
    finally:
        real.raw.config_set("maxmemory", 0)
    assert kept(real)["saved"] == "3"
