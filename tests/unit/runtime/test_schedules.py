"""The service that fires schedules, and the one that stores those of the code."""

import logging
import time
from datetime import UTC, datetime

import attrs
import pytest

import pytask
from pytask import Task, errors
from pytask.adapters.memory.backend import MemoryBackend
from pytask.domain import schedules
from pytask.domain.errors import BadSchedule, Unavailable, WrongKeyType
from pytask.domain.leases import Lease
from pytask.domain.partition import partition_of
from pytask.domain.record import Incarnation
from pytask.domain.schedules import NEVER
from pytask.domain.timing import Timing
from pytask.runtime.services.schedules import Defined, Definitions, DefinitionsPorts, Schedules

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
MINUTE = 60


class World:
    def __init__(self):
        self.now = NOON
        self.backend = MemoryBackend(now=lambda: self.now)
        self.store = self.backend.store()
        self.state = self.backend.state

    def add(self, name="s", score=0.0, **fields):
        self.state.write(f"pytask:schedule:{name}", **{"function": "f", **fields})
        self.state.schedules[name] = score

    def look(self, **options):
        return Schedules(**options)(self.store)

    def run_all(self):
        """All that was started has ended."""
        found = self.backend.queued()
        for task_id in found:
            self.state.write(task_id, state="ENDED")
        self.state.queue.clear()
        return found


@pytest.fixture
def world():
    return World()


def test_the_seconds_until_the_next_look(world):
    assert world.look() is None
    world.add(every="60")
    assert world.look() == MINUTE  # placed, and nothing started
    assert world.run_all() == []
    world.now += 30
    assert world.look() == 30
    world.now += 30
    assert world.look() == MINUTE
    assert world.run_all() == ["s"]


def test_an_occurrence_that_waits_for_a_run_is_looked_after_every_few_seconds(world):
    world.add(every="3600", overlap="queue")
    world.look()
    world.state.write("s", function="f", state="RUNNING", run="w:1", scheduled="{}")
    world.state.runs["s"] = "w:1"
    world.now += 3600
    assert world.look() == 5
    world.now += 5
    assert world.look() == 5
    del world.state.runs["s"]
    world.state.erase("s", "run")
    world.state.write("s", state="ENDED")
    world.now += 5
    world.look()
    assert world.run_all() == ["s"]
    assert world.state.schedules["s"] == (NOON + 7200) * 1000


def test_an_occurrence_that_waits_for_a_run_starts_when_it_is_over(world):
    """Not at the next look: the worker of the run tells."""
    world.add(every="3600", overlap="queue")
    service = Schedules()
    service(world.store)
    world.state.write("s", function="f", state="RUNNING", run="w:1", scheduled="{}")
    world.state.runs["s"] = "w:1"
    world.now += 3600
    service(world.store)
    del world.state.runs["s"]
    world.state.erase("s", "run")
    world.state.write("s", state="ENDED")
    assert not service.pressing
    service.run_is_over("s")
    assert service.pressing
    service(world.store)
    assert not service.pressing
    assert world.run_all() == ["s"]


def test_a_run_that_is_over_is_told_again_after_a_lost_redis(world, monkeypatch):
    service, asked = Schedules(), []

    def lost(limit, ended):
        asked.append(ended)
        raise Unavailable("gone")

    service.run_is_over("s")
    monkeypatch.setattr(world.store.schedules, "due", lost)
    for _ in range(2):
        with pytest.raises(Unavailable):
            service(world.store)
    assert asked == [["s"], ["s"]]
    assert service.pressing


def test_a_step_back_of_the_clock_of_redis_starts_nothing_twice(world):
    world.add(every="60", overlap="allow", missed="all")
    world.look()
    started = []
    for step in [60, 60, -600, *[60] * 20]:
        world.now += step
        world.look()
        started += world.run_all()
    assert len(started) == len(set(started))
    assert len(started) == 2 + 10  # and none is missing once the clock has passed its old time


def test_a_clock_of_redis_that_was_a_year_ahead_leaves_a_late_time_and_no_herd(world):
    world.add(every="60")
    world.look()
    world.now += 365 * 86400
    world.look()
    assert world.run_all() == ["s"]
    world.now -= 365 * 86400 - 120
    world.look()
    assert world.run_all() == []  # `pytask doctor` tells (PT160)
    world.state.schedules["s"] = 0.0  # as it says
    world.look()
    world.now += 60
    world.look()
    assert world.run_all() == ["s"]


def test_the_clock_of_the_worker_does_not_count(world, monkeypatch):
    world.add(every="60")
    monkeypatch.setattr(time, "time", lambda: NOON + 10**9)
    world.look()
    world.look()
    assert world.run_all() == []
    assert world.state.schedules["s"] == (NOON + 60) * 1000


def test_a_fire_that_is_repeated_after_a_restart_starts_nothing(world):
    world.add(every="60")
    world.look()
    world.now += 60
    service = Schedules()
    found = world.store.schedules.due(256)
    firings = [service._decided(one, found.now) for one in found.due]
    world.store.schedules.fire(firings)
    assert world.run_all() == ["s"]
    world.store.schedules.fire(firings)  # the answer was lost
    world.look()  # another worker
    assert world.run_all() == []


def test_after_the_clock_changed_it_goes_on(world):
    world.now = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    world.add(cron="30 2 * * *", tz="Europe/Berlin")
    world.look()
    started = []
    for _ in range(24 * 4):
        world.now += 3600 / 2
        world.look()
        started += world.run_all()
    assert started == ["s"] * 2


def test_a_schedule_in_the_wrong_partition_is_reported(world, caplog):
    right = partition_of("s", 4)
    world.add(every="60")
    world.look(place=(right, 4))
    assert world.state.schedules["s"] == (NOON + 60) * 1000
    world.add(every="60")
    with caplog.at_level(logging.ERROR):
        world.look(place=((right + 1) % 4, 4))
    assert world.state.schedules["s"] == NEVER
    assert f"belongs to partition {right}" in world.backend.hash("pytask:schedule:s")["error"]
    assert "[PT155]" in caplog.text


def test_ids_of_their_own_are_in_the_partition_of_the_schedule(world):
    place = (partition_of("s", 4), 4)
    world.add(every="60", overlap="allow")
    world.look(place=place)
    world.now += 60
    world.look(place=place)
    (task_id,) = world.run_all()
    assert task_id.startswith("s@2026-06-01T12:01:00Z~")
    assert partition_of(task_id, 4) == place[0]


# -- definitions --------------------------------------------------------------------------------------


class Beat(Task):
    class Config:
        NAME = "beat"

    def start(self):
        pass


@attrs.frozen
class Folder:
    folder: str


class Sweep(Task):
    class Config:
        NAME = "sweep"
        DATA = Folder

    def start(self):
        pass


class Proxy:
    def __init__(self, store):
        self.store, self.error = store, None

    def call(self, fn):
        if self.error:
            raise self.error
        return fn(self.store)


class Coded:
    """A worker with schedules in its code, of which this is what its renewals saw."""

    def __init__(self, world, *names, place=(0, 1), timing=Timing()):  # noqa: B008 - it is frozen
        made = [Defined(schedule=schedules.made(name, "f", every=60), data=b"{}") for name in names]
        self.state, self.proxy, self.lease = world.state, Proxy(world.store), Lease(timing)
        self.schedules = Schedules(made, place)
        self.now, self.defined = 0.0, 0
        self.service = Definitions(
            DefinitionsPorts(
                schedules=self.schedules,
                store_proxy=self.proxy,
                lease=self.lease,
                clock=lambda: self.now,
                on_defined=self.count,
            )
        )
        self.look = self.service.look

    def count(self):
        self.defined += 1

    def lose(self, marker):
        """All schedules are gone, and another worker has made a marker; this one does not know yet."""
        self.state.schedules.clear()
        self.state.incarnation["id"] = marker

    def renew(self, marker, server=""):
        self.state.incarnation["id"] = marker
        self.lease.observe(Incarnation(id=marker, server=server), self.now)


def test_they_are_stored_once_redis_was_reached_and_again_after_a_loss_of_data(world):
    coded = Coded(world, "a", "b")
    coded.look()
    assert world.state.schedules == {}
    coded.renew("one")
    coded.look()
    assert world.state.schedules == {"a": 0, "b": 0}
    world.look()
    world.state.schedules.pop("a")  # someone deletes it: it comes back with the next worker only
    coded.look()
    assert world.state.schedules == {"b": (NOON + 60) * 1000}
    coded.renew("two")
    coded.look()
    coded.now += Timing().kill
    coded.look()
    assert world.state.schedules == {"a": 0, "b": (NOON + 60) * 1000}
    assert coded.defined == 2


@pytest.mark.parametrize("failover", [60, 15])  # the forgotten run may be that of a worker with the default
def test_after_a_loss_of_data_none_starts_while_a_forgotten_run_may_live(world, failover):
    coded = Coded(world, "a", timing=Timing.for_failover(failover))
    coded.renew("one")
    coded.look()
    coded.lose("two")
    coded.renew("two")
    for coded.now in (0.0, Timing().kill - 1):
        coded.look()
        assert world.state.schedules == {}
    coded.renew("three")  # lost again: it counts from here
    coded.look()
    coded.now += Timing().kill - 1
    coded.look()
    assert world.state.schedules == {}
    coded.now += 1
    coded.look()
    assert world.state.schedules == {"a": 0}


def test_nor_by_a_worker_that_could_not_store_them_before(world):
    """Redis was full, and the schedule of another worker started a run here."""
    coded = Coded(world, "a")
    coded.renew("one")
    coded.proxy.error = Unavailable("OOM")
    coded.look()
    coded.proxy.error = None
    coded.lose("two")
    coded.renew("two")
    coded.now = Timing().kill - 1
    coded.look()
    assert (world.state.schedules, coded.defined) == ({}, 0)
    coded.now = Timing().kill
    coded.look()
    assert (world.state.schedules, coded.defined) == ({"a": 0}, 1)


@pytest.mark.parametrize("server", ["", "second"])  # the first of them, or what an older copy has not
def test_nor_by_a_call_that_is_under_way_while_the_data_is_lost(world, server):
    coded = Coded(world, "a")
    coded.renew("one")
    if server:
        coded.look()
        coded.renew("one", server)
    coded.lose("two")
    before = coded.defined
    coded.look()
    assert (world.state.schedules, coded.defined) == ({}, before)
    coded.renew("two", server)
    coded.look()
    assert world.state.schedules == {}
    coded.now = Timing().kill
    coded.look()
    assert (world.state.schedules, coded.defined) == ({"a": 0}, before + 1)


def test_what_an_older_copy_of_the_data_has_not_is_stored_again(world):
    """A server that restarts with its last snapshot, or a replica that was behind, has the same marker."""
    coded = Coded(world, "a", "b")
    coded.renew("one", "first")
    coded.look()
    world.look()
    del world.state.schedules["a"]
    world.state.erase("pytask:schedule:a", "function", "every", "data", "origin")
    world.state.write("pytask:schedule:b", every="30")  # by a newer release
    coded.renew("one", "second")
    coded.look()
    assert world.state.schedules["a"] == 0
    assert world.state.fields("pytask:schedule:b")["every"] == b"30"
    assert world.state.schedules["b"] > 0


def test_a_key_of_another_type_keeps_no_other_away(world, caplog):
    def define(definition):
        if definition.name == "a":
            raise WrongKeyType("no hash")
        return stored(definition)

    coded = Coded(world, "a", "b")
    coded.renew("one")
    stored, world.store.schedules.define = world.store.schedules.define, define
    coded.look()
    assert world.state.schedules == {"b": 0}
    assert "schedule a cannot be stored" in caplog.text
    world.store.schedules.define = stored
    coded.look()
    assert world.state.schedules == {"a": 0, "b": 0}


def test_an_outage_is_waited_for(world, caplog):
    coded = Coded(world, "a")
    coded.renew("one")
    coded.proxy.error = Unavailable("away")
    coded.look()
    assert "could not store the schedules of this code" in caplog.text
    coded.proxy.error = None
    coded.look()
    assert world.state.schedules == {"a": 0}


def test_each_partition_stores_its_own_and_all_are_shown(world):
    names = [f"s{number}" for number in range(8)]
    coded = Coded(world, *names, place=(2, 4))
    coded.renew("one")
    coded.look()
    assert set(world.state.schedules) == {name for name in names if partition_of(name, 4) == 2}
    assert coded.schedules.digests.keys() == set(names)


def test_in_code():
    app = pytask.PyTask(MemoryBackend())
    app.every(60, Beat)
    app.cron("0 3 * * *", Sweep, Folder("x"), tz="Europe/Berlin", name="nightly", overlap="queue", jitter=5)
    app.every(5, "elsewhere", {"a": 1})
    assert app.tasks == {"beat": Beat, "sweep": Sweep}
    beat, nightly, other = app._schedules
    assert (beat.schedule.name, beat.schedule.every, beat.data) == ("beat", 60, b"")
    assert (nightly.schedule.function, nightly.schedule.tz, nightly.data) == (
        "sweep",
        "Europe/Berlin",
        b'{"folder":"x"}',
    )
    assert (other.schedule.name, other.data) == ("elsewhere", b'{"a":1}')


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda app: app.every(0, Beat), BadSchedule, "every '0'"),
        (lambda app: app.every(Beat, 60), BadSchedule, r"the time first, .* as in app.every\(60, Report\)"),
        (lambda app: app.cron(Beat, "0 3 * * *"), BadSchedule, r"as in app.cron\(.0 3 \* \* \*., Report\)"),
        (lambda app: app.every("soon", Beat), BadSchedule, "every 'soon'"),
        (lambda app: app.cron("0 0 30 2 *", Beat), BadSchedule, "never comes"),
        (lambda app: app.cron("* * * * *", Beat, tz="Berlin"), BadSchedule, "tz 'Berlin'"),
        (lambda app: app.every(60, Beat, tz="Europe/Berlin"), BadSchedule, "cron only"),
        (lambda app: app.every(60, Sweep, {"folder": 3}), errors.BadData, "folder"),
        (lambda app: app.every(60, Task), errors.BadTaskClass, "name"),
        (lambda app: [app.every(60, Beat), app.every(5, Beat)], BadSchedule, "name='beat-2'"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(call, error, text):
    with pytest.raises(error, match=text):
        call(pytask.PyTask(MemoryBackend()))
