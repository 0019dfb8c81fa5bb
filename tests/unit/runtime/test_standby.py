"""A worker on standby: the word that it waits for, and what it reports and receives over its line."""

import os
import socket

import pytest

from pytask.dev.worker import Place, place_of
from pytask.runtime.standby import Standby, await_begin
from pytask.runtime.supervised import SupervisorLink, SupervisorLinkPorts
from tests.unit.runtime.fakes import World, until


@pytest.fixture
def line():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_it_waits_for_the_word_and_leaves_what_follows_to_the_link(line):
    ours, theirs = line
    ours.send(b"begin\ngo\n")
    assert await_begin(theirs.fileno())
    assert ours.recv(100) == b"loaded\n"
    assert theirs.recv(10) == b"go\n"


def test_without_a_supervisor_it_does_not_begin(line):
    ours, theirs = line
    ours.send(b"beg")
    ours.close()
    assert not await_begin(theirs.fileno())


def test_it_reports_where_its_tasks_are_and_is_told_to_go_and_that_it_is_alone(line):
    ours, theirs = line
    world, standby, gone, stopped = World(), Standby(), [], []
    link = SupervisorLink(os.dup(theirs.fileno()), "p.", 1)
    link.start(SupervisorLinkPorts(
        store_proxies=[world.store_proxy], timing=world.timing, clock=world.clock,
        on_stop=lambda: stopped.append(1), on_go=lambda: gone.append(1), on_alone=standby.alone.set,
    ))  # fmt: skip
    link.stands_by("my app:\n", 2, ["tick tock"])
    said = ours.recv(1000).decode()
    assert said.count("\n") == 1
    word, place = said.split()
    assert (word, place_of(place)) == ("standby", (Place("my app:\n", 2), {"tick tock"}))
    link.blocked("task x (tick tock)", "/my code/tasks.py:7")
    link.blocked("", "")
    assert ours.recv(1000) == b"blocked task%20x%20%28tick%20tock%29 %2Fmy%20code%2Ftasks.py%3A7\nblocked\n"
    ours.send(b"go\n")
    until(lambda: gone == [1])
    assert not standby.alone.is_set()
    ours.send(b"alone\n")
    until(standby.alone.is_set)
    theirs.close()
    ours.close()
    until(lambda: len(stopped) == 1)  # it has noticed the end of the line
    link._socket.close()
