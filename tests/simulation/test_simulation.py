"""Worlds replay, and keep the promises."""

import json
import os
import subprocess
import sys

import pytest


def simulate(tmp_path, *options, hash_seed="0", timeout=3600):
    file = tmp_path / "summary.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--json", str(file), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )
    return done, json.loads(file.read_text()) if file.exists() else None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 30, 55])
def test_a_seed_is_one_world(tmp_path, seed):
    first, _ = simulate(tmp_path, "--seed", seed, hash_seed="1")
    second, _ = simulate(tmp_path, "--seed", seed, hash_seed="2")
    assert first.returncode == second.returncode == 0, first.stdout + first.stderr
    digest = first.stdout.split()[-1]
    assert len(digest) == 64
    assert second.stdout.split()[-1] == digest


@pytest.mark.slow
def test_two_seeds_are_two_worlds(tmp_path):
    logs = {simulate(tmp_path, "--seed", seed)[0].stdout.split()[-1] for seed in (1, 2)}
    assert len(logs) == 2


@pytest.mark.slow
def test_a_world_tells_what_happened(tmp_path):
    done, _ = simulate(tmp_path, "--seed", 1, "-v")
    assert done.returncode == 0
    assert "FAULT" in done.stdout
    assert " healed" in done.stdout


@pytest.mark.slow
def test_many_worlds_keep_the_promises(tmp_path):
    done, summary = simulate(tmp_path, "--worlds", 260, "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary["violations"] == []
    assert summary["worlds"] == 260
    assert summary["faults"] > 9_000
    assert len(summary["kinds"]) >= 16
    assert summary["runs"] > 10_000
    assert summary["late_writes_refused"] > 500
    assert summary["kinds"]["failover"] > 200
    assert summary["runs_put_back"] > 100
    assert summary["pairs_often"] >= 0.9 * summary["pairs"]
    for name, least in {
        "retried": 2000,
        "gave up": 30,
        "delayed": 500,
        "fired": 1200,
        "overlap": 300,
        "paused": 300,
        "resumed": 120,
        "reload refused": 80,
        "reloaded in place": 200,
        "rolled back": 60,
        "a client saw: done": 50,
        "started within a limit": 500,
        "started within a rate": 300,
        "woken by an end": 100,
    }.items():
        assert summary["policies"][name] > least, name
