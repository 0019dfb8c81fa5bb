"""The worker's entry, and the missing monitor."""

import contextlib
import json

import attrs
import pytest

from pytask.domain.errors import Unavailable
from pytask.domain.figures import WorkerInfo
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.domain.version import __version__
from pytask.runtime.services import presence as module
from tests.unit.runtime.fakes import World

T = 90.0


class Demo(Task):
    class Config:
        NAME = "demo"

    def start(self):
        """Nothing."""


@pytest.fixture
def world():
    return World(Demo, timing=Timing())


@pytest.fixture
def presence(world):
    return world.presence()


def test_the_entry(world, presence):
    presence.show()
    ((info,),) = world.store.asked("announce")
    assert (info.session, info.name, info.running, info.functions) == ("s1", "w", 0, ("demo",))
    assert (info.tasks, info.max_tasks) == (0, 10_000)
    assert info.version == __version__


def test_the_entry_tells_how_the_worker_fares(world):
    presence = world.presence(wall=lambda: 1700.5)
    first = presence.info()
    assert (first.started, first.lag, first.round_trip, first.monitor) == (1700.5, None, None, False)
    world.store.say("announce", lambda _: world.clock.move(0.25))
    world.executor.monitor_ports.here.add("m")
    presence.show()
    later = presence.info()
    assert (later.round_trip, later.monitor) == (0.25, True)


def test_the_entry_tells_what_redis_does_not_take(world):
    presence = world.presence(held=lambda: 12.34, refused=lambda: 3)
    assert (presence.info().held, presence.info().refused) == (12.3, 3)
    assert presence.info().embargo == 0.0
    world.lease.embargo_until = world.clock() + 61.04
    assert presence.info().embargo == 61.0


def test_the_loop_is_late(world, presence, monkeypatch):
    monkeypatch.setattr(module.gevent, "sleep", lambda s: world.clock.move(s + 0.5))
    world.store.say("announce", 0.0, lambda _: presence.end())
    presence.run()
    assert presence.info().lag == pytest.approx(0.5)


def test_no_monitor_ever_is_warned_of_once_after_3t(world, presence, caplog):
    world.store.say("announce", *[None] * 60)
    for _ in range(54):
        presence.show()
        world.clock.move(5)
    assert caplog.text == ""
    for _ in range(6):
        presence.show()
        world.clock.move(5)
    assert caplog.text.count("no monitor has swept for") == 1
    assert "app.pre_start_task('pytask/monitor')" in caplog.text


def test_a_monitor_long_silent_is_warned_of_again_after_it_was_seen(world, presence, caplog):
    world.store.say("announce", 3 * T + 1, 3 * T + 6, 1.0, 3 * T + 1)
    for _ in range(4):
        presence.show()
    assert caplog.text.count("no monitor has swept for 271 s") == 2


def test_an_entry_that_redis_never_takes_names_fewer_functions(world, presence, caplog):
    world.executor.tasks.update({f"function-{n:05}": Demo for n in range(5000)})

    def limited(info):
        if sum(map(len, info.functions)) > 50_000:
            raise Unavailable("connection closed by the server")
        return 0.0

    world.store.say("announce", *[limited] * 20)
    for _ in range(5):
        with contextlib.suppress(Unavailable):
            presence.show()
        world.clock.move(5)
        world.lease.acknowledged([], world.clock())
    shown = [info for (info,) in world.store.asked("announce")][-1]
    assert shown.functions[:2] == ("demo", "function-00000")
    assert 50 < len(shown.functions) < 1000
    # Nor does what is told of each function make the entry as large again.
    world.executor.tally.runs.update(dict.fromkeys(world.executor.tasks, 1))
    assert set(presence.info().runs) == set(shown.functions)
    assert "Redis refuses this worker's entry" in caplog.text


def test_while_redis_is_away_the_entry_stays_whole(world, presence):
    world.store.say("announce", *[Unavailable("away")] * 20)
    for _ in range(20):
        with pytest.raises(Unavailable):
            presence.show()
        world.clock.move(5)
    assert presence.info().functions == ("demo",)


def test_it_leaves(world, presence):
    presence.leave()
    assert world.store.asked("leave") == [("s1",)]


def test_the_loop_outlives_an_error(world, presence, passing):
    naps = passing(world.clock)
    world.store.say("announce", Unavailable("away"), lambda _: presence.end())
    presence.run()
    assert naps == [5.0, 5.0]


def of(version, name="other"):
    return WorkerInfo(session=name, name=name, host="h", pid=1, running=0, version=version)


def test_a_release_that_may_not_share_is_warned_of_once(world, presence, caplog):
    module._warn_of.cache_clear()
    world.store.say("recent_workers", *[[of(__version__), of(""), of("odd"), of("7.1.0", "newer")]] * 3)
    for _ in range(2 * module.LOOK_EVERY + 1):
        presence.show()
    assert len(world.store.asked("recent_workers")) == 3
    (line,) = [r.getMessage() for r in caplog.records if "the releases may be" in r.getMessage()]
    assert "worker 'newer' on 'h' runs pytask '7.1.0'" in line


def test_where_no_monitor_sweeps_a_worker_deletes_old_hashes(world, presence):
    world.store.say("announce", *[0.0] * 13, *[3 * T + 1] * 12)
    for _ in range(13):
        presence.show()
    assert world.store.asked("retire") == []  # the monitor does it
    for _ in range(12):
        presence.show()
    assert len(world.store.asked("retire")) == 1


@attrs.define
class Address:
    street: str
    number: int = 1


def of_data(name, data):
    config = type("Config", (), {"NAME": name, "DATA": data})
    return type(name, (Task,), {"Config": config, "start": lambda _: None})


def test_the_entry_shows_what_data_must_fit():
    world = World(of_data("post", Address), of_data("free", None), timing=Timing())
    schemas = world.presence().info().schemas
    assert set(schemas) == {"post"}
    (shown,) = schemas["post"]["$defs"].values()
    assert shown["required"] == ["street"]


def test_the_entry_stays_small_with_many_or_large_classes():
    large = attrs.make_class("Large", {f"field_number_{n}": attrs.field(type=str) for n in range(200)})
    several = [
        attrs.make_class(f"Some{at}", {f"field_{n}": attrs.field(type=str) for n in range(60)})
        for at in range(40)
    ]
    tasks = [of_data(f"some{at:02}", cls) for at, cls in enumerate(several)]
    schemas = World(of_data("a-large", large), *tasks, timing=Timing()).presence().info().schemas
    assert "a-large" not in schemas
    assert 0 < len(schemas) < 40
    assert len(json.dumps(schemas)) < 45_000
