"""A task that kills its workers, over several lives of them, in memory and on a clock of our own."""

import itertools

from pytask.adapters.memory.backend import MemoryBackend
from pytask.domain.crashes import CRASH_LIMIT, Watch
from pytask.domain.lifecycle import ERROR, RUNNING, WAIT
from pytask.domain.record import ClaimRequest, RunRef
from pytask.domain.timing import Timing

TIMING = Timing()
STEP = TIMING.sweep


class World:
    """Workers that claim everything and die at once; one monitor that outlives them."""

    def __init__(self, *ids):
        self.now = 1_000_000.0
        self.backend = MemoryBackend(now=lambda: self.now)
        self.store = self.backend.store()
        self.watch = Watch(TIMING.expiry)
        self.sessions = itertools.count()
        for task_id in ids:
            self.backend.push(task_id, "f", "{}")

    def live_and_die(self, lived=0.0):
        """A new worker claims what it can, renews for `lived` seconds, and dies; the ids it had."""
        session = f"s{next(self.sessions)}"
        ids = [raw.decode() for raw in self.store.peek(256)]
        refs = tuple(RunRef(task_id, f"{session}:{n}") for n, task_id in enumerate(ids))
        request = ClaimRequest(refs=refs, functions=frozenset({"f"}), worker=session, quarantine=1)
        won = [RunRef(claim.id, claim.run) for claim in self.store.claim(request) if claim.won]
        if lived:
            self.now += lived
            self.store.renew(won)
        return {ref.id for ref in won}

    def until_handed_on(self, limit=3600):
        """Sweeps until something is handed on; the seconds that took."""
        began = self.now
        while self.now < began + limit:
            suspects = self.store.suspects(2 * TIMING.heartbeat, TIMING.heartbeat)
            dead = self.watch.observe(suspects, self.now)
            if dead:
                self.store.expire(dead)
                return self.now - began
            self.now += STEP
        raise AssertionError("nothing was handed on")

    def state(self, task_id):
        return self.backend.hash(task_id)["state"]


def test_after_three_crashes_the_fourth_is_poison_and_the_waits_grow():
    world = World("bad")
    waits = []
    for _ in range(CRASH_LIMIT + 1):
        assert world.live_and_die() == {"bad"}
        assert world.state("bad") == RUNNING
        waits.append(world.until_handed_on())
    slack = 3 * STEP + 2 * TIMING.heartbeat
    expected = [TIMING.expiry, 2 * TIMING.expiry, 6 * TIMING.expiry, TIMING.expiry]
    for seen, least in zip(waits, expected, strict=True):
        assert least < seen <= least + slack
    assert world.state("bad") == ERROR
    assert "poison" in world.backend.hash("bad")["error"]
    assert world.store.peek(5) == []


def test_neighbours_in_a_crowd_are_not_blamed():
    world = World("bad", *(f"good-{n}" for n in range(20)))
    assert len(world.live_and_die(lived=120.0)) == 21
    world.until_handed_on()
    assert {world.state(f"good-{n}") for n in range(20)} == {WAIT}
    assert all(int(world.backend.hash(f"good-{n}").get("crashes", 0)) == 0 for n in range(20))


def test_of_those_that_crashed_twice_one_is_taken_at_a_time():
    world = World("a", "b")
    for _ in range(2):  # the first crash may have been the other's: both are taken at once again
        assert world.live_and_die() == {"a", "b"}
        world.until_handed_on()
    assert len(world.live_and_die()) == 1


def test_a_run_that_lived_for_a_minute_ends_the_row():
    world = World("bad")
    for _ in range(2):
        world.live_and_die()
        world.until_handed_on()
    assert world.backend.hash("bad")["crashes"] == "2"
    world.live_and_die(lived=60.0)
    world.until_handed_on()
    assert world.backend.hash("bad")["crashes"] == "0"


def test_a_lone_long_task_is_back_in_the_promised_time_however_often_its_worker_is_killed():
    """The commonest deployment of a precious task; each death 100 s after the claim."""
    world = World("precious")
    promised = TIMING.expiry + 2 * TIMING.sweep + TIMING.heartbeat
    for _ in range(2 * CRASH_LIMIT + 2):
        assert world.live_and_die(lived=100.0) == {"precious"}
        assert world.until_handed_on() <= promised
        assert world.state("precious") == WAIT
        assert world.backend.hash("precious")["crashes"] == "0"
