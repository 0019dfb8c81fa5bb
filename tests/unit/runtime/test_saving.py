"""What a task saves: kept in the run, sent with renewals and ends, and never older than what Redis has."""

import contextlib
import math

import gevent
import pytest

from pytask import codec
from pytask.domain.control import StopReason
from pytask.domain.errors import BadData, BadSave, FailoverSuspected, Refused, Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import LONGEST_SAVED, Adoption, Incarnation, Save, StartFields, Verdict
from pytask.domain.task import Task
from pytask.runtime.runs.saving import AT_ONCE, Kept
from tests.unit.runtime.fakes import World, switch, until


class Saver(Task):
    class Config:
        NAME = "demo"
        REDIS_WAIT = 0.5

    def start(self):
        gevent.sleep(1000)


class Failing(Saver):
    class Config:
        NAME = "failing"

    def start(self):
        self.save({"at": 7})
        raise OSError("lost")


class Good(Saver):
    class Config:
        NAME = "good"

    def start(self):
        self.save({"at": 7})


@pytest.fixture
def world():
    return World(Saver, Failing, Good)


def sent(world):
    """The values of each renewal, by task."""
    found = []
    for _refs, *saves in world.store.asked("renew"):
        found.append({one.id: (one.number, one.value) for one in saves[0].values()} if saves else {})
    return found


def beat(world, heartbeat):
    world.clock.move(world.timing.heartbeat)
    return heartbeat.beat()


def carried(world):
    return [(change.trigger, change.fields.get("saved")) for change in world.commit() if change.trigger]


# -- with renewals -----------------------------------------------------------------------------------------


def test_the_last_value_goes_with_the_next_renewal_and_only_once(world):
    run, heartbeat = world.launch(), world.heartbeat()
    for at in range(1000):
        assert run.task.save({"at": at}) is True
    beat(world, heartbeat)
    beat(world, heartbeat)
    run.task.save([1])
    beat(world, heartbeat)
    assert sent(world) == [{"a": (1000, b'{"at":999}')}, {}, {"a": (1001, b"[1]")}]
    assert world.store.asked("save") == []


def test_a_renewal_without_an_answer_is_repeated_with_the_newest_value(world):
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save(1)
    world.store.say("renew", Unavailable("away"))
    with pytest.raises(Unavailable):
        beat(world, heartbeat)
    run.task.save(2)
    assert heartbeat.beat() is True, "leases first: this one has no values, and is followed by one that has"
    assert heartbeat.beat() is False
    assert sent(world) == [{"a": (1, b"1")}, {}, {"a": (2, b"2")}]


def test_a_value_saved_during_a_renewal_goes_with_the_next_one(world):
    run, heartbeat = world.launch(), world.heartbeat()

    def renew(_refs, saves):
        run.task.save("newer")
        return {}

    run.task.save("old")
    world.store.say("renew", renew)
    beat(world, heartbeat)
    beat(world, heartbeat)
    assert sent(world) == [{"a": (1, b'"old"')}, {"a": (2, b'"newer"')}]


def test_the_values_of_one_renewal_are_bounded_and_no_run_is_left_out(world):
    runs = [world.launch(f"t{n}") for n in range(40)]
    heartbeat = world.heartbeat()
    for run in runs:
        run.task.save("x" * (LONGEST_SAVED - 2))
    world.clock.move(world.timing.heartbeat)
    calls = 1
    while heartbeat.beat():
        calls += 1
    sizes = [sum(len(value) for _, value in values.values()) for values in sent(world)]
    assert max(sizes) <= AT_ONCE
    assert calls == len(sizes) == 3
    renewed = [ref.id for refs, *_ in world.store.asked("renew") for ref in refs]
    assert sorted(renewed) == sorted(run.id for run in runs), "each once"
    assert {task_id for values in sent(world) for task_id in values} == {run.id for run in runs}


def test_without_saves_a_renewal_has_no_more_than_before(world):
    world.launch()
    beat(world, world.heartbeat())
    ((refs,),) = world.store.asked("renew")
    assert len(refs) == 1


@pytest.mark.parametrize("answer", [Verdict.FENCED, Verdict.GONE])
def test_a_lost_run_acknowledges_nothing(world, answer):
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save(1)
    world.store.say("renew", lambda refs, _saves: dict.fromkeys(refs, answer))
    beat(world, heartbeat)
    assert run.kept.unsent


def test_a_small_value_is_never_given_up(world):
    """Lost replies are no size limit: a worker that dies loses at most one renewal period."""
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save(1)

    def no_answer(_refs, *saves):
        if saves:
            raise Unavailable("no answer")
        return {}

    world.store.say("renew", *[no_answer] * 30)
    for _ in range(30):
        world.clock.move(world.timing.heartbeat)
        with contextlib.suppress(Unavailable):
            heartbeat.beat()
    tries = [values for values in sent(world) if values]
    assert len(tries) >= 10
    assert run.kept.unsent


def test_values_that_redis_refuses_do_not_cost_the_lease(world):
    """A size limit of a proxy: renewals without values go through, and in the end the value is given up."""
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save("x" * 50_000)

    def refuse(_refs, *saves):
        if saves and any(len(one.value) > 40_000 for one in saves[0].values()):
            raise Unavailable("closed")
        return {}

    world.store.say("renew", *[refuse] * 60)
    renewed = []
    for _ in range(20):
        world.clock.move(world.timing.heartbeat)
        for _ in range(3):
            before = world.lease.last_ok
            try:
                heartbeat.beat()
            except Unavailable:
                continue
            renewed.append(world.lease.last_ok > before)
    assert not world.lease.lost(world.clock())
    assert renewed.count(True) >= 19
    tries = [values for values in sent(world) if values]
    assert len(tries) <= 6, "proven by then"
    run.task.save("small")
    beat(world, heartbeat)
    assert sent(world)[-1] == {"a": (2, b'"small"')}


# -- after a failover --------------------------------------------------------------------------------------


def test_after_a_change_of_server_the_last_value_is_sent_again(world):
    run, heartbeat = world.launch(), world.heartbeat()
    other = world.launch("b", fields=StartFields(saved=b'"old"'))
    world.store.incarnation = Incarnation(id="i", server="one")
    run.task.save(1)
    beat(world, heartbeat)
    assert not run.kept.unsent
    world.store.incarnation = Incarnation(id="i", server="two", age=0.0, changed=0.0)
    beat(world, heartbeat)
    beat(world, heartbeat)
    assert sent(world)[-1] == {"a": (1, b"1"), "b": (0, b'"old"')}
    beat(world, heartbeat)
    assert sent(world)[-1] == {}
    assert other.task.saved == "old"


def test_a_run_that_is_restored_sends_its_value_again(world):
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save(1)
    world.store.incarnation = Incarnation(id="i", server="one")
    beat(world, heartbeat)
    world.store.incarnation = Incarnation(id="i", server="two", age=0.0, changed=0.0)
    world.store.say("renew", lambda refs, *_: dict.fromkeys(refs, Verdict.GONE))
    beat(world, heartbeat)
    ((adoptions, _),) = world.store.asked("adopt")
    assert adoptions == [Adoption("a", run.ref.run, run.epoch)]
    assert run.kept.unsent
    beat(world, heartbeat)
    assert sent(world)[-1] == {"a": (1, b"1")}


# -- with the end ------------------------------------------------------------------------------------------


def test_a_failure_carries_what_was_saved_and_an_end_removes_it(world):
    world.launch("f", "failing")
    world.launch("g", "good")
    until(lambda: not world.executor.living)
    assert carried(world) == [(Trigger.FAIL, b'{"at":7}'), (Trigger.END, b"")]


def test_an_acknowledged_value_is_not_sent_again_at_the_end(world):
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save(1)
    beat(world, heartbeat)
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: not world.executor.living)
    assert carried(world) == [(Trigger.STOP, None)]


@pytest.mark.parametrize(
    "reason", [StopReason.STOP, StopReason.HAND_BACK, StopReason.MOVE, StopReason.TIMEOUT]
)
def test_every_other_end_carries_an_unsent_value(world, reason):
    run = world.launch()
    run.task.save(5)
    world.executor.stop_reason(run, reason)
    until(lambda: not world.executor.living)
    ((_, value),) = carried(world)
    assert value == b"5"


def test_a_value_saved_in_stop_is_carried_too(world):
    class Late(Saver):
        class Config:
            NAME = "late"

        def stop(self, reason):
            self.save(reason)

    world = World(Late)
    run = world.launch(function="late")
    world.executor.stop_reason(run, StopReason.HAND_BACK)
    until(lambda: not world.executor.living)
    assert carried(world) == [(Trigger.RELEASE, b'"release"')]


def test_a_task_that_never_saved_carries_nothing(world):
    run = world.launch()
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: not world.executor.living)
    assert carried(world) == [(Trigger.STOP, None)]


def test_an_end_removes_what_an_earlier_run_has_saved(world):
    class Plain(Saver):
        class Config:
            NAME = "plain"

        def start(self):
            return self.saved

    world = World(Plain)
    world.launch(function="plain", fields=StartFields(saved=b"[1]"))
    until(lambda: not world.executor.living)
    (change,) = world.commit()
    assert change.fields == {"saved": b"", "output": b"[1]"}


# -- a reload ----------------------------------------------------------------------------------------------


def test_a_reload_hands_the_value_to_the_store_and_to_the_new_run(world):
    run = world.launch()
    run.task.save({"at": 3})
    world.executor.stop_reason(run, StopReason.RELOAD)
    until(lambda: world.executor.living["a"] is not run)
    new = world.executor.living["a"]
    assert b'{"at":3}' in world.store.asked("reload")[0]
    switch()
    assert new.task.saved == {"at": 3}
    beat(world, world.heartbeat())
    assert sent(world) == [{}]


# -- self.saved --------------------------------------------------------------------------------------------


def test_saved_is_the_last_value_and_a_copy_each_time(world):
    run = world.launch()
    assert run.task.saved is None
    value = {"list": [1]}
    run.task.save(value)
    value["list"].append(2)
    first = run.task.saved
    assert first == {"list": [1]}
    first["list"].append(3)
    assert run.task.saved == {"list": [1]}
    run.task.save(None)
    assert run.task.saved is None


def test_the_next_run_begins_with_it(world):
    run = world.launch(fields=StartFields(saved=b'{"at":5}'))
    assert run.task.saved == {"at": 5}
    beat(world, world.heartbeat())
    assert sent(world) == [{}], "Redis has it"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * LONGEST_SAVED, "65,538 bytes"),
        (object(), "objects of type object"),
        ({"a": [1.0, math.nan]}, r"nan has no JSON representation - at `\$.a\[1\]`"),
        ({1, 2j}, "complex"),
    ],
)
def test_a_value_that_cannot_be_kept_raises_and_the_last_one_stays(world, value, words):
    run, heartbeat = world.launch(), world.heartbeat()
    run.task.save("good")
    with pytest.raises(BadSave, match=words) as caught:
        run.task.save(value)
    assert isinstance(caught.value, BadData)
    assert "[PT151]" in str(caught.value)
    assert run.task.saved == "good"
    beat(world, heartbeat)
    assert sent(world) == [{"a": (1, b'"good"')}]


@pytest.mark.parametrize("raw", [b"{torn", b"\xff", b"", b"nan"])
def test_a_value_that_is_no_json_fails_the_run_before_it_begins(world, raw):
    fields = StartFields(saved=raw) if raw else StartFields(unread=LONGEST_SAVED + 5)
    world.launch(fields=fields)
    until(lambda: not world.executor.living)
    (change,) = world.commit()
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith("[PT152] the field saved ")
    assert "pytask start --fresh" in change.fields["error"]
    assert "saved" not in change.fields, "what the client wrote stays"


def test_the_fault_is_not_quoted_where_a_class_has_secrets():
    with pytest.raises(BadData) as caught:
        codec.decode_saved(b'{"password": "s3cr3t', quote=False)
    assert "s3cr3t" not in str(caught.value)


# -- now=True ----------------------------------------------------------------------------------------------


def test_now_waits_for_redis_and_says_whether_the_task_is_still_ours(world):
    run = world.launch()
    assert run.task.save("x", now=True) is True
    assert world.store.asked("save") == [(Save("a", run.ref.run, 1, b'"x"'), "")]
    assert not run.kept.unsent
    world.store.say("save", Verdict.FENCED)
    assert run.task.save("y", now=True) is False
    assert run.kept.unsent, "if the run is put back after all, it is sent"


@pytest.mark.parametrize("error", [Unavailable("away"), Refused("OOM"), FailoverSuspected("another")])
def test_now_is_repeated_until_it_is_answered(world, error):
    run = world.launch()
    world.store.say("save", error, error)
    done = []
    greenlet = run.spawn(lambda: done.append(run.task.save(1, now=True)))
    greenlet.join(5)
    assert done == [True]
    assert len(world.store.asked("save")) == 3


def test_now_raises_after_the_wait_of_the_class_and_the_value_goes_with_the_renewal(world):
    run = world.launch()

    def away(*_):
        world.clock.move(0.3)
        raise Unavailable("away")

    world.store.say("save", *[away] * 5)
    with pytest.raises(Unavailable):
        run.task.save(1, now=True)
    assert len(world.store.asked("save")) == 2
    beat(world, world.heartbeat())
    assert sent(world) == [{"a": (1, b"1")}]


def test_while_lost_runs_may_be_put_back_now_waits_for_the_decision(world):
    run = world.launch()
    world.lease.embargo_until = world.clock() + 100
    world.store.say("save", Verdict.GONE, Verdict.GONE)
    assert run.task.save(1, now=True) is True
    world.store.say("save", Verdict.GONE)
    run.stop_reason = StopReason.FENCED
    assert run.task.save(1, now=True) is False


def test_an_answer_from_before_a_failover_proves_nothing(world):
    run = world.launch()

    def save(*_):
        world.lease.generation += 1
        return Verdict.OK

    world.store.say("save", save)
    assert run.task.save(1, now=True) is True
    assert run.kept.unsent


# -- restored with the data, and words of the stop ----------------------------------------------------------


def test_a_task_that_is_lost_with_the_data_gets_back_its_value():
    world = World(Saver, on_data_loss="restore")
    fields = StartFields(restart="failure", group="g", saved=b'"before"')
    run = world.launch(fields=fields)
    run.task.save("here")
    run.restore = True
    world.executor.stop_reason(run, StopReason.FORGET)
    until(lambda: world.store.asked("restore"))
    assert world.store.asked("restore")[0] == (
        "a", "demo", b"{}", b'"here"', ("paused", False), ("fields", fields), ("marker", ""),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (StopReason.STOP, "stop"),
        (StopReason.RELOAD, "reload"),
        (StopReason.MOVE, "release"),
        (StopReason.HAND_BACK, "release"),
        (StopReason.TIMEOUT, "timeout"),
        (StopReason.FENCED, "lost"),
        (StopReason.FORGET, "lost"),
    ],
)
def test_stop_is_told_why(reason, word):
    told = []

    class Curious(Saver):
        def stop(self, reason):
            told.append(reason)

    world = World(Curious)
    world.executor.stop_reason(world.launch(), reason)
    until(lambda: told)
    assert told == [word]


def test_a_lost_lease_is_told_as_lost():
    told = []

    class Curious(Saver):
        def stop(self, reason="?"):
            told.append(reason)

    world = World(Curious)
    world.launch()
    world.clock.move(world.timing.lease * 1.5)
    world.heartbeat().check_deadline()
    until(lambda: told)
    assert told == ["lost"]


def test_the_request_of_a_client_is_answered_as_before(world):
    run = world.launch()
    run.task.save(1)
    world.store.say("renew", lambda refs, _saves: dict.fromkeys(refs, Command.STOP))
    beat(world, world.heartbeat())
    until(lambda: not world.executor.living)
    assert carried(world) == [(Trigger.STOP, None)], "it was stored with the renewal that brought the request"


def test_kept_numbers():
    kept = Kept()
    assert not kept.unsent
    kept.save(b"1")
    kept.save(b"2")
    kept.acknowledged(1)
    assert kept.unsent
    kept.acknowledged(2)
    kept.acknowledged(1)
    assert not kept.unsent
    kept.again()
    assert kept.unsent
    inherited = Kept(b"0")
    assert not inherited.unsent
    inherited.again()
    assert inherited.unsent
