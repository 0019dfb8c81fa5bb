"""The table of runs: requests, stop and kill, reload."""

import os
from contextlib import suppress

import attrs
import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.errors import Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Claim, InForce, RunRef, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import COMMIT_BATCH, Timing
from pytask.runtime.runs.executor import ASKED_AT_ONCE
from pytask.runtime.runs.refusals import LARGE
from pytask.runtime.runs.stopping import EXIT_STUCK
from tests.unit.runtime.fakes import FAST, World, switch, until, won

KILLED = gevent.GreenletExit


@pytest.fixture
def log():
    return []


@pytest.fixture
def demo(gate, log):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            log.append(self.task_data)
            gate.wait()

    return Demo


@pytest.fixture
def stubborn(gate):
    class Stubborn(Task):
        class Config:
            NAME = "demo"

        def start(self):
            while not gate.is_set():
                with suppress(KILLED):
                    gate.wait()

    return Stubborn


@pytest.fixture
def exits(monkeypatch):
    codes = []

    def leave(code):
        codes.append(code)
        raise KILLED  # ends the greenlet that would have ended the process

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    return codes


def gone(world):
    until(lambda: not world.executor.living)


# -- starting ----------------------------------------------------------------------------------------------


def test_a_function_nobody_knows_here_is_given_back(demo):
    world = World(demo)
    assert world.launch(function="other") is None
    assert world.ends() == [("s1:1", Trigger.RELEASE)]


def test_a_claim_beside_a_dying_older_run_is_released_when_it_had_time(stubborn, monkeypatch):
    world = World(stubborn)
    old = world.launch()
    world.executor.stop_reason(old, StopReason.FENCED)
    later = []
    monkeypatch.setattr(gevent, "spawn_later", lambda *args: later.append(args))
    new = RunRef("a", "s1:new")
    world.executor.launch(Claim("a", new.run, Verdict.OK, "demo", b"{}"), world.clock())
    switch()
    assert world.executor.living["a"] is old
    assert new.run in world.lease.settling  # renewed until it is handed back
    assert world.ends() == []
    ((seconds, fn, *args),) = later
    assert seconds == world.timing.heartbeat
    fn(*args)
    assert world.ends() == [(new.run, Trigger.RELEASE)]


def test_places_are_taken_by_runs_and_by_ends_beyond_one_commit(demo, gate):
    world = World(demo)
    freed = []
    world.on_place = lambda: freed.append(world.executor.occupied)
    for number in range(COMMIT_BATCH + 2):
        world.launch(str(number))
    assert world.executor.occupied == COMMIT_BATCH + 2
    gate.set()
    switch()
    assert world.executor.living == {}
    # Callers that wait for a slot are notified as each becomes free, not when the ends are acknowledged.
    assert len(freed) == COMMIT_BATCH + 2
    assert world.executor.occupied == 2
    world.commit()
    assert world.executor.occupied == 0


# -- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop_reason", "trigger"),
    [
        (StopReason.STOP, Trigger.STOP),
        (StopReason.HAND_BACK, Trigger.RELEASE),
        (StopReason.FORGET, Trigger.RELEASE),
    ],
)
def test_a_dead_run_is_settled_as_was_requested(demo, stop_reason, trigger):
    world = World(demo)
    run = world.launch()
    world.executor.stop_reason(run, stop_reason)
    gone(world)
    assert world.ends() == [("s1:1", trigger)]
    assert world.lease.living.oldest() is None


def test_nothing_is_written_for_a_fenced_run(demo):
    world = World(demo)
    world.executor.stop_reason(world.launch(), StopReason.FENCED)
    gone(world)
    assert world.commit() == []
    assert world.executor.occupied == 0


@pytest.mark.parametrize(
    ("first", "second", "trigger"),
    [
        (StopReason.RELOAD, StopReason.STOP, Trigger.STOP),
        (StopReason.STOP, StopReason.RELOAD, Trigger.STOP),
        (StopReason.HAND_BACK, StopReason.STOP, Trigger.STOP),
        (StopReason.STOP, StopReason.HAND_BACK, Trigger.STOP),
        (StopReason.RELOAD, StopReason.HAND_BACK, Trigger.RELEASE),
        (StopReason.HAND_BACK, StopReason.RELOAD, Trigger.RELEASE),
        (StopReason.STOP, StopReason.FORGET, Trigger.RELEASE),
    ],
)
def test_the_larger_request_wins_in_either_order(demo, first, second, trigger):
    world = World(demo)
    run = world.launch()
    world.executor.stop_reason(run, first)
    world.executor.stop_reason(run, second)
    gone(world)
    assert world.ends() == [("s1:1", trigger)]
    assert world.store.asked("reload") == []


def test_fenced_outweighs_all(demo):
    world = World(demo)
    run = world.launch()
    world.executor.stop_reason(run, StopReason.STOP)
    world.executor.stop_reason(run, StopReason.FENCED)
    gone(world)
    assert world.commit() == []


def test_a_run_that_ends_by_itself_as_it_is_stopped_is_stopped(demo, gate, log):
    demo.stop = lambda _: log.append("stop() called")
    world = World(demo)
    run = world.launch()
    gate.set()
    switch(1)
    world.executor.stop_reason(run, StopReason.STOP)
    gone(world)
    assert [trigger for _, trigger in world.ends()] in ([Trigger.STOP], [Trigger.END])
    world.executor.stop_reason(run, StopReason.FORGET)
    assert len(world.ends()) == 1


def test_a_request_for_an_unknown_id_is_nothing(demo):
    World(demo).executor.ask("nobody", StopReason.STOP)


def test_of_many_runs_only_some_are_stopped_at_a_time(demo):
    world = World(demo, timing=Timing())  # with milliseconds of grace so many kills would run out of them
    runs = [world.launch(f"t{number}") for number in range(5 * ASKED_AT_ONCE)]
    asking = gevent.spawn(world.executor.hand_back_all)
    busy = []
    while world.executor.living:
        gevent.sleep(0)
        busy.append(sum(run.actor is not None and not run.actor.ready() for run in runs))
    assert max(busy) <= 3 * ASKED_AT_ONCE
    assert asking.get() == len(runs)


def test_hand_back_all_asks_each_run_once(demo):
    world = World(demo)
    world.launch("a")
    world.launch("b")
    assert world.executor.hand_back_all() == 2
    assert world.executor.hand_back_all() == 0


# -- the ladder --------------------------------------------------------------------------------------------


def test_stop_is_called_once_and_then_the_children_are_killed(gate, log):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            self.spawn(self.loop)
            gevent.spawn(gevent.spawn, self.loop)

        def loop(self):
            try:
                gate.wait()
            finally:
                log.append("killed")

        def stop(self):
            log.append("stop")

    world = World(Demo)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert log == ["stop", "killed", "killed"]
    assert world.ends() == [("s1:1", Trigger.STOP)]


def test_a_stop_that_ends_the_work_needs_no_kill(log):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def __init__(self, _):
            self.flag = gevent.event.Event()

        def start(self):
            self.flag.wait()
            log.append("ended in peace")

        def stop(self):
            self.flag.set()
            gevent.sleep(0)

    world = World(Demo)
    world.executor.stop_reason(world.launch(), StopReason.HAND_BACK)
    gone(world)
    assert log == ["ended in peace"]


def test_a_stop_that_only_asks_lets_start_finish(log):
    class Demo(Task):
        class Config:
            NAME = "demo"

        asked = False

        def start(self):
            while not self.asked:
                gevent.sleep(0.01)
            gevent.sleep(0.05)
            log.append("finished")

        def stop(self):
            self.asked = True

    world = World(Demo, timing=Timing().scaled(1))
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert log == ["finished"]
    assert world.ends() == [("s1:1", Trigger.STOP)]


def test_a_start_that_does_not_heed_it_is_killed_in_time(gate, demo, caplog):
    demo.stop = lambda _: None
    world = World(demo)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert "PT042" not in caplog.text


def test_a_stop_that_ends_nothing_costs_the_grace_and_that_is_said_once_per_class(demo, caplog):
    class Other(demo):
        class Config:
            NAME = "other"

        def stop(self, reason):
            pass

    demo.stop = lambda _: None
    world = World(demo, Other)
    for function in ("demo", "demo", "other", "other"):
        world.executor.stop_reason(world.launch(function=function), StopReason.HAND_BACK)
        gone(world)
    assert caplog.text.count("[PT179] task a: stop() returned, and the task did not end") == 2
    for name in ("Demo", "Other"):
        assert caplog.text.count(f"of {name} tasks waits this long: let stop() end start(), or do") == 1
    assert "in start at " in caplog.text, "where it is"


def test_a_stop_that_ends_its_task_is_no_reason_for_a_hint(demo, gate, caplog):
    demo.stop = lambda _: gate.set()
    world = World(demo)
    world.executor.stop_reason(world.launch(), StopReason.HAND_BACK)
    gone(world)
    assert "PT179" not in caplog.text


def test_a_stop_that_hangs_is_capped_and_killed(demo, gate, caplog):
    demo.stop = lambda _: gate.wait()
    world = World(demo)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert "stop() did not return" in caplog.text
    assert world.ends() == [("s1:1", Trigger.STOP)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), gevent.Timeout(1)])
def test_a_stop_that_raises_is_logged(demo, caplog, error):
    def stop(_):
        raise error

    demo.stop = stop
    world = World(demo)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert "task a: stop() raised" in caplog.text
    assert world.ends() == [("s1:1", Trigger.STOP)]


def test_a_run_killed_before_its_first_switch_is_settled(demo, log):
    world = World(demo)
    ref = RunRef("a", "s1:0")
    world.executor.launch(Claim("a", ref.run, Verdict.OK, "demo", b"{}"), world.clock())
    run = world.executor.living["a"]
    run.greenlet.kill(block=False)
    world.executor.stop_reason(run, StopReason.HAND_BACK)
    gone(world)
    assert log == []
    assert world.ends() == [(ref.run, Trigger.RELEASE)]


def test_a_child_born_during_the_kill_is_killed_too(gate, log, caplog):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            try:
                gate.wait()
            finally:
                gevent.spawn(self.last_words)

        def last_words(self):
            try:
                gate.wait()
            finally:
                log.append("killed")

    world = World(Demo)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert log in ([], ["killed"])  # before or after its first switch
    assert "survives being killed" not in caplog.text
    assert world.ends() == [("s1:1", Trigger.STOP)]


# -- a run that will not die -------------------------------------------------------------------------------


def stop_timeouts(world):
    return [change.event for change in world.commit() if b"stop-timeout" in change.event]


def test_stopped_by_the_operator_it_stays_registered_until_it_dies(stubborn, gate, log, caplog):
    stubborn.stop = lambda _: log.append("stop")
    world = World(stubborn, hard=False)
    run = world.launch()
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: stop_timeouts(world))
    assert "a" in world.executor.living
    assert run.ref.run in world.lease.living
    assert world.ends() == []
    assert world.executor.stopping.stuck == ("a",)  # shown to the doctor
    gate.set()
    gone(world)
    assert world.executor.stopping.stuck == ()
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert log == ["stop"]
    assert "survives being killed" in caplog.text


def test_the_ladder_is_climbed_again_without_a_second_stop(stubborn, log):
    stubborn.stop = lambda _: log.append("stop")
    world = World(stubborn)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    until(lambda: len(stop_timeouts(world)) >= 2)
    assert world.ends() == []
    assert log == ["stop"]


@pytest.mark.parametrize("stop_reason", [StopReason.HAND_BACK, StopReason.FORGET, StopReason.FENCED])
def test_what_must_not_go_on_ends_the_process(stubborn, exits, timer, stop_reason):
    world = World(stubborn, hard=True)
    world.executor.stop_reason(world.launch(), stop_reason)
    until(lambda: exits)
    assert exits == [EXIT_STUCK] == [70]
    assert world.commit() == []


@pytest.mark.parametrize(
    "stop_reason", [StopReason.STOP, StopReason.TIMEOUT, StopReason.RELOAD, StopReason.MOVE]
)
def test_so_does_any_other_once_the_lease_is_lost(stubborn, exits, timer, stop_reason):
    world = World(stubborn, hard=True)
    world.executor.stop_reason(world.launch(), stop_reason)
    world.clock.move(world.timing.lease * 1.01)
    until(lambda: exits)
    assert exits == [70]


def test_a_timeout_that_is_ignored_is_tried_again_and_the_worker_lives(stubborn, exits, timer, gate):
    world = World(stubborn, hard=True)
    old = world.launch()
    world.executor.stop_reason(old, StopReason.TIMEOUT)
    until(lambda: len(stop_timeouts(world)) >= 2)
    assert exits == []
    assert world.executor.living["a"] is old
    gate.set()
    until(lambda: not world.executor.living)


def test_a_reload_that_is_ignored_is_tried_again_and_the_worker_lives(stubborn, exits, timer, gate):
    world = World(stubborn, hard=True)
    old = world.launch()
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: len(stop_timeouts(world)) >= 2)
    assert exits == []
    assert world.executor.living["a"] is old
    assert world.store.asked("reload") == []  # nothing begins beside it
    gate.set()
    until(lambda: world.store.asked("reload"))


def test_a_stop_wins_over_a_reload_that_is_ignored(stubborn, exits, timer, gate):
    world = World(stubborn, hard=True)
    run = world.launch()
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: stop_timeouts(world))
    world.executor.stop_reason(run, StopReason.STOP)
    gate.set()
    gone(world)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert world.store.asked("reload") == []
    assert exits == []


def test_the_items_of_a_pool_are_killed_one_by_one_within_one_ladder(gate, caplog):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            for _ in range(40):
                with suppress(KILLED):
                    gate.wait()

    world = World(Demo)
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    gone(world)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert "survives being killed" not in caplog.text


def test_without_the_hard_deadline_it_is_tried_again(stubborn, exits, gate):
    world = World(stubborn, hard=False)
    world.executor.stop_reason(world.launch(), StopReason.HAND_BACK)
    for _ in range(60):
        gevent.sleep(0.001)
    assert world.ends() == []
    gate.set()
    gone(world)
    assert world.ends() == [("s1:1", Trigger.RELEASE)]
    assert exits == []


@pytest.mark.parametrize("hard", [True, False])
def test_at_shutdown_it_is_left_running(stubborn, exits, timer, caplog, gate, hard):
    world = World(stubborn, hard=hard)
    run = world.launch()
    world.executor.leaving = True
    world.executor.hand_back_all()
    for _ in range(20):
        switch()
    until(lambda: "survives being killed" in caplog.text)
    assert "a" in world.executor.living
    assert world.commit() == []
    assert exits == []
    gate.set()  # it ends after all, while the worker is still there: then it is released like the others
    until(run.actor.ready)
    assert [change.trigger for change in world.commit()] == [Trigger.RELEASE]
    assert world.executor.living == {}


# -- reload ------------------------------------------------------------------------------------------------


def test_reload_is_a_new_run_with_fresh_data(demo, log):
    world = World(demo)
    old = world.launch(data=b'{"n": 1}')
    world.store.say("reload", lambda _old, new, *_: won(new, data=b'{"n": 2}', epoch=9))
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, old))
    switch()
    new = world.executor.living["a"]
    assert log == [{"n": 1}, {"n": 2}]
    assert (old.ref.run, new.ref.run, new.epoch) == ("s1:1", "s1:2", 9)
    assert new.task is not old.task
    lived = ("lived", InForce("demo", b'{"n": 1}'))
    assert world.store.asked("reload") == [(old.ref, new.ref, "w", 16 * 1024 * 1024, b"", lived)]
    assert world.commit() == []
    assert ("s1:1" in world.lease.living, "s1:2" in world.lease.living) == (False, True)


def test_the_old_run_is_dead_before_the_new_one_is_asked_for(demo):
    world = World(demo)
    old = world.launch()
    alive = []
    world.store.say("reload", lambda _old, new, *_: alive.extend(old.alive()) or won(new))
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.store.asked("reload"))
    assert alive == []


BAD = {
    "no JSON": (b"{oops", "$", "is not JSON"),
    "no object": (b"[1]", "$", "must be a JSON object"),
    "of another type": (b'{"n":"many"}', "$.n", "Expected `int`"),
    "with an unknown key": (b'{"n":1,"m":2}', "$.m", "unknown field `m`"),
    "without a key": (b"{}", "$.n", "missing required field `n`"),
    "that a validator refuses": (b'{"n":-1}', "$", "not negative"),
    "whose validator ends the process": (b'{"n":-2}', "$", "SystemExit"),
}


@pytest.fixture
def strict(demo):
    def positive(_self, _field, value):
        if value == -2:
            raise SystemExit(3)
        if value < 0:
            raise ValueError("not negative, please")

    demo.Config.DATA = attrs.make_class("Data", {"n": attrs.field(type=int, validator=positive)})
    return demo


@pytest.mark.parametrize("data", BAD)
def test_a_reload_with_bad_data_is_refused_and_the_run_goes_on(strict, log, data):
    raw, path, reason = BAD[data]
    world = World(strict)
    run = world.launch(data=b'{"n": 1}')
    world.store.say("preview", lambda ref, _most: won(ref, data=raw, epoch=7))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.store.asked("refuse"))
    switch()
    ((judged, where, why, force),) = world.store.asked("refuse")
    assert (judged.run, judged.data, judged.epoch, where) == ("s1:1", raw, 7, path)
    assert reason in why
    assert force == InForce("demo", b'{"n": 1}')
    assert world.store.asked("reload") == []
    assert world.executor.living["a"] is run
    assert (run.stop_reason, run.actor, run.over) == (None, None, False)
    assert len(log) == 1
    world.executor.stop_reason(run, StopReason.STOP)  # and it may be steered as before
    gone(world)
    assert world.ends() == [("s1:1", Trigger.STOP)]


def test_data_over_the_limit_or_a_missing_function_are_refused_at_a_reload(demo):
    world = World(demo)
    run = world.launch()
    world.store.say("preview", lambda ref, _most: won(ref, data=None, oversize=1 << 30))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.store.asked("refuse"))
    world.store.say("preview", lambda ref, _most: won(ref, function=""))
    until(lambda: not world.executor.reloads._judged)
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: len(world.store.asked("refuse")) == 2)
    assert [why.split(" has ")[0] for _, _, why, _ in world.store.asked("refuse")] == ["data", "the hash"]
    assert world.executor.living["a"] is run


def test_better_data_that_comes_before_the_refusal_is_looked_at(demo, log):
    world = World(demo)
    old = world.launch()
    world.store.say("preview", lambda ref, _most: won(ref, data=b"{oops"))
    world.store.say("refuse", Verdict.MOVED)
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, old))
    assert len(world.store.asked("preview")) == 2


def test_worse_data_that_comes_while_the_old_run_is_stopped_is_refused_by_the_new_one(demo, log):
    world = World(demo)
    old = world.launch()
    world.store.say("preview", lambda ref, _most: won(ref, data=b'{"n": 2}'))
    world.store.say("reload", lambda _old, new, *_: won(new, data=b"{oops", epoch=9))
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.store.asked("refuse") and len(log) == 2)
    ((judged, _, _, force),) = world.store.asked("refuse")
    assert (judged.run, judged.data) == ("s1:2", b"{oops")
    assert force == InForce("demo", b'{"n": 2}')
    assert log[-1] == {"n": 2}
    assert world.commit() == []


@pytest.mark.parametrize("verdict", [Verdict.FENCED, Verdict.GONE, Verdict.UNRECOGNIZED])
def test_a_reload_of_a_run_that_is_not_ours_any_more_stops_nothing(demo, verdict):
    world = World(demo)
    run = world.launch()
    world.store.say("preview", lambda ref, _most: Claim(ref.id, ref.run, verdict))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.store.asked("preview") and not world.executor.reloads._judged)
    assert (run.stop_reason, world.executor.living["a"]) == (None, run)


def test_a_stop_during_the_look_is_carried_out_and_nothing_begins(demo, log):
    world = World(demo)
    run = world.launch()

    def meanwhile(ref, _most):
        world.executor.ask("a", StopReason.STOP)
        return won(ref)

    world.store.say("preview", meanwhile)
    world.executor.stop_reason(run, StopReason.RELOAD)
    gone(world)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert world.store.asked("reload") == []


def test_a_look_without_an_answer_is_repeated(demo, log):
    world = World(demo)
    old = world.launch()
    world.store.say("preview", Unavailable("?"), Unavailable("?"))
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, old))
    assert len(world.store.asked("preview")) == 3


def test_many_requests_to_reload_are_looked_at_once(demo, log):
    world = World(demo)
    old = world.launch()
    for _ in range(5):
        world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, old))
    assert len(world.store.asked("preview")) == len(world.store.asked("reload")) == 1


def test_the_new_run_says_that_it_lives_after_its_first_moments(demo, log):
    world = World(demo)
    old = world.launch()
    assert world.store.asked("settle") == []
    world.store.say("settle", Unavailable("?"))
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: len(world.store.asked("settle")) == 2)
    assert world.store.asked("settle")[-1] == (world.executor.living["a"].ref, "")


def test_a_new_run_that_fails_at_once_never_says_that_it_lives(demo, log):
    world = World(demo)
    old = world.launch()

    def fails(_old, new, *_):
        demo.start = lambda _self: 1 / 0
        return won(new)

    world.store.say("reload", fails)
    world.executor.stop_reason(old, StopReason.RELOAD)
    gone(world)
    assert world.ends() == [("s1:2", Trigger.FAIL)]
    gevent.sleep(5 * FAST.scale)
    assert world.store.asked("settle") == []


def test_a_reload_with_a_verdict_of_a_newer_release_is_not_started_and_released(demo, log):
    world = World(demo)
    world.store.say("reload", lambda _old, new, *_: won(new, verdict=Verdict.UNRECOGNIZED))
    world.executor.stop_reason(world.launch(), StopReason.RELOAD)
    gone(world)
    assert world.ends() == [("s1:2", Trigger.RELEASE)]
    assert len(log) == 1


def test_a_reloaded_run_of_a_function_unknown_here_is_released(demo):
    world = World(demo)
    world.store.say("reload", lambda _old, new, *_: won(new, function="other"))
    world.executor.stop_reason(world.launch(), StopReason.RELOAD)
    gone(world)
    assert world.ends() == [("s1:2", Trigger.RELEASE)]


@pytest.mark.parametrize("local", [False, True])
def test_a_stop_that_a_reload_finds_in_the_hash_is_carried_out(demo, log, local):
    world = World(demo)
    over = []
    world.on_local_over = lambda *args: over.append(args)
    world.store.say("reload", lambda _old, new, *_: won(new, verdict=Verdict.STOP))
    world.executor.stop_reason(world.launch(local=local), StopReason.RELOAD)
    gone(world)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert len(log) == 1
    assert over == ([("a", StopReason.STOP, None)] if local else [])


@pytest.mark.parametrize(
    ("stop_reason", "trigger"), [(StopReason.STOP, Trigger.STOP), (StopReason.HAND_BACK, Trigger.RELEASE)]
)
@pytest.mark.parametrize("local", [False, True])
def test_a_request_that_arrives_during_the_reload_settles_the_new_run(demo, log, stop_reason, trigger, local):
    world = World(demo)
    over = []
    world.on_local_over = lambda *args: over.append(args)

    def meanwhile(_old, new, *_):
        world.executor.ask("a", stop_reason)
        return won(new)

    world.store.say("reload", meanwhile)
    world.executor.stop_reason(world.launch(local=local), StopReason.RELOAD)
    gone(world)
    assert world.ends() == [("s1:2", trigger)]
    assert len(log) == 1
    assert over == ([("a", stop_reason, None)] if local else [])


@pytest.mark.parametrize(
    ("verdict", "ends"), [(Verdict.FENCED, []), (Verdict.GONE, [("s1:1", Trigger.RELEASE)])]
)
def test_a_reload_that_is_refused(demo, verdict, ends, log):
    world = World(demo)
    world.store.say("reload", lambda _old, new, *_: Claim(new.id, new.run, verdict))
    world.executor.stop_reason(world.launch(), StopReason.RELOAD)
    gone(world)
    assert world.ends() == ends
    assert len(log) == 1


def test_without_an_answer_the_same_reload_is_repeated(demo):
    world = World(demo)
    old = world.launch()
    world.store.say("reload", Unavailable("?"), Unavailable("?"))
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, old))
    asked = world.store.asked("reload")
    assert asked == [asked[0]] * 3


def test_a_reload_whose_data_never_comes_goes_on_with_what_was_judged(demo, log):
    world = World(demo)
    held = {}

    def limited(_old, new, _worker, max_data, *_):
        world.lease.acknowledged([], world.clock() + 0.0005)
        world.clock.move(0.001)
        if max_data > LARGE:
            held[new] = True
            raise Unavailable("connection closed by the server")
        return won(new, data=None, oversize=200_000, verdict=Verdict.ALREADY)

    world.store.say("reload", *[limited] * 20)
    world.executor.stop_reason(world.launch(), StopReason.RELOAD)
    until(lambda: world.store.asked("refuse") and len(log) == 2)
    assert len(held) == 1
    ((judged, _, why, _),) = world.store.asked("refuse")
    assert (judged.run, judged.oversize) == ("s1:2", 200_000)
    assert why.startswith("[PT133] data has 200000 bytes")
    assert world.commit() == []


def test_a_look_at_data_that_never_comes_is_a_refusal(demo, log):
    world = World(demo)

    def limited(ref, max_data):
        world.lease.acknowledged([], world.clock() + 0.0005)
        world.clock.move(0.001)
        if max_data > LARGE:
            raise Unavailable("connection closed by the server")
        return won(ref, data=None, oversize=200_000)

    world.store.say("preview", *[limited] * 20)
    world.executor.stop_reason(world.launch(), StopReason.RELOAD)
    until(lambda: world.store.asked("refuse"))
    assert world.store.asked("refuse")[0][2].startswith("[PT133] data has 200000 bytes")
    assert len(log) == 1


def test_a_reload_is_repeated_as_it_was_while_nothing_is_acknowledged(demo):
    world = World(demo)
    world.store.say("reload", *[Unavailable("?")] * 9)
    world.executor.stop_reason(world.launch(), StopReason.RELOAD)
    until(lambda: len(asked := world.store.asked("reload")) == 10 and asked == [asked[0]] * 10)


def test_a_renewal_during_the_reload_that_finds_the_old_run_fenced_is_ignored(demo):
    world = World(demo)
    old = world.launch()

    def meanwhile(old_ref, new, *_):
        world.executor.renewed(old_ref, Verdict.FENCED)
        return won(new)

    world.store.say("reload", meanwhile)
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, old))
    assert world.executor.living["a"].ref.run == "s1:2"


@pytest.mark.parametrize(
    ("stop_reason", "trigger"), [(StopReason.HAND_BACK, Trigger.RELEASE), (StopReason.STOP, Trigger.STOP)]
)
@pytest.mark.parametrize("local", [False, True])
def test_redis_lost_during_the_reload_ends_both_runs_as_was_requested(demo, log, stop_reason, trigger, local):
    world = World(demo)

    def lost(*_):
        world.executor.ask("a", stop_reason)
        raise Unavailable("?")

    world.store.say("reload", lost)
    world.executor.stop_reason(world.launch(local=local), StopReason.RELOAD)
    gone(world)
    assert sorted(world.ends()) == [("s1:1", trigger), ("s1:2", trigger)]
    assert len(log) == 1
    if stop_reason is StopReason.HAND_BACK:
        assert {change.local for change in world.commit()} == {local}


# -- local tasks -------------------------------------------------------------------------------------------


def test_a_released_local_task_is_not_queued(demo):
    world = World(demo)
    over = []
    world.on_local_over = lambda *args: over.append(args)
    world.executor.stop_reason(world.launch(local=True), StopReason.HAND_BACK)
    gone(world)
    (change,) = world.commit()
    assert (change.trigger, change.local) == (Trigger.RELEASE, True)
    assert over == [("a", StopReason.HAND_BACK, None)]
