"""Deaths of other processes of the machine, seen by their locks: real ones, of processes that are not."""

import os

import attrs
import gevent
import pytest

from pytask.domain.errors import Unavailable
from pytask.domain.figures import WorkerInfo
from pytask.domain.proofs import LockFile
from pytask.domain.record import Suspect
from pytask.domain.timing import Timing
from pytask.runtime.process import life_lock
from pytask.runtime.process.close_watch import CloseWatch
from pytask.runtime.process.life_lock import LifeLock
from pytask.runtime.services.neighbors import Neighbors, NeighborsPorts
from tests.unit.runtime.fakes import DirectCourier, FakeStore, World, until

SECOND = 1_000_000
NOW = 1_700_000_000


@pytest.fixture
def world():
    return World(timing=Timing())


@pytest.fixture
def place(tmp_path):
    made = tmp_path / "locks"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def neighbors(world, place, passing):
    passing(world.clock)
    nobody = LockFile(boot="", device=0, inode=0, token="")
    made = Neighbors(NeighborsPorts(
        own=LifeLock(place / "own.lock", nobody, 0, 0), store_proxies=[world.store_proxy],
        timing=world.timing, clock=world.clock,
    ))  # fmt: skip
    yield made
    made.end()


def died(place, number=0):
    """The file of a process that is dead; what its entry said."""
    token = f"{number:032x}"
    (place / f"{token}.lock").write_text(token)
    found = (place / f"{token}.lock").stat()
    return LockFile(boot=life_lock._boot(), device=found.st_dev, inode=found.st_ino, token=token)


def entry(file, session="s1"):
    return WorkerInfo(session=session, lock=file.mark)


def suspect(i, session="s1"):
    return Suspect(id=f"t{i}", run=f"{session}:{i}", lease=NOW * SECOND, epoch=(NOW - 100) * 1000, crashes=0)


def bury(neighbors):
    """One look, and all that it begins."""
    for done in neighbors.look():
        done.wait()
    until(lambda: not neighbors._greenlets)


def test_while_nobody_has_died_redis_is_not_asked(neighbors, world):
    for _ in range(10):
        assert neighbors.look() == []
    assert world.store.calls == []


def test_the_runs_of_the_dead_are_requeued_at_once(neighbors, world, place, caplog):
    file = died(place)
    other = WorkerInfo(session="s2", lock=attrs.evolve(file, inode=1).mark)
    world.store.say("recent_workers", [WorkerInfo(session="old"), entry(file), other])
    world.store.say("runs_of", (0, [suspect(1), suspect(2)]))
    bury(neighbors)
    assert {prefix for prefix, _ in world.store.asked("runs_of")} == {"s1:"}
    assert [[one.id for one in batch] for (batch,) in world.store.asked("expire")] == [["t1", "t2"]]
    assert list(place.iterdir()) == []
    assert f"its lock {file.token}.lock is free: 2 runs were requeued" in caplog.text
    # Nobody lists it any longer, with the tasks that it had.
    assert world.store.calls[-1] == ("leave", ("s1",))


def test_the_entry_of_the_dead_stays_while_monitors_have_runs_of_it(neighbors, world, place, caplog):
    file = died(place)
    crashed = attrs.evolve(suspect(1), crashes=1, epoch=(NOW - 1) * 1000)
    world.store.say("recent_workers", [entry(file)])
    world.store.say("runs_of", *[(0, [crashed])] * 4)
    bury(neighbors)
    assert "1 run of" in caplog.text
    assert world.store.asked("leave") == []


def test_an_entry_that_cannot_be_removed_is_left_to_expire(neighbors, world, place):
    file = died(place)
    world.store.say("recent_workers", [entry(file)])
    world.store.say("leave", Unavailable("away"))
    bury(neighbors)
    assert list(place.iterdir()) == []


def test_a_late_claim_of_the_dead_is_found(neighbors, world, place):
    file = died(place)
    world.store.say("recent_workers", [entry(file)])
    world.store.say("runs_of", (0, []), (0, [suspect(7)]))
    bury(neighbors)
    assert [[one.id for one in batch] for (batch,) in world.store.asked("expire")] == [["t7"]]


def test_the_dead_of_others_are_asked_for_once_and_left_to_them(neighbors, world, place):
    died(place)
    for _ in range(3):
        bury(neighbors)
    assert world.store.calls == [("recent_workers", (10**9,))]
    assert len(list(place.iterdir())) == 1


def test_a_death_of_long_ago_is_proven_as_well(neighbors, world, place):
    file = died(place)
    os.utime(place / f"{file.token}.lock", (0, 0))
    world.store.say("recent_workers", [entry(file)])
    world.store.say("runs_of", (0, [suspect(1)]))
    bury(neighbors)
    assert [[one.id for one in batch] for (batch,) in world.store.asked("expire")] == [["t1"]]


def test_what_nobody_knows_is_removed_after_an_hour(neighbors, world, place):
    file = died(place)
    os.utime(place / f"{file.token}.lock", (0, 0))
    bury(neighbors)
    assert list(place.iterdir()) == []


def test_one_neighbor_does_it_and_another_goes_on_if_that_one_dies(neighbors, world, place):
    file = died(place)
    elsewhere = []

    def seized_meanwhile(_):
        elsewhere.append(neighbors._folder.seize(file))
        return [entry(file)]

    world.store.say("recent_workers", seized_meanwhile, [entry(file)])
    bury(neighbors)
    assert world.store.asked("runs_of") == []
    bury(neighbors)  # the other has it
    assert len(world.store.asked("recent_workers")) == 1
    elsewhere[0].close()
    bury(neighbors)
    assert len(world.store.asked("runs_of")) > 1
    assert list(place.iterdir()) == []


def test_a_child_of_a_supervisor_is_left_to_it_for_a_while(neighbors, world, place):
    file = died(place)
    world.store.say("recent_workers", [entry(file, "0123456789ab.s1")])
    began = world.clock()
    (done,) = neighbors.look()
    done.wait()  # the first claim does not wait for that
    assert world.store.asked("runs_of") == []
    until(lambda: not neighbors._greenlets)
    assert world.clock() - began >= 5
    assert world.store.asked("runs_of")[0] == ("0123456789ab.s1:", 0)


def test_it_waits_for_redis(neighbors, world, place, caplog):
    file = died(place)
    away = Unavailable("away")
    world.store.say("recent_workers", away, away, [entry(file)])
    world.store.say("runs_of", away, away, (0, [suspect(1)]))
    bury(neighbors)
    assert [[one.id for one in batch] for (batch,) in world.store.asked("expire")] == [["t1"]]
    assert list(place.iterdir()) == []


def test_it_gives_up_when_monitors_have_done_it(neighbors, world, place):
    died(place)
    began = world.clock()
    world.store.say("recent_workers", *[Unavailable("away")] * 1000)
    bury(neighbors)
    assert 90 <= world.clock() - began < 92
    assert world.store.asked("runs_of") == []


def test_all_partitions_are_searched(world, place, passing):
    passing(world.clock)
    stores = [FakeStore(), FakeStore()]
    own = LifeLock(place / "own.lock", LockFile(boot="", device=0, inode=0, token=""), 0, 0)
    service = Neighbors(NeighborsPorts(
        own=own, store_proxies=[DirectCourier(one) for one in stores], timing=world.timing, clock=world.clock,
    ))  # fmt: skip
    file = died(place)
    for number, store in enumerate(stores):
        store.say("recent_workers", [entry(file, f"s{number}")])
        store.say("runs_of", (0, [suspect(number, f"s{number}")]))
    bury(service)
    assert [[e.id for (batch,) in store.asked("expire") for e in batch] for store in stores] == [
        ["t0"],
        ["t1"],
    ]


def test_the_end_leaves_the_files_to_others(neighbors, world, place, monkeypatch):
    file = died(place)
    asked = gevent.event.Event()
    world.store.say("recent_workers", [entry(file)])

    def hangs(*_):
        asked.set()
        gevent.event.Event().wait()

    world.store.say("runs_of", hangs)
    neighbors.look()
    asked.wait()
    assert list(neighbors._folder.dead()) == []
    neighbors.end()
    assert list(neighbors._folder.dead()) == [file]
    assert neighbors.looked.is_set()


def test_the_first_look_is_over_when_their_runs_are_requeued(neighbors, world, place):
    file = died(place)
    world.store.say("recent_workers", [entry(file)])

    def running(*_):
        assert not neighbors.looked.is_set()
        return 0, [suspect(1)]

    world.store.say("runs_of", running)
    service = gevent.spawn(neighbors.run)
    neighbors.looked.wait(10)
    assert len(world.store.asked("expire")) == 1
    neighbors.end()
    service.kill()


def test_notices_of_the_kernel(place):
    watch = CloseWatch(place)
    if not watch.instant:
        pytest.skip("no inotify here")
    token = died(place).token
    assert watch.wait(5)  # it was written
    assert not watch.wait(0)
    os.close(os.open(place / f"{token}.lock", os.O_RDONLY))
    assert not watch.wait(0)  # it was tried
    waiting = gevent.spawn(watch.wait, 5)
    fd = os.open(place / f"{token}.lock", os.O_RDWR)
    gevent.sleep(0)
    os.close(fd)
    assert waiting.get()
    watch.close()
    assert not watch.instant


def test_a_descriptor_that_a_task_has_closed_is_not_read(place):
    watch = CloseWatch(place)
    if not watch.instant:
        pytest.skip("no inotify here")
    read, write = os.pipe()
    os.write(write, b"of the task")
    kept = os.dup(watch._fd)
    os.dup2(read, watch._fd)
    number = watch._fd
    assert not watch.wait(0.001)
    assert not watch.instant
    assert os.read(number, 100) == b"of the task"
    for fd in (number, kept, read, write):
        os.close(fd)
