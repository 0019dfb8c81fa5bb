"""Worlds break the promises with each wrong variant of pytask."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.test_simulation import simulate

# What a rule's absence must show as, at least once; a plain crash would be no proof.
PROMISES = {
    "overlap", "zombie-write", "lost or stuck", "act after K", "act after the end", "two at once",
    "no place", "two places", "too early", "started twice", "stop lost",
    "delayed again", "count", "counted", "attempt", "limit", "gave up", "delay",
    "occurrence lost", "occurrence twice", "next time", "missed", "too late",
    "saved lost", "saved again", "paused started", "paused acts", "not resumed",
    "data", "outcome", "unchecked", "rolled back", "not rolled back",
    "beyond the limit", "beyond the rate", "slot", "idle", "not woken",
    "turn", "turn lost", "removed", "stop word", "run id used twice",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_variant_is_caught(tmp_path, name):
    at = ("--start", MUTANTS[name].seed, "--mode", "safety")
    done, summary = simulate(tmp_path, "--mutant", name, *at, "--worlds", 200, "--until-caught")
    assert done.returncode == 1, done.stdout + done.stderr
    assert {found["rule"] for found in summary["violations"]} & PROMISES
    assert f"--mutant {name} -v" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_the_same_worlds_are_well_without_it(tmp_path, name):
    at = ("--start", MUTANTS[name].seed, "--mode", "safety")  # the world that shows the mutant
    done, summary = simulate(tmp_path, "--like", name, *at, "--worlds", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary["worlds"] == 1
