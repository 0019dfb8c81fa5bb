"""A new connection that leads to another server than the kept ones."""

import pytest

from pytask.domain.errors import Unavailable
from pytask.domain.record import Incarnation
from pytask.domain.timing import Timing
from pytask.runtime.services.server_watch import ServerWatch
from tests.unit.runtime.fakes import World


@pytest.fixture
def world():
    return World(timing=Timing())


@pytest.fixture
def moved():
    return []


@pytest.fixture
def server_watch(world, moved):
    world.lease.observe(Incarnation(id="m", server="known"), world.clock())
    return ServerWatch(store=world.store, lease=world.lease, on_moved=lambda: moved.append(True))


@pytest.mark.parametrize(("server", "found"), [("other", [True]), ("known", []), ("", [])])
def test_another_server_is_reported(world, server_watch, moved, server, found):
    world.store.incarnation = Incarnation(id="m", server=server)
    server_watch.look()
    assert moved == found
    assert [verb for verb, _ in world.store.calls] == ["reset", "renew", "reset"]  # a connection of its own


def test_what_cannot_be_reached_proves_nothing(world, server_watch, moved):
    world.store.incarnation = Incarnation(id="m", server="other")
    world.store.say("renew", Unavailable("no address"))
    server_watch.look()
    assert moved == []
