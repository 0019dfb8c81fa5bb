"""The benchmarks must go on to run; and the bare loop must do the same work, or its ratio means nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from benchmarks import growth, profile
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.mark import EVERY, RECORD
from benchmarks.place import fill
from benchmarks.results import Row
from tests.support.servers import start_server

ROOT = Path(__file__).parents[2]


def test_the_bare_loop_runs_every_task_to_its_end():
    with start_server("valkey", "--save", "") as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        fill(client, "noop", 700)
        subprocess.run([sys.executable, "-m", "benchmarks.limit", server.url], cwd=ROOT, check=True)
        assert client.zcard("pytask:index:ENDED") == 700
        assert client.hget("job-699", "state") == "ENDED"
        assert client.llen("new-task") == client.hlen("pytask:runs") == client.zcard("pytask:leases") == 0
        client.close()


def test_the_one_command_measures_and_reports(tmp_path):
    words = ["drain", "enqueue", "report", "--quick", "--share", "0.01", "--peers", "none"]
    command = [sys.executable, "-m", "benchmarks", *words, "--cache", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    found = json.loads((tmp_path / "quick.json").read_text())
    assert all(rate > 0 for rounds in found["drain"]["seen"].values() for rate, *_ in rounds)
    assert found["enqueue"]["calls"]["pytask"][0] > 0
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| pytask |" in text
    assert "the limit loop" in text
    assert (tmp_path / "results.svg").read_text().startswith("<svg")


def test_the_command_line_is_measured_and_reported(tmp_path):
    words = ["cli", "report", "--quick", "--share", "0.002", "--cache", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "benchmarks", *words], cwd=ROOT, check=True, timeout=300)
    rows = {row[0]: row for row in json.loads((tmp_path / "quick.json").read_text())["cli"]["rows"]}
    assert rows["tasks, workers"][1].startswith("2,000, 300 (")
    for what, promised in (("ls", 0.5), ("status", 0.3), ("--help", 0.15), ("status: nobody listens", 1)):
        assert rows[f"pytask {what}"][2] == f"<= {promised:g} s"
        assert 0 < float(rows[f"pytask {what}"][1].split()[0]) < 30
    text = (tmp_path / "RESULTS.md").read_text()
    assert "## The command line" in text
    assert "| pytask why wait-200 | " in text


def test_costs_are_taken_apart():
    point = growth.drained(300)
    assert point.worker > 0
    assert point.server > 0
    rows = {row.measure.strip(): row.seen for row in profile.profile(300, None)}
    assert {"claim.lua", "commit.lua"} <= rows.keys()


def test_marks_are_counted_alike_in_python_and_by_the_reader(tmp_path):
    """The first task writes 1, each fiftieth after it 50."""
    code = f"import mark\nfor _ in range({2 * EVERY + 1}): mark.mark()\nmark.mark(1.0)"
    path = tmp_path / "marks"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "benchmarks/peers",
        env={"BENCH_MARKS": str(path)},
        check=True,
    )
    numbers = [number for _, number in RECORD.iter_unpack(path.read_bytes())]
    assert numbers[:3] == [1, EVERY, EVERY]
    assert numbers[3] > 1e9


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_its_program(peer: Peer):
    assert (ROOT / "benchmarks/peers" / peer.program).exists()
    assert peer.packages
    assert peer.pools


@pytest.mark.parametrize(
    ("seen", "bar", "verdict"),
    [
        ("18,700", ">= 100,000", "missed"),
        ("0.9", "<= 0.9", "met"),
        ("1.02", ">= 1.0", "met"),
        ("12", "", ""),
    ],
)
def test_a_verdict_is_the_comparison_with_the_bar(seen, bar, verdict):
    assert Row("x", seen, bar).verdict == verdict
