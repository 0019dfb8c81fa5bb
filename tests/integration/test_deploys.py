"""Deploys with real processes: hand-over, rolling restarts, a supervisor, rebalancing.

The figures are printed: `python -m pytest -s tests/integration/test_deploys.py`.
"""

import os
import signal
from itertools import pairwise

import gevent
import psutil
import pytest

from tests.integration.conftest import ROOT, H, wait_until
from tests.support.cli_tools import Started, pytask
from tests.support.evidence import SECOND, now

pytestmark = pytest.mark.slow

TASKS = ROOT / "tests" / "integration" / "programs" / "deploy_tasks.py"
# Seconds for what the figures show to take well under one, on a busy machine.  Whatever had to wait for a
# lease to expire would take 90, at real times.
BOUND = 10.0


class Daemons:
    """`pytask run` processes whose tasks write to the crew's evidence."""

    def __init__(self, lab, folder):
        self.lab, self.folder, self.all = lab, folder, []

    def start(self, *flags, step=0.05, scale=1):
        words = pytask("run", TASKS, "--redis", self.lab.server.url, f"--time-scale={scale}", *flags)
        started = Started(words, self.folder, EVIDENCE=str(self.lab.evidence.path), STEP=str(step))
        self.all.append(started)
        return started


@pytest.fixture
def daemons(lab, tmp_path):
    made = Daemons(lab, tmp_path)
    yield made
    for one in made.all:
        one.__exit__()
        print(one.output[-20_000:])


def children(started):
    return {child.pid for child in psutil.Process(started.process.pid).children()}


def figures(what, gaps):
    """Prints p50, p99 and the longest of some gaps in seconds."""
    ordered = sorted(gaps)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{what}: {len(ordered)} gaps, p50 {p50:.3f} s, p99 {p99:.3f} s, max {ordered[-1]:.3f} s")


def changes(acts, since=0):
    """(seconds from the last act of a run to the first act of the next one of that id, the later act)."""
    by_id = {}
    for act in acts:
        by_id.setdefault(act.id, []).append(act)
    return [
        ((b.at - a.at) / SECOND, b)
        for own in by_id.values()
        for a, b in pairwise(own)
        if a.run != b.run and b.at > since
    ]


# -- hand-over -------------------------------------------------------------------------------------------


def test_a_thousand_tasks_are_handed_over_at_once(lab, daemons):
    first = daemons.start("--name=a", step=0.25)
    first.says("takes tasks from")
    ids = lab.started(1000)
    second = daemons.start("--name=b", step=0.25)
    second.says("takes tasks from")
    wait_until(lambda: len(lab.listeners()) == 2)
    gevent.sleep(1)
    began = now()
    assert first.end() == 0
    left = now()
    lab.wait_acting(ids, since=left, pid=second.process.pid)
    lab.evidence.check()
    found = changes(lab.evidence.acts(), began)
    assert {act.id for _, act in found} == set(ids)
    # An act comes each 0.25 s, so up to that much of a gap is the task's own pause.
    figures("hand-over of 1000", [gap for gap, _ in found])
    assert max(gap for gap, _ in found) < BOUND
    print(f"the first worker took {(left - began) / SECOND:.2f} s to leave")


def test_ten_rolling_restarts(lab, daemons):
    recent_workers = [daemons.start(f"--name=w{i}", step=0.1) for i in range(2)]
    for one in recent_workers:
        one.says("takes tasks from")
    ids = lab.started(200)
    began = now()
    for i in range(10):
        fresh = daemons.start(f"--name=w{i + 2}", step=0.1)
        wait_until(lambda: len(lab.listeners()) == 3)
        recent_workers.append(fresh)
        assert recent_workers.pop(0).end() == 0
        lab.wait_acting(ids, since=now())
    lab.evidence.check()
    found = changes(lab.evidence.acts(), began)
    figures("ten rolling restarts, 200 tasks", [gap for gap, _ in found])
    assert max(gap for gap, _ in found) < BOUND
    assert {lab.field(task_id, "crashes") for task_id in ids} == {None}


# -- the supervisor --------------------------------------------------------------------------------------


def family(daemons, *flags, number=2, **options):
    parent = daemons.start(f"--processes={number}", "--name=p", *flags, **options)
    wait_until(lambda: len(daemons.lab.listeners()) == number, why="the children listen")
    return parent


def test_the_tasks_of_a_killed_child_run_on_at_once(lab, daemons):
    parent = family(daemons, step=0.05)
    ids = lab.started(100)
    gaps = []
    for _ in range(5):
        before = lab.listeners()
        acts = {act.id: act for act in lab.evidence.acts()}
        owners = [act.pid for act in acts.values()]
        victim = max(children(parent), key=owners.count)
        killed = now()
        os.kill(victim, signal.SIGKILL)
        lab.wait_acting(ids, since=killed + SECOND // 10)
        wait_until(lambda: {a.pid for a in lab.evidence.acts() if a.at > now() - SECOND} <= children(parent))
        gaps += [gap for gap, act in changes(lab.evidence.acts(), killed)]
        wait_until(lambda: lab.listeners() - before, why="a new child listens")  # noqa: B023 - asked at once
    assert len(gaps) >= 5
    figures("kill -9 of a child, five times", gaps)
    lab.evidence.check()
    assert max(gaps) < BOUND
    parent.says("runs of child")
    assert parent.end() == 0
    lab.wait_state(ids, "WAIT")


def test_the_runs_of_a_hung_child_are_released_when_its_timer_ends_it(lab, daemons):
    parent = family(daemons, scale=0.1)
    ids = lab.started(20)
    victim = lab.evidence.acts()[-1].pid  # one with living runs: without them no timer is set
    os.kill(victim, signal.SIGSTOP)
    parent.says("was killed by SIGKILL")  # of the kernel's timer, at K; a stopped process dies of it, too
    released = now()
    lab.wait_acting(ids, since=released)
    lab.evidence.check()
    assert parent.end() == 0


def test_children_hand_back_when_their_parent_is_killed(lab, daemons):
    parent = family(daemons)
    ids = lab.started(20)
    own = children(parent)
    parent.process.kill()
    parent.process.wait()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in own))
    lab.wait_state(ids, "WAIT")
    assert {lab.field(task_id, "crashes") for task_id in ids} == {None}
    lab.evidence.check()


def test_a_service_manager_may_signal_the_whole_group(lab, daemons):
    parent = family(daemons)
    ids = lab.started(20)
    for pid in (*children(parent), parent.process.pid):
        os.kill(pid, signal.SIGTERM)
    assert parent.process.wait(20) == 0
    lab.wait_state(ids, "WAIT")


def test_the_parent_keeps_its_descriptors_and_memory(lab, daemons):
    parent = family(daemons)
    process = psutil.Process(parent.process.pid)
    parent.says("child 2 started")
    descriptors = process.num_fds()
    for number in range(1, 4):
        os.kill(min(children(parent)), signal.SIGKILL)
        wait_until(lambda: parent.output.count("released,") == number)  # noqa: B023 - asked at once
        # While it starts a child it has a few more.
        wait_until(lambda: len(children(parent)) == 2 and process.num_fds() == descriptors, why="as before")
    print(f"the parent: {process.memory_info().rss / 1e6:.0f} MB, {descriptors} descriptors")
    assert process.num_threads() == 1


def test_with_the_embedded_server_of_the_parent(lab, tmp_path):
    words = pytask("run", TASKS, "--embedded", f"--data-dir={tmp_path / 'data'}", "--processes=2")
    with Started(words, tmp_path, EVIDENCE=str(tmp_path / "acts")) as parent:
        parent.says("takes tasks from")
        assert parent.output.count("embedded server at") == 1
        assert parent.end() == 0
    assert "all children have ended" in parent.output


def test_a_wrong_target_is_reported_and_not_tried_again(tmp_path):
    words = pytask("run", "no_such_file.py", "--processes=2")
    with Started(words, tmp_path) as parent:
        assert parent.process.wait(60) == 2
    assert "a restart would not help" in parent.output


# -- rebalancing -----------------------------------------------------------------------------------------


def shares(lab, ids):
    runs = [lab.field(task_id, "worker") for task_id in ids]
    return {name: runs.count(name) for name in set(runs)}


def test_a_worker_that_joins_takes_its_share_and_keeps_it(lab, daemons):
    rate = 50
    # Looks each H = 2.5 s: who stands still for less is not given more for not having shown what it took.
    daemons.start("--name=a", f"--rebalance={rate}", step=0.1, scale=0.5).says("takes tasks from")
    ids = lab.started(200)
    second = daemons.start("--name=b", f"--rebalance={rate}", step=0.1, scale=0.5)
    second.says("takes tasks from")
    joined = now()
    wait_until(lambda: min(shares(lab, ids).get(n, 0) for n in "ab") >= 90, timeout=60)
    took = (now() - joined) / SECOND
    # What was under way comes to rest, and stays there.
    wait_until(lambda: not changes(lab.evidence.acts(), now() - 5 * SECOND), why="tasks go on moving")
    settled = now()
    gevent.sleep(15)  # six looks
    assert not changes(lab.evidence.acts(), settled), "tasks go on moving"
    # What the second did not take in time, the first takes back.
    found = [(gap, act) for gap, act in changes(lab.evidence.acts(), joined) if act.pid == second.process.pid]
    assert 90 <= len(found) <= 110
    # By the last acts at the giver, whose rate it is: a taker that stood still acts for all of them at once.
    # Any second holds four steps of a quarter of a second and a bit.
    times = sorted(act.at - gap * SECOND for gap, act in found)
    most = max(sum(at <= other < at + SECOND for other in times) for at in times)
    print(f"half of 200 in {took:.1f} s, {len(found)} moves, at most {most} in a second; {shares(lab, ids)}")
    assert most <= 1.5 * rate
    lab.evidence.check()
    figures("a move", [gap for gap, _ in found])


def test_nobody_moves_without_being_asked_to(lab, daemons):
    daemons.start("--name=a", scale=0.1).says("takes tasks from")
    ids = lab.started(50)
    daemons.start("--name=b", scale=0.1).says("takes tasks from")
    gevent.sleep(10 * H)
    assert shares(lab, ids) == {"a": 50}
