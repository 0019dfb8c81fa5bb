"""Taking what stands at the tail: claims whose ids nobody knows without an answer."""

import pytest

from pytask.adapters.memory.backend import MemoryBackend
from pytask.domain.errors import Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import IdFault
from pytask.domain.record import Incarnation, Tail, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import CLAIM_BATCH, Timing
from tests.unit.runtime.fakes import FakeQueue, World

F = 30.0


class TailWorld(World):
    """A worker over the queue of a real store; what happens to its claims on their way is lined up."""

    def __init__(self, *classes, **settings):
        super().__init__(*classes, timing=Timing(), **settings)
        self.backend_store = MemoryBackend().store()
        self.state = self.backend_store._state
        self.store.tails = True
        for verb in ("peek", "reject", "park"):
            self.store.say(verb, *[self.served(verb)] * 50)

    def served(self, verb):
        def serve(*args):
            answer = getattr(self.backend_store, verb)(*args)
            self.store.ahead = self.backend_store.ahead
            return answer

        return serve

    def claims(self, *fates):
        """What becomes of the next claims: lost on their way ("request"), or unanswered ("reply")."""

        def lost(request, *, applied):
            if applied:
                self.backend_store.claim(request)
            self.clock.move(F / 10)
            raise Unavailable("no answer")

        fate = {
            "answered": self.served("claim"),
            "request": lambda request: lost(request, applied=False),
            "reply": lambda request: lost(request, applied=True),
        }
        lined_up = [fate.get(one, one) for one in fates] + [fate["answered"]] * 50
        self.store._lined_up["claim"] = lined_up

    def push(self, *ids, function="demo"):
        for task_id in ids:
            raw = task_id if isinstance(task_id, bytes) else task_id.encode()
            if isinstance(task_id, str):
                self.state.write(task_id, function=function, data="{}")
            self.state.queue.insert(0, raw)

    def sent(self):
        """The tails of all claims, and the ids of those that named them."""
        return [one.tail or [ref.id for ref in one.refs] for (one,) in self.store.asked("claim")]


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
    return TailWorld(demo)


def test_it_takes_what_stands_there_without_reading_it_before(world):
    world.claims()
    world.push("a", "b")
    assert world.consumer().consume() == (2, 2)
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH)]
    assert {run.ref.run for run in world.executor.living.values()} == {"s1:1", "s1:2"}
    assert world.store.asked("peek") == []


def test_the_numbers_of_a_claim_are_used_for_nothing_else(world):
    world.claims()
    consumer = world.consumer()
    consumer.consume()
    assert world.ids.next_run() == f"s1:{CLAIM_BATCH + 1}"
    consumer.consume()
    consumer._ahead = None
    consumer.consume()
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH), Tail("s1", CLAIM_BATCH + 1, CLAIM_BATCH)]


def test_a_queue_that_is_known_to_be_empty_is_not_asked(world):
    world.claims()
    consumer = world.consumer()
    assert consumer.consume() == consumer.consume() == (0, 0)
    assert len(world.sent()) == 1


def test_no_more_than_what_is_free(demo):
    world = TailWorld(demo, max_tasks=2)
    world.claims()
    world.push("a", "b", "c")
    consumer = world.consumer()
    assert consumer.consume() == (2, 2)
    assert consumer.consume() == (0, 0)
    assert (world.sent(), consumer._ahead) == ([Tail("s1", 0, 2)], [b"c"])


@pytest.mark.parametrize("fate", ["request", "reply"])
def test_without_an_answer_the_same_claim_is_repeated(world, passing, fate):
    passing(world.clock)
    world.claims(fate, fate)
    world.push("a", "b")
    assert world.consumer().consume() == (2, 2)
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH)] * 3
    assert sorted(world.state.runs.items()) == [("a", "s1:1"), ("b", "s1:2")]


def given_up(world, *more):
    """A consumer whose claim was applied and never answered, until it was too old to be used."""
    world.claims(*["reply"] * 20)
    consumer = world.consumer()
    with pytest.raises(Unavailable):
        consumer.consume()
    world.claims(*more)
    assert world.executor.living == {}
    assert world.ends() == []  # nobody knows yet what it took
    world.lease.acknowledged([], world.clock())
    return consumer


def test_what_was_never_answered_is_closed_and_released_before_the_next_claim(world, passing):
    passing(world.clock)
    world.push("a", "b")
    consumer = given_up(world)
    consumer._pass()
    first, *_, closing, following = world.sent()
    assert closing == Tail(first.session, first.base, 0)
    assert following.base >= first.base + first.count
    assert sorted(world.ends()) == [("s1:1", Trigger.RELEASE), ("s1:2", Trigger.RELEASE)]
    assert world.executor.living == {}


def test_no_claim_before_the_last_one_is_closed(world, passing):
    passing(world.clock)
    world.push("a")
    consumer = given_up(world, "request", "reply", "request", "request")
    for _ in range(3):
        with pytest.raises(Unavailable):
            consumer._pass()
        world.lease.acknowledged([], world.clock())
    with pytest.raises(Unavailable):
        consumer.consume()
    assert [tail.count for tail in world.sent()[-4:]] == [0] * 4
    assert world.ends() == []


def test_it_is_closed_also_while_the_gate_is_closed_and_by_any_server(world, passing):
    passing(world.clock)
    world.push("a")
    consumer = given_up(world)
    world.lease.observe(Incarnation(id="i", server="another"), world.clock())
    world.lease.embargo_until = world.clock() + 80
    consumer._pass()
    assert world.ends() == [("s1:1", Trigger.RELEASE)]
    (request,) = world.store.asked("claim")[-1]
    assert (request.tail.count, request.server, request.max_data) == (0, "", 0)


def test_a_claim_of_an_earlier_session_is_closed_under_its_name(world, passing):
    passing(world.clock)
    world.push("a")
    consumer = given_up(world)
    world.ids.renew()
    consumer._pass()
    assert [tail.session for tail in world.sent()[-2:]] == ["s1", "s2"]
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


def test_a_claim_that_arrives_after_it_was_closed_takes_nothing(world, passing):
    passing(world.clock)
    late = []
    world.claims(*[lambda request: late.append(request) or world.clock.move(F / 10) or lose()] * 10)
    world.push("a")
    consumer = world.consumer()
    with pytest.raises(Unavailable):
        consumer.consume()
    world.claims()
    consumer.claims.close_open()
    assert world.backend_store.claim(late[0]) == []
    assert (world.state.queue, world.state.runs) == ([b"a"], {})


def lose():
    raise Unavailable("no answer")


@pytest.mark.parametrize("late", ["gate", "end", "failover"])
def test_a_late_answer_is_released_and_not_started(world, late):
    """The gate is asked again at the answer."""
    world.lease.observe(Incarnation(id="i", server="memory"), world.clock())
    consumer = world.consumer()

    def meanwhile(request):
        if late == "gate":
            world.clock.move(F)
        elif late == "end":
            consumer.end()
        else:
            world.lease.observe(Incarnation(id="i", server="second", age=0.0), world.clock())
        return world.served("claim")(request)

    world.claims(meanwhile)
    world.push("a")
    consumer.consume()
    assert world.executor.living == {}
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


@pytest.mark.parametrize(
    ("fates", "released"),
    [((), True), (("request",), False)],  # a call took its 3 s: one is enough
)
def test_a_worker_that_ends_closes_its_last_claim(world, passing, fates, released):
    passing(world.clock)
    world.push("a")
    consumer = given_up(world, *fates)
    consumer.end()
    consumer.run()
    assert world.ends() == ([("s1:1", Trigger.RELEASE)] if released else [])
    assert world.sent()[-1].count == 0


def test_before_an_id_that_cannot_be_a_task_it_falls_back_to_reading(world):
    world.claims()
    world.push("a", b"\xff", "b", b"c\n")
    consumer = world.consumer()
    assert consumer.consume() == (1, 1)
    assert consumer._ahead == [b"\xff"]
    assert consumer.consume() == (3, 3)  # as today: it reads the ids, rejects two and names the third
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH), ["b"]]
    assert [args[1] for args in world.store.asked("reject")] == [IdFault.ENCODING, IdFault.CONTROL]
    assert (sorted(world.executor.living), world.state.queue) == (["a", "b"], [])


def test_it_does_not_ask_again_and_again_where_store_and_worker_disagree(world):
    """The script of another release may find an id odd that is none to this one."""

    def nothing(_request):
        world.store.ahead = [b"a"]
        return []

    world.claims(nothing)
    world.push("a")
    assert world.consumer().consume() == (1, 1)
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH), ["a"]]
    assert list(world.executor.living) == ["a"]


def test_what_cannot_start_is_put_aside(world):
    world.claims()
    world.push("a")
    world.push("strange", function="strange")
    world.state.queue.insert(0, b"nothing")
    assert world.consumer().consume() == (3, 3)
    assert [args[:2] for args in world.store.asked("reject")] == [(b"nothing", IdFault.NO_HASH)]
    assert [args[:2] for args in world.store.asked("park")] == [("strange", "strange")]
    assert (list(world.executor.living), world.state.queue) == (["a"], [])


def test_an_id_that_a_waiter_was_told_is_not_named_but_what_stands_there_is_taken(world):
    world.claims()
    world.push("a", "b")
    consumer = world.consumer(FakeQueue([b"z"]))
    consumer._wait()
    assert consumer.consume() == (2, 2)
    assert world.sent() == [Tail("s1", 0, CLAIM_BATCH)]


def test_parking_lists_are_read_as_before(world):
    world.claims()
    world.push("a")
    assert world.backend_store.park("a", "demo", b"{}") is Verdict.OK
    assert world.consumer().consume("demo") == (1, 1)
    assert world.sent() == [["a"]]


def test_an_answer_that_is_too_large_is_asked_for_without_data(world, passing):
    """The repeat is answered with the runs of the first call, and with less."""
    passing(world.clock)
    world.push("a", "b")
    world.state.write("a", data=b'{"a":"' + b"x" * 70_000 + b'"}')

    def too_large(request):
        if request.tail is not None and request.max_data > 70_000:
            world.backend_store.claim(request)
            world.clock.move(1)
            world.lease.acknowledged([], world.clock())
            raise Unavailable("connection closed")
        return world.served("claim")(request)

    world.claims(*[too_large] * 50)
    seen, handled = world.consumer().consume()
    assert (seen, handled) == (2, 2)
    assert sorted(world.executor.living) == ["a", "b"]
    tails = [one for one in world.sent() if isinstance(one, Tail)]
    assert set(tails) == {Tail("s1", 0, CLAIM_BATCH)}
    assert world.sent()[-1] == ["a"]  # its data alone
