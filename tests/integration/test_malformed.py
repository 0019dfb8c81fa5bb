"""Whatever is pushed, the worker goes on: each row on a real server, beside a task that runs."""

import json

import pytest
import redis

from tests.integration.conftest import wait_until
from tests.support.servers import HOST

pytestmark = pytest.mark.slow

HASHLESS, WRONG, OWN = "no-hash", "wrong-type", "reserved name"


@pytest.fixture
def raw(server):
    with redis.Redis(HOST, server.port) as client:
        yield client


@pytest.fixture
def witness(lab):
    """A task that runs through all of it, undisturbed."""
    lab.worker("--max-data", 100_000, "--without", "loop")
    (task,) = lab.started(1)
    run = lab.run(task)
    yield task
    assert lab.run(task) == run
    assert lab.evidence.longest_pause(task) < 3
    good = lab.push("shot")
    lab.wait_state(good, "ENDED")
    assert "bug in pytask" not in lab.workers.logs()
    lab.evidence.check()


def rejected(raw):
    notes = [json.loads(note) for note in raw.lrange("pytask:rejected", 0, -1)]
    assert all(set(note) == {"id_hex", "reason", "at"} and note["at"] > 0 for note in notes)
    return {bytes.fromhex(note["id_hex"]): note["reason"] for note in notes}


def test_ids_that_cannot_be_tasks_are_put_aside(lab, raw, witness):
    longest = "ü" * 256  # 512 bytes
    expected = {
        b"": "empty id",
        b"x" * 513: "id over 512 bytes",
        b"\xff\xfe\x00id": "id is not UTF-8",
        b"two\nlines": "control character in id",
        b"null\x00": "control character in id",
        b"new-task": OWN,
        b"pytask:runs": OWN,
        b"pytask:workers": OWN,
        b"never-written": HASHLESS,
        b"a-string": WRONG,
        b"a-list": WRONG,
        b"a-set": WRONG,
    }
    raw.set("a-string", "s")
    raw.rpush("a-list", "l")
    raw.sadd("a-set", "m")
    with raw.pipeline(transaction=True) as pipe:
        for task_id in expected:
            pipe.lpush("new-task", task_id)
        pipe.hset(longest, mapping={"function": "shot"})
        pipe.lpush("new-task", longest)
        pipe.execute()
    lab.wait_state(longest, "ENDED")
    wait_until(lambda: raw.llen("new-task") == 0)
    assert rejected(raw) == expected
    # Nothing was written where it does not belong.
    assert raw.get("a-string") == b"s"
    assert raw.lrange("a-list", 0, -1) == [b"l"]
    assert raw.smembers("a-set") == {b"m"}
    assert not raw.exists("never-written")
    assert raw.type("pytask:runs") == b"hash"
    assert set(raw.hkeys("pytask:runs")) <= {witness.encode()}
    for task_id in ("never-written", "a-string"):
        assert lab.events.of(task_id) == [
            {"event": "rejected", "data": {"reason": expected[task_id.encode()]}}
        ]


def test_hashes_that_cannot_run_are_errors_of_the_task(lab, raw, witness):
    deep = "[" * 20_000 + "]" * 20_000
    hashes = {
        "no-function": ({"data": "{}"}, "no function"),
        "bad-json": ({"function": "shot", "data": "{'a': 1}"}, "JSON"),
        "no-object": ({"function": "shot", "data": "[1]"}, "an array"),
        "deep": ({"function": "shot", "data": '{"a":' + deep + "}"}, "JSON"),
        "not-utf8": ({"function": "shot", "data": b'{"a": "\xff"}'}, "JSON"),
        "raises": ({"function": "bad", "data": "{}"}, "no such thing"),
        "oversize": ({"function": "shot", "data": '{"a": "' + "x" * 100_000 + '"}'}, "100009 bytes"),
        "long-error": ({"function": "shot", "data": '{"a": ' + "\u20ac" * 30_000}, "JSON"),
    }
    with raw.pipeline(transaction=True) as pipe:
        for task_id, (fields, _) in hashes.items():
            pipe.hset(task_id, mapping=fields)
            pipe.lpush("new-task", task_id)
        pipe.execute()
    lab.wait_state(list(hashes), "ERROR")
    for task_id, (_, text) in hashes.items():
        error = lab.field(task_id, "error")
        assert text in error, (task_id, error)
        assert len(error.encode()) <= 8192
        assert lab.events.wait(task_id, "error")["data"]["error"] in error
    assert not lab.evidence.acts("raises")
    # Hashes that look odd and can run.
    raw.hset("no-data", mapping={"function": "shot"})
    raw.hset(
        "odd-state", mapping={"function": "shot", "state": "BOILING", "last_update": "never", "epoch": "x"}
    )
    raw.hset("with-ttl", mapping={"function": "tick"})
    raw.expire("with-ttl", 3600)
    for task_id in ("no-data", "odd-state", "with-ttl"):
        raw.lpush("new-task", task_id)
    lab.wait_state(["no-data", "odd-state"], "ENDED")
    lab.wait_acting("with-ttl")
    assert raw.ttl("with-ttl") == -1


def test_a_queue_of_another_type_is_an_error_until_it_is_gone(lab, raw, witness):
    short, stopped = lab.push("tick", **{"for": 2}), lab.push("tick")
    lab.wait_acting([short, stopped])
    raw.set("new-task", "not a list")
    wait_until(lambda: "The queue `new-task` must be a list" in lab.workers.logs())
    # Ends and renewals are not held up by it.
    lab.redis.hset(stopped, "control", "stop")
    lab.wait_state(stopped, "STOPPED")
    lab.wait_state(short, "ENDED")
    assert raw.get("new-task") == b"not a list"
    raw.delete("new-task")


def test_an_unknown_function_waits_for_a_worker_that_knows_it(lab, raw, witness):
    task = lab.push("loop")
    typo = lab.push("tik")
    parked = lab.events.wait(task, "parked")
    assert parked["data"]["function"] == "loop"
    assert "tick" in lab.events.wait(typo, "parked")["data"]["near"]
    lab.wait_state([task, typo], "WAIT")
    assert raw.llen("new-task") == 0
    other = lab.worker()
    lab.wait_acting(task, pid=other.pid)
    # And at once when that worker runs already.
    late = lab.push("loop")
    lab.wait_acting(late, pid=other.pid)
    assert lab.state(typo) == "WAIT"
    lab.control(typo, "stop")
    lab.wait_state(typo, "STOPPED")
    assert raw.llen("pytask:parked:tik") == 0


def test_copies_in_the_queue_become_one_run(lab, raw, witness):
    with raw.pipeline(transaction=True) as pipe:
        for task_id in ("copied", "other"):
            pipe.hset(task_id, mapping={"function": "tick"})
        pipe.lpush("new-task", "copied", "other", "copied", "copied", "other")
        pipe.execute()
    lab.wait_acting(["copied", "other"])
    # A push of what runs is dropped, and so is one with the state written by hand.
    for _ in range(3):
        raw.hset("copied", "state", "WAIT")
        raw.lpush("new-task", "copied", "other")
        wait_until(lambda: raw.llen("new-task") == 0)
    wait_until(lambda: lab.state("copied") == "RUNNING")  # its owner mends it
    for task_id in ("copied", "other"):
        assert len(lab.evidence.runs(task_id)) == 1
        assert lab.events.names(task_id).count("running") == 1


def test_a_hash_deleted_and_recreated_under_its_run(lab, raw, witness):
    deleted, remade = lab.started(2)
    old = lab.run(remade)
    other = lab.worker()
    with raw.pipeline(transaction=True) as pipe:
        pipe.delete(deleted)
        pipe.delete(remade)
        pipe.hset(remade, mapping={"function": "tick", "data": "{}"})
        pipe.lpush("new-task", remade)
        pipe.execute()
    new = lab.wait_new_run(remade, old)
    assert lab.evidence.runs(remade) == [old, new]
    wait_until(lambda: deleted not in raw.hkeys("pytask:runs") and not raw.hexists("pytask:runs", deleted))
    last = lab.evidence.last(deleted).at
    wait_until(lambda: lab.evidence.last(remade).at - last > 3e8)
    assert lab.evidence.last(deleted).at == last
    assert not raw.exists(deleted)
    other.kill()
