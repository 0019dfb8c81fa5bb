"""Coroutines in real workers: deploys, deaths, reloads, pauses, saves, Redis, and a loop that is blocked."""

import signal

import pytest

from tests.integration.conftest import PATIENCE, TAKEOVER, D, G, stop_politely, wait_until
from tests.support.evidence import now

pytestmark = pytest.mark.slow

SURE = 3 * 0.5  # seconds after which a save has gone with a renewal, even on a busy machine


def counts(lab, task_id):
    """From which act each of two runs went on; a run acts before its worker has sent its events."""

    def told():
        return [event["data"] for event in lab.events.of(task_id) if event["event"] == "from"]

    wait_until(lambda: len(told()) == 2, why=told)
    return told()


def acted(lab, run, kind=None):
    return [one for one in lab.evidence.of_run(run) if kind is None or one.kind == kind]


def test_a_deploy_hands_coroutines_over_with_all_that_they_saved(lab):
    first = lab.worker()
    ids = lab.started(20, "aio-tick") + lab.started(3, "aio-child")
    second = lab.worker()
    runs = {one: lab.run(one) for one in ids}
    assert stop_politely(first) == 0
    lab.wait_acting(ids, pid=second.pid)
    for one in ids[:20]:
        done = acted(lab, runs[one])
        assert done[-1].kind == "finally"  # which awaits
        assert counts(lab, one) == [0, len(done) - 1]
    for one in ids[20:]:
        assert [e["data"] for e in lab.events.of(one) if e["event"] == "stopping"] == ["release"]
        kinds = {act.kind for act in lab.evidence.of_run(runs[one])}
        assert kinds == {"act", "thread", "greenlet"}
        assert int(lab.redis.get(f"count-{one}")) >= 1
    lab.evidence.check()


def test_after_a_kill_they_go_on_elsewhere_from_what_a_renewal_took(lab):
    first = lab.worker()
    ids = lab.started(10, "aio-tick")
    wait_until(lambda: all(lab.field(one, "saved") for one in ids))
    saved = {one: int(lab.field(one, "saved").partition(":")[2].strip("} ")) for one in ids}
    second = lab.worker("--monitor")
    first.kill()
    lab.wait_acting(ids, pid=second.pid, timeout=TAKEOVER + PATIENCE)
    for one in ids:
        assert counts(lab, one)[1] >= saved[one]
    lab.evidence.check()


def test_control_words_pauses_and_reloads(lab):
    lab.worker()
    stopped, paused, reloaded = lab.started(3, "aio-tick")
    lab.control(stopped, "stop")
    lab.wait_state(stopped, "STOPPED")
    assert acted(lab, lab.field(stopped, "last_run"))[-1].kind == "finally"

    lab.control(paused, "pause")
    lab.events.wait(paused, "paused")
    stood = len(acted(lab, lab.run(paused)))
    lab.control(paused, "start")
    wait_until(lambda: len(acted(lab, lab.run(paused))) > stood)

    run = lab.run(reloaded)
    lab.redis.hset(reloaded, "data", '{"step": 0.01}')
    lab.control(reloaded, "reload")
    assert lab.events.wait(reloaded, "took")["data"] == {"step": 0.01}
    assert lab.run(reloaded) == run
    lab.evidence.check()


def test_a_blocked_loop_is_named_and_its_runs_go_on_elsewhere(lab):
    """Renewals go on, so that without the watch nobody would ever take its tasks."""
    first = lab.worker("--no-embargo")
    greenlets = lab.started(2)
    blocked = lab.push("aio-stuck", block=3600)
    lab.wait_acting(blocked)
    second = lab.worker("--monitor")
    wait_until(lambda: "[PT217] task aio-stuck" in first.log)
    assert "worker_program.py:" in first.log.partition("[PT217]")[2].splitlines()[0]
    began = now()
    lab.wait_acting(greenlets, since=began)  # they go on meanwhile
    assert first.wait(D + G + PATIENCE) == 70
    assert "[PT218] the asyncio loop has not answered" in first.log
    lab.wait_acting([*greenlets, blocked], pid=second.pid, timeout=TAKEOVER + PATIENCE)
    lab.evidence.check()


def test_one_that_swallows_every_cancel_keeps_its_registration_and_goes_with_the_process(lab):
    first = lab.worker()
    (stuck,) = lab.started(1, "aio-stuck")
    second = lab.worker("--monitor")
    lab.control(stuck, "stop")
    lab.events.wait(stuck, "stop-timeout")
    assert lab.state(stuck) == "RUNNING"
    assert "[PT042]" in first.log
    first.signal(signal.SIGTERM)
    assert first.wait() == 70
    lab.wait_state(stuck, "STOPPED", TAKEOVER + PATIENCE)
    assert second.code is None
    lab.evidence.check()
