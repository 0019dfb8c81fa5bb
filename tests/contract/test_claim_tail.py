"""Claims of what stands at the tail: the answer tells the ids, and a repeat is answered alike."""

import pytest

from pytask.domain.errors import Refused
from pytask.domain.lifecycle import WAIT, Trigger
from pytask.domain.messages import IdFault, read_id
from pytask.domain.record import RunRef, Tail, Verdict
from tests.contract.benches import ended, words

OK, ALREADY, MOVED = Verdict.OK, Verdict.ALREADY, Verdict.MOVED
ODD = (
    b"",
    b"x" * 513,
    b"\xff",
    b"a\xed\xa0\x80",  # half of a surrogate pair
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"a\nb",
    b"a\x00",
    b"\x7f",
    "a\x9fb".encode(),
    "a\u2028".encode(),
    "\u2029".encode(),
    b"new-task",
    b"pytask:runs",
)
PLAIN = ("x" * 512, "größe", "\xa0", "\u2027", "𝄞", " ", "new-task2", "pytask", "~", "a,b\\c", "\u202a")


def ids_of(claims):
    return [claim.id for claim in claims]


@pytest.mark.wire
def test_it_takes_what_has_waited_longest(bench):
    for task_id in "abc":
        bench.push(task_id, data=f'"{task_id}"')
    tail = bench.tail(2)
    a, b = bench.claim_tail(tail)
    assert [(one.id, one.run, one.verdict, one.data) for one in (a, b)] == [
        ("a", f"session:{tail.base + 1}", OK, b'"a"'),
        ("b", f"session:{tail.base + 2}", OK, b'"b"'),
    ]
    assert (bench.store.ahead, bench.queue()) == ([b"c"], ["c"])
    for ref in tail.refs("ab"):
        bench.assert_registered(ref)
    assert [(task_id, name) for task_id, name, _ in bench.events()] == [("a", "running"), ("b", "running")]
    assert bench.claimed() == {"session": (tail.base, ["a", "b"])}


@pytest.mark.wire
def test_an_empty_queue_is_answered_by_nothing(bench):
    assert bench.claim_tail(5) == []
    assert bench.store.ahead == []


@pytest.mark.wire
def test_a_repeat_is_answered_alike_and_does_nothing(bench):
    for task_id in ("a", "größe", "strange", "c"):
        bench.push(task_id, function="g" if task_id == "strange" else "f")
    tail = bench.tail(3)
    first = bench.claim_tail(tail)
    assert words(first) == [OK, OK, Verdict.UNKNOWN]
    before, _ = bench.dump(), bench.events()
    again = bench.claim_tail(tail)
    assert [(one.id, one.run) for one in again] == [(one.id, one.run) for one in first]
    assert words(again) == [ALREADY, ALREADY, MOVED]
    assert [(one.function, one.data, one.epoch) for one in again[:2]] == [
        (one.function, one.data, one.epoch) for one in first[:2]
    ]
    assert bench.store.ahead is None
    assert bench.dump() == before
    assert bench.events() == []


def test_a_repeat_of_an_empty_claim_takes_nothing_that_came_since(bench):
    tail = bench.tail(3)
    assert bench.claim_tail(tail) == []
    bench.push("a")
    assert bench.claim_tail(tail) == []
    assert (bench.queue(), bench.runs()) == (["a"], {})


def test_a_repeat_takes_nothing_that_was_pushed_again(bench):
    """Its run has ended, and it waits at the tail: it is no longer that of this call."""
    bench.push("a")
    bench.push("b")
    tail = bench.tail(2)
    a, _ = bench.claim_tail(tail)
    assert bench.store.commit([ended(tail.refs([a.id])[0])]) == [OK]
    bench.lpush("a")
    assert words(bench.claim_tail(tail)) == [MOVED, ALREADY]
    assert bench.queue() == ["a"]
    again = bench.claim_tail(1)
    assert (ids_of(again), words(again)) == (["a"], [OK])


def test_a_repeat_does_not_get_the_run_that_followed(bench):
    bench.push("a")
    tail = bench.tail(1)
    bench.claim_tail(tail)
    first = tail.refs(["a"])[0]
    assert bench.store.expire([bench.expiry(first)]) == [OK]
    (other,) = bench.claim_tail(bench.tail(1, session="other"))
    assert (other.id, other.verdict) == ("a", OK)
    assert words(bench.claim_tail(tail)) == [MOVED]
    assert bench.runs() == {"a": other.run}


def test_a_later_claim_replaces_the_record_and_an_older_one_claims_nothing(bench):
    """The older one was on its way for so long that others have followed it: nobody waits for its answer."""
    for task_id in "abc":
        bench.push(task_id)
    late, second = bench.tail(1), bench.tail(1)
    bench.claim_tail(second)
    assert bench.claim_tail(late) == []
    assert bench.store.ahead is None
    assert bench.queue() == ["c", "b"]
    assert bench.claimed() == {"session": (second.base, ["a"])}
    assert words(bench.claim_tail(second)) == [ALREADY]


def test_sessions_do_not_meet(bench):
    for task_id in "ab":
        bench.push(task_id)
    one, other = Tail("one", 0, 1), Tail("other", 0, 1)
    assert ids_of(bench.claim_tail(one)) == ["a"]
    assert ids_of(bench.claim_tail(other)) == ["b"]
    assert (ids_of(bench.claim_tail(one)), bench.store.ahead) == (["a"], None)


@pytest.mark.wire
def test_a_closed_claim_tells_what_it_took_and_takes_no_more(bench):
    for task_id in "ab":
        bench.push(task_id)
    tail = bench.tail(1)
    closing = Tail(tail.session, tail.base, 0)
    bench.claim_tail(tail)
    closed = bench.claim_tail(closing, max_data=0)
    assert [(one.id, one.run, one.verdict) for one in closed] == [("a", tail.refs(["a"])[0].run, ALREADY)]
    assert words(bench.claim_tail(tail)) == [ALREADY]
    assert bench.queue() == ["b"]


@pytest.mark.wire
def test_a_repeat_tells_whose_hash_is_another_by_now(bench):
    for task_id in "abc":
        bench.push(task_id)
    tail = bench.tail(3)
    bench.claim_tail(tail)
    bench.delete("a")
    bench.delete("b")
    bench.push("b")
    for again in (tail, Tail(tail.session, tail.base, 0)):
        assert words(bench.claim_tail(again)) == [Verdict.GONE, Verdict.GONE, ALREADY]
    assert bench.queue() == ["b"]


@pytest.mark.wire
def test_a_claim_that_comes_after_it_was_closed_takes_nothing(bench):
    bench.push("a")
    tail = bench.tail(1)
    assert bench.claim_tail(Tail(tail.session, tail.base, 0)) == []
    assert bench.claim_tail(tail) == []
    assert (bench.queue(), bench.runs()) == (["a"], {})


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_it_ends_before_an_id_that_cannot_be_a_task(bench, odd):
    assert isinstance(read_id(odd), IdFault)
    bench.push("a")
    bench.lpush(odd)
    bench.push("b")
    assert ids_of(bench.claim_tail(3)) == ["a"]
    assert bench.store.ahead == [odd]
    assert bench.claim_tail(3) == []
    assert bench.store.ahead == [odd]
    assert bench.store.reject(odd, read_id(odd)) is OK
    assert ids_of(bench.claim_tail(3)) == ["b"]


def test_ids_of_all_scripts_are_taken(bench):
    for task_id in PLAIN:
        assert read_id(task_id.encode()) == task_id
        bench.push(task_id)
    claims = bench.claim_tail(20)
    assert ids_of(claims) == list(PLAIN)
    assert words(bench.claim_tail(bench.tail(1))) == []
    for claim in claims:
        assert bench.hash(claim.id)["run"] == claim.run == bench.runs()[claim.id]


def test_what_it_cannot_start_stays_or_moves_as_with_a_claim_of_named_ids(bench):
    bench.write("local", function="f", local="s")
    bench.lpush("local")
    bench.lpush("nothing")
    bench.set_string("string")
    bench.lpush("string")
    bench.push("strange", function="g")
    bench.push("later", not_before="9999999999")
    bench.push("held", paused="5")
    bench.push("crashed", crashes="2")
    bench.push("fine")
    found = {claim.id: claim.verdict for claim in bench.claim_tail(9, quarantine=0)}
    assert found == {
        "local": Verdict.LOCAL,
        "nothing": Verdict.NOHASH,
        "string": Verdict.BADTYPE,
        "strange": Verdict.UNKNOWN,
        "later": Verdict.DELAYED,
        "held": Verdict.PAUSED,
        "crashed": Verdict.ROTATED,
        "fine": OK,
    }
    assert bench.queue() == ["crashed", "strange", "string", "nothing", "local"]
    assert bench.store.ahead == [b"local"]
    assert (set(bench.timers()), bench.paused()) == ({"later"}, {"held"})
    assert set(bench.runs()) == {"fine"}


def test_a_running_id_is_dropped_and_a_recreated_one_waits(bench):
    ref = bench.running("a")
    bench.running("b")
    bench.delete("b")
    bench.push("a")
    bench.push("b")
    assert words(bench.claim_tail(2)) == [Verdict.DUPLICATE, Verdict.ROTATED]
    assert bench.queue() == ["b"]
    bench.assert_registered(ref)


def test_a_run_that_the_registry_forgot_is_not_claimed_over(bench):
    ref = bench.running("a")
    bench.drop("runs")
    bench.drop("leases")
    bench.push("a")
    assert words(bench.claim_tail(1)) == [Verdict.DUPLICATE]
    bench.assert_registered(ref)


def test_copies_give_one_run(bench):
    for task_id in ("a", "b", "a", "a", "c"):
        bench.push(task_id)
    claims = bench.claim_tail(3)
    assert (ids_of(claims), words(claims)) == (["a", "b", "a"], [OK, OK, Verdict.DUPLICATE])
    assert bench.queue() == ["c"]


def test_data_of_a_batch_is_limited(bench):
    for task_id in "abc":
        bench.push(task_id, data="x" * 6)
    tail = bench.tail(3)
    assert words(bench.claim_tail(tail, max_data=10)) == [OK, MOVED, MOVED]
    assert bench.queue() == ["c", "b"]
    assert bench.store.ahead == [b"b"]
    assert words(bench.claim_tail(tail, max_data=10)) == [ALREADY, MOVED, MOVED]
    bench.push("large", data="x" * 11)
    assert [one.oversize for one in bench.claim_tail(3, max_data=12)] == [0, 0, 0]
    assert [one.oversize for one in bench.claim_tail(3, max_data=10)] == [11]


def test_groups_and_limits_hold(bench):
    bench.set_limit("group:g", 1)
    for task_id in "abc":
        bench.push(task_id, group="g")
    tail = bench.tail(3)
    assert words(bench.claim_tail(tail)) == [OK, Verdict.WAITING, Verdict.WAITING]
    assert (bench.slots("group:g"), bench.line("group:g"), bench.queue()) == ({"a"}, ["b", "c"], [])
    assert words(bench.claim_tail(tail)) == [ALREADY, MOVED, MOVED]
    assert bench.store.commit([ended(tail.refs(["a"])[0])]) == [OK]
    assert (ids_of(bench.claim_tail(1)), bench.line("group:g")) == (["b"], ["c"])


@pytest.mark.parametrize("count", [31, 32, 33, 64, 256])
def test_a_long_queue_stays_in_order(bench, count):
    for number in range(300):
        bench.push(str(number))
    claims = bench.claim_tail(count)
    assert ids_of(claims) == [str(number) for number in range(count)]
    assert bench.queue() == [str(number) for number in range(299, count - 1, -1)]
    assert bench.store.ahead == [str(count).encode()]
    assert len({claim.run for claim in claims}) == count


def test_without_a_record_the_runs_of_a_lost_answer_are_not_claimed_over(bench):
    """It was evicted: the repeat takes others, and the first runs wait for a monitor."""
    bench.push("a")
    bench.push("b")
    tail = bench.tail(1)
    bench.claim_tail(tail)
    bench.forget_claims()
    bench.lpush("a")
    again = bench.claim_tail(tail)
    assert (ids_of(again), words(again)) == (["b"], [OK])


def test_claims_of_both_ways_share_a_queue(bench):
    """As in a rolling upgrade: a worker of the release before names the ids that it has read."""
    for task_id in "abcd":
        bench.push(task_id)
    told = bench.ref("a", "old"), bench.ref("b", "old"), bench.ref("c", "old")
    assert ids_of(bench.claim_tail(2)) == ["a", "b"]
    assert words(bench.claim(*told)) == [MOVED, MOVED, OK]
    assert ids_of(bench.claim_tail(2)) == ["d"]
    assert bench.store.commit([ended(told[2], Trigger.RELEASE)]) == [OK]
    bench.assert_at_rest("c", WAIT)
    assert ids_of(bench.claim_tail(2)) == ["c"]


def test_a_key_of_another_type_in_place_of_the_record_is_met_before_any_write(real):
    real.push("a")
    real.raw.rpush(real.keys.claimed("session"), "x")
    with pytest.raises(Exception, match=r"WRONGTYPE|wrong kind"):
        real.claim_tail(1)
    assert (real.queue(), real.runs()) == (["a"], {})


def test_a_full_redis_refuses_a_claim_and_lets_one_be_closed(real):
    for task_id in "ab":
        real.push(task_id)
    tail = real.tail(1)
    real.claim_tail(tail)
    late = real.tail(1)
    real.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(Refused):
            real.claim_tail(late)
        assert words(real.claim_tail(Tail(tail.session, tail.base, 0))) == [ALREADY]
        assert real.claim_tail(Tail(late.session, late.base, 0)) == []
    finally:
        real.raw.config_set("maxmemory", 0)
    assert real.claim_tail(late) == []
    assert (real.queue(), set(real.runs())) == (["b"], {"a"})


@pytest.mark.parametrize("count", [31, 32, 300])
def test_the_registry_has_the_runs_and_nothing_else(real, count):
    """However many there are: a large one is kept as a table from the first claim of many on."""
    for number in range(count):
        real.push(str(number))
    claims = real.claim_tail(min(count, 256))
    assert real.runs() == {claim.id: claim.run for claim in claims}
    small = real.raw.object("encoding", "0")  # listpack or ziplist, as the hash of a task
    assert real.raw.object("encoding", real.keys.runs) == (b"hashtable" if count >= 32 else small)
    assert real.store.commit([ended(RunRef(claim.id, claim.run)) for claim in claims]) == [OK] * len(claims)
    assert real.runs() == {}
