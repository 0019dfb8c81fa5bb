"""The release of a dead sibling's runs, and the line to the supervisor."""

import os
import socket

import pytest

from pytask.domain.errors import Unavailable
from pytask.domain.record import Suspect, Verdict
from pytask.domain.timing import Timing
from pytask.runtime.supervised import Release, SupervisorLink, SupervisorLinkPorts
from tests.unit.runtime.fakes import World, really_sleep, until

SECOND = 1_000_000
NOW = 1_700_000_000


@pytest.fixture
def world():
    return World(timing=Timing())


@pytest.fixture
def line():
    """The supervisor's end, and a companion at the other one."""
    ours, theirs = socket.socketpair()
    link = SupervisorLink.parse(f"{theirs.detach()}:3:p.")
    yield ours, link
    ours.close()
    for _ in range(8):
        really_sleep(0.001)  # the listener, if there is one, reads the end
    link._socket.close()


def suspect(i, *, age=100, crashes=0, session="p.s1"):
    return Suspect(
        id=f"t{i}", run=f"{session}:{i}", lease=NOW * SECOND, epoch=(NOW - age) * 1000, crashes=crashes
    )


def release(world):
    return Release("p.", world.store_proxy, world.timing)


def test_all_runs_are_expired_by_what_was_seen(world):
    crowd = [suspect(i) for i in range(600)]
    world.store.say("runs_of", (7, crowd[:400]), (0, crowd[350:]))
    one = release(world)
    assert one.step() == 600
    assert world.store.asked("runs_of") == [("p.", 0), ("p.", 7)]
    batches = [batch for (batch,) in world.store.asked("expire")]
    assert [len(batch) for batch in batches] == [256, 256, 88]
    expiry = batches[0][0]
    assert (expiry.id, expiry.run, expiry.seen, expiry.crashes) == ("t0", "p.s1:0", NOW * SECOND, 0)


def test_crashes_are_counted_as_the_monitor_does(world):
    crowd = [suspect(1, age=10), *(suspect(i, age=100) for i in range(2, 9))]
    world.store.say("runs_of", (0, crowd))
    release(world).step()
    ((batch,),) = world.store.asked("expire")
    assert {expiry.id: expiry.crashes for expiry in batch} == {"t1": 1} | {f"t{i}": 0 for i in range(2, 9)}


def test_those_with_a_pause_are_left_to_the_monitor_and_poison_is_not(world):
    world.store.say("runs_of", (0, [suspect(i, age=10, crashes=i) for i in range(3)]))
    one = release(world)
    assert (one.step(), one.left) == (1, 2)
    ((batch,),) = world.store.asked("expire")
    assert [(expiry.id, expiry.poison) for expiry in batch] == [("t0", False)]
    world.store.say("runs_of", (0, [suspect(3, age=10, crashes=3, session="p.s2")]))
    one.step()
    assert [e.poison for e in world.store.asked("expire")[1][0]] == [True]


def test_where_a_person_corrects_the_code_nobody_is_blamed_and_all_run_again_at_once(world, line):
    ours, link = line
    world.store.say("runs_of", (0, [suspect(i, age=10, crashes=i) for i in range(4)]))
    start(link, world, blames=False)
    link.release("p.")
    batch = world.store.asked("expire")[0][0]
    assert [(expiry.id, expiry.crashes, expiry.poison) for expiry in batch] == [
        (f"t{i}", i, False) for i in range(4)
    ]
    assert ours.recv(100) == b"released p. 4 0\n"


def test_a_late_one_is_judged_with_the_crowd_it_died_with(world):
    crowd = [suspect(i, age=10) for i in range(10)]
    world.store.say("runs_of", (0, crowd), (0, crowd[:1]), (0, []))
    world.store.say("expire", [Verdict.RENEWED, *[Verdict.OK] * 9])
    one = release(world)
    assert [one.step(), one.step(), one.step()] == [9, 1, 0]
    assert [e.crashes for e in world.store.asked("expire")[1][0]] == [0]
    assert one.handed_on == 10


def test_it_waits_for_redis_and_reports(world, line, passing):
    passing(world.clock)
    ours, link = line
    world.store.say(
        "runs_of", Unavailable("away"), Unavailable("away"), (0, [suspect(1), suspect(2, age=10, crashes=1)])
    )
    start(link, world)
    link.release("p.")
    assert ours.recv(100) == b"released p. 1 1\n"


def test_it_gives_up_when_the_monitors_have_done_it(world, line, passing):
    passing(world.clock)
    ours, link = line
    began = world.clock()
    world.store.say("runs_of", *[Unavailable("away")] * 1000)
    start(link, world)
    link.release("p.")
    assert 110 <= world.clock() - began < 112
    assert ours.recv(100) == b"released p. 0 0\n"


def start(link, world, on_stop=lambda: None, on_hurry=lambda: None, blames=True):
    link.start(SupervisorLinkPorts(
        store_proxies=[world.store_proxy], timing=world.timing, clock=world.clock,
        on_stop=on_stop, on_hurry=on_hurry, blames=blames,
    ))  # fmt: skip


def test_it_is_asked_to_stop_and_notices_the_end_of_the_line(world, line, caplog):
    stops, hurries = [], []
    ours, link = line
    assert (link.number, link.prefix) == (3, "p.")
    assert not os.get_inheritable(link._socket.fileno())
    start(link, world, lambda: stops.append(1), lambda: hurries.append(1))
    ours.send(b"so")
    ours.send(b"mething new\nst")
    ours.send(b"op\nstop\n")
    until(lambda: len(stops) == 2)
    assert hurries == []  # the word may come beside a signal
    ours.send(b"hurry\n")
    until(lambda: hurries == [1])
    assert "gone" not in caplog.text
    ours.close()
    until(lambda: len(stops) == 3)
    assert hurries == [1, 1]  # nobody knows for how long it would go on
    assert "the supervisor is gone" in caplog.text
