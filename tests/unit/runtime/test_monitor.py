"""The monitor's sweep."""

import logging

import gevent
import pytest

from pytask.domain.errors import BadData, Unavailable
from pytask.domain.record import Claim, Incarnation, RunRef, Suspect, Verdict
from pytask.domain.samples import Crew
from pytask.domain.timing import Timing
from pytask.runtime.monitor import EXPIRE_BATCH, Monitor
from pytask.runtime.runs.run import Run
from tests.unit.runtime.fakes import World

T = 90.0


@pytest.fixture
def world():
    return World(Monitor, timing=Timing())


def monitor_of(world, data=b"{}"):
    claim = Claim("m", "s:m", Verdict.OK, "pytask/monitor", data)
    run = Run(world.executor, claim, RunRef(claim.id, claim.run), Monitor, world.clock())
    task, read = run._prepared()
    task.__init__(read)
    return task


def suspect(lease=1_000_000, run="dead:1", task_id="a", **more):
    return Suspect(id=task_id, run=run, lease=lease, **more)


def sweeps(world, monitor, *answers, every=10.0):
    done = []
    for answer in answers:
        world.store.say("suspects", answer)
        done.append(monitor.check_tasks())
        world.clock.move(every)
    return done


@pytest.mark.parametrize("timeout", [b"60", b"89.9", b"-1", b"0", b'"90"', b"null", b"true", b"[]"])
def test_a_timeout_below_t_is_refused(world, timeout):
    with pytest.raises(BadData, match="task_timeout must be at least 90 s"):
        monitor_of(world, b'{"task_timeout": %b}' % timeout)


@pytest.mark.parametrize("data", [None, b"{}", b'{"task_timeout": 90}'])
def test_t_is_the_default(world, data):
    assert monitor_of(world, data)._watch.expiry == T


def test_a_monitor_with_a_short_failover_judges_no_run_by_its_own_times():
    world = World(Monitor, timing=Timing.for_failover(15))
    monitor = monitor_of(world)
    (short, long), counted = (suspect(run="s~e249:1"), suspect(run="l:1", task_id="b")), []
    for beats in range(40):
        seen = [one for one, at in ((short, 25), (long, 92.5)) if 2.5 * beats <= at]
        counted += [2.5 * beats] * sweeps(world, monitor, seen, every=2.5)[0]
    assert counted == [25, 92.5]
    monitor._tidy(world.store)
    assert world.store.asked("tidy")[-1][1] == 3 * T
    with pytest.raises(BadData, match="task_timeout must be at least 90 s, not 30: a worker has 70 s"):
        monitor_of(world, b'{"task_timeout": 30}')


def test_it_asks_for_leases_outside_the_healthy_window(world):
    monitor_of(world).check_tasks()
    assert world.store.asked("suspects") == [(6.0, 5.0)]


def test_a_lease_unchanged_for_t_on_its_own_clock_is_expired(world):
    done = sweeps(world, monitor_of(world), *[[suspect()]] * 11)
    assert done == [0] * 10 + [1]  # first seen at 0; at 90 it is not yet longer than T
    ((expiries, _server),) = world.store.asked("expire")
    assert [(e.id, e.run, e.seen, e.crashes, e.poison) for e in expiries] == [
        ("a", "dead:1", 1_000_000, 1, False)
    ]


def test_an_old_lease_is_not_believed_before_it_was_watched(world):
    """However old Redis says it is: no two clocks are compared."""
    assert sweeps(world, monitor_of(world), [suspect(lease=1)]) == [0]
    assert world.store.asked("expire") == []


@pytest.mark.parametrize("other", [suspect(lease=2_000_000), suspect(run="dead:2")])
def test_a_change_of_lease_or_run_begins_again(world, other):
    done = sweeps(world, monitor_of(world), *[[suspect()]] * 9, *[[other]] * 10)
    assert done == [0] * 19


def test_longer_timeouts_are_kept(world):
    done = sweeps(world, monitor_of(world, b'{"task_timeout": 200}'), *[[suspect()]] * 21)
    assert done == [0] * 21


@pytest.mark.parametrize("verdict", [Verdict.RENEWED, Verdict.ALREADY, Verdict.FENCED])
def test_what_another_monitor_or_the_owner_did_first_is_not_counted(world, verdict):
    world.store.say("expire", [verdict])
    assert sweeps(world, monitor_of(world), *[[suspect()]] * 11)[-1] == 0


def test_many_dead_runs_go_in_batches(world):
    dead = [suspect(task_id=f"t{n}", run=f"dead:{n}") for n in range(EXPIRE_BATCH + 1)]
    assert sweeps(world, monitor_of(world), dead, dead, every=91)[-1] == EXPIRE_BATCH + 1
    assert [len(expiries) for expiries, _server in world.store.asked("expire")] == [EXPIRE_BATCH, 1]


def test_a_sweep_is_noted_and_hints_are_given(world):
    world.store.say("parked", ["resize", "mail"])
    monitor_of(world).check_tasks()
    assert world.store.asked("tidy") == [("m", 270.0)]
    assert len(world.store.asked("retire")) == 1
    assert world.store.asked("hint") == [("resize",), ("mail",)]


def rounds(world, monkeypatch, monitor, count):
    """`start()` for `count` sweeps."""
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        world.clock.move(seconds)
        if len(naps) == count:
            raise gevent.GreenletExit

    monkeypatch.setattr(gevent, "sleep", sleep)
    with pytest.raises(gevent.GreenletExit):
        monitor.start()
    return naps


def test_after_an_error_all_that_was_seen_is_forgotten(world, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    world.store.say("suspects", *[[suspect()]] * 9, Unavailable("away"), *[[suspect()]] * 10)
    naps = rounds(world, monkeypatch, monitor_of(world), 20)
    assert world.store.asked("expire") == []
    assert "its observations are discarded" in caplog.text
    assert naps == [10.0] * 19 + [0.5]  # T is over, but not by a hair: it looks again soon


@pytest.mark.parametrize(("renewed", "level"), [(True, "WARNING"), (False, "DEBUG")])
def test_a_failed_sweep_is_reported_while_the_heartbeat_has_nothing_to_report(
    world, monkeypatch, caplog, renewed, level
):
    caplog.set_level(logging.DEBUG)
    world.clock.move(60)
    if renewed:
        world.lease.acknowledged([], world.clock())
    world.store.say("suspects", Unavailable("away"))
    rounds(world, monkeypatch, monitor_of(world), 1)
    assert [record.levelname for record in caplog.records if "discarded" in record.message] == [level]


def test_without_the_error_it_would_have_been_expired(world, monkeypatch):
    world.store.say("suspects", *[[suspect()]] * 20)
    rounds(world, monkeypatch, monitor_of(world), 20)
    assert world.store.asked("expire") != []


@pytest.mark.parametrize(("data", "slow"), [(b"{}", False), (b'{"slow_sweep": true}', True)])
def test_the_slow_sweep_is_asked_for(world, data, slow):
    assert monitor_of(world, data).slow_sweep is slow


def test_the_slow_sweep_walks_the_cursor_and_survives_errors(world, monkeypatch):
    monitor = monitor_of(world, b'{"slow_sweep": true}')
    world.store.say("repair", (7, 0), Unavailable("?"), (0, 2))
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            raise gevent.GreenletExit

    monkeypatch.setattr(gevent, "sleep", sleep)
    with pytest.raises(gevent.GreenletExit):
        monitor._sweep_slowly()
    assert world.store.asked("repair") == [(0, T), (7, T), (0, T)]
    assert naps == [0.2, T, T]


def test_after_a_failover_what_was_seen_before_proves_nothing(world):
    monitor = monitor_of(world)
    assert sweeps(world, monitor, *[[suspect()]] * 10) == [0] * 10
    world.lease.observe(Incarnation(id="m", server="s1"), world.clock())
    world.lease.observe(Incarnation(id="m", server="s2", age=0.0), world.clock())
    assert sweeps(world, monitor, *[[suspect()]] * 10) == [0] * 10
    assert sweeps(world, monitor, [suspect()]) == [1]
    ((_expiries, server),) = world.store.asked("expire")
    assert server == "s2"


def test_it_keeps_a_sample_in_each_ring_where_one_is_due(world):
    world.store.say("sample", True, False, True)
    monitor_of(world).check_tasks()
    *looks, (ring, found) = world.store.asked("sample")
    assert [one.name for (one,) in looks] == ["hour", "day"]
    assert (ring.name, found) == ("hour", Crew())
    assert len(world.store.asked("recent_workers")) == 1
    monitor_of(world).check_tasks()  # none is due: the entries of the workers are not read
    assert len(world.store.asked("recent_workers")) == 1


def test_samples_are_off_by_setting_and_a_refusal_is_no_failed_sweep():
    world = World(Monitor, timing=Timing(), samples=False)
    monitor_of(world).check_tasks()
    assert world.store.asked("sample") == []
    world = World(Monitor, timing=Timing())
    world.store.say("sample", Unavailable("full"))
    assert monitor_of(world).check_tasks() == 0
