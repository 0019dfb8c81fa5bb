"""Workers that die, hang, leave or cannot stop: every task goes on elsewhere, and never twice at once."""

import signal

import gevent
import pytest

from tests.integration.conftest import PATIENCE, TAKEOVER, G, K, T, stop_politely, wait_until
from tests.support.evidence import SECOND, now

pytestmark = pytest.mark.slow

MARGIN = 5.0  # seconds: a loaded machine may hold up each process for a while; G + MARGIN is still under T


def requeued(lab, task_id):
    return [e["data"]["reason"] for e in lab.events.of(task_id) if e["event"] == "requeued"]


def assert_moved_once(lab, ids, takers, fault, *, within, reason="lease expired"):
    """Each id ran, was requeued exactly once, and runs in one of `takers`, since soon after the fault."""
    lab.wait_acting(ids, since=fault, timeout=within + PATIENCE)
    wait_until(lambda: all(len(lab.evidence.runs(i)) == 2 for i in ids), within + PATIENCE)
    if any("its observations are discarded" in w.log or "not acknowledge" in w.log for w in takers):
        within += T  # a monitor that missed Redis watches anew
    for task_id in ids:
        _first, second = lab.evidence.runs(task_id)
        began = lab.evidence.of_run(second)[0]
        assert began.pid in {worker.pid for worker in takers}
        assert (began.at - fault) / SECOND < within, f"{task_id} came back late"
        assert requeued(lab, task_id) == [reason]


def test_every_way_to_lose_a_worker_at_once(lab, tmp_path):
    """kill -9, SIGSTOP for longer than K, a hub blocked for longer than K, and a run that ignores SIGTERM."""
    owned = {}
    killed = lab.worker("--monitor", max_tasks=10)
    owned[killed] = lab.started(10)
    paused = lab.worker(max_tasks=6)
    owned[paused] = lab.started(3) + lab.started(3, "loop")
    stuck = lab.worker(max_tasks=4)
    owned[stuck] = lab.started(3)
    stubborn = lab.started(1, "stubborn")
    hogged = lab.worker(max_tasks=4)
    owned[hogged] = lab.started(3)
    hogs = lab.started(1, "hog", first=str(tmp_path / "hogged"), **{"for": 60})
    wait_until(lambda: lab.evidence.acts(kind="hog"))
    for worker, ids in owned.items():  # before others start, which may take as long as a hog's lease
        assert {lab.evidence.last(i).pid for i in ids} == {worker.pid}
    survivors = [lab.worker("--monitor"), lab.worker("--monitor")]

    fault = now()
    killed.kill()
    paused.signal(signal.SIGSTOP)
    stuck.signal(signal.SIGTERM)

    # SIGTERM: what can be stopped is handed back at once, and the process ends although one run would not.
    lab.wait_acting(owned[stuck], since=fault + SECOND // 100, timeout=PATIENCE)
    assert stuck.wait() == 70
    assert_moved_once(lab, owned[stuck], survivors, fault, within=G + MARGIN, reason="handed back")
    assert lab.state(stubborn[0]) == "RUNNING"
    # The hub was blocked: the kernel's timer ended the process.
    assert hogged.wait(K + PATIENCE) == -signal.SIGKILL
    held = lab.evidence.acts(kind="hog")  # no renewal since the first of these
    assert (held[-1].at - held[0].at) / SECOND < K + 0.25
    assert "blocked the event loop for more than 0.5 s" in hogged.log
    assert f"task {hogs[0]} (hog)" in hogged.log
    for worker in (killed, hogged):
        assert_moved_once(lab, owned[worker], survivors, fault, within=TAKEOVER + MARGIN)
    assert_moved_once(lab, owned[paused], survivors, fault, within=TAKEOVER + MARGIN)
    assert_moved_once(lab, hogs, survivors, fault, within=TAKEOVER + MARGIN)
    assert_moved_once(lab, stubborn, survivors, fault, within=G + 2.5 + TAKEOVER + MARGIN)
    # The timer ran on in the kernel, and SIGKILL also ends a process that is stopped: it never wakes up.
    awake = now()
    assert paused.wait() == -signal.SIGKILL
    assert not [a for a in lab.evidence.acts() if a.pid == paused.pid and a.at > awake]
    everything = [i for ids in owned.values() for i in ids] + hogs + stubborn
    lab.wait_acting(everything, since=now())
    assert set(lab.states(everything).values()) == {"RUNNING"}
    lab.evidence.check()


def test_sigterm_hands_everything_to_the_other_at_once(lab):
    leaving = lab.worker("--monitor", "--shutdown", PATIENCE, max_tasks=30)  # however slow the machine is
    ids = lab.started(15) + lab.started(15, "loop")
    local = set(lab.redis.hkeys("pytask:runs")) - set(ids)
    staying = lab.worker("--shutdown", PATIENCE, max_tasks=40)
    fault = now()
    assert stop_politely(leaving) == 0
    lab.wait_acting(ids, since=fault, pid=staying.pid)
    assert_moved_once(lab, ids, [staying], fault, within=G + MARGIN, reason="handed back")
    assert all(lab.evidence.longest_gap(i) < G + MARGIN for i in ids)
    assert not any(lab.redis.exists(i) for i in local)  # its monitor went with it
    assert set(lab.redis.hkeys("pytask:runs")) == set(ids) == set(lab.redis.zrange("pytask:leases", 0, -1))
    assert int(lab.field(ids[0], "attempts")) == 2
    assert lab.field(ids[0], "crashes") in (None, "0")
    # SIGINT does the same; with nobody left the tasks wait.
    staying.signal(signal.SIGINT)
    assert staying.wait() == 0
    lab.wait_state(ids, "WAIT")
    assert sorted(lab.redis.lrange("new-task", 0, -1)) == sorted(ids)
    assert lab.redis.hlen("pytask:runs") == 0
    lab.evidence.check()


def test_a_second_signal_ends_at_once_and_a_stubborn_task_cannot_be_stopped(lab):
    worker = lab.worker("--shutdown", 2 * PATIENCE)
    (stubborn,) = lab.started(1, "stubborn")
    (other,) = lab.started(1)
    # A reload ends neither it nor the worker; a stop that comes meanwhile wins.
    lab.control(stubborn, "reload")
    lab.events.wait(stubborn, "stop-timeout")
    # A stop request: the task stays RUNNING with the request in its hash; nothing else is affected.
    lab.control(stubborn, "stop")
    wait_until(lambda: lab.field(stubborn, "control") == "stop")
    event = lab.events.wait(stubborn, "stop-timeout")
    assert event["data"]["seconds"] == G
    assert lab.state(stubborn) == "RUNNING"
    assert lab.field(stubborn, "control") == "stop"
    wait_until(lambda: lab.events.names(stubborn).count("stop-timeout") >= 2)  # tried again
    seen = now()
    lab.wait_acting([stubborn, other], since=seen)
    assert "stopped" not in lab.events.names(stubborn)
    assert worker.code is None

    worker.signal(signal.SIGTERM)
    wait_until(lambda: lab.state(other) == "WAIT")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 128 + signal.SIGTERM  # and not 70, when its time to stop is over
    last = lab.evidence.last(stubborn).at
    gevent.sleep(0.2)
    assert lab.evidence.last(stubborn).at == last
    assert lab.field(stubborn, "control") == "stop"  # a monitor will stop it
    lab.evidence.check()


def test_leases_lost_together_with_the_worker(lab):
    """The slow sweep finds what no lease tells of: the owner is dead and the index of leases was deleted."""
    dead = lab.worker(max_tasks=5)
    ids = lab.started(5)  # so many that none is blamed for the death, and put into quarantine
    alive = lab.worker("--monitor", "--slow-sweep")
    (own,) = lab.started(1)
    run = lab.run(own)
    dead.kill()
    lab.redis.delete("pytask:leases", "pytask:runs")
    lab.redis.hset("by-hand", mapping={"function": "tick", "state": "RUNNING", "last_update": "1"})
    lab.wait_acting([*ids, "by-hand"], timeout=2 * TAKEOVER + PATIENCE, pid=alive.pid)
    assert lab.run(own) == run
    lab.evidence.check()
