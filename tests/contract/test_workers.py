"""What workers say of themselves, and for how long it is kept."""

import pytest

from pytask.domain.figures import WorkerInfo


@pytest.mark.wire
def test_workers_show_themselves_and_leave(bench):
    info = WorkerInfo(session="s1", name="w", host="h", pid=1, running=2, functions=("f",))
    assert bench.store.announce(info) is None
    assert bench.workers() == {"s1"}
    bench.store.tidy("monitor", 100)
    assert 0 <= bench.store.announce(info) < 60  # seconds since that sweep
    bench.store.leave("s1")
    assert bench.workers() == set()


@pytest.mark.wire
def test_the_crew_shows_what_it_said_of_itself(bench):
    assert bench.store.recent_workers(10) == []
    info = WorkerInfo(
        session="s1", name="w", host="h", pid=1, running=3, functions=("f", "g"), tasks=2, max_tasks=7,
        version="1.2.3", started=1_700_000_000.5, lag=0.001, round_trip=0.0002, monitor=True, expiry=90.0,
        kept_by={"a": "thread t (in f at x.py:1)"},
    )  # fmt: skip
    bench.store.announce(info)
    assert bench.store.recent_workers(10) == [info]
    assert bench.store.recent_workers(-5) == []
    bench.store.leave("s1")
    assert bench.store.recent_workers(10) == []


def test_a_worker_that_died_before_the_clock_was_set_back_is_not_there(real):
    """Its last report lies two hours ahead: others would release runs to it until then."""
    info = WorkerInfo(session="s1", name="w", host="h", pid=1, running=0)
    real.store.announce(info)
    real.raw.zadd(real.keys.workers, {"s1": real.now() // 1_000_000 + 7200})
    assert real.store.recent_workers(16) == []
    assert real.store.recent_workers(10**9) == [info]  # whose lock was freed


def test_the_crew_of_other_releases(real):
    shown = {
        "old": '{"session":"old","name":"w","host":"h","pid":1,"running":2,"functions":["f"]}',
        "new": '{"session":"new","running":5,"tasks":4,"max_tasks":9,"version":"9.0","colour":"red"}',
        "odd": '{"session":"odd","running":"many","tasks":-1,"max_tasks":true,"functions":0,"version":[1]}',
        "list": "[]",
        "torn": '{"session":',
        "nameless": "{}",
    }
    now = real.now() // 1_000_000
    real.raw.zadd(real.keys.workers, dict.fromkeys([*shown, "entry-gone"], now))
    real.raw.hset(real.keys.worker_info, mapping=shown)
    found = {one.session: one for one in real.store.recent_workers(10)}
    assert set(found) == {"old", "new", "odd"}
    assert (found["old"].running, found["old"].tasks, found["old"].max_tasks) == (2, None, None)
    assert (found["new"].tasks, found["new"].max_tasks, found["new"].functions) == (4, 9, ())
    assert [found[name].version for name in ("old", "new", "odd")] == ["", "9.0", ""]
    assert (found["odd"].running, found["odd"].tasks, found["odd"].max_tasks) == (0, None, None)


def test_a_sweep_in_the_future_is_one_of_now(real):
    """After a step of the clock, or of a release that writes fractions of a second."""
    real.raw.zadd(real.keys.monitors, {"m": real.now() / 1e6 + 60.5})
    assert real.store.announce(WorkerInfo(session="s1", name="w", host="h", pid=1, running=2)) == 0


@pytest.mark.wire
def test_tidy_forgets_workers_long_silent(bench):
    bench.store.announce(WorkerInfo(session="s1", name="w", host="h", pid=1, running=2))
    bench.store.tidy("monitor", 100)
    assert bench.workers() == {"s1"}
    bench.store.tidy("monitor", -1)
    assert bench.workers() == set()
