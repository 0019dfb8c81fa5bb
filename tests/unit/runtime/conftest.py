import os
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import gevent
import gevent.event
import pytest

from pytask.runtime import tree
from pytask.runtime.process import kill_timer
from tests.unit.runtime.fakes import really_sleep


@pytest.fixture(scope="package", autouse=True)
def _spawns_are_watched():
    tree.watch_spawns()
    yield
    gevent.Greenlet.remove_spawn_callback(tree._adopt)


@pytest.fixture
def gate():
    """An event that a task waits for; set at the end of the test, so that nothing is left behind."""
    event = gevent.event.Event()
    yield event
    event.set()
    for _ in range(4):
        really_sleep(0)


@pytest.fixture
def passing(monkeypatch):
    """`passing(clock)`: from now on gevent.sleep moves this clock instead of waiting; returns the naps."""

    def patch(clock, limit=1000):
        naps = []

        def sleep(seconds=0, ref=True):
            naps.append(seconds)
            assert len(naps) < limit, "a loop without an end"
            clock.move(seconds)
            really_sleep(0)

        monkeypatch.setattr(gevent, "sleep", sleep)
        return naps

    return patch


@pytest.fixture
def timer(monkeypatch):
    """What the kernel's timer was set to."""
    seconds = []
    monkeypatch.setattr(kill_timer, "_timers", {os.getpid(): SimpleNamespace(set=seconds.append)})
    monkeypatch.setattr(kill_timer, "_deadlines", WeakKeyDictionary())  # other tests' timers are not ours
    return seconds
