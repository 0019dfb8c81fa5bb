"""A claim behind a wait: sent in one packet, executed when the wait has ended."""

import threading

import attrs
import fakeredis
import pytest
import redis

from pytask.adapters.redis import queue as queues
from pytask.adapters.redis.backend import BackendOptions, RedisBackend
from pytask.domain.errors import Denied, Unavailable, WrongKeyType
from pytask.domain.record import Tail, Verdict
from tests.contract.benches import SOON, MemoryBench, make_bench
from tests.support.cli_tools import until
from tests.support.proxy import Proxy
from tests.support.servers import HOST

OK, ALREADY, MOVED = Verdict.OK, Verdict.ALREADY, Verdict.MOVED
MOMENT = 0.05


def quiet(tail):
    """As it is sent behind a wait; a repeat is `tail`."""
    return attrs.evolve(tail, quiet=True)


def closing(tail):
    return Tail(tail.session, tail.base, 0)


def asked(bench, tail):
    return bench.request(tail=quiet(tail))


def said(claims):
    return [(one.id, one.verdict) for one in claims]


# -- what it writes ----------------------------------------------------------------------------------------


@pytest.mark.wire
def test_in_vain_it_writes_nothing(bench, queue):
    bench.push("a")
    taken = bench.tail(1)
    bench.claim_tail(taken)
    before, _ = bench.dump(), bench.events()
    assert queue.claim(asked(bench, bench.tail(2)), MOMENT) == []
    assert queue.ahead == []
    assert bench.dump() == before
    assert bench.events() == []
    assert bench.claimed() == {"session": (taken.base, ["a"])}


@pytest.mark.wire
def test_what_stands_there_is_claimed_and_recorded_as_by_any_claim(bench, queue):
    for task_id in "abc":
        bench.push(task_id)
    tail = bench.tail(2)
    assert said(queue.claim(asked(bench, tail), SOON)) == [("a", OK), ("b", OK)]
    assert (queue.ahead, bench.queue()) == ([b"c"], ["c"])
    for ref in tail.refs("ab"):
        bench.assert_registered(ref)
    assert bench.claimed() == {"session": (tail.base, ["a", "b"])}
    assert said(bench.claim_tail(tail)) == [("a", ALREADY), ("b", ALREADY)]
    assert said(bench.claim_tail(closing(tail))) == [("a", ALREADY), ("b", ALREADY)]


def test_a_repeat_of_one_in_vain_takes_what_has_come(bench, queue):
    """Nobody else can have the runs of these numbers: the first one took nothing."""
    tail = bench.tail(1)
    assert queue.claim(asked(bench, tail), MOMENT) == []
    bench.push("a")
    assert said(bench.claim_tail(tail)) == [("a", OK)]


def test_it_takes_nothing_after_its_repeat_was_answered_by_nothing(bench, queue):
    """A repeat leaves a record also of nothing: the first one may still be on its way."""
    tail = bench.tail(1)
    assert bench.claim_tail(tail) == []
    bench.push("a")
    assert queue.claim(asked(bench, tail), MOMENT) == []
    assert (queue.ahead, bench.queue(), bench.runs()) == (None, ["a"], {})


def test_it_takes_nothing_after_it_was_closed(bench, queue):
    tail = bench.tail(1)
    assert bench.claim_tail(closing(tail)) == []
    assert queue.claim(asked(bench, bench.tail(1)), MOMENT) == []  # the next one leaves that record alone
    bench.push("a")
    assert queue.claim(asked(bench, tail), MOMENT) == []
    assert (bench.queue(), bench.runs()) == (["a"], {})


def test_it_ends_before_an_id_that_cannot_be_a_task(bench, queue):
    bench.lpush("a\n")
    assert queue.claim(asked(bench, bench.tail(1)), MOMENT) == []
    assert (queue.ahead, bench.claimed()) == ([b"a\n"], {})


def test_of_a_worker_that_leaves_the_record_stays_for_an_hour(bench, queue):
    """The server may hear later that its last wait was ended."""
    tail = bench.tail(1)
    bench.claim_tail(closing(tail))
    bench.store.leave("session")
    assert 3600 - SOON <= bench.claimed_for("session") <= 3600
    bench.push("a")
    assert queue.claim(asked(bench, tail), MOMENT) == []
    assert bench.queue() == ["a"]


# -- on a server that blocks -------------------------------------------------------------------------------


def test_it_is_executed_when_something_comes(real, real_queue):
    pushing = threading.Timer(0.1, real.push, ["a"])
    pushing.start()
    tail = real.tail(5)
    assert said(real_queue.claim(asked(real, tail), SOON)) == [("a", OK)]
    pushing.join()
    real.assert_registered(tail.refs("a")[0])
    assert real_queue.claim(asked(real, real.tail(5)), MOMENT) == []  # in step


def test_of_two_that_wait_one_gets_it(real, real_queue):
    other, found = real.backend.queue(), []

    def wait(queue, session):
        found.append(said(queue.claim(asked(real, real.tail(1, session)), SOON / 4)))

    waiting = [threading.Thread(target=wait, args=each) for each in ((real_queue, "x"), (other, "y"))]
    for each in waiting:
        each.start()
    until(lambda: blocked(real) == 2, "both wait")
    real.push("a")
    for each in waiting:
        each.join()
    other.close()
    assert sorted(found) == [[], [("a", OK)]]
    assert len(real.claimed()) == 1


def blocked(real):
    return real.raw.info("clients")["blocked_clients"]


def test_a_script_that_the_server_has_forgotten_is_sent_again(real, real_queue):
    real.push("a")
    real.forget_scripts()
    tail = real.tail(1)
    assert said(real_queue.claim(asked(real, tail), SOON)) == [("a", OK)]
    assert real_queue.claim(asked(real, real.tail(1)), MOMENT) == []


def test_errors_of_both_leave_the_connection_in_step(real, real_queue):
    real.raw.set(real.keys.queue, "no list")
    for _ in range(2):
        with pytest.raises(WrongKeyType):
            real_queue.claim(asked(real, real.tail(1)), SOON)
    real.drop("queue")
    real.push("a")
    assert said(real_queue.claim(asked(real, real.tail(1)), SOON)) == [("a", OK)]


def test_what_is_claimed_behind_a_wait_that_is_refused_counts(real):
    """Released, it would be claimed so again and again; in vain, the error is raised."""
    real.push("a")
    real.raw.acl_setuser("nowait", enabled=True, nopass=True, keys=["*"], channels=["*"],
                         commands=["+@all", "-blmove"])  # fmt: skip
    client = redis.Redis(host=HOST, port=real.server.port, username="nowait", password="any")
    queue, tail = RedisBackend(client, BackendOptions(call_timeout=SOON)).queue(), real.tail(1)
    assert said(queue.claim(asked(real, tail), SOON)) == [("a", OK)]
    with pytest.raises(Denied):
        queue.claim(asked(real, real.tail(1)), SOON)
    queue.close()


def test_one_unblocked_wait_does_not_make_the_worker_poll(real, real_queue):
    found = []
    waiting = threading.Thread(target=lambda: found.append(real_queue.wait(20)))
    waiting.start()
    until(lambda: real.raw.info("clients")["blocked_clients"], "it waits")
    (blocked,) = [one["id"] for one in real.raw.client_list() if "b" in one["flags"]]
    real.raw.client_unblock(blocked)
    waiting.join()
    assert found == [[]]
    assert real_queue.claims
    real.push("a")
    assert real_queue.wait(20) == [b"a"]


def test_waits_unblocked_twice_in_a_row_make_the_worker_poll_for_a_while_only(real, real_queue, monkeypatch):
    """A poll finds a task up to a second late."""
    monkeypatch.setattr(queues, "POLLED", 0.2)
    found = []
    for _ in range(2):
        waiting = threading.Thread(target=lambda: found.append(real_queue.wait(20)))
        waiting.start()
        until(lambda: blocked(real) == 1, "it waits")
        (one,) = [one["id"] for one in real.raw.client_list() if "b" in one["flags"]]
        real.raw.client_unblock(one)
        waiting.join()
    assert found == [[], None]
    assert not real_queue.claims
    until(lambda: real_queue.claims, "it waits again")
    real.push("a")
    assert said(real_queue.claim(asked(real, real.tail(1)), SOON)) == [("a", OK)]


def test_one_that_was_ended_is_closed_and_takes_nothing(real, real_queue):
    tail, raised = real.tail(1), []

    def wait():
        with pytest.raises(Unavailable, match="has ended the wait") as error:
            real_queue.claim(asked(real, tail), SOON)
        raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: blocked(real) == 1, "it waits")
    real_queue.close()
    waiting.join()
    assert raised
    assert real.claim_tail(closing(tail)) == []
    real.push("a")
    until(lambda: blocked(real) == 0, "the server has heard of it")
    assert (real.queue(), real.runs()) == (["a"], {})


@pytest.fixture
def proxy(real):
    with Proxy(real.server.port) as one:
        yield one


def queue_through(proxy, timeout=SOON):
    return RedisBackend(proxy.url, BackendOptions(call_timeout=timeout)).queue()


def test_a_lost_answer_is_found_by_the_repeat(real, proxy):
    queue, tail = queue_through(proxy), real.tail(2)
    assert queue.claim(asked(real, real.tail(1)), MOMENT) == []
    real.push("a")
    proxy.cut_after_request(containing="BLMOVE")
    with pytest.raises(Unavailable):
        queue.claim(asked(real, tail), SOON)
    assert said(real.claim_tail(tail)) == [("a", ALREADY)]
    assert said(queue.claim(asked(real, real.tail(1)), MOMENT)) == []  # on a new connection
    queue.close()


def test_one_that_arrives_after_it_was_closed_takes_nothing(real, proxy):
    queue, tail = queue_through(proxy, 0.1), real.tail(1)
    assert queue.claim(asked(real, real.tail(1)), MOMENT) == []
    proxy.blackhole()
    with pytest.raises(Unavailable):
        queue.claim(asked(real, tail), MOMENT)
    assert real.claim_tail(closing(tail)) == []
    real.push("a")
    before = moves(real)
    proxy.pass_()
    until(lambda: moves(real) > before, "it has arrived")
    assert (real.queue(), real.runs()) == (["a"], {})
    queue.close()


def moves(real):
    return real.raw.info("commandstats").get("cmdstat_blmove", {}).get("calls", 0)


# -- where it is not done ----------------------------------------------------------------------------------


def test_not_where_replicas_must_acknowledge_claims(real):
    assert real.backend.queue().claims
    assert not RedisBackend(real.client, BackendOptions(durable_acks=1)).queue().claims


def test_not_where_the_server_does_not_block():
    queue = RedisBackend(fakeredis.FakeRedis()).queue()
    assert queue.claims
    assert queue.wait(SOON) == []  # somebody may have unblocked it
    assert queue.claims
    assert queue.wait(SOON) is None
    assert not queue.claims


def test_a_first_one_where_the_server_does_not_block_is_answered():
    bench = make_bench("fakeredis", None)
    queue = bench.backend.queue()
    bench.push("a")
    assert said(queue.claim(asked(bench, bench.tail(2)), SOON)) == [("a", OK)]
    assert queue.claims  # the wait was for something
    assert queue.claim(asked(bench, bench.tail(2)), SOON) == []
    assert queue.claims
    assert queue.claim(asked(bench, bench.tail(2)), SOON) == []
    assert not queue.claims
    bench.close()


def test_not_in_memory(bench, queue):
    assert queue.claims is not isinstance(bench, MemoryBench)
