"""Reloads that are checked first: refused, taken in place, on trial, rolled back."""

import hashlib
import json
import zlib

import attrs
import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.errors import BadData, Refused, Unavailable
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, Claim, InForce, RunRef, Trial, Verdict
from pytask.domain.restarts import Restart
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.runs.in_force import HUGE, LARGE, in_force, pack
from pytask.runtime.runs.refusals import instead, size_of
from pytask.runtime.runs.reload_trial import is_on_trial
from tests.unit.runtime.fakes import World, switch, until, won

OLD, NEW = b'{"n": 1}', b'{"n": 2}'


@pytest.fixture
def log():
    return []


@pytest.fixture
def live(gate, log):
    """A task that takes data in place."""

    class Live(Task):
        class Config:
            NAME = "demo"

        def on_reload(self, data):
            log.append((self.task_data, data))

        def start(self):
            gate.wait()

    return Live


def reloads(world, run, data=NEW, **more):
    """The owner of the run gets a request for this data."""
    world.store.say("preview", lambda ref, _most: won(ref, data=data, epoch=7, **more))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: not world.executor.reloads._judged)
    switch()


# -- check ------------------------------------------------------------------------------------------------


def checked(gate, check):
    class Checked(Task):
        class Config:
            NAME = "demo"

        def start(self):
            gate.wait()

    Checked.check = check
    return Checked


def too_many(data):
    if data["n"] > 1:
        raise ValueError(f"n is {data['n']}")


def at_a_path(_cls, data):
    if data["n"] > 1:
        raise BadData("n is too large", "$.n")


def breaks(data):
    if data["n"] > 1:
        1 // 0  # noqa: B018


@pytest.mark.parametrize(
    ("check", "path", "reason"),
    [
        (staticmethod(too_many), "$", "data does not pass {}.check(): n is 2"),
        (classmethod(at_a_path), "$.n", "data does not pass {}.check(): n is too large"),
        (
            staticmethod(lambda data: data["n"] < 2),
            "$",
            "it returned False; raise ValueError with the reason",
        ),
        (staticmethod(breaks), "$", "ZeroDivisionError during validation"),
    ],
)
def test_what_the_check_of_a_task_refuses(gate, check, path, reason):
    cls = checked(gate, check)
    world = World(cls)
    run = world.launch(data=OLD)
    reloads(world, run)
    ((judged, where, why, force),) = world.store.asked("refuse")
    assert (judged.data, where, force) == (NEW, path, InForce("demo", OLD))
    assert reason.format(cls.__qualname__) in why
    assert (world.executor.living["a"], run.stop_reason) == (run, None)


@pytest.mark.parametrize("policy", [None, Restart("failure")])
def test_a_start_with_data_that_the_check_refuses_is_an_error_that_no_policy_retries(gate, policy):
    cls = checked(gate, staticmethod(too_many))
    cls.Config.RESTART = policy
    world = World(cls)
    world.launch(data=NEW)
    (change,) = world.commit()
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"] == f"[PT030] data does not pass {cls.__qualname__}.check(): n is 2"


def test_the_check_gets_the_data_as_the_task_would(gate):
    seen = []
    cls = checked(gate, staticmethod(seen.append))
    cls.Config.DATA = attrs.make_class("Data", {"n": attrs.field(type=int)})
    World(cls).launch(data=OLD)
    assert seen == [cls.Config.DATA(1)]


# -- in place ---------------------------------------------------------------------------------------------


def test_new_data_is_taken_in_place(live, log):
    world = World(live, timing=Timing().scaled(0.01))
    run = world.launch(data=OLD)
    world.store.say("accept", lambda judged, *_: attrs.evolve(judged, trial=True))
    reloads(world, run)
    assert log == [({"n": 1}, {"n": 2})]
    assert run.task.task_data == {"n": 2}
    ((judged, mark, worker, lived),) = world.store.asked("accept")
    assert (judged.data, mark, worker, lived) == (NEW, "s1:1#1", "w", InForce("demo", OLD))
    assert (run.trial, run.stop_reason, in_force(run)) == ("s1:1#1", None, InForce("demo", NEW))
    assert world.store.asked("reload") == world.store.asked("refuse") == world.commit() == []
    until(lambda: world.store.asked("settle"))
    assert world.store.asked("settle") == [(run.ref, "s1:1#1")]
    assert run.trial == ""


@pytest.mark.parametrize(("error", "answer"), [(None, "accept"), (ValueError("no"), "refuse")])
def test_what_it_emits_meanwhile_comes_before_the_answer(live, error, answer):
    def takes(self, data):
        self.emit("took", data)
        if error is not None:
            raise error

    live.on_reload = takes
    world = World(live)
    run = world.launch(data=OLD)
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW, epoch=7))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.committer.pending)
    switch()
    assert world.store.asked(answer) == []
    assert b"took" in world.commit()[0].event
    until(lambda: world.store.asked(answer))


@pytest.mark.parametrize("reason", [StopReason.STOP, StopReason.FENCED])
def test_a_stop_ends_the_wait_for_what_it_emitted(live, reason):
    live.on_reload = lambda self, data: self.emit("took", data)
    world = World(live)
    run = world.launch(data=OLD)
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW, epoch=7))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.committer.pending)
    world.executor.stop_reason(run, reason)
    until(lambda: not world.executor.living)
    assert world.store.asked("accept") == []


def test_a_failure_before_what_it_emitted_is_stored_is_one_of_the_new_data(gate):
    class Live(Task):
        class Config:
            NAME = "demo"

        def on_reload(self, data):
            self.emit("took", data)

        def start(self):
            gate.wait()
            raise self.Error("no answer")

    world = World(Live)
    run = world.launch(data=OLD)
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW, epoch=7))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.committer.pending)
    gate.set()
    until(lambda: run.over)
    end = world.commit()[-1]
    good = Trial(rejected=hashlib.sha1(NEW).hexdigest(), good=OLD)
    assert (end.trigger, end.trial) == (Trigger.ROLL_BACK, good)
    assert world.store.asked("accept") == []


def test_what_the_old_run_emits_as_it_stops_is_stored_before_the_new_one_begins(gate):
    class Last(Task):
        class Config:
            NAME = "demo"

        def start(self):
            gate.wait()

        def stop(self):
            self.emit("last words")
            gate.set()

    world = World(Last)
    run = world.launch(data=OLD)
    world.store.say("reload", lambda _old, new, *_: won(new, data=NEW))
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: run.over)
    switch()
    assert world.store.asked("reload") == []
    assert b"last words" in world.commit()[0].event
    until(lambda: world.store.asked("reload"))


def test_during_a_trial_the_data_that_lived_is_kept(live):
    world = World(live)
    run = world.launch(data=OLD)
    run.trial = run.ref.run
    reloads(world, run)
    assert world.store.asked("accept")[0][3] == InForce("demo", OLD, on_trial=True)


def test_a_trial_that_ends_during_a_reload_leaves_its_data_to_go_back_to(live):
    # The reload begins while the data before is on trial, and is answered when that trial is over.
    asked = gevent.event.Event()
    live.on_reload = lambda _self, _data: asked.wait()
    world = World(live)
    run = world.launch(data=OLD)
    run.trial = run.ref.run
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW, epoch=7))
    world.store.say("accept", lambda *_: gevent.sleep(1000))
    world.executor.stop_reason(run, StopReason.RELOAD)
    switch()
    world.executor.reloads._settle(run, run.ref.run)
    asked.set()
    until(lambda: world.store.asked("accept"))
    assert world.store.asked("accept")[0][3] == InForce("demo", OLD, on_trial=True)
    assert (run.trial, is_on_trial(run)) == ("", True)  # if it fails now, it is rolled back
    assert run.fallback.data == OLD


@pytest.mark.parametrize(
    ("error", "path", "reason"),
    [
        (ValueError("no such host"), "$", "no such host"),
        (BadData("no such host", "$.host"), "$.host", "no such host"),
        (KeyError("host"), "$", "on_reload() raised KeyError: host"),
        (SystemExit(3), "$", "on_reload() raised SystemExit: 3"),
    ],
)
def test_a_task_that_does_not_take_the_data_keeps_its_own(live, error, path, reason):
    def fails(self, data):
        self.task_data = data
        raise error

    live.on_reload = fails
    world = World(live)
    run = world.launch(data=OLD)
    reloads(world, run)
    ((judged, where, why, force),) = world.store.asked("refuse")
    assert (judged.data, where, why, force) == (NEW, path, reason, InForce("demo", OLD))
    assert (run.task.task_data, in_force(run).data) == ({"n": 1}, OLD)
    assert world.store.asked("accept") == []
    assert not run.over
    assert run.failure is None


def test_secret_values_of_the_new_data_are_not_in_the_reason(live):
    def fails(_self, data):
        raise ValueError(f"{data['token']} is not valid")

    live.on_reload = fails
    live.Config.SECRET = ("token",)
    world = World(live)
    run = world.launch(data=b'{"token": "correct-horse"}')
    reloads(world, run, b'{"token": "battery-staple"}')
    assert "battery" not in world.store.asked("refuse")[0][2]
    assert run.hidden == ("battery-staple", "correct-horse")


def test_a_stop_ends_on_reload_too_and_nothing_is_answered(live, gate):
    live.on_reload = lambda _self, _data: gate.wait()
    world = World(live)
    run = world.launch(data=OLD)
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: run.children)
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: not world.executor.living)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert world.store.asked("accept") == world.store.asked("refuse") == []


def test_without_an_answer_only_the_record_is_repeated(live, log):
    world = World(live)
    run = world.launch(data=OLD)
    world.store.say("accept", Unavailable("?"), Unavailable("?"))
    reloads(world, run)
    assert len(log) == 1
    assert len(world.store.asked("accept")) == 3
    assert len(set(world.store.asked("accept"))) == 1


def test_other_data_that_was_written_meanwhile_is_taken_next(live, log):
    world = World(live)
    run = world.launch(data=OLD)
    world.store.say("accept", lambda judged, *_: attrs.evolve(judged, verdict=Verdict.MOVED))
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW))
    reloads(world, run, b'{"n": 3}')
    assert [new["n"] for _, new in log] == [2, 3]
    first, second = world.store.asked("accept")
    assert (first[1], second[1]) == ("s1:1#1", "s1:1#2")
    assert first[3] == second[3] == InForce("demo", OLD), (
        "the data that lived, not what was there for a moment"
    )
    assert in_force(run).data == b'{"n": 3}'


def test_another_function_is_a_new_run(live, log):
    class Other(live):
        class Config:
            NAME = "other"

    world = World(live, Other)
    run = world.launch(data=OLD)
    world.store.say("reload", lambda _old, new, *_: won(new, function="other"))
    world.store.say("preview", lambda ref, _most: won(ref, data=NEW, function="other"))
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, run))
    assert log == []


def test_a_run_that_fails_while_it_takes_the_data_is_not_answered(live):
    def fails(self, _data):
        self.spawn(lambda: 1 / 0)
        gevent.sleep(1)

    live.on_reload = fails
    world = World(live)
    run = world.launch(data=OLD)
    reloads(world, run)
    until(lambda: not world.executor.living)
    assert world.ends() == [("s1:1", Trigger.FAIL)]
    assert world.store.asked("accept") == []


# -- repeated requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [True, False])
def test_a_request_that_comes_again_after_a_refusal_is_dropped(live, log, answered):
    """Another worker received the message later, and stored it again; a client that asks again says so."""
    world = World(live)
    run = world.launch(data=OLD)
    reloads(world, run, b"{oops")
    assert len(world.store.asked("refuse")) == 1
    reloads(world, run, OLD, answered=answered)
    assert len(log) == (0 if answered else 1)
    assert ((run.ref, ("repeated", True)) in world.store.asked("settle")) is answered
    # Other data is never a repetition.
    reloads(world, run, NEW, answered=True)
    assert log[-1][1] == {"n": 2}


def test_after_a_while_it_is_another_request(live, log):
    world = World(live)
    run = world.launch(data=OLD)
    reloads(world, run, b"{oops")
    world.clock.move(3 * world.timing.heartbeat)
    reloads(world, run, OLD, answered=True)
    assert len(log) == 1


# -- on trial ---------------------------------------------------------------------------------------------


def failing(data):
    return data["n"] > 1


def make(fails, policy=None, **config):
    class Demo(Task):
        Config = type("Config", (), {"NAME": "demo", "RESTART": policy, **config})

        def start(self):
            gevent.sleep(0)
            if fails(self.task_data):
                raise RuntimeError("no such host")
            gevent.sleep(1000)

    return Demo


def tried(world, data=NEW, **more):
    """A run whose data is on trial."""
    claim = Claim("a", world.ids.next_run(), Verdict.OK, "demo", data, epoch=9, trial=True, **more)
    world.executor.launch(claim, world.clock(), reloads=True)
    run = world.executor.living["a"]
    switch()
    return run


def rejected(data):
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("policy", [None, Restart("always")])
def test_a_run_that_fails_on_trial_is_rolled_back_and_not_restarted(caplog, policy):
    world = World(make(failing, policy))
    tried(world, crashes=1)
    until(lambda: not world.executor.living)
    (change,) = world.commit()
    assert (change.trigger, change.trial) == (
        Trigger.ROLL_BACK,
        Trial(rejected=rejected(NEW)),
    )
    assert change.fields["error"].startswith("RuntimeError: no such host\n")
    assert change.fields["crashes"] == "0"
    told = json.loads(change.fields["rolled_back"])
    assert (told["epoch"], told["reason"]) == (9, "RuntimeError: no such host")
    assert json.loads(change.event) == {
        "event": "rolled-back", "data": {"reason": "RuntimeError: no such host", "epoch": 9},
    }  # fmt: skip
    assert "restarts" not in change.fields
    assert "[PT164] task a: its reload is rolled back" in caplog.text


def test_a_run_that_has_lived_fails_as_ever(gate):
    world = World(make(lambda _data: gate.wait()))
    run = tried(world)
    until(lambda: not run.trial)
    assert (run.ref, run.ref.run) in world.store.asked("settle")
    gate.set()
    until(lambda: not world.executor.living)
    (change,) = world.commit()
    assert (change.trigger, change.trial) == (Trigger.FAIL, None)
    assert "trial" not in change.fields


@pytest.mark.parametrize(
    ("reason", "trigger"), [(StopReason.STOP, Trigger.STOP), (StopReason.HAND_BACK, Trigger.RELEASE)]
)
def test_a_trial_ends_with_its_run(reason, trigger):
    world = World(make(lambda _data: False))
    run = tried(world)
    run.trial = "x"  # so that its timer does not end it first
    world.executor.stop_reason(run, reason)
    until(lambda: not world.executor.living)
    (change,) = world.commit()
    assert (change.trigger, change.fields["trial"], change.fields["data_ok"]) == (trigger, "", "")


def test_a_failure_before_the_record_of_a_reload_in_place_is_rolled_back_with_the_data(live, gate):
    live.start = lambda _self: (gate.wait(), 1 / 0)
    world = World(live)
    run = world.launch(data=OLD)

    def fails(judged, *_):
        gate.set()
        until(lambda: run.over)
        return attrs.evolve(judged, verdict=Verdict.FENCED)

    world.store.say("accept", fails)
    reloads(world, run)
    (change,) = world.commit()
    assert (change.trigger, change.trial) == (Trigger.ROLL_BACK, Trial(rejected=rejected(NEW), good=OLD))


def test_a_rollback_that_redis_refuses_for_its_size_goes_without_the_data():
    good, trial = b"x" * 20_000, Trial(rejected="0" * 40, good=b"x" * 20_000)
    large = Change("a", "s:1", b"", Trigger.ROLL_BACK, {"error": "lost"}, trial=trial)
    assert size_of([large]) == len(good) + 4
    small = instead(large, Refused("too large"), None)
    assert (small.trigger, small.trial, small.fields) == (
        Trigger.ROLL_BACK,
        Trial(rejected="0" * 40),
        large.fields,
    )
    assert instead(small, Refused("too large"), None) is None


def test_a_timeout_on_trial_is_rolled_back(monkeypatch):
    # The trial does not end before the timeout, however slow this is.
    monkeypatch.setattr("pytask.runtime.runs.reloads.LIVED", 1e6)
    world = World(make(lambda _data: False, TIMEOUT=0.002))
    tried(world)
    until(lambda: not world.executor.living)
    (change,) = world.commit()
    assert (change.trigger, change.trial.rejected) == (Trigger.ROLL_BACK, rejected(NEW))


def test_a_run_without_a_trial_goes_on_with_what_lived_as_the_next_one(live):
    del live.on_reload
    world = World(live)
    run = world.launch(data=OLD)
    run.trial = run.ref.run
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, run))
    assert world.store.asked("reload")[0][-1] == ("lived", InForce("demo", OLD, on_trial=True))


def test_a_pre_started_task_is_not_put_on_trial(live):
    del live.on_reload
    world = World(live)
    run = world.launch(data=OLD, local=True)
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, run))
    assert world.store.asked("reload")[0][-1] == ("lived", None)


# -- the data that is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [LARGE + 1, HUGE + 1])
def test_large_data_is_compressed_once_the_run_has_lived(live, size):
    data = b'{"n":"' + b"x" * size + b'"}'
    world = World(live)
    run = world.launch(data=data)
    assert (run.claim.data, run.packed) == (data, None)
    world.clock.move(1)
    world.executor._packer.turn()
    assert run.claim.data is None
    assert zlib.decompress(run.packed) == data
    assert in_force(run) == InForce("demo", data)
    reloads(world, run, NEW)
    assert (in_force(run).data, run.packed) == (NEW, None)
    assert world.store.asked("accept")[0][3].data == data


def test_small_data_and_that_of_a_run_that_is_over_is_not_compressed(live):
    world = World(live)
    run = world.launch(data=OLD)
    pack(run)
    assert (run.claim.data, run.packed) == (OLD, None)
    large = world.launch("b", data=b'{"n":"' + b"x" * LARGE + b'"}')
    world.executor.stop_reason(large, StopReason.STOP)
    until(lambda: large.over)
    world.clock.move(1)
    world.executor._packer.turn()
    assert large.packed is None


def test_large_data_is_restored_after_a_loss_of_data(live, monkeypatch):
    data = b'{"n":"' + b"x" * LARGE + b'"}'
    world = World(live, on_data_loss="restore")
    run = world.launch(data=data)
    pack(run)
    monkeypatch.setattr(Lease, "lost_with_data", lambda *_: True)
    world.executor.renewed(run.ref, Verdict.GONE)
    until(lambda: world.store.asked("restore"))
    assert world.store.asked("restore")[0][:3] == ("a", "demo", data)


def test_the_run_that_is_renewed_is_the_same_after_a_reload_in_place(live):
    world = World(live)
    run = world.launch(data=OLD)
    reloads(world, run)
    assert run.ref == RunRef("a", "s1:1")
    assert "s1:1" in world.lease.living
