"""The judge of the simulation: what it must see, and what it must let pass."""

from types import SimpleNamespace

import pytest

from pytask.domain.record import Verdict
from tests.simulation.evidence import Evidence

PROCESS = SimpleNamespace(name="w0", last_ack=0.0, dead=False)


@pytest.fixture
def evidence():
    world = SimpleNamespace(
        loop=SimpleNamespace(time=0.0), note=lambda *_: None, epochs_may_fall=True,
        longest_silence=lambda _: 70.0, steering=SimpleNamespace(on=False, jobs={}),
    )  # fmt: skip
    return Evidence(world)


def test_a_run_id_begins_once(evidence):
    evidence.claimed("a", "w0:1", 1)
    evidence.claimed("a", "w0:1", 2)
    assert [rule for rule, *_ in evidence.violations] == ["run id used twice"]


@pytest.mark.parametrize(("acts", "lives"), [(False, False), (True, True), (True, False)])
def test_a_reload_that_a_failover_took_back_is_sent_again_unless_it_acted_and_is_over(evidence, acts, lives):
    evidence.claimed("a", "w0:1", 1)
    evidence.claimed("a", "w0:2", 2)
    if acts:
        living = evidence.begin("a", "w0:2", PROCESS)
        if not lives:
            evidence.finish(living)
    _, kept = evidence.snapshot()
    evidence.rolled_back(({"a": "w0:1"}, kept))
    evidence.claimed("a", "w0:2", 3)
    assert [rule for rule, *_ in evidence.violations] == (["run id used twice"] if acts and not lives else [])


def test_a_claim_that_nobody_queued_is_a_second_start(evidence):
    evidence.counts.pushed("a")
    evidence.counts.claimed("a", "w0:1", {}, 0)
    assert evidence.violations == []
    evidence.counts.claimed("a", "w0:2", {}, 0)
    assert [rule for rule, *_ in evidence.violations] == ["started twice"]


@pytest.mark.parametrize(("now", "rules"), [(4999, ["too early"]), (5000, [])])
def test_a_claim_before_its_time_is_seen(evidence, now, rules):
    evidence.counts.pushed("a", due=5000)
    evidence.counts.claimed("a", "w0:1", {"not_before": b"5"}, now)
    assert [rule for rule, *_ in evidence.violations] == rules


def test_a_second_wait_for_one_time_is_seen(evidence):
    evidence.counts.pushed("a", due=5000)
    evidence.counts.delayed("a")
    evidence.counts.claimed("a", "w0:1", {}, 5000)
    assert evidence.violations == []
    evidence.counts.delayed("a")
    assert [rule for rule, *_ in evidence.violations] == ["delayed again"]
    evidence.counts.pushed("a", due=6000)
    evidence.counts.delayed("a")
    assert len(evidence.violations) == 1


@pytest.mark.parametrize(
    ("told", "state", "found"),
    [
        (False, {}, True),
        (True, {}, False),
        (False, {"stopped": True}, False),
        (False, {"dead": True}, False),
        (False, {"dead": True, "clean": True}, True),
        (False, {"open": "a claim"}, False),
        (False, {"stepped": True}, False),
    ],
)
def test_a_run_that_its_worker_never_heard_of_is_nobodys(evidence, told, state, found):
    claim = SimpleNamespace(run="w0s1:1", verdict=Verdict.OK)
    excuses = {"dead": False, "clean": False, "leaving": False, "stopped": False, "hog": None} | state
    claims = SimpleNamespace(open="open" in state, held=0)
    lane = SimpleNamespace(consumer=SimpleNamespace(claims=claims))
    process = SimpleNamespace(name="w0", worker=SimpleNamespace(partitions=[lane]), **excuses)
    evidence._world.everyone = [process]
    call = SimpleNamespace(args=[SimpleNamespace(tail=SimpleNamespace(count=1))], sent_at=1.0)
    evidence._world.loop = SimpleNamespace(time=2.0)
    if state.get("stepped"):
        evidence.heard.stepped()
    evidence.heard.served(call, [claim])
    if told:
        evidence.heard.told([claim])
        evidence.heard.served(call, [SimpleNamespace(run="w0s1:1", verdict=Verdict.ALREADY)])  # a late copy
    evidence.heard.expired("w0s1:1")
    assert [rule for rule, *_ in evidence.violations] == (["nobody's run"] if found else [])
