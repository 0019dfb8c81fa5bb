"""The short form of the chaos run, for every commit: the real command, with fixed seeds."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
# Beside other tests on a slow machine a bar of time would measure those: here it finds only what is far off.
SMALL = ("--slots", "30", "--short", "400", "--long", "80", "--slack", "5")


FIRST = "pid1,limit_proxy,limit_server,stubborn_reload,alarm,handler,child,breaker"
KINDS = {
    "size limit of proxies", "size limit of the server", "stubborn reload", "alarm user", "signal handlers",
    "multiprocessing", "raising log",
}  # fmt: skip


def command(*words):
    return [sys.executable, "-m", "tests.chaos", *map(str, words)]


def chaos(*words, timeout):
    done = subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    print(done.stdout, done.stderr)
    return done


@pytest.fixture(scope="module")
def failovers(tmp_path_factory):
    """A process that makes failovers with a hung sentinel, beside the other tests: it mostly waits."""
    words = ["--block", "sentinel", "--only", "hung_first,hung", "--minutes", 0.4, "--seed", 13, *SMALL]
    figures = tmp_path_factory.mktemp("failovers") / "figures.json"
    with subprocess.Popen(
        command(*words, "--json", figures),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process, figures
        process.send_signal(signal.SIGINT)  # it ends its servers and workers, if it has not yet


def test_all_kinds_together_break_nothing(tmp_path):
    figures = tmp_path / "figures.json"
    done = chaos(
        "--seed", 11, "--minutes", 0.9, "--gap", 0.8, "--first", FIRST, *SMALL, "--json", figures, timeout=300
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(figures.read_text())
    assert found["violations"] == []
    assert found["zombies_refused"] > 500
    for what in ("restarts", "delayed tasks that began", "occurrences that ran"):
        assert found["policies"].get(what, 0) > 5, what
    assert set(found["faults"]) >= (KINDS if found["left_out"] else KINDS | {"pid 1"})
    assert chaos("sum", figures, "--json", tmp_path / "sum.json", timeout=60).returncode == 0
    assert json.loads((tmp_path / "sum.json").read_text()) == found
    assert "a part is given twice" in chaos("sum", figures, figures, timeout=60).stderr


def test_every_kill_is_made_good_in_time(tmp_path, failovers):
    """So far apart that of most deaths at least one monitor sees all, undisturbed by the next ones."""
    figures = tmp_path / "figures.json"
    done = chaos(
        "--seed", 12, "--minutes", 0.7, "--only", "kill,storm", "--mix", "kill=3,storm=1", "--gap", 5, *SMALL,
        "--first", "lone", "--json", figures, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = json.loads(figures.read_text())
    assert found["recovery"]["undisturbed"]
    assert found["unclean"]["lone_kills"] > 0


def test_a_hung_sentinel_keeps_nobody_away(failovers):
    process, figures = failovers
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert sum(json.loads(figures.read_text())["failovers"]["kinds"].values()) > 0


def test_without_its_protections_the_overlap_is_seen():
    done = chaos("--seed", 5, "--minutes", 0.7, "--unprotected", *SMALL, timeout=240)
    assert done.returncode == 0, done.stdout
    assert "acts of overlapping runs were seen" in done.stdout
