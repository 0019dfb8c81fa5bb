"""Renewals, the deadline, the kernel's timer."""

import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.errors import Denied, Refused, Unavailable, WrongKeyType
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import NO_FIELDS, Adoption, Change, Claim, Incarnation, RunRef, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from tests.unit.runtime.fakes import World, switch, until

D, K, H = 60.0, 70.0, 5.0


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


def renewed(world):
    return [[ref.id for ref in refs] for (refs,) in world.store.asked("renew")]


def test_nothing_is_renewed_before_it_is_due(world):
    world.launch()
    assert world.heartbeat().beat() is False
    assert renewed(world) == []


def test_a_run_is_renewed_every_h(world):
    world.launch()
    beat = world.heartbeat().beat
    for _ in range(3):
        world.clock.move(H)
        beat()
    assert renewed(world) == [["a"]] * 3


def test_without_runs_redis_is_asked_for_a_sign_of_life_every_h(world):
    world.clock.move(H)
    world.heartbeat().beat()
    assert renewed(world) == [[]]
    assert world.lease.last_ok == world.clock()


def test_the_first_beat_opens_the_claim_gate(world):
    world.clock.move(1000)
    assert not world.lease.may_claim(world.clock())
    world.heartbeat().beat()
    assert world.lease.may_claim(world.clock())


def test_a_chunk_is_1000_and_the_rest_is_due_at_once(world):
    for n in range(1001):
        world.lease.living.add(RunRef(f"t{n}", f"s:{n}"), world.clock())
    world.clock.move(H)
    heartbeat = world.heartbeat()
    assert heartbeat.beat() is True
    assert heartbeat.beat() is False
    assert [len(ids) for ids in renewed(world)] == [1000, 1]


def test_the_end_that_waits_for_redis_is_renewed_too(world):
    world.committer.put(change := end("z", "s:z"))
    world.clock.move(H)
    world.heartbeat().beat()
    assert renewed(world) == [[change.id]]


def end(task_id, run):
    return Change(task_id, run, b"", Trigger.END)


def test_the_deadline_counts_from_the_sending_not_from_the_answer(world):
    run = world.launch()
    sent = world.clock.now + H
    world.clock.move(H)
    world.store.say("renew", lambda _refs: world.clock.move(2.5) or {})  # the answer takes 2.5 s
    heartbeat = world.heartbeat()
    heartbeat.beat()
    assert world.lease.living.oldest() == sent
    world.clock.now = sent + D
    assert heartbeat.check_deadline() is False
    world.clock.now = sent + D + 0.01
    assert heartbeat.check_deadline() is True
    assert run.stop_reason is StopReason.HAND_BACK


def crowd(world, limit, number=1000):
    """Runs whose renewal is refused where it is of more than `limit` at once."""

    def renew(refs):
        if len(refs) > limit:
            raise Unavailable("connection closed by the server")
        return {}

    world.store.say("renew", *[renew] * 2000)
    for n in range(number):
        world.lease.living.add(RunRef(f"t{n}", f"s:{n}"), world.clock())


def beat_for(world, heartbeat, seconds):
    """Beats as the loop does; how many calls failed."""
    failed, until = 0, world.clock() + seconds
    while world.clock() < until:
        try:
            more = heartbeat.beat()
        except Unavailable:
            failed += 1
            world.clock.move(1)
        else:
            world.clock.move(0.01 if more else world.lease.rest(world.clock()))
    return failed


def test_renewals_that_are_refused_for_their_size_go_in_smaller_ones(world):
    crowd(world, 300)
    heartbeat = world.heartbeat()
    assert beat_for(world, heartbeat, 3 * D) < 10
    assert heartbeat.check_deadline() is False
    assert world.clock() - world.lease.living.oldest() <= 1.2 * H
    assert beat_for(world, heartbeat, D) == 0  # the number is known
    assert beat_for(world, heartbeat, 10 * D) <= 8  # and tried again after a while


def test_after_an_outage_renewals_are_soon_as_large_as_before(world):
    crowd(world, 0)
    heartbeat = world.heartbeat()
    for _ in range(5):  # in all that time
        beat_for(world, heartbeat, D / 3)
        world.store._lined_up["renew"].clear()
        beat_for(world, heartbeat, 2 * H)
        assert heartbeat.check_deadline() is False
        assert len(world.store.asked("renew")[-1][0]) > 500
        crowd(world, 0, 0)


@pytest.mark.parametrize("error", [Unavailable("gone"), Refused("OOM", "OOM"), WrongKeyType("string")])
def test_a_renewal_that_fails_does_not_move_the_deadline(world, error):
    world.launch()
    before = world.lease.living.oldest(), world.lease.last_ok
    world.clock.move(H)
    world.store.say("renew", error)
    with pytest.raises(type(error)):
        world.heartbeat().beat()
    assert (world.lease.living.oldest(), world.lease.last_ok) == before


def test_no_answer_throws_the_connection_away(world):
    world.clock.move(H)
    world.store.say("renew", Unavailable("gone"))
    with pytest.raises(Unavailable):
        world.heartbeat().beat()
    assert world.store.asked("reset") == [()]


def test_a_renewal_that_hangs_is_cut_off(demo):
    world = World(demo)  # C is 3 ms
    world.clock.move(world.timing.heartbeat)
    world.store.say("renew", lambda _refs: gevent.sleep(5))
    with pytest.raises(Unavailable, match="took too long"):
        world.heartbeat().beat()
    assert world.store.asked("reset") == [()]


def test_after_d_every_run_is_released_under_a_new_session(demo):
    world = World(demo)
    world.launch("a")
    world.launch("b")
    session = world.ids.session
    world.clock.move(world.timing.lease * 1.01)
    heartbeat = world.heartbeat()
    assert heartbeat.check_deadline() is True
    until(lambda: not world.executor.living)
    assert {trigger for _, trigger in world.ends()} == {Trigger.RELEASE}
    assert len(world.ends()) == 2
    assert world.ids.session == session + 1
    assert heartbeat.check_deadline() is False


def test_the_operators_stop_outlives_the_loss(demo, gate):
    world = World(demo)
    run = world.launch()
    run.stop_reason = StopReason.STOP
    world.clock.move(world.timing.lease * 1.01)
    world.heartbeat().check_deadline()
    assert run.stop_reason is StopReason.STOP


def test_one_run_renewed_does_not_hide_one_that_is_not(world):
    world.launch("a")
    world.clock.move(50)
    world.launch("b")
    world.clock.move(10.01)
    assert world.heartbeat().check_deadline() is True


def test_a_late_claim_counts_from_its_own_sending(world):
    """Claimed by a call sent at 0 and answered at 20, beside a run that was renewed at 19."""
    sent = world.clock()
    world.clock.move(19)
    world.launch("a")
    world.clock.move(1)
    world.executor.launch(Claim("b", "s:b", Verdict.OK, "demo", b"{}"), sent)
    switch()
    world.clock.now = sent + D + 0.01
    assert world.heartbeat().check_deadline() is True


@pytest.mark.parametrize(
    ("verdict", "stop_reason"),
    [
        (Command.STOP, StopReason.STOP),
        (Command.RELOAD, StopReason.RELOAD),
        (Verdict.GONE, StopReason.FORGET),
        (Verdict.FENCED, StopReason.FENCED),
    ],
)
def test_what_a_renewal_brings_reaches_the_run(world, verdict, stop_reason):
    run = world.launch()
    world.clock.move(H)
    world.store.say("renew", {run.ref: verdict})
    world.heartbeat().beat()
    until(lambda: run.stop_reason is stop_reason)


def test_what_is_meant_for_another_run_of_the_id_is_ignored(world):
    run = world.launch()
    world.executor.renewed(RunRef("a", "s0:9"), Verdict.FENCED)
    world.executor.renewed(RunRef("unknown", "s0:9"), Verdict.STOP)
    world.executor.renewed(run.ref, Verdict.OK)
    assert run.stop_reason is None


# -- the kernel's timer ------------------------------------------------------------------------------------


def test_the_timer_is_armed_before_the_first_run_begins(timer):
    armed_at_start = []

    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            armed_at_start.append(list(timer))

    World(Demo, timing=Timing(), hard=True).launch()
    assert armed_at_start == [[K]]


def test_a_claim_that_was_long_under_way_has_less_time(demo, timer):
    world = World(demo, timing=Timing(), hard=True)
    world.clock.move(7)
    world.executor.launch(Claim("a", "s:1", Verdict.OK, "demo"), world.clock() - 7)
    assert timer == [K - 7]


def test_the_timer_is_set_again_to_k_less_the_age(demo, timer):
    world = World(demo, timing=Timing(), hard=True)
    world.launch()
    heartbeat = world.heartbeat()
    world.clock.move(4)
    heartbeat.check_deadline()
    world.clock.move(1)
    world.store.say("renew", lambda _refs: world.clock.move(2) or {})
    heartbeat.beat()
    assert timer == [K, K - 4, K - 2]


def test_a_renewal_that_fails_does_not_prolong_the_timer(demo, timer):
    world = World(demo, timing=Timing(), hard=True)
    world.launch()
    world.clock.move(H)
    world.store.say("renew", Unavailable("gone"))
    heartbeat = world.heartbeat()
    with pytest.raises(Unavailable):
        heartbeat.beat()
    heartbeat.check_deadline()
    assert timer == [K, K - H]


@pytest.mark.parametrize("verdict", [Verdict.GONE, Verdict.FENCED])
def test_the_answer_that_a_run_is_not_known_does_not_prolong_its_time(demo, timer, verdict):
    """A worker that is frozen right behind that answer must be dead before the task is handed on."""
    world = World(demo, timing=Timing(), hard=True)
    gone, kept = world.launch("a"), world.launch("b")
    heartbeat = world.heartbeat()
    world.clock.move(H)
    world.store.say("renew", {gone.ref: verdict})
    heartbeat.beat()
    assert timer[-1] == K - H
    world.clock.move(H)
    heartbeat.beat()
    assert world.store.asked("renew")[-1] == ([kept.ref],)  # it dies, and is not asked for again
    assert timer[-1] == K - 2 * H
    for _ in range(6):
        switch()
    assert list(world.executor.living) == ["b"]
    heartbeat.check_deadline()
    assert timer[-1] == K


def test_without_runs_the_timer_is_off(demo, timer, gate):
    world = World(demo, timing=Timing(), hard=True)
    world.launch()
    gate.set()
    switch()
    assert timer == [K, 0.0]
    assert not world.kill_timer.armed
    world.heartbeat().check_deadline()
    assert timer[-1] == 0.0


# -- the loop ----------------------------------------------------------------------------------------------


def test_after_a_failure_the_loop_tries_again_soon(world, passing, caplog):
    naps = passing(world.clock)
    heartbeat = world.heartbeat()
    world.launch()
    world.clock.move(40)
    world.store.say("renew", Unavailable("gone"), lambda _refs: heartbeat.end() or {})
    heartbeat.run()
    assert naps[0] == pytest.approx(1.0)
    assert "does not acknowledge" in caplog.text
    assert "tasks stop in 20 s" in caplog.text
    assert "answers again" in caplog.text


def test_the_first_acknowledged_renewal_is_reported_once(world):
    notified = []
    heartbeat = world.heartbeat(on_reached=lambda: notified.append(world.clock()))
    world.clock.move(H)
    world.store.say("renew", Unavailable("gone"))
    with pytest.raises(Unavailable):
        heartbeat.beat()
    assert notified == []
    heartbeat.beat()
    world.clock.move(H)
    heartbeat.beat()
    assert notified == [world.clock() - H]


# -- the ping of the feed ------------------------------------------------------------------------------------


def verbs(world):
    return [verb for verb, _ in world.store.calls]


def test_the_ping_goes_where_the_renewal_went_just_before(world):
    sent = []
    heartbeat = world.heartbeat(feed_session="s", on_ping=lambda error: sent.append((error, verbs(world))))
    heartbeat.request_ping()
    heartbeat.beat()
    assert verbs(world) == ["renew", "ping"]  # though no renewal was due
    assert world.store.asked("ping") == [("s",)]
    assert sent == [(None, ["renew"])]  # told before it can be heard
    heartbeat.beat()
    assert verbs(world) == ["renew", "ping"]


@pytest.mark.parametrize("error", [Unavailable("gone"), Denied("NOPERM")])
def test_a_ping_that_fails_is_no_failure_of_the_renewal_and_goes_again(world, error):
    notified = []
    heartbeat = world.heartbeat(on_ping=notified.append)
    world.clock.move(H)
    world.store.say("ping", error)
    heartbeat.request_ping()
    heartbeat.beat()
    assert world.lease.last_ok == world.clock()
    assert notified == [None, error]
    heartbeat.beat()
    assert verbs(world) == ["renew", "ping", "reset", "renew", "ping"]


def test_without_a_renewal_there_is_no_ping(world):
    heartbeat = world.heartbeat()
    heartbeat.request_ping()
    world.store.say("renew", Refused("NOREPLICAS"))
    with pytest.raises(Refused):
        heartbeat.beat()
    assert world.store.asked("ping") == []


def test_a_request_ends_the_rest_of_the_loop(world):
    heartbeat = world.heartbeat(feed_session="s")
    world.clock.move(H)
    loop = gevent.spawn(heartbeat.run)
    until(lambda: verbs(world) == ["renew"])
    heartbeat.request_ping()
    until(lambda: world.store.asked("ping"))
    heartbeat.end()
    until(loop.ready)


# -- failovers ---------------------------------------------------------------------------------------------


def seen(world, server="s1", marker="m1", age=-1.0):
    world.store.incarnation = Incarnation(id=marker, server=server, age=age)


def failed_over(world, **notified):
    """A first renewal, then one that another server answers."""
    seen(world)
    world.clock.move(H)
    heartbeat = world.heartbeat(**notified)
    heartbeat.beat()
    seen(world, "s2", age=0.5)
    world.clock.move(H)
    return heartbeat


def test_another_server_stops_the_claims(world, caplog):
    notified = []
    heartbeat = failed_over(world, on_other_server=lambda: notified.append(world.clock()))
    heartbeat.beat()
    heartbeat.beat()
    assert notified == [world.clock()]
    assert not world.lease.may_claim(world.clock())
    assert world.lease.generation == 1
    assert "a different server answers" in caplog.text
    assert "for 80 s" in caplog.text


@pytest.mark.parametrize("verdict", [Verdict.GONE, Verdict.FENCED])
def test_a_run_that_the_new_server_forgot_is_put_back(world, verdict):
    run = world.launch(epoch=7)
    heartbeat = failed_over(world)
    world.store.say("renew", {run.ref: verdict})
    heartbeat.beat()
    assert world.store.asked("adopt") == [([Adoption("a", run.ref.run, 7)], "w")]
    assert run.stop_reason is None
    assert world.lease.living.oldest() == world.clock()


def test_what_cannot_be_put_back_has_no_more_time(demo, timer):
    world = World(demo, timing=Timing(), hard=True)
    run = world.launch()
    heartbeat = failed_over(world)
    world.store.say("renew", {run.ref: Verdict.GONE})
    world.store.say("adopt", [Verdict.FENCED])
    heartbeat.beat()
    assert timer[-1] == K - H


def test_what_cannot_be_put_back_stops(world):
    run = world.launch()
    heartbeat = failed_over(world)
    world.store.say("renew", {run.ref: Verdict.FENCED})
    world.store.say("adopt", [Verdict.FENCED])
    heartbeat.beat()
    assert run.stop_reason is StopReason.FENCED


def test_a_run_whose_putting_back_failed_is_not_acknowledged_and_tried_again(world):
    run = world.launch()
    heartbeat = failed_over(world)
    before = world.lease.living.oldest()
    world.store.say("renew", {run.ref: Verdict.GONE}, {run.ref: Verdict.GONE})
    world.store.say("adopt", Unavailable("gone"))
    with pytest.raises(Unavailable):
        heartbeat.beat()
    assert world.lease.living.oldest() == before
    assert run.stop_reason is None
    heartbeat.beat()
    assert len(world.store.asked("adopt")) == 2
    assert world.lease.living.oldest() == world.clock()


def test_without_a_failover_nothing_is_put_back(world):
    run = world.launch()
    seen(world)
    world.clock.move(H)
    world.store.say("renew", {run.ref: Verdict.FENCED})
    world.heartbeat().beat()
    assert world.store.asked("adopt") == []
    assert run.stop_reason is StopReason.FENCED


def test_a_run_that_is_over_is_not_put_back(world, gate):
    run = world.launch()
    gate.set()
    until(lambda: run.over)
    heartbeat = failed_over(world)
    world.store.say("renew", {run.ref: Verdict.GONE})
    heartbeat.beat()
    assert world.store.asked("adopt") == []


def lose_all_data(world, *runs):
    """Redis comes back without them; the heartbeat, which has seen that."""
    seen(world)
    heartbeat = world.heartbeat()
    world.clock.move(world.timing.heartbeat)
    heartbeat.beat()
    seen(world, marker="m2")
    world.clock.move(world.timing.heartbeat)
    world.store.say("renew", {run.ref: Verdict.GONE for run in runs})
    heartbeat.beat()
    return heartbeat


@pytest.mark.parametrize(("setting", "restored"), [("restore", [("a", "demo", b"{}", b"")]), ("stop", [])])
def test_with_all_data_lost_tasks_are_queued_again_where_that_is_wanted(demo, setting, restored):
    world = World(demo, on_data_loss=setting)
    run = world.launch()
    local = world.launch("b", local=True)
    lose_all_data(world, run, local)
    until(lambda: not world.executor.living)
    until(lambda: len(world.ends()) >= 2)
    assert world.store.asked("restore") == [
        (*one, ("paused", False), ("fields", NO_FIELDS), ("marker", "m2")) for one in restored
    ]
    assert len(world.lease.settling) == 0


def test_a_restore_is_tried_again_until_redis_takes_it(demo, caplog):
    world = World(demo, on_data_loss="restore")
    world.store.say("restore", Unavailable("away"), Refused("full"), Verdict.OK)
    run = world.launch()
    lose_all_data(world, run)
    until(lambda: "queued again" in caplog.text)
    until(world.ends)
    call = ("a", "demo", b"{}", b"", ("paused", False), ("fields", NO_FIELDS), ("marker", "m2"))
    assert world.store.asked("restore") == [call] * 3
    assert caplog.text.count("waiting to be restored") == 2
    assert len(world.lease.settling) == 0


def test_a_restore_waits_where_all_data_is_lost_again(demo, caplog):
    """A call without an answer may have come through before: another worker may run the task, cut off now."""
    world = World(demo, on_data_loss="restore")
    world.store.say("restore", Unavailable("no answer"), Verdict.MOVED, Verdict.OK)
    run = world.launch()
    heartbeat = lose_all_data(world, run)
    until(lambda: len(world.store.asked("restore")) == 2)
    seen(world, marker="m3")
    world.clock.move(world.timing.heartbeat)
    heartbeat.beat()
    world.clock.move(world.timing.longest_kill - 1)
    gevent.sleep(3 * world.timing.tick)
    assert [dict(call[4:])["marker"] for call in world.store.asked("restore")] == ["m2", "m2"]
    world.clock.move(1)
    until(lambda: "queued again" in caplog.text)
    assert dict(world.store.asked("restore")[-1][4:])["marker"] == "m3"
    until(world.ends)


def test_a_hash_that_alone_is_gone_is_not_restored(demo):
    world = World(demo, on_data_loss="restore")
    run = world.launch()
    seen(world)
    world.clock.move(world.timing.heartbeat)
    world.store.say("renew", {run.ref: Verdict.GONE})
    world.heartbeat().beat()
    until(world.ends)
    assert world.store.asked("restore") == []
