"""Taking tasks: the claim gate, doubt, and what cannot be a task."""

import pytest

from pytask.domain.errors import FailoverSuspected, Refused, Unavailable, WrongKeyType
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import IdFault
from pytask.domain.record import Claim, Incarnation, RunRef, StartFields, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import COMMIT_BATCH, Timing
from tests.unit.runtime.fakes import FakeQueue, World, switch, won

F, H = 30.0, 5.0


@pytest.fixture
def demo(gate):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            gate.wait()

    return Demo


@pytest.fixture
def world(demo):
    return World(demo, timing=Timing())


def answer(*verdicts, function="demo"):
    return lambda request: [
        Claim(ref.id, ref.run, verdict, function, b"{}")
        for ref, verdict in zip(request.refs, verdicts, strict=True)
    ]


def test_what_waits_is_claimed_and_started(world):
    world.store.say("peek", [b"a", b"b"])
    assert world.consumer().consume() == (2, 2)
    assert sorted(world.executor.living) == ["a", "b"]
    ((request,),) = world.store.asked("claim")
    assert [ref.id for ref in request.refs] == ["a", "b"]
    assert len({ref.run for ref in request.refs}) == 2
    assert (request.functions, request.worker, request.source) == (frozenset({"demo"}), "w", None)


def test_an_empty_queue_claims_nothing(world):
    assert world.consumer().consume() == (0, 0)
    assert world.store.asked("claim") == []


def test_an_id_that_stands_twice_in_the_batch_is_claimed_once(world):
    world.store.say("peek", [b"a", b"a"])
    world.consumer().consume()
    assert [len(request.refs) for (request,) in world.store.asked("claim")] == [1]


# -- the gate ----------------------------------------------------------------------------------------------


def test_no_claim_when_the_last_renewal_is_older_than_f(world):
    world.clock.move(F)
    assert world.consumer().consume() == (0, 0)
    assert world.store.calls == []


def test_no_claim_during_the_embargo(world):
    world.lease.embargo_until = world.clock() + 1
    assert world.consumer().consume() == (0, 0)
    assert world.store.calls == []


def test_no_claim_when_another_server_took_over_during_the_peek(world):
    world.lease.observe(Incarnation(id="i", server="first"), world.clock())

    def peek(*_):
        world.lease.observe(Incarnation(id="i", server="second", age=0.0), world.clock())
        return [b"a"]

    world.store.say("peek", peek)
    assert world.consumer().consume() == (1, 0)
    assert world.store.asked("claim") == []


def test_no_claim_after_the_end(world):
    consumer = world.consumer()
    consumer.end()
    assert consumer.consume() == (0, 0)
    assert world.store.calls == []


def test_a_claim_answered_after_f_is_released_and_not_started(world):
    def late(request):
        world.clock.move(F)
        return [won(ref) for ref in request.refs]

    world.store.say("peek", [b"a"])
    world.store.say("claim", late)
    world.consumer().consume()
    assert world.executor.living == {}
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


def test_a_claim_answered_after_the_end_is_released(world):
    consumer = world.consumer()
    world.store.say("peek", [b"a"])
    world.store.say("claim", lambda request: consumer.end() or [won(ref) for ref in request.refs])
    consumer.consume()
    assert world.executor.living == {}
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


# -- no answer ---------------------------------------------------------------------------------------------


def test_without_an_answer_the_same_request_is_repeated(world, passing):
    passing(world.clock)
    world.store.say("peek", [b"a", b"b"])
    world.store.say("claim", Unavailable("?"), Unavailable("?"), answer(Verdict.ALREADY, Verdict.ALREADY))
    assert world.consumer().consume() == (2, 2)
    requests = [request for (request,) in world.store.asked("claim")]
    assert requests == [requests[0]] * 3
    assert world.executor.living["a"].ref == requests[0].refs[0]


def test_a_run_whose_hash_is_another_when_the_answer_comes_is_released(world, passing):
    passing(world.clock)
    world.store.say("peek", [b"a", b"b"])
    world.store.say("claim", Unavailable("?"), answer(Verdict.GONE, Verdict.ALREADY))
    assert world.consumer().consume() == (2, 2)
    switch()
    assert list(world.executor.living) == ["b"]
    assert [(end.id, end.trigger) for end in world.commit()] == [("a", Trigger.RELEASE)]


def test_the_gate_is_asked_again_before_every_repeat(world, passing):
    passing(world.clock)
    world.clock.move(20)  # the gate is open for 10 s more
    world.store.say("peek", [b"a"])

    def hang(_request):
        world.clock.move(11)
        raise Unavailable("?")

    world.store.say("claim", hang)
    with pytest.raises(Unavailable):
        world.consumer().consume()
    assert len(world.store.asked("claim")) == 1
    assert world.executor.living == {}


def test_repeats_end_when_the_claim_is_older_than_f_though_renewals_go_on(world, passing):
    passing(world.clock)
    world.store.say("peek", [b"a"])

    def no_answer(_request):
        world.clock.move(1)
        world.lease.last_ok = 1000.5  # a moment after the claim was sent
        raise Unavailable("?")

    world.store.say("claim", *[no_answer] * 100)
    with pytest.raises(Unavailable):
        world.consumer().consume()
    assert 15 < len(world.store.asked("claim")) <= 30
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


# -- no answer for its size --------------------------------------------------------------------------------

LIMIT = 100_000


class Queue:
    """A store with tasks and a proxy that closes the connection at a request or an answer over its limit."""

    def __init__(self, world, sizes, *, most=1000, error=None):
        self.world, self.most, self.error = world, most, error or Unavailable("connection closed")
        self.waiting, self.sizes, self.runs = list(sizes), dict(sizes), {}
        self.passing = True
        world.store.say("peek", *[lambda limit, *_: [i.encode() for i in self.waiting[:limit]]] * 200)
        world.store.say("claim", *[self.claim] * 500)

    def refuse(self, _request):
        self.world.clock.move(1)
        self.world.lease.acknowledged([], self.world.clock())
        raise self.error

    def claim(self, request):
        self.world.clock.move(1)
        self.world.lease.acknowledged([], self.world.clock())
        if len(request.refs) > self.most:
            raise self.error
        claims, total = [], 0
        for ref in request.refs:
            size = self.sizes[ref.id]
            held, over = self.runs.get(ref.id) == ref.run, size > request.max_data
            if not held and (
                ref.id not in self.waiting or (not over and 0 < total > request.max_data - size)
            ):
                claims.append(Claim(ref.id, ref.run, Verdict.MOVED))
                continue
            if not held:
                self.waiting.remove(ref.id)
                self.runs[ref.id] = ref.run
            total += 0 if over else size
            data = None if over else b'{"x":"%b"}' % (b"x" * (size - 8))
            verdict = Verdict.ALREADY if held else Verdict.OK
            claims.append(won(ref, data=data, verdict=verdict, oversize=size if over else 0))
        if total > LIMIT and self.passing:
            raise self.error
        return claims


def consume_all(world, queue, consumer=None):
    """Passes until nothing waits; how many claims that took."""
    consumer = consumer or world.consumer()
    before = len(world.store.asked("claim"))
    while queue.waiting:
        consumer.consume()
        switch()
    return len(world.store.asked("claim")) - before


@pytest.mark.parametrize("error", [Unavailable("connection closed"), Refused("response too large")])
def test_a_task_whose_data_never_comes_is_an_error_and_the_others_begin(world, passing, caplog, error):
    passing(world.clock)
    queue = Queue(world, {"a": 100, "big": 200_000, "c": 100, "d": 80_000}, error=error)
    began = world.clock()
    consume_all(world, queue)
    assert world.clock() - began < F
    assert sorted(world.executor.living) == ["a", "c", "d"]
    (end,) = world.commit()
    assert (end.id, end.run, end.trigger) == ("big", queue.runs["big"], Trigger.FAIL)
    assert end.fields["error"].startswith("[PT133] data has 200000 bytes")
    assert "[PT133] task big" in caplog.text
    assert len(queue.runs) == 4


def test_a_saved_value_that_never_comes_is_an_error_and_the_others_begin(world, passing):
    """A proxy whose limit is below what a task may save."""
    passing(world.clock)
    waiting, runs, saved = ["a", "b"], {}, {"a": b'"%b"' % (b"x" * 60_000), "b": b"[1]"}
    world.store.say("peek", *[lambda limit, *_: [i.encode() for i in waiting[:limit]]] * 50)

    def claim(request):
        world.clock.move(1)
        world.lease.acknowledged([], world.clock())
        claims, total = [], 0
        for ref in request.refs:
            if ref.id in waiting:
                waiting.remove(ref.id)
            runs[ref.id] = ref.run
            value = saved[ref.id]
            over = len(value) > request.max_saved
            total += 0 if over else len(value)
            fields = StartFields(unread=len(value)) if over else StartFields(saved=value)
            claims.append(won(ref, fields=fields, verdict=Verdict.ALREADY))
        if total > 40_000:
            raise Unavailable("connection closed")
        return claims

    world.store.say("claim", *[claim] * 100)
    consumer = world.consumer()
    while waiting:
        consumer.consume()
        switch()
    assert list(world.executor.living) == ["b"]
    assert world.executor.living["b"].kept.raw == b"[1]"
    (end,) = world.commit()
    assert (end.id, end.trigger) == ("a", Trigger.FAIL)
    assert end.fields["error"].startswith("[PT133] saved has 60002 bytes")
    assert "saved" not in end.fields


def test_once_a_limit_is_known_it_costs_one_refusal_each_and_a_raised_one_counts_at_once(world, passing):
    passing(world.clock)
    consumer = world.consumer()
    queue = Queue(world, {"big": 200_000})
    consume_all(world, queue, consumer)
    queue.sizes |= {f"t{n}": 30_000 for n in range(9)} | {"big2": 250_000, "big3": 150_000}
    queue.waiting += [i for i in queue.sizes if i != "big"]
    began = world.clock()
    consume_all(world, queue, consumer)
    assert world.clock() - began < 4 * H
    assert {end.id for end in world.commit()} == {"big", "big2", "big3"}
    assert len(world.executor.living) == 9
    queue.passing = False  # the operator raised the limit
    queue.sizes["big4"] = 300_000
    queue.waiting.append("big4")
    assert consume_all(world, queue, consumer) == 2
    assert "big4" in world.executor.living


def test_what_somebody_took_away_meanwhile_is_not_started(world, passing):
    passing(world.clock)
    Queue(world, {"big": 90_000, "big2": 90_000})
    world.store._lined_up["claim"][3:] = [answer(Verdict.MOVED), answer(Verdict.ALREADY)]
    world.consumer().consume()
    switch()
    assert list(world.executor.living) == ["big2"]


def test_what_was_recreated_before_its_data_came_is_released(world, passing):
    passing(world.clock)
    Queue(world, {"big": 90_000, "big2": 90_000})
    world.store._lined_up["claim"][3:] = [answer(Verdict.GONE), answer(Verdict.ALREADY)]
    world.consumer().consume()
    switch()
    assert list(world.executor.living) == ["big2"]
    assert [(end.id, end.trigger) for end in world.commit()] == [("big", Trigger.RELEASE)]


def test_claims_without_large_data_are_not_limited_by_an_answer_that_did_not_come(world, passing):
    """Ids behind the batch can be the cause: none are asked for, for a while."""
    passing(world.clock)
    consumer = world.consumer()
    queue = Queue(world, {"a": 100})
    world.store._lined_up["claim"][:0] = [queue.refuse] * 2
    consumer.consume()
    queue.sizes["b"] = 90_000
    queue.waiting.append("b")
    assert consume_all(world, queue, consumer) == 1
    request = world.store.asked("claim")[-1][0]
    assert (request.max_data, request.look) == (world.settings.max_data, 0)
    assert sorted(world.executor.living) == ["a", "b"]


def test_how_long_claims_are_not_answered_is_known(world, passing):
    passing(world.clock)
    consumer = world.consumer()
    queue = Queue(world, {"t": 100}, most=0)
    for _ in range(6):
        with pytest.raises(Unavailable):
            consumer.consume()
    assert consumer.claims.held > 2 * H
    queue.waiting.clear()
    assert consumer.consume() == (0, 0)
    assert consumer.claims.held == 0


def test_while_nothing_is_acknowledged_a_claim_is_repeated_as_it_was(world, passing):
    """A Redis that is away proves nothing about a claim."""
    passing(world.clock)
    world.store.say("peek", [b"big"])
    world.store.say("claim", *[Unavailable("?")] * 500)
    with pytest.raises(Unavailable):
        world.consumer().consume()
    requests = [request for (request,) in world.store.asked("claim")]
    assert requests == [requests[0]] * len(requests)
    assert world.ends() == [(requests[0].refs[0].run, Trigger.RELEASE)]


def test_a_claim_that_is_not_answered_without_data_either_is_tried_with_fewer_ids(world, passing):
    passing(world.clock)
    queue = Queue(world, {f"t{n}": 100 for n in range(40)}, most=4)
    consumer = world.consumer()
    for _ in range(2):
        with pytest.raises(Unavailable):
            consumer.consume()
    assert consumer.consume() == (1, 1)
    assert consumer.consume() == (2, 2)  # it grows again
    assert len(queue.runs) == 3


def test_what_was_claimed_without_its_data_is_released_where_redis_goes_away(world, passing):
    passing(world.clock)
    queue = Queue(world, {"big": 90_000, "big2": 90_000})

    def away(_request):
        world.clock.move(F)
        raise Unavailable("?")

    world.store._lined_up["claim"][3:] = [away]  # twice refused, and answered without the data
    with pytest.raises(Unavailable):
        world.consumer().consume()
    assert world.executor.living == {}
    assert sorted(world.ends()) == sorted((run, Trigger.RELEASE) for run in queue.runs.values())


@pytest.mark.parametrize("error", [Unavailable("?"), Refused("OOM", "OOM"), WrongKeyType("new-task")])
def test_what_may_have_been_claimed_is_unconfirmed(world, error):
    world.store.say("peek", [b"a", b"b"])

    def fail(_request):
        world.clock.move(F)
        raise error

    world.store.say("claim", fail)
    with pytest.raises(type(error)):
        world.consumer().consume()
    assert world.ends() == [("s1:1", Trigger.RELEASE), ("s1:2", Trigger.RELEASE)]


def test_a_claim_with_a_verdict_of_a_newer_release_is_unconfirmed_and_not_started(world):
    world.store.say("peek", [b"a", b"b"])
    world.store.say("claim", answer(Verdict.UNRECOGNIZED, Verdict.OK))
    assert world.consumer().consume() == (2, 1)
    assert list(world.executor.living) == ["b"]
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


@pytest.mark.parametrize("verdict", [Verdict.NOHASH, Verdict.UNKNOWN])
def test_an_error_while_one_id_is_put_aside_leaves_no_other_unstarted(world, verdict):
    world.store.say("peek", [b"bad", b"good"])
    world.store.say("claim", answer(verdict, Verdict.OK))
    world.store.say("reject", Unavailable("?"))
    world.store.say("park", Unavailable("?"))
    with pytest.raises(Unavailable):
        world.consumer().consume()
    assert list(world.executor.living) == ["good"]


# -- how many ----------------------------------------------------------------------------------------------


def test_a_full_worker_takes_nothing(demo):
    world = World(demo, timing=Timing(), max_tasks=1)
    world.launch("a")
    world.store.say("peek", [b"b"])
    assert world.consumer().consume() == (0, 0)
    assert world.store.calls == []


def test_a_worker_filled_from_a_parking_list_does_not_look_at_the_queue(demo):
    """LRANGE of the last 0 ids would be the whole list."""
    world = World(demo, timing=Timing(), max_tasks=1)
    world.store.say("peek", [b"parked"])
    world.consumer()._step()
    assert world.store.asked("peek") == [(1, "demo")]
    assert list(world.executor.living) == ["parked"]


def test_the_batch_is_never_larger_than_what_is_free(demo):
    world = World(demo, timing=Timing(), max_tasks=5)
    world.launch("a")
    for number in range(COMMIT_BATCH + 1):  # ends without a verdict: beyond one commit they hold their places
        world.lease.settling.add(RunRef("z", f"s:{number}"), world.clock())
    world.consumer().consume()
    assert world.store.asked("peek") == [(3, None)]


def test_nor_than_256(world):
    world.consumer().consume()
    assert world.store.asked("peek") == [(256, None)]


def test_what_a_claim_saw_behind_its_batch_needs_no_look(world):
    consumer = world.consumer(FakeQueue([]))
    world.store.say("peek", [b"a"])
    world.store.ahead = [b"b", b"c"]
    assert consumer.consume() == (1, 1)
    world.store.ahead = []  # nothing is behind those two: no look either
    assert consumer.consume() == (2, 2)
    assert consumer.consume() == (0, 0)
    assert len(world.store.asked("peek")) == 1
    assert [request.look for (request,) in world.store.asked("claim")] == [256, 256]
    assert consumer.consume() == (0, 0)
    assert len(world.store.asked("peek")) == 2  # what was seen is used once


def test_a_claim_looks_as_far_as_there_are_places_in_all(demo):
    world = World(demo, timing=Timing(), max_tasks=3)
    world.store.say("peek", [b"a"])
    world.store.ahead = [b"b", b"c", b"d"]
    consumer = world.consumer()
    consumer.consume()
    consumer.consume()
    assert [request.look for (request,) in world.store.asked("claim")] == [3, 3]
    assert sorted(world.executor.living) == ["a", "b", "c"]


def test_the_id_that_ended_a_wait_is_claimed_without_a_look(world):
    consumer = world.consumer(FakeQueue([], [b"a"], []))
    consumer._step()
    looks = len(world.store.asked("peek"))
    consumer._step()  # it waits, and finds
    consumer._step()
    assert len(world.store.asked("peek")) == looks
    assert list(world.executor.living) == ["a"]


def test_a_claim_without_an_answer_leaves_nothing_to_go_by(world, passing):
    passing(world.clock)
    world.store.say("peek", [b"a"])
    world.store.ahead = [b"b"]
    world.store.say("claim", Refused("OOM", "OOM"))
    consumer = world.consumer()
    with pytest.raises(Refused):
        consumer.consume()
    consumer.consume()
    assert len(world.store.asked("peek")) == 2


def test_one_crashed_task_at_a_time(demo):
    world = World(demo, timing=Timing())
    world.store.say("peek", [b"a"], [b"b"], [b"c"])
    world.store.say("claim", lambda request: [won(ref, crashes=2) for ref in request.refs])
    consumer = world.consumer()
    consumer.consume()
    consumer.consume()
    world.clock.move(61)
    world.lease.acknowledged([], world.clock())
    consumer.consume()
    assert [request.quarantine for (request,) in world.store.asked("claim")] == [1, 0, 1]


def test_a_crashed_task_that_ended_frees_the_quarantine(world, gate):
    world.launch("a", crashes=2)
    assert world.executor.quarantine() == 0
    gate.set()
    switch()
    assert world.executor.quarantine() == 1


# -- what cannot be a task ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", IdFault.EMPTY),
        (b"x" * 513, IdFault.LONG),
        (b"\xff", IdFault.ENCODING),
        (b"a\nb", IdFault.CONTROL),
        (b"new-task", IdFault.RESERVED),
        (b"pytask:runs", IdFault.RESERVED),
    ],
)
def test_a_malformed_id_is_rejected_and_the_rest_is_taken(world, raw, fault):
    world.store.say("peek", [raw, b"good"])
    assert world.consumer().consume() == (2, 2)
    assert [args[:2] for args in world.store.asked("reject")] == [(raw, fault)]
    assert list(world.executor.living) == ["good"]


@pytest.mark.parametrize(
    ("verdict", "fault"),
    [
        (Verdict.NOHASH, IdFault.NO_HASH),
        (Verdict.BADTYPE, IdFault.WRONG_TYPE),
        (Verdict.LOCAL, IdFault.LOCAL),
    ],
)
def test_what_the_claim_finds_wrong_is_rejected(world, verdict, fault):
    world.store.say("peek", [b"a"])
    world.store.say("claim", answer(verdict))
    world.consumer().consume()
    assert [args[:2] for args in world.store.asked("reject")] == [(b"a", fault)]
    assert world.executor.living == {}


@pytest.mark.parametrize(
    ("verdict", "handled"), [(Verdict.MOVED, 1), (Verdict.DUPLICATE, 1), (Verdict.ROTATED, 0)]
)
def test_what_is_not_for_us_is_left_alone(world, verdict, handled):
    world.store.say("peek", [b"a"])
    world.store.say("claim", answer(verdict))
    assert world.consumer().consume() == (1, handled)
    assert world.executor.living == {}
    assert world.ends() == []


def test_an_unknown_function_is_parked_with_its_near_misses(world, caplog):
    world.store.say("peek", [b"a"])
    world.store.say("claim", answer(Verdict.UNKNOWN, function="dem"))
    assert world.consumer().consume() == (1, 1)
    ((task_id, function, event, *_),) = world.store.asked("park")
    assert (task_id, function) == ("a", "dem")
    assert event == b'{"event":"parked","data":{"function":"dem","near":["demo"]}}'
    assert "unknown function 'dem'; did you mean demo?" in caplog.text


def test_an_unknown_function_is_named_in_the_log_once(world, caplog):
    consumer = world.consumer()
    for task_id in (b"a", b"b"):
        world.store.say("peek", [task_id])
        world.store.say("claim", answer(Verdict.UNKNOWN, function="other"))
        consumer.consume()
    assert len(world.store.asked("park")) == 2
    assert caplog.text.count("unknown function 'other'. Task a (and others of that function) is parked") == 1


# -- the loop ----------------------------------------------------------------------------------------------


def test_at_start_the_own_parking_lists_are_looked_at(world):
    world.consumer(FakeQueue([]))._step()
    assert world.store.asked("peek") == [(256, "demo"), (256, None)]


def test_a_hint_for_a_known_function_looks_there_again(world):
    consumer = world.consumer(FakeQueue([], [], []))
    consumer._step()
    consumer.hint("demo")
    consumer.hint("unknown")
    consumer._step()
    consumer._step()
    # A wait in vain has seen the queue: no look there after it.
    assert [source for _, source in world.store.asked("peek")] == ["demo", None, "demo"]


def test_parking_lists_are_looked_at_each_sweep(world):
    consumer = world.consumer(FakeQueue([], []))
    consumer._step()
    world.clock.move(11)
    consumer._step()
    assert [source for _, source in world.store.asked("peek")] == ["demo", None, "demo"]


def test_where_waiting_cannot_block_the_pause_grows_to_a_second(world, passing):
    naps = passing(world.clock)
    consumer = world.consumer()
    for _ in range(8):
        consumer._step()
    assert naps[0] < 0.07
    assert 0.75 <= naps[-1] <= 1.25


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (WrongKeyType("new-task holds a string"), "The queue `new-task` must be a list"),
        (Refused("OOM", "OOM"), "while Redis refuses writes"),
        (Unavailable("away"), "cannot claim tasks"),
    ],
)
def test_an_error_is_logged_and_the_loop_goes_on_on_a_new_connection(world, passing, caplog, error, says):
    naps = passing(world.clock)
    consumer = world.consumer()
    consumer._hints.clear()
    world.store.say("peek", error, lambda *_: consumer.end() or [])
    consumer.run()
    assert says in caplog.text
    assert world.store.asked("reset") == [()]
    assert naps[0] == 1.0


# -- failovers ---------------------------------------------------------------------------------------------


def test_a_claim_names_the_server_that_is_known(world):
    world.lease.observe(Incarnation(id="m", server="s1"), world.clock())
    world.store.say("peek", [b"a"])
    world.consumer().consume()
    ((request,),) = world.store.asked("claim")
    assert request.server == "s1"


def test_a_claim_in_flight_across_a_failover_is_given_back(world):
    world.lease.observe(Incarnation(id="m", server="s1"), world.clock())

    def claimed(request):
        world.lease.observe(Incarnation(id="m", server="s2"), world.clock())
        return [won(ref) for ref in request.refs]

    world.store.say("peek", [b"a"])
    world.store.say("claim", claimed)
    world.consumer().consume()
    assert not world.executor.living
    assert [trigger for _, trigger in world.ends()] == [Trigger.RELEASE]


def test_a_claim_that_another_server_refused_is_not_repeated(world):
    world.store.say("peek", [b"a"])
    world.store.say("claim", FailoverSuspected("other"))
    with pytest.raises(FailoverSuspected):
        world.consumer().consume()
    assert len(world.store.asked("claim")) == 1
