"""Worlds break the promises with each wrong variant of pytask."""

import json

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
    "nobody's run",
}  # fmt: skip


def batched(names, number):
    """Some in one process, whose start would take longer than a world."""
    names = list(names)
    return [names[at : at + number] for at in range(0, len(names), number)]


@pytest.mark.slow
@pytest.mark.parametrize("names", batched(MUTANTS, 10), ids=lambda names: f"{names[0]}-{len(names)}")
def test_wrong_variants_are_caught(tmp_path, names):
    at = ("--mode", "safety", "--worlds", 200)
    done, _ = simulate(tmp_path, "--mutants", ",".join(names), *at)
    assert done.returncode == 0, done.stdout + done.stderr
    caught = {found["mutant"]: found["rules"] for found in map(json.loads, done.stdout.splitlines())}
    assert [*caught] == names
    for name, rules in caught.items():
        assert set(rules) & PROMISES, name


@pytest.mark.slow
def test_the_command_tells_how_to_replay_what_it_caught(tmp_path):
    name = next(iter(MUTANTS))
    at = ("--start", MUTANTS[name].seed, "--mode", "safety")
    done, summary = simulate(tmp_path, "--mutant", name, *at, "--worlds", 200, "--until-caught")
    assert done.returncode == 1, done.stdout + done.stderr
    assert {found["rule"] for found in summary["violations"]} & PROMISES
    assert f"--mutant {name} -v" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("names", batched(MUTANTS, 10), ids=lambda names: f"{names[0]}-{len(names)}")
def test_the_same_worlds_are_well_without_it(tmp_path, names):
    done, _ = simulate(tmp_path, "--without", ",".join(names), "--mode", "safety")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(names)
