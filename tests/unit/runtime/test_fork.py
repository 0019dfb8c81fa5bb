"""The guard that a forked child runs into; called here without a fork."""

import os

import gevent
import pytest

from pytask.runtime import fork


class FakeWorker:
    forked = False


class FakeHub:
    destroyed = False

    def destroy(self, *, destroy_loop):
        self.destroyed = destroy_loop


@pytest.fixture
def hooks(monkeypatch):
    found = []
    monkeypatch.setattr(os, "register_at_fork", lambda *, after_in_child: found.append(after_in_child))
    monkeypatch.setattr(fork, "_registered", False)
    monkeypatch.setattr(fork, "_workers", set())
    return found


@pytest.fixture
def hub(monkeypatch):
    hub = FakeHub()
    monkeypatch.setattr(gevent, "get_hub", lambda: hub)
    return hub


def test_in_the_child_every_worker_is_dead_and_the_loop_with_it(hooks, hub):
    first, second = FakeWorker(), FakeWorker()
    fork.guard(first)
    fork.guard(second)
    (in_child,) = hooks
    in_child()
    assert first.forked
    assert second.forked
    assert hub.destroyed


def test_without_a_running_worker_a_fork_is_left_alone(hooks, hub):
    worker = FakeWorker()
    fork.guard(worker)
    fork.release(worker)
    hooks[0]()
    assert not worker.forked
    assert not hub.destroyed
