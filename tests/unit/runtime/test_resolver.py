"""Look-ups in native threads of their own: what fills one pool holds up nobody else."""

import os
import socket

import gevent
import pytest

from pytask.runtime.process import resolver as module
from pytask.runtime.process.resolver import LOOKUPS, Resolver
from pytask.runtime.tree import RunGreenlet
from tests.unit.runtime.fakes import until

PATIENCE = 20


@pytest.fixture
def resolver():
    return Resolver(gevent.get_hub())


@pytest.fixture
def fill():
    """`fill(pool)`: look-ups there that do not end before the test does."""
    ours, theirs = os.pipe()
    calls = []

    def filled(pool):
        calls.extend(pool.spawn(os.read, ours, 1) for _ in range(LOOKUPS))

    yield filled
    os.write(theirs, bytes(len(calls)))
    gevent.wait(calls)
    os.close(theirs)
    os.close(ours)


class Asking(RunGreenlet):
    """A greenlet of a task that looks up a name."""

    def __init__(self, look_up):
        super().__init__(object())
        self._look_up = look_up

    def _run(self):
        return self._look_up()


def test_look_ups_of_tasks_that_hang_do_not_hold_up_the_worker(resolver, fill):
    fill(resolver.task_pool)
    with gevent.Timeout(PATIENCE):
        assert resolver.getaddrinfo("localhost", 6379)
        assert resolver.gethostbyname("localhost")
    asking = Asking(lambda: resolver.getaddrinfo("localhost", 6379))
    asking.start()
    until(lambda: asking.started)
    assert not asking.ready()
    asking.kill()  # whoever gives up leaves nothing behind in the queue


def test_look_ups_of_the_worker_that_hang_do_not_hold_up_tasks(resolver, fill):
    fill(resolver.worker_pool)
    asking = Asking(lambda: resolver.getaddrinfo("localhost", 6379))
    asking.start()
    assert asking.get(timeout=PATIENCE)


def test_an_address_in_numbers_waits_for_no_thread(resolver, fill):
    fill(resolver.worker_pool)
    with gevent.Timeout(PATIENCE):
        found = [resolver.getaddrinfo(host, 6379, type=socket.SOCK_STREAM) for host in ("127.0.0.1", "::1")]
    assert [one[0][4][:2] for one in found] == [("127.0.0.1", 6379), ("::1", 6379)]


def test_what_is_no_name_is_the_systems_own_error(resolver):
    with pytest.raises(socket.gaierror):
        resolver.getaddrinfo("no-such-host.invalid", 6379)


def test_another_choice_stays(monkeypatch):
    monkeypatch.setenv("GEVENT_RESOLVER", "block")
    before = gevent.config.resolver
    module.use_own_resolver()
    assert gevent.config.resolver is before
