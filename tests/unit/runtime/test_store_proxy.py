"""Calls that outlive their caller."""

import gevent
import gevent.event
import pytest

from pytask.domain.errors import Unavailable
from pytask.runtime.store_proxy import StoreProxy
from tests.unit.runtime.fakes import FakeStore, switch


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def store_proxy(store):
    return StoreProxy(store=store)


def test_calls_are_served_in_order_and_answered(store, store_proxy):
    callers = [gevent.spawn(store_proxy.call, lambda store, n=n: store.hint(n) or n) for n in range(3)]
    switch()
    assert store.calls == []
    store_proxy.serve()
    assert [caller.get() for caller in callers] == [0, 1, 2]
    assert store.asked("hint") == [(0,), (1,), (2,)]


def test_an_error_is_raised_where_the_call_was_made(store, store_proxy):
    store.say("hint", Unavailable("away"))
    caller = gevent.spawn(_attempt, store_proxy)
    switch()
    store_proxy.serve()
    assert isinstance(caller.get(), Unavailable)
    caller = gevent.spawn(_attempt, store_proxy)
    switch()
    store_proxy.serve()  # and the courier lives
    assert caller.get() is None


def _attempt(store_proxy):
    try:
        return store_proxy.call(lambda store: store.hint("x"))
    except Unavailable as error:
        return error


def test_a_killed_caller_does_not_interrupt_the_call(store, store_proxy):
    release = gevent.event.Event()
    done = []
    store.say("hint", lambda _: release.wait() and done.append("whole"))
    service = gevent.spawn(store_proxy.run)
    caller = gevent.spawn(store_proxy.call, lambda store: store.hint("x"))
    switch()
    caller.kill()
    release.set()
    switch()
    assert done == ["whole"]
    store_proxy.end()
    service.join()
