"""What stands in for the event and the queues of the standard library under `pytask run`."""

import threading

import gevent
import pytest
from gevent.thread import LockType

from pytask.runtime.process import patched_locks
from pytask.runtime.process.patched_locks import Event, LifoQueue, PriorityQueue, Queue
from tests.unit.runtime.fakes import really_sleep


def test_an_event_whose_set_is_replaced():
    """As pyTelegramBotAPI does it."""
    event, calls = Event(), []
    event.original = event.set
    event.set = lambda: (event.original(), calls.append("set"))
    waiter = gevent.spawn(event.wait)
    event.set()
    assert waiter.get(timeout=5) is True
    assert calls == ["set"]


def test_a_notify_lets_nobody_else_run(monkeypatch):
    monkeypatch.setattr(LockType, "_is_owned", None, raising=False)  # put back after the test
    patched_locks.use_locks()
    condition, others = threading.Condition(LockType()), []
    gevent.spawn(others.append, "ran")
    with condition:
        condition.notify()
        assert others == []
    with pytest.raises(RuntimeError, match="un-acquired"):
        condition.notify()


def test_the_kill_of_who_sets_an_event_leaves_nobody_asleep():
    """The standard event over replaced locks is set then, and wakes nobody."""
    event, go = Event(), Event()
    waiter = gevent.spawn(event.wait)
    setter = gevent.spawn(lambda: (go.wait(), event.set()))
    really_sleep(0)
    go.set()
    setter.kill(block=False)
    assert waiter.get(timeout=5) is True


@pytest.mark.parametrize(("kind", "first"), [(Queue, 2), (LifoQueue, 1), (PriorityQueue, 1)])
@pytest.mark.parametrize("sizes", [(), (0,), (3,)])
def test_a_queue_whose_size_and_mutex_are_asked_for(kind, first, sizes):
    """As watchdog does it."""
    queue = kind(*sizes)
    assert queue.maxsize == sum(sizes)
    queue.put(2)
    queue.put(1)
    copy = queue.copy()
    assert (queue.get(), copy.get()) == (first, first)
    with queue.mutex:
        queue.queue.clear()
    assert queue.empty()
    queue.maxsize = 1
    queue.put(1)
    assert queue.full()


def test_the_kill_of_one_that_waits_loses_no_item():
    """The standard queue over replaced locks loses the item with the first, or leaves the second asleep."""
    for kill_first in (True, False):
        queue = Queue()
        first, second = gevent.spawn(queue.get), gevent.spawn(queue.get)
        really_sleep(0)
        if kill_first:
            first.kill(block=False)
        queue.put("item")
        if not kill_first:
            first.kill(block=False)
        gevent.joinall([first, second], timeout=5, count=1)
        second.join(0)
        really_sleep(0)
        assert "item" in (first.value, second.value)
        second.kill()
