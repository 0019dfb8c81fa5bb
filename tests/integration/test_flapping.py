"""A task that fails again and again, on workers that are killed at random: one count for all of them."""

import random
import signal
from itertools import pairwise

import gevent
import psutil
import pytest

from tests.integration.conftest import PATIENCE, TAKEOVER, wait_until

pytestmark = pytest.mark.slow

LIMIT = 20  # restarts, as in the policy of the program
TASKS = 8
DEATHS = 8


def attempts(evidence, task_id):
    """(attempt, pid, whether it failed by itself) of each run, in order."""
    found = []
    for run in evidence.runs(task_id):
        acts = evidence.of_run(run)
        kinds = [act.kind for act in acts]
        assert kinds[0].startswith("begin:")
        number = kinds[0].partition(":")[2]
        assert kinds[1:] in ([], [f"fail:{number}"])
        found.append((int(number), acts[0].pid, len(kinds) == 2))
    return found


def in_a_run(lab, worker, ids):
    """Whether the frozen worker has begun a run that it has not ended."""
    last = [lab.evidence.of_run(runs[-1])[-1] for runs in map(lab.evidence.runs, ids) if runs]
    return any(act.pid == worker.pid and act.kind.startswith("begin:") for act in last)


def kill_in_a_run(lab, crew, ids):
    """Kill the first of the crew that is seen in the middle of a run; it is taken out of the crew."""

    def caught():
        for worker in crew:
            worker.signal(signal.SIGSTOP)
            wait_until(lambda at=worker: psutil.Process(at.pid).status() == psutil.STATUS_STOPPED)
            if in_a_run(lab, worker, ids):
                worker.signal(signal.SIGKILL)
                return worker
            worker.signal(signal.SIGCONT)
        return None

    victim = wait_until(caught)
    crew.remove(victim)
    return victim


def test_the_count_is_exact_though_workers_are_killed(lab):
    """What the tasks wrote to a file is compared with what Redis and the events say."""
    chance = random.Random(7)
    crew = [lab.worker("--monitor") for _ in range(3)]
    ids = lab.push_many(TASKS, "flap")
    victim = kill_in_a_run(lab, crew, ids)  # on a slow machine the later deaths may come after all is done
    victim.wait()
    crew.append(lab.worker("--monitor"))
    ended = {victim.pid}
    for _ in range(DEATHS - 1):
        gevent.sleep(chance.uniform(0.3, 1.5))
        victim = crew.pop(chance.randrange(3))
        ended.add(victim.pid)
        victim.signal(chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        victim.wait()
        crew.append(lab.worker("--monitor"))
    wait_until(
        lambda: set(lab.states(ids).values()) == {"ERROR"},
        DEATHS * TAKEOVER + PATIENCE,
        lambda: (lab.states(ids), [attempts(lab.evidence, one)[-1] for one in ids]),
    )
    repeated = 0
    for task_id in ids:
        found = attempts(lab.evidence, task_id)
        assert found[0][0] == 1
        for (before, pid, failed), (after, _pid, _failed) in pairwise(found):
            if after == before:  # only the death of its worker, or a hand-back, is not counted
                assert pid in ended
                repeated += 1
            else:
                assert (after, failed) == (before + 1, True)
        assert found[-1][0] == LIMIT + 1
        assert found[-1][2]
        error = lab.field(task_id, "error")
        assert f"[PT163] gave up after {LIMIT} restarts in " in error
        told = [e["data"]["attempt"] for e in lab.events.of(task_id) if e["event"] == "retrying"]
        assert told == list(range(2, LIMIT + 2))
        assert lab.redis.zscore("pytask:timers", task_id) is None
    assert repeated, "no worker died during a run: the test proves less than it should"
    lab.evidence.check()


def test_a_stop_at_any_moment_is_final(lab):
    """While it runs, fails, or waits for its next run: nothing starts it again."""
    chance = random.Random(11)
    for _ in range(2):
        lab.worker("--monitor")
    ids = lab.push_many(40, "flap")
    gevent.sleep(0.5)
    for task_id in ids:
        gevent.sleep(chance.uniform(0, 0.08))
        lab.redis.publish(f"task-{task_id}-control", "stop")
    wait_until(lambda: set(lab.states(ids).values()) == {"STOPPED"}, why=lambda: lab.states(ids))
    seen = len(lab.evidence.acts())
    assert lab.redis.zcard("pytask:timers") == 0
    gevent.sleep(1.0)  # several times the longest delay of the policy
    assert len(lab.evidence.acts()) == seen
    assert set(lab.states(ids).values()) == {"STOPPED"}
    assert any("retrying" in lab.events.names(task_id) for task_id in ids)
    lab.evidence.check()
