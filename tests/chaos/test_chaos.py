"""The short form of the chaos run, for every commit: the real command, with fixed seeds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = ("--slots", "30", "--short", "400", "--long", "80")


def chaos(*words, timeout):
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done


def test_all_kinds_together_break_nothing(tmp_path):
    figures = tmp_path / "figures.json"
    done = chaos("--seed", 11, "--minutes", 0.9, "--gap", 0.8, *SMALL, "--json", figures, timeout=300)
    assert done.returncode == 0, done.stdout
    found = json.loads(figures.read_text())
    assert found["violations"] == []
    assert found["zombies_refused"] > 500
    assert len(found["faults"]) >= 8


def test_every_kill_is_made_good_in_time(tmp_path):
    """So far apart that of most deaths at least one monitor sees all, undisturbed by the next ones."""
    figures = tmp_path / "figures.json"
    done = chaos(
        "--seed", 12, "--minutes", 0.7, "--only", "kill,storm", "--mix", "kill=3,storm=1", "--gap", 5, *SMALL,
        "--json", figures, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert json.loads(figures.read_text())["recovery"]["undisturbed"]


def test_without_its_protections_the_overlap_is_seen():
    done = chaos("--seed", 5, "--minutes", 0.4, "--unprotected", *SMALL, timeout=240)
    assert done.returncode == 0, done.stdout
    assert "acts of overlapping runs were seen" in done.stdout
