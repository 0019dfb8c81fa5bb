"""Group commit: order, repetition, doubt, back-pressure."""

import attrs
import gevent
import pytest

from pytask.domain.errors import Denied, FailoverSuspected, Refused, Unavailable, WrongKeyType
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, RunRef, Verdict
from pytask.domain.timing import Timing
from pytask.runtime.runs.hand_back import HANDED_BACK
from tests.unit.runtime.fakes import World, switch

F, H = 30.0, 5.0


@pytest.fixture
def world():
    return World(timing=Timing(), max_pending=3)


@pytest.fixture
def committer(world):
    return world.committer


def event(n, task_id="a"):
    return Change(task_id, f"s:{task_id}", b"%d" % n)


def end(task_id="a", trigger=Trigger.END):
    return Change(task_id, f"s:{task_id}", b"", trigger)


def batches(world):
    return [batch for (batch,) in world.store.asked("commit")]


def test_nothing_waits_nothing_is_sent(world, committer):
    assert committer.commit() == 0
    assert world.store.calls == []


def test_what_waits_goes_in_one_call_in_order(world, committer):
    changes = [event(1), event(2, "b"), event(3), end()]
    for change in changes:
        committer.put(change)
    assert committer.commit() == 4
    assert batches(world) == [changes]
    assert committer.pending == 0


def test_a_batch_is_256_at_most_and_the_order_runs_on(world, committer):
    changes = [event(n) for n in range(300)]
    for change in changes:
        committer.put(change)
    assert [committer.commit(), committer.commit(), committer.commit()] == [256, 44, 0]
    assert [*batches(world)[0], *batches(world)[1]] == changes


@pytest.mark.parametrize("error", [Unavailable("?"), Refused("READONLY")])
def test_without_a_verdict_the_batch_is_repeated_as_it_was(world, committer, error):
    committer.put(event(1))
    committer.put(end())
    world.store.say("commit", error, error)
    for _ in range(2):
        with pytest.raises(type(error)):
            committer.commit()
        committer.put(event(9, "later"))
    assert committer.commit() == 2
    assert batches(world) == [[event(1), end()]] * 3
    committer.commit()
    assert batches(world)[3] == [event(9, "later")] * 2


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.ALREADY, Verdict.FENCED, Verdict.GONE])
def test_an_end_is_renewed_until_there_is_a_verdict(world, committer, verdict):
    committer.put(end())
    assert "s:a" in world.lease.settling
    world.store.say("commit", Unavailable("?"), [verdict])
    with pytest.raises(Unavailable):
        committer.commit()
    assert "s:a" in world.lease.settling
    committer.commit()
    assert len(world.lease.settling) == 0
    assert committer.pending == 0


def test_already_counts_as_done(world, committer, caplog):
    caplog.set_level("INFO")
    committer.put(end())
    world.store.say("commit", [Verdict.ALREADY])
    committer.commit()
    assert caplog.text == ""


def test_an_event_alone_needs_no_renewal(world, committer):
    committer.put(event(1))
    assert len(world.lease.settling) == 0


def test_one_change_that_cannot_be_sent_does_not_hold_up_the_others(world, committer, caplog):
    def pick(changes):
        if any(change.id == "bad" for change in changes):
            raise TypeError("cannot be encoded")
        return [Verdict.OK] * len(changes)

    for change in (end("a"), end("bad"), end("c")):
        committer.put(change)
    world.store.say("commit", *[pick] * 4)
    assert committer.commit() == 3
    assert [len(batch) for batch in batches(world)] == [3, 1, 1, 1]
    assert len(world.lease.settling) == 0  # the bad one's run is left to the monitor
    assert "task bad: dropped a change that cannot be sent" in caplog.text


def test_a_queue_of_the_wrong_type_is_tried_again_each_h(world, committer, monkeypatch, caplog):
    later = []
    monkeypatch.setattr(gevent, "spawn_later", lambda *args: later.append(args))
    committer.put(end("a", Trigger.RELEASE))
    world.store.say("commit", [Verdict.BADTYPE])
    committer.commit()
    assert later == [(H, committer.put, end("a", Trigger.RELEASE))]
    assert "s:a" in world.lease.settling
    assert "the key of the queue is not a list" in caplog.text


# -- doubt -------------------------------------------------------------------------------------------------


def test_an_unconfirmed_claim_is_released_again_and_again_until_f(world, committer):
    committer.unconfirmed([RunRef("a", "s:a")])
    world.store.say("commit", *[[Verdict.FENCED]] * 20)
    for _ in range(80):
        committer.commit()
        world.clock.move(0.5)
    assert 6 <= len(batches(world)) <= 7
    release = attrs.evolve(end("a", Trigger.RELEASE), event=HANDED_BACK)
    assert all(batch == [release] for batch in batches(world))


def test_a_stop_of_an_unconfirmed_run_is_told_as_every_stop(world, committer):
    committer.unconfirmed([RunRef("a", "s:a")], Trigger.STOP, keep=60)
    committer.commit()
    ((change,),) = batches(world)
    assert (change.event, change.keep) == (b'{"event":"stopped","data":null}', 60)


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.ALREADY])
def test_until_the_release_was_taken(world, committer, verdict):
    committer.unconfirmed([RunRef("a", "s:a")])
    world.store.say("commit", [Verdict.FENCED], [verdict])
    for _ in range(5):
        committer.commit()
        world.clock.move(H)
    assert len(batches(world)) == 2


def test_an_unconfirmed_pre_started_task_is_not_queued(world, committer):
    committer.unconfirmed([RunRef("a", "s:a")], local=True)
    committer.commit()
    assert [change.local for change in batches(world)[0]] == [True]


def test_an_unconfirmed_claim_is_not_renewed(world, committer):
    committer.unconfirmed([RunRef("a", "s:a")])
    committer.commit()
    assert len(world.lease.settling) == 0


# -- back-pressure -----------------------------------------------------------------------------------------


def test_emit_waits_while_too_many_wait(world, committer):
    for n in range(3):
        committer.emit(event(n))
    waiting = gevent.spawn(committer.emit, event(3))
    switch()
    assert not waiting.ready()
    world.store.say("commit", Unavailable("?"))
    with pytest.raises(Unavailable):
        committer.commit()
    committer.commit()
    switch()
    assert waiting.ready()
    committer.commit()
    assert [change for batch in batches(world)[1:] for change in batch] == [event(n) for n in range(4)]


def test_who_waits_for_an_event_goes_on_when_redis_has_answered_it_and_all_before(world, committer):
    first, second = committer.emit(event(1)), committer.emit(event(2, "b"))
    assert not committer.has_sent(first, 0)
    waiting = [gevent.spawn(committer.has_sent, number, 60) for number in (first, second)]
    switch()
    world.store.say("commit", Unavailable("?"))
    with pytest.raises(Unavailable):
        committer.commit()
    switch()
    assert not any(one.ready() for one in waiting)
    committer.commit()
    switch()
    assert [one.value for one in waiting] == [True, True]
    assert committer.has_sent(second, 0)
    assert not committer.has_sent(committer.emit(event(3)), 0)


def test_nobody_waits_for_an_event_that_was_dropped(dropping):
    numbers = [dropping.committer.emit(event(n)) for n in range(20)]
    assert dropping.committer.dropped == 4
    assert dropping.committer.has_sent(numbers[3], 0)
    assert not dropping.committer.has_sent(numbers[4], 0)
    dropping.commit()
    assert dropping.committer.has_sent(numbers[-1], 0)


def test_an_end_never_waits(world, committer):
    for n in range(10):
        committer.put(event(n))
    assert committer.pending == 10


def test_emit_asks_nothing_of_redis_and_does_not_switch(world, committer):
    ran = gevent.spawn(lambda: None)
    for n in range(3):
        committer.emit(event(n))
    assert not ran.started or not ran.ready()  # nobody else ran meanwhile
    assert world.store.calls == []


@pytest.fixture
def dropping():
    return World(timing=Timing(), max_pending=16, max_pending_bytes=1000, when_full="drop")


def refused(world):
    world.store.say("commit", Unavailable("?"))
    with pytest.raises(Unavailable):
        world.committer.commit()


def test_of_too_many_the_oldest_are_dropped_and_counted(dropping):
    committer = dropping.committer
    for n in range(1000):
        committer.emit(event(n))
        assert committer.pending <= 16
    kept = committer.pending
    assert kept + committer.dropped == 1000
    committer.commit()
    assert batches(dropping) == [[event(n) for n in range(1000 - kept, 1000)]]


def test_they_are_bounded_in_bytes_as_well(dropping):
    committer = dropping.committer
    for n in range(50):
        committer.emit(Change("a", "s:a", b"%03d" % n * 100))
    assert committer.pending <= 4
    assert committer.pending + committer.dropped == 50


def test_one_that_is_larger_than_all_room_is_sent_all_the_same(dropping):
    dropping.committer.emit(large := Change("a", "s:a", b"x" * 5000))
    dropping.committer.commit()
    assert batches(dropping) == [[large]]


def test_ends_are_never_dropped_and_keep_their_places(dropping):
    committer, ends = dropping.committer, [end(f"t{n}") for n in range(100)]
    for n, change in enumerate(ends):
        for _ in range(5):
            committer.emit(event(n))
        committer.put(change)
    while committer.commit():
        pass
    sent = [change for batch in batches(dropping) for change in batch]
    assert [change for change in sent if change.trigger] == ends
    assert sent[-6:] == [event(99)] * 5 + [ends[99]]


def test_what_is_on_its_way_is_not_dropped(dropping):
    dropping.committer.emit(event(0))
    refused(dropping)
    for n in range(1, 100):
        dropping.committer.emit(event(n))
    dropping.committer.commit()
    assert batches(dropping) == [[event(0)]] * 2


def test_dropped_events_are_reported_once_in_a_while(dropping, passing, caplog):
    passing(dropping.clock)
    committer = dropping.committer
    for n in range(100):
        committer.emit(event(n))
    answer = [Unavailable("?")] * 30
    dropping.store.say("commit", *answer, lambda changes: committer.end() or [Verdict.OK] * len(changes))
    committer.run()
    reported = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert [text.startswith(f"{committer.dropped} events of tasks were dropped") for text in reported] == [
        True
    ]


def test_the_end_of_the_worker_lets_go_of_those_that_wait(world, committer):
    for n in range(3):
        committer.emit(event(n))
    waiting = gevent.spawn(committer.emit, event(3))
    switch()
    committer.end()
    switch()
    assert waiting.ready()


# -- the loop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "level"), [(Unavailable("away"), "WARNING"), (WrongKeyType("runs"), "ERROR")]
)
def test_the_loop_repeats_with_a_growing_pause(world, committer, passing, caplog, error, level):
    naps = passing(world.clock)
    committer.put(end())
    world.store.say("commit", *[error] * 9, lambda _: committer.end() or [Verdict.OK])
    committer.run()
    assert naps == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]
    assert {record.levelname for record in caplog.records} == {level}
    assert "1 change waits for Redis" in caplog.text


def test_who_waits_for_a_place_learns_each_verdict(world, committer):
    reported = []
    world.on_settled = lambda: reported.append(committer.pending)
    committer.put(end())
    committer.commit()
    assert reported == [0]


def test_a_batch_is_bounded_in_bytes(world):
    for number in range(6):
        world.committer.put(Change(f"t{number}", f"s:{number}", b"x" * (3 * 1024 * 1024)))
    sizes = []
    while size := world.committer.commit():
        sizes.append(size)
    assert sizes == [2, 2, 2]


# -- what Redis never takes --------------------------------------------------------------------------------

LIMIT = 100_000


def limited(changes):
    if sum(len(one.event) + sum(map(len, one.fields.values())) for one in changes) > LIMIT:
        raise Unavailable("connection closed by the server")
    return [Verdict.OK] * len(changes)


def attempt(world, *, renewed=True):
    """One attempt of the loop, a moment after a renewal that was acknowledged (or not)."""
    world.clock.move(H)
    if renewed:
        world.lease.acknowledged([], world.clock())
    world.clock.move(0.1)
    try:
        return world.committer.commit()
    except (Unavailable, Refused):
        return 0


def large(task_id, trigger=Trigger.END, size=2 * LIMIT):
    return Change(task_id, f"s:{task_id}", b"", trigger, {"output": b"x" * size})


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.RETRY])
def test_an_end_that_is_never_taken_becomes_an_error_and_the_others_go_on(world, committer, caplog, trigger):
    world.store.say("commit", *[limited] * 40)
    for change in (end("a"), large("big", trigger), end("c")):
        committer.put(change)
    for _ in range(12):
        attempt(world)
    assert committer.pending == 0
    assert len(world.lease.settling) == 0
    ends = {change.id: change for batch in batches(world) for change in batch}
    assert (ends["big"].run, ends["big"].trigger) == ("s:big", Trigger.FAIL)
    assert "200000 bytes" in ends["big"].fields["error"]
    assert "connection closed by the server" in ends["big"].fields["error"]
    assert "output" not in ends["big"].fields
    assert {ends["a"].trigger, ends["c"].trigger} == {Trigger.END}
    assert "[PT132] task big" in caplog.text


def test_while_nothing_is_acknowledged_every_batch_is_repeated_as_it_was(world, committer):
    """A Redis that is away proves nothing about a batch."""
    world.store.say("commit", *[limited] * 40)
    changes = [end("a"), large("big")]
    for change in changes:
        committer.put(change)
    for _ in range(30):
        attempt(world, renewed=False)
    assert batches(world) == [changes] * 30


@pytest.mark.parametrize("error", [WrongKeyType("runs"), Denied("no right"), FailoverSuspected("another")])
def test_an_error_that_is_no_matter_of_size_never_replaces_an_end(world, committer, error):
    world.store.say("commit", *[error] * 30)
    committer.put(large("big"))
    for _ in range(30):
        world.clock.move(H)
        world.lease.acknowledged([], world.clock())
        with pytest.raises(type(error)):
            committer.commit()
    assert batches(world) == [[large("big")]] * 30


def test_an_event_that_is_never_taken_is_dropped_with_a_warning(world, committer, caplog):
    world.store.say("commit", *[limited] * 40)
    committer.put(Change("a", "s:a", b"x" * 2 * LIMIT))
    committer.put(end("a"))
    for _ in range(12):
        attempt(world)
    assert (committer.pending, committer.dropped) == (0, 1)
    assert batches(world)[-1] == [end("a")]
    assert "task a: dropped an event (200000 bytes)" in caplog.text


def test_a_small_end_that_is_refused_is_kept_and_tried_again_each_h(world, committer, monkeypatch):
    later = []
    monkeypatch.setattr(gevent, "spawn_later", lambda *args: later.append(args))

    def pick(changes):
        if any(change.id == "odd" for change in changes):
            raise Refused("not this one")
        return [Verdict.OK] * len(changes)

    world.store.say("commit", *[pick] * 40)
    committer.put(end("odd"))
    committer.put(end("b"))
    for _ in range(12):
        attempt(world)
    assert later == [(H, committer.put, end("odd"))]
    assert batches(world)[-1] == [end("b")]
    assert "s:odd" in world.lease.settling


def test_ends_that_are_too_large_together_are_sent_apart_at_once_the_next_time(world, committer):
    world.store.say("commit", *[limited] * 60)
    for n in range(4):
        committer.put(large(f"t{n}", size=LIMIT // 2))
    for _ in range(12):
        attempt(world)
    assert committer.pending == 0
    seen = len(batches(world))
    for n in range(4, 8):
        committer.put(large(f"t{n}", size=LIMIT // 2))
    for _ in range(12):
        attempt(world)
    assert all(change.trigger is Trigger.END for batch in batches(world) for change in batch)
    assert [len(batch) for batch in batches(world)[seen:]] == [1, 1, 1, 1]


def test_how_long_redis_has_not_taken_the_batch_is_known(world, committer):
    world.store.say("commit", Unavailable("?"), Unavailable("?"))
    committer.put(end())
    attempt(world, renewed=False)
    attempt(world, renewed=False)
    assert committer.held == pytest.approx(H + 0.1)
    attempt(world)
    assert committer.held == 0
