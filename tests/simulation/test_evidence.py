"""The judge of the simulation: what it must see, and what it must let pass."""

from types import SimpleNamespace

import pytest

from tests.simulation.evidence import Evidence

PROCESS = SimpleNamespace(name="w0", last_ack=0.0)


@pytest.fixture
def evidence():
    world = SimpleNamespace(
        loop=SimpleNamespace(time=0.0), note=lambda *_: None, epochs_may_fall=True, longest_silence=70.0
    )
    return Evidence(world)


def test_a_run_id_begins_once(evidence):
    evidence.claimed("a", "w0:1", 1)
    evidence.claimed("a", "w0:1", 2)
    assert [rule for rule, *_ in evidence.violations] == ["run id used twice"]


@pytest.mark.parametrize("acts", [False, True])
def test_a_reload_that_a_failover_took_back_is_sent_again_unless_it_acted(evidence, acts):
    evidence.claimed("a", "w0:1", 1)
    evidence.claimed("a", "w0:2", 2)
    if acts:
        evidence.begin("a", "w0:2", PROCESS)
    evidence.rolled_back({"a": "w0:1"})
    evidence.claimed("a", "w0:2", 3)
    assert [rule for rule, *_ in evidence.violations] == (["run id used twice"] if acts else [])
