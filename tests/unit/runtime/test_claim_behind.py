"""A claim behind the wait of an idle worker: when it is sent so, and what becomes of it.

Between the wait and the answer lie up to two seconds in which anything may change.
"""

import attrs
import pytest

import pytask
from pytask.adapters.memory.backend import MemoryBackend
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.errors import Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Incarnation, Tail
from pytask.domain.timing import CLAIM_BATCH, Timing
from pytask.runtime.services import consumer as consumers
from tests.unit.runtime.fakes import FakeQueue, switch, until
from tests.unit.runtime.test_consumer_tail import F, TailWorld, demo  # noqa: F401 - a fixture

QUIET = Tail("s1", CLAIM_BATCH, CLAIM_BATCH, quiet=True)  # after the first claim, of the queue at the start


class BehindWorld(TailWorld):
    """A worker whose waits are lined up: each a function that is called while it waits, or None."""

    def waiter(self, *meanwhile):
        def served(what):
            def serve(request):
                if what is not None:
                    what()
                claims = self.backend_store.claim(request)
                return claims, self.backend_store.ahead

            return serve

        return FakeQueue(behind=[served(what) for what in meanwhile])


@pytest.fixture
def world(demo):  # noqa: F811 - the fixture
    made = BehindWorld(demo)
    made.claims()
    return made


def test_an_idle_worker_sends_its_claim_behind_the_wait(world):
    queue = world.waiter(lambda: world.push("a", "b"))
    consumer = world.consumer(queue)
    consumer._pass()
    assert [one.tail for one in queue.requests] == [QUIET]
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH)]  # what it found at its start
    assert sorted(run.ref.run for run in world.executor.living.values()) == ["s1:257", "s1:258"]
    assert queue.waits == 0


def test_in_vain_it_waits_again_without_another_claim(world, passing):
    passing(world.clock)
    queue, began = world.waiter(None, None, lambda: world.push("a")), world.clock()
    consumer = world.consumer(queue)
    for _ in range(3):
        consumer._pass()
    assert [one.tail.base for one in queue.requests] == [256, 512, 768]
    assert len(world.sent()) == 1
    assert list(world.executor.living) == ["a"]
    assert world.clock() == began  # it has slept nowhere: the wait is what it waits for
    assert world.state.claimed["s1"][:2] == (768, ["a"])


def test_what_waits_behind_the_batch_is_claimed_at_once(demo):  # noqa: F811 - the fixture
    world = BehindWorld(demo, max_tasks=2)
    world.claims()
    queue = world.waiter(lambda: world.push("a", "b", "c"))
    consumer = world.consumer(queue)
    consumer._pass()
    assert consumer._ahead == [b"c"]
    assert sorted(world.executor.living) == ["a", "b"]


def test_the_deadline_of_a_run_counts_from_the_begin_of_the_wait(world):
    began = world.clock()

    def come():
        world.clock.move(2)
        world.push("a")

    world.consumer(world.waiter(come))._pass()
    assert world.lease.living.sent_at("s1:257") == began
    assert [ref.id for ref in world.lease.living.due(world.clock() - 2)] == ["a"]


# -- when it is not -----------------------------------------------------------------------------------------


def no_tails(world, _queue):
    world.store.tails = False


def cannot(_world, queue):
    queue.behind.clear()


def shared(world, _queue):
    for _ in range(2):
        world.capacity.join(lambda: 0, lambda: False, lambda: None)


def busy(world, _queue):
    world.launch("running")


@pytest.mark.parametrize("why", [no_tails, cannot, shared, busy])
def test_otherwise_it_only_waits(world, passing, why):
    passing(world.clock)
    queue = world.waiter(None)
    consumer = world.consumer(queue)
    why(world, queue)
    queue.answers = [[]]
    consumer._pass()
    assert (queue.waits, queue.requests) == (1, [])


@pytest.mark.parametrize("why", ["closed", "gate", "end", "full"])
def test_nor_where_nothing_may_be_claimed(world, why):
    consumer = world.consumer(world.waiter(None))
    assert consumer._may_claim_behind
    if why == "closed":
        world.capacity.close(closed=True)
    elif why == "gate":
        world.clock.move(F)
    elif why == "end":
        consumer.end()
    else:
        world.capacity._limit = 0
    assert not consumer._may_claim_behind


def test_not_while_a_prestarted_task_runs_that_is_no_monitor(world):
    world.launch("local", local=True)
    consumer = world.consumer(world.waiter(None))
    assert not consumer._may_claim_behind
    world.executor.monitor_ports.here.add("local")
    assert consumer._may_claim_behind


def test_not_in_the_loop_of_a_program(world):
    assert not world.consumer(world.waiter(None), own_loop=False)._may_claim_behind


def test_waits_that_fail_again_and_again_are_told_once(world, caplog):
    def fails(_request):
        raise consumers.Refused("NOPERM blmove", "NOPERM")

    consumer = world.consumer(FakeQueue(behind=[fails] * 5))
    for _ in range(5):
        with pytest.raises(consumers.Refused):
            consumer._pass()
    assert caplog.text.count("waits for the queue fail, so tasks start later: ") == 1


# -- what changes meanwhile ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["pause", "drain", "gate", "embargo", "end", "failover", "late"])
def test_what_is_claimed_after_a_change_is_released_and_not_started(world, change):
    world.lease.observe(Incarnation(id="i", server="memory"), world.clock())

    def meanwhile():
        world.push("a")
        if change in ("pause", "drain"):
            world.capacity.close(closed=True)
        elif change == "gate":
            world.lease.last_ok = world.clock() - F
        elif change == "embargo":
            world.lease.embargo_until = world.clock() + 80
        elif change == "end":
            consumer.end()
        elif change == "failover":
            world.lease.observe(Incarnation(id="i", server="second", age=0.0), world.clock())
            world.lease.embargo_until = 0
        else:
            world.clock.move(F)
            world.lease.acknowledged([], world.clock())

    consumer = world.consumer(world.waiter(meanwhile))
    consumer._pass()
    assert world.executor.living == {}
    assert world.ends() == [("s1:257", Trigger.RELEASE)]


def test_a_task_that_is_stopped_meanwhile_is_not_claimed(world):
    """What the queue holds counts when the wait has ended, not when it began."""

    def meanwhile():
        world.push("a")
        world.state.queue.clear()

    consumer = world.consumer(world.waiter(meanwhile))
    consumer._pass()
    assert (world.executor.living, world.ends()) == ({}, [])


def test_slots_that_become_free_meanwhile_are_for_the_next_claim(demo):  # noqa: F811 - the fixture
    world = BehindWorld(demo, max_tasks=1)
    world.claims()
    queue = world.waiter(lambda: world.push("a", "b"))
    consumer = world.consumer(queue)
    consumer._pass()
    assert ([one.tail.count for one in queue.requests], list(world.executor.living)) == ([1], ["a"])
    assert world.state.queue == [b"b"]


# -- no answer -----------------------------------------------------------------------------------------------


def unanswered(world, *, applied):
    def behind(request):
        world.push("a")
        if applied:
            world.backend_store.claim(request)
        raise Unavailable("no answer")

    return behind


@pytest.mark.parametrize("applied", [False, True])
def test_without_an_answer_it_is_repeated_as_a_claim_that_leaves_a_record(world, passing, applied):
    passing(world.clock)
    queue = FakeQueue(behind=[unanswered(world, applied=applied)])
    world.consumer(queue)._pass()
    assert world.sent()[1:] == [attrs.evolve(QUIET, quiet=False)]
    assert world.executor.living["a"].ref.run == "s1:257"
    assert world.state.runs == {"a": "s1:257"}


def test_its_late_arrival_after_the_repeat_takes_nothing(world, passing):
    passing(world.clock)
    late = []

    def lost(request):
        late.append(request)
        raise Unavailable("no answer")

    world.consumer(FakeQueue(behind=[lost]))._pass()
    world.push("a")
    assert world.backend_store.claim(late[0]) == []
    assert (world.state.queue, world.state.runs) == ([b"a"], {})


def test_never_answered_it_is_closed_and_released_before_the_next_claim(world, passing):
    passing(world.clock)
    world.claims("answered", *["request"] * 20)
    consumer = world.consumer(FakeQueue(behind=[unanswered(world, applied=True)]))
    with pytest.raises(Unavailable):
        consumer._pass()
    world.claims()
    world.lease.acknowledged([], world.clock())
    consumer._pass()
    closing = next(tail for tail in world.sent() if tail.count == 0)
    assert (closing.base, closing.quiet) == (QUIET.base, False)
    assert world.ends() == [("s1:257", Trigger.RELEASE)]
    assert world.executor.living == {}


@pytest.mark.parametrize("applied", [False, True])
def test_a_worker_that_ends_its_wait_closes_the_claim_behind_it_at_once(world, monkeypatch, applied):
    slept = []
    monkeypatch.setattr(consumers.gevent, "sleep", slept.append)

    def ended(request):
        assert consumer.waiting
        consumer.end()
        return unanswered(world, applied=applied)(request)

    consumer = world.consumer(FakeQueue(behind=[ended]))
    consumer.run()
    assert [tail.count for tail in world.sent()] == [CLAIM_BATCH, 0]
    assert world.ends() == ([("s1:257", Trigger.RELEASE)] if applied else [])
    assert not consumer.waiting
    assert not any(slept)
    world.backend_store.claim(world.store.asked("claim")[1][0])
    assert world.state.runs == ({"a": "s1:257"} if applied else {})


def test_an_error_of_the_script_ends_it_as_any_claim(world):
    def refused(_request):
        raise consumers.Refused("OOM command not allowed", "OOM")

    consumer = world.consumer(FakeQueue(behind=[refused]))
    with pytest.raises(consumers.Refused):
        consumer._pass()
    assert len(world.sent()) == 1
    consumer.claims.close_open()
    assert world.sent()[-1] == Tail("s1", QUIET.base, 0)


def test_an_answer_that_is_too_large_is_asked_for_without_data(world, passing):
    passing(world.clock)

    def too_large(request):
        world.push("a")
        world.backend_store.claim(request)
        raise Unavailable("connection closed")

    def again(request):
        if request.max_data > 70_000:
            world.clock.move(1)
            world.lease.acknowledged([], world.clock())
            raise Unavailable("connection closed")
        return world.served("claim")(request)

    world.claims("answered", *[again] * 20)
    world.consumer(FakeQueue(behind=[too_large]))._pass()
    switch()
    assert list(world.executor.living) == ["a"]
    assert {tail.base for tail in world.sent()[1:]} == {QUIET.base}
    assert world.state.runs == {"a": "s1:257"}


def test_what_cannot_start_is_put_aside(world):
    queue = world.waiter(lambda: world.push("strange", function="strange"))
    world.consumer(queue)._pass()
    assert [args[:2] for args in world.store.asked("park")] == [("strange", "strange")]


@pytest.mark.parametrize("answered", [True, False])
def test_a_worker_that_cannot_close_a_claim_has_not_released_all(monkeypatch, answered):
    lost = [True]

    class Plain(pytask.Task):
        class Config:
            NAME = "plain"

        def start(self):
            pass

    class Lossy(MemoryStore):
        def claim(self, request):
            if lost:
                raise Unavailable("no answer")
            return super().claim(request)

    backend = MemoryBackend()
    monkeypatch.setattr(backend, "store", lambda: Lossy(backend.state, backend._retention))
    app = pytask.PyTask(backend, timing=Timing().scaled(0.01))
    app.add_task(Plain)
    app.start()
    backend.push("a", "plain")
    consumer = app._worker.partitions[0].consumer
    until(lambda: consumer.claims.open)
    if answered:
        lost.clear()
    assert app.stop() is answered
