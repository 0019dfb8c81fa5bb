"""Delayed tasks, by the commands of redis-cli alone, on real workers."""

import time

import pytest

from pytask.domain.lifecycle import State
from tests.integration.conftest import wait_until

MARGIN = 0.5  # seconds: a busy machine; the bar of 50 ms is measured by the benchmarks


def now(lab):
    seconds, micros = lab.redis.time()
    return seconds + micros / 1e6


def push(lab, task_id, seconds, function="shot", **fields):
    lab.redis.hset(
        task_id, mapping={"function": function, "not_before": f"{now(lab) + seconds:.3f}"} | fields
    )
    lab.redis.lpush("new-task", task_id)


def acted_at(lab, task_id):
    """When it first acted, by the clock of Redis (of this machine)."""
    (first, *_) = (act for act in lab.evidence.acts() if act.id == task_id)
    return time.time() - (time.monotonic_ns() - first.at) / 1e9


def test_a_delayed_task_starts_at_its_time_on_an_idle_worker(lab):
    lab.worker()
    push(lab, "a", 1.5)
    assert lab.events.wait("a", "delayed")["data"]["delay"] == pytest.approx(1.5, abs=1.5)
    assert lab.redis.zscore("pytask:timers", "a")
    due = float(lab.field("a", "not_before"))
    lab.wait_state("a", State.ENDED)
    assert lab.field("a", "not_before") is None
    assert due <= acted_at(lab, "a") <= due + MARGIN
    assert lab.events.names("a") == ["delayed", "running", "ended"]
    assert not lab.redis.exists("pytask:timers")


def test_start_is_now_and_stop_is_for_good(lab):
    lab.worker()
    for task_id in ("now", "never"):
        push(lab, task_id, 3_155_760_000)  # a century
        lab.events.wait(task_id, "delayed")
    lab.control("never", "stop")
    lab.wait_state("never", State.STOPPED)
    lab.control("now", "start")
    lab.wait_state("now", State.ENDED)
    assert lab.events.names("now") == ["delayed", "queued", "running", "ended"]
    assert not lab.redis.exists("pytask:timers")
    assert lab.redis.llen("new-task") == 0


def test_another_worker_starts_what_a_dead_one_has_delayed(lab):
    first = lab.worker()
    push(lab, "a", 2.0)
    lab.events.wait("a", "delayed")
    due = float(lab.field("a", "not_before"))
    first.kill()
    lab.worker()
    lab.wait_state("a", State.ENDED)
    assert acted_at(lab, "a") >= due


@pytest.mark.parametrize("overlap", ["queue", "replace"])
def test_an_occurrence_starts_with_the_end_of_the_run_that_it_waits_for(lab, overlap):
    """Not at the next look at its schedule, which is an hour away here."""
    lab.worker()
    later = int(now(lab) * 1000) + 3_600_000
    told = '{"schedule":"s","scheduled_for":1.000,"missed":0}'
    lab.redis.hset("s", mapping={"function": "loop", "scheduled": told})
    lab.redis.lpush("new-task", "s")
    lab.wait_state("s", State.RUNNING)
    fields = {"function": "shot", "every": "3600", "overlap": overlap, "behind": "1764579600000"}
    lab.redis.hset("pytask:schedule:s", mapping=fields | {"next_ms": later})
    lab.redis.zadd("pytask:schedules", {"s": later})
    lab.control("s", "stop")
    wait_until(lambda: lab.field("s", "state") == State.ENDED)
    assert lab.field("s", "scheduled").startswith('{"schedule":"s","scheduled_for":1764579600.000')
    assert lab.redis.zscore("pytask:schedules", "s") == later


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("not_before", "tomorrow", "not_before is 'tomorrow', which is not a time: write seconds since 1970"),
        ("not_before", "1764579600000", "(not milliseconds)"),
        ("restart", "sometimes", "restart is 'sometimes', but only never, failure and always are known"),
    ],
)
def test_a_field_that_makes_no_sense_makes_the_task_an_error_that_says_so(lab, field, value, said):
    lab.worker()
    lab.redis.hset("a", mapping={"function": "shot", field: value})
    lab.redis.lpush("new-task", "a")
    lab.wait_state("a", State.ERROR)
    assert said in lab.field("a", "error")
    assert "start the task again" in lab.field("a", "error")
    assert lab.evidence.acts() == []
    lab.redis.hdel("a", field)
    lab.control("a", "start")
    lab.wait_state("a", State.ENDED)


def test_thousands_that_are_due_together_all_start(lab):
    lab.worker(max_tasks=200)
    due = now(lab) + 60
    with lab.redis.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.hset(f"t{number}", mapping={"function": "shot", "not_before": f"{due:.3f}"})
            pipe.lpush("new-task", f"t{number}")
        pipe.execute()
    wait_until(lambda: lab.redis.zcard("pytask:timers") == 2000)
    assert lab.redis.llen("new-task") == 0
    early = {f"t{number}": 1 for number in range(2000)}
    with lab.redis.pipeline() as pipe:  # the clock of Redis cannot be set here
        for task_id in early:
            pipe.hset(task_id, "not_before", "1")
        pipe.zadd("pytask:timers", early)
        pipe.execute()
    wait_until(lambda: len({act.id for act in lab.evidence.acts()}) == 2000)
    assert not lab.redis.exists("pytask:timers")
