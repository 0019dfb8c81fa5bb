"""The samples of the fleet that monitors keep in Redis."""

import pytest

from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import Trigger
from pytask.domain.metrics import Histogram
from pytask.domain.samples import DAY, HOUR, Crew, Ring, crew, read
from tests.contract.benches import ended

CREW = Crew(workers=2, slots=20, used=7, takeovers=1, restarts=3, dropped=4)


@pytest.mark.wire
def test_a_period_has_one_sample_whoever_comes_first(bench):
    for task_id in "abc":
        bench.push(task_id)
    done = bench.running("d")
    bench.store.commit([ended(done, Trigger.FAIL)])
    running = bench.running("e")
    bench.set_lease("e", bench.now() - 3_000_000)
    ring = Ring("hour", 1_000_000, 3)  # the period does not change while this runs
    assert bench.store.sample(ring)  # a look
    assert bench.samples("hour") == {}
    assert bench.store.sample(ring, CREW)
    assert not bench.store.sample(ring)
    assert not bench.store.sample(ring, Crew(workers=9))
    (one,) = read(bench.samples("hour").values(), ring, bench.now() / 1e6 + 1)
    assert (one.running, one.queued, one.delayed, one.stopped, one.ended, one.error) == (1, 3, 0, 0, 0, 1)
    assert 3 <= one.lease_age < 60
    assert (one.workers, one.slots, one.used, one.takeovers, one.restarts, one.dropped) == (2, 20, 7, 1, 3, 4)
    assert running


def test_a_ring_is_bounded_and_an_old_sample_is_replaced(bench):
    ring = Ring("day", 1_000_000, 1)  # one place
    bench.set_sample("day", 0, "5 1 1 1 1 1 1 0.5 1 1 1 1 1 1")
    assert bench.store.sample(ring, CREW)
    assert len(bench.samples("day")) == 1
    assert not bench.samples("day")["0"].startswith("5 ")


def test_what_is_no_sample_is_replaced_and_left_out(bench):
    ring = Ring("hour", 1_000_000, 1)
    bench.set_sample("hour", 0, "odd")
    assert bench.store.sample(ring, CREW)
    for line in ("", "x y", "1 2 3", "9 " * 14 + "x", "-1 " * 14, "nan " * 14, b"\xff"):
        assert read([line], HOUR, 9) == []
    assert len(read(["9 " * 20], HOUR, 9)) == 1  # of a later release
    assert read(["9 " * 14], HOUR, 3700) == []  # an hour later
    assert read(["9 " * 14], DAY, 8) == []  # of a clock that was set back


def test_the_sums_of_the_workers():
    one = WorkerInfo(
        session="s", max_tasks=10, tasks=4, dropped=1, takeovers=Histogram((1, 1), 2.0),
        restarted={"f": {"failure": 2, "release": 9}, "g": {"timeout": 1}},
    )  # fmt: skip
    assert crew([one, WorkerInfo(session="t")]) == Crew(
        workers=2, slots=10, used=4, takeovers=2, restarts=3, dropped=1
    )
