"""gevent's own primitives on the virtual clock, and processes that are frozen and killed on it."""

import contextlib
import time

import gevent
import pytest
from gevent.event import AsyncResult, Event
from gevent.queue import Queue

from pytask.testing.virtual_time import Life, Spinning, virtual_time


@pytest.fixture
def loop():
    began = time.monotonic()
    with virtual_time() as loop:
        yield loop
    assert time.monotonic() - began < 30, "an hour of virtual time takes no hour"


def test_sleep_jumps(loop):
    gevent.sleep(3600)
    assert loop.time == 3600
    gevent.sleep(0)
    assert loop.time == 3600


def test_spawn_later_in_order_of_time(loop):
    seen = []
    for seconds in (30, 10, 20):
        gevent.spawn_later(seconds, lambda s=seconds: seen.append((s, loop.time)))
    gevent.sleep(100)
    assert seen == [(10, 10), (20, 20), (30, 30)]


def test_a_spawn_later_that_is_killed_never_runs(loop):
    ran = []
    later = gevent.spawn_later(10, ran.append, 1)
    later.kill()
    gevent.sleep(20)
    assert not ran
    assert later.dead


def test_timeout(loop):
    with pytest.raises(gevent.Timeout), gevent.Timeout(5):
        gevent.sleep(10)
    assert loop.time == 5
    with gevent.Timeout(5):
        gevent.sleep(1)
    gevent.sleep(100)  # the cancelled one does not come later


def test_event_wait(loop):
    flag = Event()
    assert not flag.wait(7)
    assert loop.time == 7
    gevent.spawn_later(2, flag.set)
    assert flag.wait(7)
    assert loop.time == 9


def test_async_result_and_queue(loop):
    result, queue = AsyncResult(), Queue()
    gevent.spawn_later(1, result.set, "a")
    gevent.spawn_later(2, queue.put, "b")
    assert result.get() == "a"
    assert queue.get() == "b"
    assert loop.time == 2


def test_killall_and_join(loop):
    def stubborn():
        until = loop.time + 60
        while loop.time < until:
            with contextlib.suppress(gevent.GreenletExit):
                gevent.sleep(until - loop.time)

    meek, deaf = gevent.spawn(gevent.sleep, 1000), gevent.spawn(stubborn)
    gevent.sleep(1)
    with pytest.raises(gevent.Timeout):
        gevent.killall([meek, deaf], timeout=3)
    assert meek.dead
    assert not deaf.dead
    assert loop.time == 4
    gevent.joinall([deaf])
    assert loop.time == 60


def test_links(loop):
    seen = []
    greenlet = gevent.spawn(lambda: 7)
    greenlet.link(lambda g: seen.append(g.value))
    greenlet.rawlink(lambda g: seen.append("raw"))
    gevent.sleep(1)
    assert sorted(map(str, seen)) == ["7", "raw"]


def _ticking(loop, life, seen, note=None):
    def tick():
        try:
            while True:
                gevent.sleep(1)
                seen.append(loop.time)
        finally:
            if note is not None:
                note.append("unwound")

    greenlets = []
    loop.soon(life, lambda: greenlets.append(gevent.spawn(tick)))
    return greenlets


def test_a_frozen_process_goes_on_where_it_was(loop):
    life, seen = Life(), []
    _ticking(loop, life, seen)
    gevent.sleep(2.5)
    loop.freeze(life)
    gevent.sleep(10)
    assert seen == [1, 2]
    loop.thaw(life)
    gevent.sleep(1.2)
    assert seen == [1, 2, 12.5, 13.5]


def test_a_killed_process_never_runs_again_nor_unwinds(loop):
    life, other, seen, notes, others = Life(), Life(), [], [], []
    greenlets = _ticking(loop, life, seen, notes)
    _ticking(loop, other, others)
    gevent.sleep(2.5)
    loop.kill(life)
    greenlets.clear()
    gevent.sleep(10)
    assert seen == [1, 2]
    assert notes == []
    assert len(others) == 12


def test_a_process_whose_clock_is_fast(loop):
    life, seen = Life(), []
    life.rate = 1.25
    _ticking(loop, life, seen)
    gevent.sleep(4.1)
    assert seen == pytest.approx([0.8, 1.6, 2.4, 3.2, 4.0])


def test_a_loop_that_never_waits_is_reported(loop):
    def spin():
        while True:
            gevent.sleep(0)

    spinner = gevent.spawn(spin)
    with pytest.raises(Spinning):
        gevent.sleep(1)
    assert not spinner.dead
