"""The guard that a forked child runs into; called here without a fork."""

import os

import pytest

from pytask.runtime.process import fork


class FakeWorker:
    forked = False


@pytest.fixture
def hooks(monkeypatch):
    found = []
    monkeypatch.setattr(os, "register_at_fork", lambda *, after_in_child: found.append(after_in_child))
    monkeypatch.setattr(fork, "_registered", False)
    monkeypatch.setattr(fork, "_workers", set())
    return found


@pytest.fixture
def left(monkeypatch):
    """How often the hub was left; really leaving it is shown by a real fork."""
    found = []
    monkeypatch.setattr(fork, "_leave_hub", lambda: found.append(True))
    return found


def test_in_the_child_every_worker_is_dead_and_its_hub_is_left(hooks, left):
    first, second = FakeWorker(), FakeWorker()
    fork.guard(first)
    fork.guard(second)
    (in_child,) = hooks
    in_child()
    assert first.forked
    assert second.forked
    assert left == [True]


def test_without_a_running_worker_a_fork_is_left_alone(hooks, left):
    worker = FakeWorker()
    fork.guard(worker)
    fork.release(worker)
    hooks[0]()
    assert not worker.forked
    assert left == []


def test_what_is_of_the_process_is_undone_in_the_child_and_can_be_taken_back(hooks, left):
    undone = []
    first, second = (lambda: undone.append(1)), (lambda: undone.append(2))
    fork.on_child(first)
    fork.on_child(second)
    fork.forget(first)
    worker = FakeWorker()
    fork.guard(worker)
    hooks[0]()
    fork.forget(second)
    assert undone == [2]
