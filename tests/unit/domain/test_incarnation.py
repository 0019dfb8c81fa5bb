"""What follows from a change of server, or of the data."""

import pytest

from pytask.domain.incarnation import News, compare
from pytask.domain.leases import Lease
from pytask.domain.record import Incarnation
from pytask.domain.timing import Timing

E, SHORT = 80.0, 10.0


def at(server="s1", marker="m1", age=-1.0, changed=-1.0):
    return Incarnation(id=marker, server=server, age=age, changed=changed)


def news(known, seen, always=None):
    return compare(known, seen, embargo=E, reassert=SHORT, always=always)


@pytest.mark.parametrize(
    ("known", "seen", "always", "pause"),
    [
        (None, at(), None, 0),
        (None, at(age=0), None, E),
        (None, at(age=79.9), None, E),
        (None, at(age=80), None, 0),
        (None, at(age=0), False, 0),
        (None, at(changed=9.9), None, SHORT),  # a worker that starts soon after a safe change
        (None, at(changed=10), None, 0),
        (None, at(changed=79.9), True, E),
        (None, at(changed=80), True, 0),
        (None, at(changed=0), False, 0),
        (None, at(age=20, changed=5), None, E),
        (at(), at(changed=5), None, 0),
        (at(), at(), None, 0),
        (at(), at(age=5), None, 0),
        (at(), at("s2", age=0), None, E),
        (at(), at("s2", age=500), None, E),  # dated by others long ago, but new to us
        (at(), at("s2"), None, SHORT),
        (at(), at("s2", age=20, changed=5), None, E),  # two changes, and only the last one was safe
        (at(), at("s2", age=80, changed=5), None, SHORT),
        (at(), at("s2", age=500, changed=500), None, E),
        (at(), at("s2"), True, E),
        (at(), at("s2", "m2"), None, E),
        (at(), at(marker="m2"), None, 0),
        (at(), at("s2", age=0), False, 0),
        (at(""), at("s2"), None, 0),
        (at(), at(""), True, 0),
    ],
)
def test_how_long_claims_wait(known, seen, always, pause):
    assert news(known, seen, always).pause == pause


def test_what_changed_is_reported():
    assert news(at(), at()) == News()
    assert news(at(), at("s2")).failover
    assert not news(at(), at("s2")).data_lost
    assert news(at(), at(marker="m2")) == News(data_lost=True)
    assert news(at(), at(marker="")) == News()
    assert not news(None, at()).failover


@pytest.fixture
def lease():
    lease = Lease(Timing())
    lease.observe(at(), 100)
    lease.acknowledged([], 100)
    return lease


def test_the_embargo_closes_the_claim_gate_and_lets_runs_be_put_back(lease):
    assert lease.may_claim(100)
    assert not lease.may_adopt(100)
    lease.observe(at("s2", age=0), 110)
    for now in (110, 189.9):
        lease.acknowledged([], now)
        assert not lease.may_claim(now)
        assert lease.may_adopt(now)
    lease.acknowledged([], 190)
    assert lease.may_claim(190)
    assert not lease.may_adopt(190)
    assert lease.server == "s2"


def test_an_embargo_is_never_cut_short_by_a_second_change(lease):
    lease.observe(at("s2", age=0), 110)
    lease.observe(at("s3"), 120)
    assert lease.embargo_until == 190


def test_the_generation_grows_with_every_change_and_only_then(lease):
    assert lease.generation == 0
    for seen, generation in ((at(), 0), (at("s2"), 1), (at("s2"), 1), (at(""), 1), (at("s2", "m2"), 2)):
        lease.observe(seen, 200)
        assert lease.generation == generation


def test_a_server_that_tells_nothing_for_once_is_not_forgotten(lease):
    lease.observe(at(""), 200)
    assert lease.server == "s1"
    assert lease.observe(at("s2"), 201).failover


def test_a_run_goes_with_the_data_only_if_it_was_there_before_and_is_missed_soon(lease):
    assert not lease.lost_with_data(100, 100)
    lease.observe(at(marker="m2"), 200)
    assert lease.lost_with_data(150, 205)
    assert not lease.lost_with_data(201, 205)
    assert not lease.lost_with_data(150, 231)
