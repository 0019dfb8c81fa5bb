"""Sockets that runs leave open are closed soon, and the garbage is looked through only for them."""

import gc
from types import SimpleNamespace
from weakref import ref

import pytest
from gevent import socket

from pytask.runtime.runs import leftover_sockets
from tests.unit.runtime.fakes import until
from tests.unit.runtime.test_run import world_of


@pytest.fixture(autouse=True)
def watched(monkeypatch):
    monkeypatch.setattr(socket.socket, "__init__", leftover_sockets._noted(socket.socket.__init__))
    for name, value in {"SOON": 0.0, "_pause": 0.0, "_left": [], "_looking": False}.items():
        monkeypatch.setattr(leftover_sockets, name, value)


@pytest.fixture
def looked(monkeypatch):
    """The collections that were made; none comes by itself."""
    made = []

    def collect():
        made.append(collect)
        gc.collect()

    monkeypatch.setattr(leftover_sockets, "gc", SimpleNamespace(collect=collect))
    gc.disable()
    yield made
    gc.enable()


def run_of(start):
    world = world_of(start)
    return world.launch()


def test_a_socket_that_only_the_collector_finds_is_closed(looked):
    left = []

    def start(self):
        self.myself, self.pair = self, socket.socketpair()
        left.extend(map(ref, self.pair))
        raise self.Error("and a failed task is no other than a stopped one")

    run_of(start)
    assert all(known() is not None for known in left)
    with pytest.warns(ResourceWarning, match="unclosed"):
        until(lambda: all(known() is None for known in left))
    assert len(looked) == 1


def test_one_that_is_in_use_elsewhere_stays_open_and_is_looked_at_once(looked):
    shared = []
    run_of(lambda _: shared.extend(socket.socketpair()))
    until(lambda: looked)
    run_of(lambda _: shared[0].sendall(b"still open"))
    assert shared[1].recv(99) == b"still open"
    assert (leftover_sockets._left, leftover_sockets._looking, len(looked)) == ([], False, 1)
    for one in shared:
        one.close()


def test_those_who_close_what_they_opened_cost_no_look(looked):
    closed = []

    def start(_):
        for _ in range(100):
            closed.extend(socket.socketpair())
            closed[-1].close()
            closed[-2].close()
        assert len(leftover_sockets.running().sockets) < 2 * leftover_sockets.PRUNE

    run = run_of(start)
    assert run.failure is None
    assert (leftover_sockets._left, leftover_sockets._looking, looked) == ([], False, [])


def test_looks_take_a_hundredth_of_the_time_at_the_most(looked, monkeypatch):
    times = iter([10.0, 10.2])
    monkeypatch.setattr(leftover_sockets, "perf_counter", lambda: next(times))
    shared = []
    run_of(lambda _: shared.extend(socket.socketpair()))
    until(lambda: looked)
    assert leftover_sockets._pause == pytest.approx(20)
    for one in shared:
        one.close()
